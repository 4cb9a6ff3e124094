package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// bf16 is the widening of bfloat16 weights: the sixteen bits become the upper half of a float32.
func bf16() {
	begin("widen", "(dst *float32, src *uint16, n int)", "computes dst[i] = the float32 whose upper half is src[i]; n is a multiple of 16.")
	n := Load(Param("n"), GP64())
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	i := GP64()
	XORQ(i, i)
	for _, u := range []int{8, 2} {
		loop, next := "wide", "narrow"
		if u == 2 {
			loop, next = "narrow", "done"
		}
		Label(loop)
		CMPQ(n, Imm(uint64(8*u)))
		JL(LabelRef(next))
		v := vecs(u)
		all(v, func(j int) { VPMOVZXWD(Mem{Base: src, Index: i, Scale: 2, Disp: 16 * j}, v[j]) })
		all(v, func(j int) { VPSLLD(Imm(16), v[j], v[j]) })
		all(v, func(j int) { VMOVUPS(v[j], Mem{Base: dst, Index: i, Scale: 4, Disp: 32 * j}) })
		ADDQ(Imm(uint64(8*u)), i)
		SUBQ(Imm(uint64(8*u)), n)
		JMP(LabelRef(loop))
	}
	Label("done")
	VZEROUPPER()
	RET()
}
