package eval

import "math"

// Estimate is a mean with what is needed to judge it. The interval is NaN where it cannot be known: with fewer than two
// clusters.
type Estimate struct {
	Mean     float64
	Low      float64 // lower end of the 95% interval
	High     float64 // upper end of the 95% interval
	N        int     // observations
	Clusters int     // prompts; equals N where observations are independent
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
