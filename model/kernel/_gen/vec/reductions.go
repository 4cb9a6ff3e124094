package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func reductions() {
	begin("dotAVX2", "(a, b *float32, n int) float32", "returns the sum of a[i]·b[i].")
	acc := accumulators()
	reduce([]string{"a", "b"}, func(half int, v []VecVirtual, _ map[string]Mem, _ Op) { VFMADD231PS(v[0], v[1], acc[half]) })
	finish(join(acc, VADDPS))

	begin("sumAVX2", "(x *float32, n int) float32", "returns the sum of x[i].")
	acc = accumulators()
	reduce([]string{"x"}, func(half int, v []VecVirtual, _ map[string]Mem, _ Op) { VADDPS(v[0], acc[half], acc[half]) })
	finish(join(acc, VADDPS))

	begin("maximumAVX2", "(x *float32, n int) float32", "returns the largest element; NaN is passed over.")
	minusInf := constant(0xff800000)
	acc = accumulators()
	VMOVUPS(minusInf, acc[0])
	VMOVUPS(minusInf, acc[1])
	reduce([]string{"x"}, func(half int, v []VecVirtual, _ map[string]Mem, mask Op) {
		if mask != nil {
			t := YMM()
			VMOVUPS(minusInf, t)
			VBLENDVPS(mask, v[0], t, v[0])
		}
		VMAXPS(acc[half], v[0], acc[half]) // where v is NaN: the accumulator
	})
	finish(join(acc, VMAXPS))

	expSum("expSumAVX2", "(dst, x *float32, n int, scale, shift float32) float32", "writes exp(fma(scale, x[i], -shift)) to dst and returns the sum.", true)
	expSum("expTotalAVX2", "(x *float32, n int, scale, shift float32) float32", "returns the sum of exp(fma(scale, x[i], -shift)).", false)
	sumSquares()
}

func expSum(name, signature, doc string, store bool) {
	begin(name, signature, doc)
	acc := accumulators()
	scale, shift := broadcast("scale"), broadcast("shift")
	in := []string{"x"}
	if store {
		in = append(in, "dst")
	}
	reduceAt(in, 1, func(half int, v []VecVirtual, at map[string]Mem, mask Op) {
		e := v[0]
		VFMSUB132PS(scale, shift, e)
		exp(e)
		if mask != nil {
			VANDPS(mask, e, e)
		}
		VADDPS(e, acc[half], acc[half])
		if store && mask != nil {
			VMASKMOVPS(e, mask, at["dst"])
		} else if store {
			VMOVUPS(e, at["dst"])
		}
	})
	finish(join(acc, VADDPS))
}

// sumSquares adds in float64, where the squares are exact; lanes 0 to 3, 4 to 7, 8 to 11 and 12 to 15 have a register each.
func sumSquares() {
	begin("sumSquaresAVX2", "(x *float32, n int) float64", "returns the sum of x[i]² in float64.")
	a, b := accumulators(), accumulators()
	acc := []VecVirtual{a[0], a[1], b[0], b[1]}
	reduce([]string{"x"}, func(half int, v []VecVirtual, _ map[string]Mem, _ Op) {
		low, high := YMM(), XMM()
		VCVTPS2PD(v[0].AsX(), low)
		VEXTRACTF128(Imm(1), v[0], high)
		VCVTPS2PD(high, v[0])
		VFMADD231PD(low, low, acc[2*half])
		VFMADD231PD(v[0], v[0], acc[2*half+1])
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
