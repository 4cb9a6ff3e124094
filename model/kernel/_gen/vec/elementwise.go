package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

var (
	root2 = 2 * math.Sqrt(2/math.Pi) // of gelu_new
	cube  = 0.044715
)

// exp computes exp(x) in place of x: 2ⁿ·exp(r), n = round(x/ln 2), r = x - n·ln 2 in two parts, |r| <= ln(2)/2, with the polynomial of
// Cephes' expf and the power of two in two steps, so that results become subnormal and infinite where they must. NaN stays NaN.
func exp(x VecVirtual) {
	// The second source is the result where one is NaN; so x is that.
	t := YMM()
	VMOVUPS(f(89), t)
	VMINPS(x, t, x)
	VMOVUPS(f(-104), t)
	VMAXPS(x, t, x)
	n := YMM()
	VMULPS(f(math.Log2E), x, n)
	VROUNDPS(Imm(8), n, n)
	VFNMADD231PS(f(0.693359375), n, x)
	VFNMADD231PS(f(-2.12194440e-4), n, x)
	p := YMM()
	VMOVUPS(f(1.9875691500e-4), p)
	for _, c := range []float64{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		VFMADD213PS(f(c), x, p)
	}
	VMULPS(x, x, t)
	VFMADD213PS(x, t, p) // p·r² + r
	VADDPS(f(1), p, x)
	VCVTPS2DQ(n, n)
	VPSRAD(Imm(1), n, t)
	VPSUBD(t, n, n)
	for _, half := range []VecVirtual{t, n} {
		VPSLLD(Imm(23), half, half)
		VPADDD(f(1), half, half) // the bits of 1 are 127<<23
		VMULPS(half, x, x)
	}
}

// sigmoid computes e = exp(t) in place of t and returns s = 1/(1+e).
func sigmoid(t VecVirtual) (s VecVirtual) {
	exp(t)
	d := YMM()
	s = YMM()
	VADDPS(f(1), t, d)
	VMOVUPS(f(1), s)
	VDIVPS(d, s, s)
	return s
}

// clamp limits v to ±limit; NaN stays.
func clamp(v VecVirtual, limit float64) {
	t := YMM()
	VMOVUPS(f(limit), t)
	VMINPS(v, t, v)
	VMOVUPS(f(-limit), t)
	VMAXPS(v, t, v)
}

// geluArgument returns -2u = v·(c + c·0.044715·v²), c = -2·√(2/π), and v².
func geluArgument(v VecVirtual) (t, v2 VecVirtual) {
	t, v2 = YMM(), YMM()
	VMULPS(v, v, v2)
	VMOVUPS(f(-root2*cube), t)
	VFMADD213PS(f(-root2), v2, t)
	VMULPS(v, t, t)
	return t, v2
}

func elementwise() {
	begin("expAVX2", "(dst, x *float32, n int)", "computes dst[i] = exp(x[i]).")
	each([]string{"x"}, []string{"dst"}, func(v []VecVirtual) []VecVirtual { exp(v[0]); return v })

	begin("geluAVX2", "(dst, x *float32, n int)", "computes dst[i] = x/(1+exp(-2u)), u = √(2/π)(x+0.044715x³).")
	each([]string{"x"}, []string{"dst"}, func(v []VecVirtual) []VecVirtual {
		t, _ := geluArgument(v[0])
		exp(t)
		VADDPS(f(1), t, t)
		VDIVPS(t, v[0], t)
		return []VecVirtual{t}
	})

	begin("geluBackwardAVX2", "(dx, x, dy *float32, n int)", "computes dx[i] = dy·(s + x·s·(1-s)·2u'), s = 1/(1+exp(-2u)), with x limited to ±10, where the derivative is 0 or 1 to float32.")
	each([]string{"x", "dy"}, []string{"dx"}, func(v []VecVirtual) []VecVirtual {
		x := v[0]
		clamp(x, 10)
		e, x2 := geluArgument(x)
		s := sigmoid(e)
		w := YMM()
		VMOVUPS(f(3*cube*root2), w)
		VFMADD213PS(f(root2), x2, w) // 2u'
		siluSlope(x, s, e)
		VFMADD213PS(s, x, w) // w·x·s(1-s) + s
		VMULPS(v[1], w, w)
		return []VecVirtual{w}
	})

	begin("siluAVX2", "(dst, x *float32, n int)", "computes dst[i] = x/(1+exp(-x)).")
	each([]string{"x"}, []string{"dst"}, func(v []VecVirtual) []VecVirtual {
		t := YMM()
		VXORPS(constant(0x80000000), v[0], t)
		exp(t)
		VADDPS(f(1), t, t)
		VDIVPS(t, v[0], t)
		return []VecVirtual{t}
	})

	begin("siluBackwardAVX2", "(dx, x, dy *float32, n int)", "computes dx[i] = dy·(s + x·s·(1-s)), s = 1/(1+exp(-x)), with x limited to ±88.")
	each([]string{"x", "dy"}, []string{"dx"}, func(v []VecVirtual) []VecVirtual {
		x := v[0]
		clamp(x, 88)
		e := YMM()
		VXORPS(constant(0x80000000), x, e)
		s := sigmoid(e)
		siluSlope(x, s, e)
		VADDPS(s, x, x)
		VMULPS(v[1], x, x)
		return []VecVirtual{x}
	})

	begin("addAVX2", "(dst, x *float32, n int)", "computes dst[i] += x[i].")
	each([]string{"dst", "x"}, []string{"dst"}, func(v []VecVirtual) []VecVirtual { VADDPS(v[1], v[0], v[0]); return v[:1] })

	begin("mulAVX2", "(dst, x *float32, n int)", "computes dst[i] *= x[i].")
	each([]string{"dst", "x"}, []string{"dst"}, func(v []VecVirtual) []VecVirtual { VMULPS(v[1], v[0], v[0]); return v[:1] })

	begin("scaleAVX2", "(dst *float32, n int, s float32)", "computes dst[i] *= s.")
	s := broadcast("s")
	each([]string{"dst"}, []string{"dst"}, func(v []VecVirtual) []VecVirtual { VMULPS(s, v[0], v[0]); return v })

	begin("axpyAVX2", "(dst *float32, a float32, x *float32, n int)", "computes dst[i] = fma(a, x[i], dst[i]).")
	a := broadcast("a")
	each([]string{"dst", "x"}, []string{"dst"}, func(v []VecVirtual) []VecVirtual { VFMADD231PS(v[1], a, v[0]); return v[:1] })

	begin("softmaxGradAVX2", "(ds, p, dp *float32, n int, delta, scale float32)", "computes ds[i] = p[i]·(dp[i]-delta)·scale.")
	delta, scale := broadcast("delta"), broadcast("scale")
	each([]string{"p", "dp"}, []string{"ds"}, func(v []VecVirtual) []VecVirtual {
		VSUBPS(delta, v[1], v[1])
		VMULPS(v[1], v[0], v[0])
		VMULPS(scale, v[0], v[0])
		return v[:1]
	})
}

// siluSlope computes x·s·(1-s) in place of x, with e·s for 1-s, which would cancel where s is near 1. It destroys e.
func siluSlope(x, s, e VecVirtual) {
	VMULPS(s, e, e)
	VMULPS(s, x, x)
	VMULPS(e, x, x)
}
