package kernel

import "math"

// The conversions to float32 round products that would otherwise be fused with a sum on some architectures: the class "portable"
// has the same bits everywhere.

// Constants of exp: exp(x) = 2ⁿ·exp(r), n = round(x/ln 2), r = x - n·ln 2 in two parts; the polynomial is that of Cephes' expf (S. Moshier), for |r| <= ln(2)/2.
const (
	expHigh  = 88.72284   // above: +Inf
	expLow   = -103.97283 // below: 0
	log2e    = 1.44269504088896341
	ln2Hi    = 0.693359375
	ln2Lo    = -2.12194440e-4
	expP5    = 1.9875691500e-4
	expP4    = 1.3981999507e-3
	expP3    = 8.3334519073e-3
	expP2    = 4.1665795894e-2
	expP1    = 1.6666665459e-1
	expP0    = 5.0000001201e-1
	geluRoot = 0.7978845608028654 // sqrt(2/pi)
	geluCube = 0.044715
)

// expOne is the portable exp of one number.
func expOne(x float32) float32 {
	switch {
	case x != x:
		return x
	case x > expHigh:
		return float32(math.Inf(1))
	case x < expLow:
		return 0
	}
	t := float32(x * log2e)
	n := int32(t + 0.5)
	if t < 0 {
		n = int32(t - 0.5)
	}
	f := float32(n)
	r := x - float32(f*ln2Hi) - float32(f*ln2Lo)
	p := float32(expP5)
	p = float32(p*r) + expP4
	p = float32(p*r) + expP3
	p = float32(p*r) + expP2
	p = float32(p*r) + expP1
	p = float32(p*r) + expP0
	y := float32(float32(p*r)*r) + r + 1
	half := n >> 1 // in two steps, so that neither power leaves the range
	return y * math.Float32frombits(uint32(half+127)<<23) * math.Float32frombits(uint32(n-half+127)<<23)
}

func expGo(dst, x []float32) {
	for i, v := range x {
		dst[i] = expOne(v)
	}
}

// gelu_new(x) = x·σ(2u), u = √(2/π)(x+0.044715x³), because (1+tanh u)/2 = σ(2u).
func geluGo(dst, x []float32) {
	for i, v := range x {
		u := geluRoot * (v + float32(geluCube*v*v*v))
		dst[i] = v / (1 + expOne(-2*u))
	}
}

// gelu' = σ + x·σ(1-σ)·2u'; beyond |x| = 10 it is 0 or 1 to float32, and clamping there keeps 0·Inf out.
func geluBackwardGo(dx, x, dy []float32) {
	for i, v := range x {
		v = min(max(v, -10), 10)
		v2 := v * v
		u := geluRoot * v * (1 + float32(geluCube*v2))
		e := expOne(-2 * u)
		s := 1 / (1 + e) // and e·s = 1-s
		dx[i] = dy[i] * (s + float32(v*s*(e*s)*(2*geluRoot)*(1+float32(3*geluCube*v2))))
	}
}

func siluGo(dst, x []float32) {
	for i, v := range x {
		dst[i] = v / (1 + expOne(-v))
	}
}

func siluBackwardGo(dx, x, dy []float32) {
	for i, v := range x {
		v = min(max(v, -88), 88)
		e := expOne(-v)
		s := 1 / (1 + e)
		dx[i] = dy[i] * (s + float32(v*s*(e*s)))
	}
}

func addGo(dst, x []float32) {
	for i, v := range x {
		dst[i] += v
	}
}

func mulGo(dst, x []float32) {
	for i, v := range x {
		dst[i] *= v
	}
}

func scaleGo(dst []float32, s float32) {
	for i := range dst {
		dst[i] *= s
	}
}

func axpyGo(dst []float32, a float32, x []float32) {
	for i, v := range x {
		dst[i] += float32(a * v)
	}
}

// lanes are the partial sums of a reduction: element i goes to lane i mod 16.
type lanes [16]float32

// sum joins the lanes: 16 to 8 to 4 to 2 to 1, halves upon halves.
func (l *lanes) sum() float32 {
	for w := 8; w > 0; w /= 2 {
		for i := range w {
			l[i] += l[i+w]
		}
	}
	return l[0]
}

func dotGo(a, b []float32) float32 {
	var l lanes
	for i, v := range a {
		l[i&15] += float32(v * b[i])
	}
	return l.sum()
}

func sumGo(x []float32) float32 {
	var l lanes
	for i, v := range x {
		l[i&15] += v
	}
	return l.sum()
}

func sumSquaresGo(x []float32) float64 {
	var l [16]float64
	for i, v := range x {
		l[i&15] += float64(v) * float64(v) // exact: the product of two 24-bit significands
	}
	for w := 8; w > 0; w /= 2 {
		for i := range w {
			l[i] += l[i+w]
		}
	}
	return l[0]
}

// maximumGo returns the largest element; NaN is passed over.
func maximumGo(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

// expSumGo writes exp(scale·x - shift) to dst and returns the sum.
func expSumGo(dst, x []float32, scale, shift float32) float32 {
	var l lanes
	for i, v := range x {
		e := expOne(float32(scale*v) - shift)
		dst[i] = e
		l[i&15] += e
	}
	return l.sum()
}

// expTotalGo is expSumGo without dst.
func expTotalGo(x []float32, scale, shift float32) float32 {
	var l lanes
	for i, v := range x {
		l[i&15] += expOne(float32(scale*v) - shift)
	}
	return l.sum()
}

func adamWGo(p, g, m, v []float32, s *adamStep) {
	for i := range p {
		d := g[i] * s.scale
		m[i] = float32(s.beta1*m[i]) + float32(s.rest1*d)
		v[i] = float32(s.beta2*v[i]) + float32(s.rest2*float32(d*d))
		root := float32(float32(math.Sqrt(float64(v[i])))*s.root) + s.eps
		p[i] = float32(s.keep*p[i]) - float32(s.step*(m[i]/root))
	}
}
