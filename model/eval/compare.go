package eval

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Resamples is how many bootstrap samples an interval is made of.
const Resamples = 1000

// Bootstrap estimates a statistic of n clusters with the percentile interval (Efron and Tibshirani 1993, "An Introduction to the
// Bootstrap", section 13.3): clusters are drawn with replacement, statistic computes the figure of the clusters whose indices it
// is given, and the interval lies between the 2.5% and the 97.5% quantile of what it gave. The same seed gives the same
// interval. The statistic of no clusters is NaN; of one, the interval is that point.
func Bootstrap(n int, seed uint64, statistic func(index []int) float64) Estimate {
	if n == 0 {
		return Estimate{Mean: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	e := Estimate{Mean: statistic(index), N: n, Clusters: n}
	random := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	drawn := make([]float64, Resamples)
	for b := range drawn {
		for i := range index {
			index[i] = random.IntN(n)
		}
		drawn[b] = statistic(index)
	}
	slices.Sort(drawn)
	e.Low, e.High = quantile(drawn, .025), quantile(drawn, .975)
	return e
}

// quantile of sorted values, between neighbours by distance.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// lengthPrior is the precision of the normal prior on both coefficients of [LengthControlled]: a standard deviation of 10
// logits. It matters only where one side wins everything, which has no largest likelihood.
const lengthPrior = .01

// LengthControlled is the win rate that would be seen if both answers were always equally long, after AlpacaEval 2 (Dubois,
// Galambosi, Liang and Hashimoto 2024, "Length-Controlled AlpacaEval", equation 2):
//
//	P(b wins on prompt i) = 1 / (1 + exp(-(theta + phi tanh(d_i / s))))
//
// where d_i is by how many characters b's answer to prompt i is longer and s the standard deviation of d; the figure is the
// same with d = 0, 1 / (1 + exp(-theta)). Their term for the difficulty of each instruction is left out: it is learned from many
// models, and two say nothing of it. w[i] is the share of judgements that b won on prompt i, ties one half. theta and phi have
// the largest posterior under normal priors (lengthPrior), found by Newton's method.
func LengthControlled(w, d []float64) float64 {
	theta, _ := lengthFit(w, lengthTerm(d), everyIndex(len(w)), 0, 0)
	return logistic(theta)
}

// LengthControlledRate is [LengthControlled] with its bootstrap interval over prompts. The spread of lengths is that of all prompts.
func LengthControlledRate(w, d []float64, seed uint64) Estimate {
	x := lengthTerm(d)
	theta, phi := lengthFit(w, x, everyIndex(len(w)), 0, 0)
	return Bootstrap(len(w), seed, func(index []int) float64 {
		t, _ := lengthFit(w, x, index, theta, phi)
		return logistic(t)
	})
}

func everyIndex(n int) []int {
	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	return index
}

// lengthTerm is tanh(d / s).
func lengthTerm(d []float64) []float64 {
	mean, sum := average(d), 0.0
	for _, v := range d {
		sum += (v - mean) * (v - mean)
	}
	x := make([]float64, len(d))
	if sum == 0 { // a constant difference cannot be told from one of quality
		return x
	}
	s := math.Sqrt(sum / float64(len(d)))
	for i, v := range d {
		x[i] = math.Tanh(v / s)
	}
	return x
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// lengthFit finds theta and phi by damped Newton steps from a start. The penalised log-likelihood is strictly concave.
func lengthFit(w, x []float64, index []int, theta, phi float64) (float64, float64) {
	value := func(theta, phi float64) float64 {
		l := -lengthPrior / 2 * (theta*theta + phi*phi)
		for _, i := range index {
			z := theta + phi*x[i]
			l += w[i]*z - math.Max(z, 0) - math.Log1p(math.Exp(-math.Abs(z)))
		}
		return l
	}
	at := value(theta, phi)
	for range 100 {
		gt, gp := -lengthPrior*theta, -lengthPrior*phi
		htt, htp, hpp := lengthPrior, 0.0, lengthPrior
		for _, i := range index {
			p := logistic(theta + phi*x[i])
			g, h := w[i]-p, p*(1-p)
			gt, gp = gt+g, gp+g*x[i]
			htt, htp, hpp = htt+h, htp+h*x[i], hpp+h*x[i]*x[i]
		}
		det := htt*hpp - htp*htp
		dt, dp := (hpp*gt-htp*gp)/det, (htt*gp-htp*gt)/det
		next := value(theta+dt, phi+dp)
		for next < at && math.Abs(dt)+math.Abs(dp) > 1e-12 {
			dt, dp = dt/2, dp/2
			next = value(theta+dt, phi+dp)
		}
		theta, phi, at = theta+dt, phi+dp, next
		if math.Abs(dt)+math.Abs(dp) < 1e-10 {
			break
		}
	}
	return theta, phi
}
