package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// place is the memory of vector i of a slice.
type place = func(slice string, i int) Mem

func reductions() {
	begin("dot", "(a, b *float32, n int) float32", "returns the sum of a[i]·b[i].")
	acc := accumulators()
	reduce([]string{"a", "b"}, 2, 1, func(v [][]VecVirtual, _ place, _ []Op) {
		all(acc, func(i int) { VFMADD231PS(v[0][i], v[1][i], acc[i]) })
	})
	finish(join(acc, VADDPS))

	begin("sum", "(x *float32, n int) float32", "returns the sum of x[i].")
	acc = accumulators()
	reduce([]string{"x"}, 1, 1, func(v [][]VecVirtual, _ place, _ []Op) {
		all(acc, func(i int) { VADDPS(v[0][i], acc[i], acc[i]) })
	})
	finish(join(acc, VADDPS))

	begin("maximum", "(x *float32, n int) float32", "returns the largest element; NaN is passed over.")
	minusInf := constant(0xff800000)
	acc = accumulators()
	all(acc, func(i int) { VMOVUPS(minusInf, acc[i]) })
	reduce([]string{"x"}, 1, 1, func(v [][]VecVirtual, _ place, mask []Op) {
		all(acc, func(i int) {
			x := v[0][i]
			if mask[i] != nil {
				t := vec()
				VMOVUPS(minusInf, t)
				VBLENDVPS(mask[i], x, t, x)
			}
			VMAXPS(acc[i], x, acc[i]) // where x is NaN: the accumulator
		})
	})
	finish(join(acc, VMAXPS))
	sumSquares()
}

// exponentials generates the sums of exponentials.
func exponentials() {
	expSum("expSum", "(dst, x *float32, n int, scale, shift float32) float32", "writes exp(fma(scale, x[i], -shift)) to dst and returns the sum.", "x", "dst")
	expSum("expTotal", "(x *float32, n int, scale, shift float32) float32", "returns the sum of exp(fma(scale, x[i], -shift)).", "x")
}

func expSum(name, signature, doc string, slices ...string) {
	begin(name, signature, doc)
	acc := accumulators()
	scale, shift := broadcast("scale"), broadcast("shift")
	reduce(slices, 1, now.lanes/8, func(v [][]VecVirtual, at place, mask []Op) {
		e := v[0]
		all(e, func(i int) { VFMSUB132PS(scale, shift, e[i]) })
		exp(e)
		all(e, func(i int) { keep(mask[i], e[i]) })
		all(e, func(i int) {
			a := acc[i%len(acc)]
			VADDPS(e[i], a, a)
		})
		if len(slices) == 2 {
			all(e, func(i int) { store(e[i], mask[i], at("dst", i)) })
		}
	})
	finish(join(acc, VADDPS))
}

// sumSquares adds in float64, where the squares are exact; lanes 0 to 3, 4 to 7, 8 to 11 and 12 to 15 have a register each.
func sumSquares() {
	begin("sumSquares", "(x *float32, n int) float64", "returns the sum of x[i]² in float64.")
	acc := append(accumulators(), accumulators()...)
	reduce([]string{"x"}, 1, 1, func(v [][]VecVirtual, _ place, _ []Op) {
		for i, x := range v[0] {
			low, high := YMM(), XMM()
			VCVTPS2PD(x.AsX(), low)
			VEXTRACTF128(Imm(1), x, high)
			VCVTPS2PD(high, x)
			VFMADD231PD(low, low, acc[2*i])
			VFMADD231PD(x, x, acc[2*i+1])
		}
	})
	VADDPD(acc[2], acc[0], acc[0])
	VADDPD(acc[3], acc[1], acc[1])
	VADDPD(acc[1], acc[0], acc[0])
	x, y := XMM(), XMM()
	VEXTRACTF128(Imm(1), acc[0], x)
	VADDPD(x, acc[0].AsX(), x)
	VUNPCKHPD(x, x, y)
	VADDSD(y, x, x)
	finish(x)
}
