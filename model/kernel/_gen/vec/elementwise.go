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

// all calls f for each index: the same operation on several vectors.
func all(v []VecVirtual, f func(i int)) {
	for i := range v {
		f(i)
	}
}

// limit confines v to [low,high]; NaN stays, for the second source, here v, is the result where one is NaN.
func limit(v []VecVirtual, low, high float64) {
	h, l := vec(), vec()
	VMOVUPS(f(high), h)
	VMOVUPS(f(low), l)
	all(v, func(i int) { VMINPS(v[i], h, v[i]) })
	all(v, func(i int) { VMAXPS(v[i], l, v[i]) })
}

// exp computes exp(x) in place of x: 2ⁿ·exp(r), n = round(x/ln 2), r = x - n·ln 2 in two parts, |r| <= ln(2)/2, with the
// polynomial of Cephes' expf. The power of two is applied with one rounding, so that results become subnormal and infinite
// where they must. NaN stays NaN.
func exp(x []VecVirtual) {
	limit(x, -104, 89)
	expWithin(x)
}

// expWithin is exp of numbers that are known to lie between -104 and 89.
func expWithin(x []VecVirtual) {
	n, p, t := vecs(len(x)), vecs(len(x)), vecs(len(x))
	all(x, func(i int) { VMULPS(f(math.Log2E), x[i], n[i]) })
	round(n, n)
	all(x, func(i int) { VFNMADD231PS(f(0.693359375), n[i], x[i]) })
	all(x, func(i int) { VFNMADD231PS(f(-2.12194440e-4), n[i], x[i]) })
	all(x, func(i int) { VMOVUPS(f(1.9875691500e-4), p[i]) })
	for _, c := range []float64{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		all(x, func(i int) { VFMADD213PS(f(c), x[i], p[i]) })
	}
	all(x, func(i int) { VMULPS(x[i], x[i], t[i]) })
	all(x, func(i int) { VFMADD213PS(x[i], t[i], p[i]) }) // p·r² + r
	all(x, func(i int) { VADDPS(f(1), p[i], x[i]) })
	scale(x, n, t)
}

// exp2 computes 2ᵗ in place of t, |t| <= 150, as exp does: 2ⁿ·2ʳ, n = round(t), r = t - n, which is exact. The polynomial of 2ʳ, exact
// at 0 and elsewhere at the Chebyshev nodes, is off by 1e-8 at most. NaN stays NaN.
func exp2(t []VecVirtual) {
	n, p := vecs(len(t)), vecs(len(t))
	round(t, n)
	all(t, func(i int) { VSUBPS(n[i], t[i], t[i]) })
	all(t, func(i int) { VMOVUPS(f(1.5453162946e-04), p[i]) })
	for _, c := range []float64{1.3390863365e-03, 9.6180825573e-03, 5.5503571142e-02, 2.4022650761e-01, 6.9314718803e-01, 1} {
		all(t, func(i int) { VFMADD213PS(f(c), t[i], p[i]) })
	}
	scale(p, n, t)
	all(t, func(i int) { VMOVAPS(p[i], t[i]) })
}

// round writes x rounded to whole numbers to n.
func round(x, n []VecVirtual) {
	all(x, func(i int) {
		if now == avx512 {
			VRNDSCALEPS(Imm(8), x[i], n[i])
		} else {
			VROUNDPS(Imm(8), x[i], n[i])
		}
	})
}

// scale multiplies x by 2ⁿ with one rounding. It destroys n and t.
func scale(x, n, t []VecVirtual) {
	if now == avx512 {
		all(x, func(i int) { VSCALEFPS(n[i], x[i], x[i]) })
		return
	}
	// In two steps, of which the first is exact: neither power leaves the range.
	all(x, func(i int) { VCVTPS2DQ(n[i], n[i]) })
	all(x, func(i int) { VPSRAD(Imm(1), n[i], t[i]) })
	all(x, func(i int) { VPSUBD(t[i], n[i], n[i]) })
	for _, half := range [][]VecVirtual{t, n} {
		all(x, func(i int) { VPSLLD(Imm(23), half[i], half[i]) })
		all(x, func(i int) { VPADDD(f(1), half[i], half[i]) }) // the bits of 1 are 127<<23
		all(x, func(i int) { VMULPS(half[i], x[i], x[i]) })
	}
}

// sigmoid returns s = 1/(1+e).
func sigmoid(t []VecVirtual) (s []VecVirtual) {
	s = vecs(len(t))
	one := vec()
	VMOVUPS(f(1), one)
	all(t, func(i int) { VADDPS(t[i], one, s[i]) })
	all(t, func(i int) { VDIVPS(s[i], one, s[i]) })
	return s
}

// quotient computes x/(1+e) in place of e.
func quotient(x, t []VecVirtual) {
	all(t, func(i int) { VADDPS(f(1), t[i], t[i]) })
	all(t, func(i int) { VDIVPS(t[i], x[i], t[i]) })
}

// geluArgument returns -2u/ln 2 = v·(c + c·0.044715·v²), c = -2·√(2/π)/ln 2, and v²: the power of two needs no other product.
func geluArgument(v []VecVirtual) (t, v2 []VecVirtual) {
	t, v2 = vecs(len(v)), vecs(len(v))
	all(v, func(i int) { VMULPS(v[i], v[i], v2[i]) })
	all(v, func(i int) { VMOVUPS(f(-root2*cube*math.Log2E), t[i]) })
	all(v, func(i int) { VFMADD213PS(f(-root2*math.Log2E), v2[i], t[i]) })
	all(v, func(i int) { VMULPS(v[i], t[i], t[i]) })
	return t, v2
}

// negative returns -x.
func negative(x []VecVirtual) []VecVirtual {
	t := vecs(len(x))
	sign := constant(0x80000000)
	all(x, func(i int) {
		if now == avx512 {
			VPXORD(sign, x[i], t[i])
		} else {
			VXORPS(sign, x[i], t[i])
		}
	})
	return t
}

// slope computes x·s·(1-s) in place of x, with e·s for 1-s, which would cancel where s is near 1. It destroys e.
func slope(x, s, e []VecVirtual) {
	all(x, func(i int) { VMULPS(s[i], e[i], e[i]) })
	all(x, func(i int) { VMULPS(s[i], x[i], x[i]) })
	all(x, func(i int) { VMULPS(e[i], x[i], x[i]) })
}

// transcendental generates the functions made of exponentials.
func transcendental() {
	few := 1 // vectors at a time where two would need more than 16 registers
	if now == avx512 {
		few = 2
	}
	begin("exp", "(dst, x *float32, n int)", "computes dst[i] = exp(x[i]).")
	each([]string{"x"}, []string{"dst"}, 2, func(v [][]VecVirtual) [][]VecVirtual { exp(v[0]); return v })

	begin("gelu", "(dst, x *float32, n int)", "computes dst[i] = x/(1+exp(-2u)), u = √(2/π)(x+0.044715x³).")
	each([]string{"x"}, []string{"dst"}, 2, func(v [][]VecVirtual) [][]VecVirtual {
		t, _ := geluArgument(v[0])
		limit(t, -150, 129)
		exp2(t)
		quotient(v[0], t)
		return [][]VecVirtual{t}
	})

	begin("geluBackward", "(dx, x, dy *float32, n int)", "computes dx[i] = dy·(s + x·s·(1-s)·2u'), s = 1/(1+exp(-2u)), with x limited to ±10, where the derivative is 0 or 1 to float32.")
	each([]string{"x", "dy"}, []string{"dx"}, few, func(v [][]VecVirtual) [][]VecVirtual {
		x, dy := v[0], v[1]
		limit(x, -10, 10)
		e, x2 := geluArgument(x)
		exp2(e)
		s := sigmoid(e)
		w := vecs(len(x))
		all(x, func(i int) { VMOVUPS(f(3*cube*root2), w[i]) })
		all(x, func(i int) { VFMADD213PS(f(root2), x2[i], w[i]) }) // 2u'
		slope(x, s, e)
		all(x, func(i int) { VFMADD213PS(s[i], x[i], w[i]) }) // w·x·s(1-s) + s
		all(x, func(i int) { VMULPS(dy[i], w[i], w[i]) })
		return [][]VecVirtual{w}
	})

	begin("silu", "(dst, x *float32, n int)", "computes dst[i] = x/(1+exp(-x)).")
	each([]string{"x"}, []string{"dst"}, 2, func(v [][]VecVirtual) [][]VecVirtual {
		t := negative(v[0])
		exp(t)
		quotient(v[0], t)
		return [][]VecVirtual{t}
	})

	begin("siluBackward", "(dx, x, dy *float32, n int)", "computes dx[i] = dy·(s + x·s·(1-s)), s = 1/(1+exp(-x)), with x limited to ±88.")
	each([]string{"x", "dy"}, []string{"dx"}, few, func(v [][]VecVirtual) [][]VecVirtual {
		x, dy := v[0], v[1]
		limit(x, -88, 88)
		e := negative(x)
		expWithin(e)
		s := sigmoid(e)
		slope(x, s, e)
		all(x, func(i int) { VADDPS(s[i], x[i], x[i]) })
		all(x, func(i int) { VMULPS(dy[i], x[i], x[i]) })
		return [][]VecVirtual{x}
	})
}

// arithmetic generates the functions without exponentials.
func arithmetic() {
	type group = [][]VecVirtual
	begin("add", "(dst, x *float32, n int)", "computes dst[i] += x[i].")
	each([]string{"dst", "x"}, []string{"dst"}, 2, func(v group) group {
		all(v[0], func(i int) { VADDPS(v[1][i], v[0][i], v[0][i]) })
		return v[:1]
	})

	begin("mul", "(dst, x *float32, n int)", "computes dst[i] *= x[i].")
	each([]string{"dst", "x"}, []string{"dst"}, 2, func(v group) group {
		all(v[0], func(i int) { VMULPS(v[1][i], v[0][i], v[0][i]) })
		return v[:1]
	})

	begin("scale", "(dst *float32, n int, s float32)", "computes dst[i] *= s.")
	s := broadcast("s")
	each([]string{"dst"}, []string{"dst"}, 2, func(v group) group {
		all(v[0], func(i int) { VMULPS(s, v[0][i], v[0][i]) })
		return v
	})

	begin("axpy", "(dst *float32, a float32, x *float32, n int)", "computes dst[i] = fma(a, x[i], dst[i]).")
	a := broadcast("a")
	each([]string{"dst", "x"}, []string{"dst"}, 2, func(v group) group {
		all(v[0], func(i int) { VFMADD231PS(v[1][i], a, v[0][i]) })
		return v[:1]
	})

	begin("softmaxGrad", "(ds, p, dp *float32, n int, delta, scale float32)", "computes ds[i] = p[i]·(dp[i]-delta)·scale.")
	delta, scale := broadcast("delta"), broadcast("scale")
	each([]string{"p", "dp"}, []string{"ds"}, 2, func(v group) group {
		all(v[0], func(i int) {
			VSUBPS(delta, v[1][i], v[1][i])
			VMULPS(v[1][i], v[0][i], v[0][i])
			VMULPS(scale, v[0][i], v[0][i])
		})
		return v[:1]
	})
}
