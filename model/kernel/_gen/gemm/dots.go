package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/rankloop/rankloop/model/kernel/gen/evex"
)

// dots are the products of matrices in bfloat16: a word holds two of them, of k and k+1, and takes the place of a float32.
var dots = class{name: "Dots", word: "uint32", step: "dot", lanes: 16, mr: 8, nv: 3, bytes: 64, reg: avx512.reg, mac: evex.Dot}

// interleave lays down the order that takes words 0 to 15 and 16 to 31 in turn.
func interleave() Mem {
	m := GLOBL("interleave", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(uint32(16+i)<<16|uint32(i)))
	}
	return m
}

// narrowRow generates the rounding of a row.
func narrowRow() {
	TEXT("narrowDots", NOSPLIT, "func(dst *uint32, src *float32, n int)")
	Doc("narrowDots rounds n numbers to bfloat16, two to a word, and fills the last 16 words up with zeros; n is at least 1.")
	Pragma("noescape")
	dst, src, n := Load(Param("dst"), RDI), Load(Param("src"), RSI), Load(Param("n"), RDX)
	Label("whole")
	CMPQ(n, Imm(128))
	JL(LabelRef("rest"))
	for i := range 4 {
		VMOVUPS(Mem{Base: src, Disp: 128 * i}, zmm[2*i])
		VMOVUPS(Mem{Base: src, Disp: 128*i + 64}, zmm[2*i+1])
		evex.Narrow(zmm[2*i], zmm[2*i+1], zmm[16+i])
		VMOVDQU32(zmm[16+i], Mem{Base: dst, Disp: 64 * i})
	}
	ADDQ(U32(512), src)
	ADDQ(U32(256), dst)
	SUBQ(U32(128), n)
	JMP(LabelRef("whole"))
	Label("rest")
	CMPQ(n, Imm(0))
	JLE(LabelRef("done"))
	pairMasks()
	VMOVUPS_Z(Mem{Base: src}, K1, Z0)
	VMOVUPS_Z(Mem{Base: src, Disp: 64}, K3, Z1)
	evex.Narrow(Z0, Z1, Z2)
	VMOVDQU32(Z2, Mem{Base: dst})
	ADDQ(U32(128), src)
	ADDQ(U32(64), dst)
	SUBQ(Imm(32), n)
	JMP(LabelRef("rest"))
	Label("done")
	VZEROUPPER()
	RET()
}

// pairMasks sets K1 and K3 for what two vectors hold of the next RDX numbers, at least one.
func pairMasks() {
	MOVQ(U32(32), RCX)
	CMPQ(RDX, RCX)
	CMOVQLT(RDX, RCX)
	MOVQ(U32(1), RAX)
	SHLQ(CL, RAX)
	DECQ(RAX)
	KMOVW(EAX, K1)
	SHRQ(Imm(16), RAX)
	KMOVW(EAX, K3)
}

// pairRows generates the joining of two rows each, for a factor whose k runs down the columns.
func pairRows() {
	order := interleave()
	TEXT("pairDots", NOSPLIT, "func(dst *uint32, stride int, src *float32, ld, pairs, nv, n int)")
	Doc("pairDots rounds pairs rows of src, two by two, to bfloat16: word j of row q of dst holds column j of rows 2q and, in its upper half, 2q+1.",
		"The rows are nv (1 to 3) vectors of 16 columns of which the last counts n, and become zero beyond.")
	Pragma("noescape")
	VMOVDQU32(order, Z31)
	n := Load(Param("n"), RCX)
	MOVL(U32(1), EAX)
	SHLL(CL, EAX)
	DECL(EAX)
	KMOVW(EAX, K1)
	dst, stride, src, ld, pairs := Load(Param("dst"), RDI), Load(Param("stride"), R8), Load(Param("src"), RSI), Load(Param("ld"), R9), Load(Param("pairs"), RDX)
	SHLQ(Imm(2), stride)
	SHLQ(Imm(2), ld)
	nv := Load(Param("nv"), n)
	for v := 1; v < dots.nv; v++ {
		CMPQ(nv, Imm(uint64(v)))
		JE(LabelRef(fmt.Sprintf("wide%d", v)))
	}
	for w := dots.nv; w > 0; w-- {
		Label(fmt.Sprintf("wide%d", w))
		for v := range w {
			dots.load(Mem{Base: src, Disp: 64 * v}, v, w, zmm[v])
			dots.load(Mem{Base: src, Index: ld, Scale: 1, Disp: 64 * v}, v, w, zmm[3+v])
			PREFETCHT0(Mem{Base: src, Index: ld, Scale: 8, Disp: 64 * v})
		}
		ADDQ(ld, src)
		for v := range w {
			PREFETCHT0(Mem{Base: src, Index: ld, Scale: 8, Disp: 64 * v})
			evex.Narrow(zmm[v], zmm[3+v], zmm[6+v])
			VPERMW(zmm[6+v], Z31, zmm[9+v])
			VMOVDQU32(zmm[9+v], Mem{Base: dst, Disp: 64 * v})
		}
		ADDQ(ld, src)
		ADDQ(stride, dst)
		DECQ(pairs)
		JNZ(LabelRef(fmt.Sprintf("wide%d", w)))
		JMP(LabelRef("done"))
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// transposeDots generates the transposition of words, for a right factor that is stored by columns.
func transposeDots() {
	TEXT("transposeDots", NOSPLIT, "func(dst *uint32, stride int, src *float32, ld, n, k int)")
	Doc("transposeDots rounds the first n (1 to 16) rows of src [n,k], ld elements apart, to bfloat16 and writes them, two of a row to a word,",
		"to the 16 columns of dst [(k+1)/2,16], stride words from row to row; columns from n on become zero.")
	Pragma("noescape")
	transposeProlog()
	Load(Param("n"), R10)
	MOVQ(R10, RCX)
	MOVL(U32(1), EAX)
	SHLL(CL, EAX)
	DECL(EAX)
	KMOVW(EAX, K2)
	Label("block")
	pairMasks()
	MOVQ(RBX, RSI)
	MOVQ(R10, R12)
	MOVQ(R9, R13)
	for r := range 16 {
		walk(func(m Mem) {
			VMOVUPS_Z(m, K1, zmm[16+r%4])
			m.Disp = 64
			VMOVUPS_Z(m, K3, zmm[20+r%4])
			evex.Narrow(zmm[16+r%4], zmm[20+r%4], zmm[r])
		})
	}
	a := zmm[:16]
	transposeBlock(a, zmm[16:20])
	for k := range 16 {
		VMOVAPS_Z(a[k], K2, a[k])
		VMOVUPS(a[k], Mem{Base: RDI})
		ADDQ(R8, RDI)
		SUBQ(Imm(2), RDX)
		JLE(LabelRef("done"))
	}
	ADDQ(U32(128), RBX)
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	RET()
}
