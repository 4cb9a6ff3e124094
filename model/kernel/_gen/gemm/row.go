package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// row generates the product of one row of A with B [kc,n], kc a multiple of 8: eight rows of B at a time are read from one end
// to the other, as memory likes it, while C stays in the first-level cache.
func (c class) row() {
	name := "row" + c.name
	TEXT(name, NOSPLIT, "func(kc int, a *float32, aks int, b *float32, bks int, c *float32, vectors, n int)")
	Doc(fmt.Sprintf("%s adds one row of a product to vectors·%d columns of C, the last vector counting n; kc is a multiple of 8:", name, c.lanes), "",
		"\tfor k := range kc {", fmt.Sprintf("\t\tfor j := range (vectors-1)*%d + n { c[j] = fma(a[k*aks], b[k*bks+j], c[j]) }", c.lanes), "\t}")
	Pragma("noescape")
	c.edge()
	kc := Load(Param("kc"), RAX)
	a := Load(Param("a"), RBX)
	aks := Load(Param("aks"), R9)
	b := Load(Param("b"), RSI)
	bks := Load(Param("bks"), R10)
	SHLQ(Imm(2), aks)
	SHLQ(Imm(2), bks)
	LEAQ(Mem{Base: bks, Index: bks, Scale: 2}, R11)
	scalar := func(k int) VecPhysical { return c.reg(k) }
	LEAQ(Mem{Base: bks, Index: bks, Scale: 4}, R8)  // 5·bks
	LEAQ(Mem{Base: R11, Index: bks, Scale: 4}, RCX) // 7·bks
	Label("rows")
	MOVQ(a, RDX)
	for k := range 8 {
		VBROADCASTSS(Mem{Base: RDX}, scalar(k))
		ADDQ(aks, RDX)
	}
	MOVQ(RDX, a)
	MOVQ(b, R12) // rows 0 to 3
	LEAQ(Mem{Base: b, Index: bks, Scale: 4}, R13)
	LEAQ(Mem{Base: R13, Index: bks, Scale: 4}, b) // the next eight
	MOVQ(b, R14)
	Load(Param("c"), RDI)
	Load(Param("vectors"), R15)
	at := func(k, v int) Mem {
		base, index, scale := Register(R12), Register(bks), uint8(1)
		if k >= 4 {
			base = R13
		}
		switch k % 4 {
		case 0:
			return Mem{Base: base, Disp: v * c.bytes}
		case 2:
			scale = 2
		case 3:
			index = R11
		}
		return Mem{Base: base, Index: index, Scale: scale, Disp: v * c.bytes}
	}
	const unroll = 4
	ahead := func(k, v int) Mem { // in the next eight rows, which no prefetcher of the processor knows of
		m := Mem{Base: R14, Disp: v * c.bytes}
		switch k {
		case 1:
			m.Index, m.Scale = bks, 1
		case 2:
			m.Index, m.Scale = bks, 2
		case 3:
			m.Index, m.Scale = R11, 1
		case 4:
			m.Index, m.Scale = bks, 4
		case 5:
			m.Index, m.Scale = R8, 1
		case 6:
			m.Index, m.Scale = R11, 2
		case 7:
			m.Index, m.Scale = RCX, 1
		}
		return m
	}
	step := func(n int) {
		ADDQ(U32(n*c.bytes), R12)
		ADDQ(U32(n*c.bytes), R13)
		ADDQ(U32(n*c.bytes), R14)
		ADDQ(U32(n*c.bytes), RDI)
	}
	Label("wide")
	CMPQ(R15, Imm(unroll+1)) // the last vector has an edge
	JL(LabelRef("narrow"))
	for v := range unroll {
		VMOVUPS(Mem{Base: RDI, Disp: v * c.bytes}, c.reg(8+v))
	}
	for k := range 8 {
		for v := range unroll {
			VFMADD231PS(at(k, v), scalar(k), c.reg(8+v))
			if v*c.bytes%64 == 0 {
				PREFETCHT1(ahead(k, v))
			}
		}
	}
	for v := range unroll {
		VMOVUPS(c.reg(8+v), Mem{Base: RDI, Disp: v * c.bytes})
	}
	step(unroll)
	SUBQ(Imm(unroll), R15)
	JMP(LabelRef("wide"))
	Label("narrow")
	CMPQ(R15, Imm(2))
	JL(LabelRef("last"))
	VMOVUPS(Mem{Base: RDI}, c.reg(8))
	for k := range 8 {
		VFMADD231PS(at(k, 0), scalar(k), c.reg(8))
	}
	VMOVUPS(c.reg(8), Mem{Base: RDI})
	step(1)
	DECQ(R15)
	JMP(LabelRef("narrow"))
	Label("last")
	c.load(Mem{Base: RDI}, 0, 1, c.reg(8))
	for k := range 8 {
		c.load(at(k, 0), 0, 1, c.reg(9))
		VFMADD231PS(c.reg(9), scalar(k), c.reg(8))
	}
	c.store(c.reg(8), Mem{Base: RDI}, 0, 1)
	SUBQ(Imm(8), kc)
	JNZ(LabelRef("rows"))
	VZEROUPPER()
	RET()
}
