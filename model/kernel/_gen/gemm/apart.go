package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// apart generates the products of a few rows with a matrix each: a decoder's attention, in which every head has keys and values of its
// own. The chains of the rows go on side by side, where those of one alone would wait for each other.
func (c class) apart() {
	const rows, wide = 4, 2
	name := "apart" + c.name
	TEXT(name, NOSPLIT, "func(M, K int, a *float32, lda int, b *float32, ldb, step int, c *float32, ldc int, vectors, n int, acc bool)")
	Doc(fmt.Sprintf("%s computes M (1 to %d) rows, each with a matrix of its own, step elements from one to the next, in vectors (1 to %d) of %d columns of which the last counts n; K is at least 1:", name, rows, wide, c.lanes), "",
		"\tfor i := range M {",
		fmt.Sprintf("\t\tfor j := range (vectors-1)*%d + n {", c.lanes),
		"\t\t\ts := 0 or, with acc, c[i*ldc+j]",
		"\t\t\tfor k := range K { s = fma(a[i*lda+k], b[i*step+k*ldb+j], s) }",
		"\t\t\tc[i*ldc+j] = s",
		"\t\t}", "\t}", "",
		"Nothing beyond the n columns of the last vector is read or written.")
	Pragma("noescape")
	c.edge()
	m := Load(Param("M"), RAX)
	Load(Param("K"), R15)
	Load(Param("a"), RDX)
	Load(Param("b"), RSI)
	Load(Param("c"), RDI)
	strides := [][2]Register{{Load(Param("lda"), R8), R9}, {Load(Param("step"), R11), R12}, {Load(Param("ldc"), R13), R14}}
	ldb := Load(Param("ldb"), R10)
	SHLQ(Imm(2), ldb)
	for _, s := range strides {
		SHLQ(Imm(2), s[0])
		LEAQ(Mem{Base: s[0], Index: s[0], Scale: 2}, s[1])
	}
	vectors := Load(Param("vectors"), RCX)
	CMPQ(vectors, Imm(1))
	JE(LabelRef("vectors1"))
	for nv := wide; nv > 0; nv-- {
		Label(fmt.Sprintf("vectors%d", nv))
		for r := 1; r < rows; r++ {
			CMPQ(m, Imm(uint64(r)))
			JE(LabelRef(fmt.Sprintf("rows%dx%d", r, nv)))
		}
		for r := rows; r > 0; r-- {
			Label(fmt.Sprintf("rows%dx%d", r, nv))
			c.apartRows(r, nv, strides)
			JMP(LabelRef("done"))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// apartRows computes mr × nv vectors.
func (c class) apartRows(mr, nv int, strides [][2]Register) {
	id := fmt.Sprintf("%dx%d", mr, nv)
	sum := func(r, v int) VecPhysical { return c.reg(r*nv + v) }
	factor, other := c.reg(8), c.reg(9)
	at := func(base Register, stride [2]Register, r, v int) Mem {
		m := Mem{Base: base, Disp: v * c.bytes}
		switch r {
		case 1, 2:
			m.Index, m.Scale = stride[0], uint8(r)
		case 3:
			m.Index, m.Scale = stride[1], 1
		}
		return m
	}
	each := func(f func(r, v int)) {
		for r := range mr {
			for v := range nv {
				f(r, v)
			}
		}
	}
	each(func(r, v int) { c.zero(sum(r, v)) })
	CMPB(NewParamAddr("acc", 88), Imm(0))
	JE(LabelRef("k" + id))
	each(func(r, v int) { c.load(at(RDI, strides[2], r, v), v, nv, sum(r, v)) })
	Label("k" + id)
	for r := range mr {
		VBROADCASTSS(at(RDX, strides[0], r, 0), factor)
		for v := range nv {
			m := at(RSI, strides[1], r, v)
			switch {
			case v < nv-1:
				VFMADD231PS(m, factor, sum(r, v))
			case c.lanes == 16:
				VFMADD231PS(m, factor, K1, sum(r, v))
			default:
				c.load(m, v, nv, other)
				VFMADD231PS(other, factor, sum(r, v))
			}
		}
	}
	ADDQ(Imm(4), RDX)
	ADDQ(R10, RSI)
	DECQ(R15)
	JNZ(LabelRef("k" + id))
	each(func(r, v int) { c.store(sum(r, v), at(RDI, strides[2], r, v), v, nv) })
}
