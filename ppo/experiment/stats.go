package experiment

import "math"

// estimate is a value with its 95% interval.
type estimate struct {
	mean, low, high float64
	n               int
}

// exact is a value without an interval.
func exact(x float64) estimate { return estimate{mean: x, low: x, high: x} }

const z95 = 1.959963984540054

// wilson is the score interval (Wilson 1927) of a share p of n. Ties that count one half make it wider than it need be.
func wilson(p float64, n int) estimate {
	m := float64(n)
	middle, scale := p+z95*z95/(2*m), 1+z95*z95/m
	half := z95 * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	return estimate{p, max(0, (middle-half)/scale), min(1, (middle+half)/scale), n}
}

// meanOf is the mean of independent values with its normal interval.
func meanOf(x []float64) estimate {
	m := average(x)
	ss := 0.0
	for _, v := range x {
		ss += (v - m) * (v - m)
	}
	half := z95 * math.Sqrt(ss/float64(max(1, len(x)-1))/float64(max(1, len(x))))
	return estimate{m, m - half, m + half, len(x)}
}

// t975 are the 97.5% quantiles of Student's t distribution with 1, 2, ... degrees of freedom.
var t975 = []float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
	2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042}

// student is the mean over seeds with its 95% interval.
func student(x []float64) (mean, low, high float64) {
	mean = average(x)
	n := len(x)
	if n < 2 {
		return mean, mean, mean
	}
	ss := 0.0
	for _, v := range x {
		ss += (v - mean) * (v - mean)
	}
	t := z95
	if n-2 < len(t975) {
		t = t975[n-2]
	}
	half := t * math.Sqrt(ss/float64(n-1)/float64(n))
	return mean, mean - half, mean + half
}

// average is 0 where there is nothing.
func average(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v
	}
	return s / float64(max(1, len(x)))
}

// smooth is the mean of each value and up to half neighbours on both sides.
func smooth(x []float64, half int) []float64 {
	out := make([]float64, len(x))
	for i := range x {
		out[i] = average(x[max(0, i-half):min(len(x), i+half+1)])
	}
	return out
}

// curve is one of the two functional forms of Gao, Schulman and Hilton (2022), eq. 1: the gold reward over d = sqrt(KL).
type curve struct {
	a, b float64
	rl   bool    // d*(a - b*ln d) instead of d*(a - b*d)
	r2   float64 // share of the variance that it explains
}

func (c curve) at(d float64) float64 {
	if d <= 0 {
		return 0
	}
	return d * (c.a - c.b*c.g(d))
}

func (c curve) g(d float64) float64 {
	if c.rl {
		return math.Log(d)
	}
	return d
}

// fitCurve finds a and b by least squares: both forms are linear in them. Points with d <= 0 say nothing and are left out.
func fitCurve(d, gold []float64, rl bool) curve {
	c := curve{rl: rl}
	var uu, uv, vv, uy, vy, sum, n float64
	for i, x := range d {
		if x <= 0 {
			continue
		}
		u, v := x, -x*c.g(x)
		uu, uv, vv, uy, vy = uu+u*u, uv+u*v, vv+v*v, uy+u*gold[i], vy+v*gold[i]
		sum, n = sum+gold[i], n+1
	}
	det := uu*vv - uv*uv
	if n < 3 || det <= 1e-12*uu*vv {
		return c
	}
	c.a, c.b = (uy*vv-vy*uv)/det, (uu*vy-uv*uy)/det
	var left, total float64
	for i, x := range d {
		if x > 0 {
			left += (gold[i] - c.at(x)) * (gold[i] - c.at(x))
			total += (gold[i] - sum/n) * (gold[i] - sum/n)
		}
	}
	if total > 0 {
		c.r2 = 1 - left/total
	}
	return c
}
