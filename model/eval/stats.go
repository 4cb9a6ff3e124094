package eval

import (
	"encoding/json"
	"math"
)

// Estimate is a mean with what is needed to judge it. The interval is NaN where it cannot be known: with fewer than two
// clusters.
type Estimate struct {
	Mean     float64
	Low      float64 // lower end of the 95% interval
	High     float64 // upper end of the 95% interval
	N        int     // observations
	Clusters int     // prompts; equals N where observations are independent
}

// MarshalJSON writes what is not known as null, which JSON has instead of NaN.
func (e Estimate) MarshalJSON() ([]byte, error) {
	number := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	return json.Marshal(struct {
		Mean *float64 `json:"mean"`
		Low  *float64 `json:"low"`
		High *float64 `json:"high"`
		N    int      `json:"n"`
	}{number(e.Mean), number(e.Low), number(e.High), e.N})
}

// z95 is the 97.5% quantile of the normal distribution; clusters are many, so no t correction is made.
const z95 = 1.959963984540054

// Mean estimates the mean of independent observations. The mean of none is NaN.
func Mean(x []float64) Estimate {
	residual := make([]float64, len(x))
	mean := average(x)
	for i, v := range x {
		residual[i] = v - mean
	}
	return estimate(mean, len(x), residual)
}

// MeanByPrompt estimates the mean of observations clustered by prompt: x[i] belongs to prompts[i]. It panics where the
// lengths differ.
func MeanByPrompt(x []float64, prompts []string) Estimate {
	if len(x) != len(prompts) {
		panic("eval: as many prompts as observations are needed")
	}
	mean := average(x)
	at := make(map[string]int, len(prompts))
	var residual []float64 // per cluster: sum of x - mean, in order of first sight
	for i, v := range x {
		c, ok := at[prompts[i]]
		if !ok {
			c = len(residual)
			at[prompts[i]] = c
			residual = append(residual, 0)
		}
		residual[c] += v - mean
	}
	return estimate(mean, len(x), residual)
}

// WinRate estimates how often a scores above b on the same prompt, ties counting one half: a[i] and b[i] are scores of
// two answers to prompts[i]. It panics where the lengths differ.
func WinRate(a, b []float64, prompts []string) Estimate {
	if len(a) != len(b) {
		panic("eval: as many scores of b as of a are needed")
	}
	wins := make([]float64, len(a))
	for i := range a {
		switch {
		case a[i] > b[i]:
			wins[i] = 1
		case a[i] == b[i]:
			wins[i] = 0.5
		}
	}
	return MeanByPrompt(wins, prompts)
}

// Proportion estimates a probability from right of n, independent; the interval is Wilson's score interval (Wilson 1927; Newcombe
// 1998, method 3), which holds near 0 and 1 and for small n too.
func Proportion(right, n int) Estimate {
	if n == 0 {
		return Estimate{Mean: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	p, m := float64(right)/float64(n), float64(n)
	middle := p + z95*z95/(2*m)
	half := z95 * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	scale := 1 + z95*z95/m
	return Estimate{Mean: p, Low: max(0, (middle-half)/scale), High: min(1, (middle+half)/scale), N: n, Clusters: n}
}

// Difference estimates how much more often a is right than b on the same items. The interval is Bonett and Price's for paired
// proportions (2012): one more item of each kind of disagreement is added before the normal interval is taken. It panics where
// the lengths differ.
func Difference(a, b []bool) Estimate {
	if len(a) != len(b) {
		panic("eval: as many items of b as of a are needed")
	}
	n := float64(len(a))
	onlyA, onlyB := 0.0, 0.0
	for i := range a {
		switch {
		case a[i] && !b[i]:
			onlyA++
		case b[i] && !a[i]:
			onlyB++
		}
	}
	if n == 0 {
		return Estimate{Mean: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	x, y := (onlyA+1)/(n+2), (onlyB+1)/(n+2)
	half := z95 * math.Sqrt((x+y-(x-y)*(x-y))/(n+2))
	return Estimate{Mean: (onlyA - onlyB) / n, Low: max(-1, x-y-half), High: min(1, x-y+half), N: len(a), Clusters: len(a)}
}

func average(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// estimate makes the interval from the clusters' summed residuals r_g:
//
//	se^2 = G/(G-1) sum_g r_g^2 / n^2
func estimate(mean float64, n int, residual []float64) Estimate {
	e := Estimate{Mean: mean, Low: math.NaN(), High: math.NaN(), N: n, Clusters: len(residual)}
	if g := float64(len(residual)); g >= 2 {
		sum := 0.0
		for _, r := range residual {
			sum += r * r
		}
		half := z95 * math.Sqrt(g/(g-1)*sum) / float64(n)
		e.Low, e.High = mean-half, mean+half
	}
	return e
}
