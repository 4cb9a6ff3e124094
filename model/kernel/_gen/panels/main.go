// Command panels generates the products with a matrix that is kept in panels, in float32, in bfloat16 or in eight bits. A word of a
// panel, 32 bits, holds one, two or four consecutive k of a column.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/rankloop/rankloop/model/kernel/gen/evex"
)

const (
	width = 64   // columns of a panel
	most  = 6    // rows of A at once
	ahead = 2048 // bytes of the panel that are asked for ahead of their use, into the second-level cache
)

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, c := range []class{avx512, dots, avx2, avx2Pairs} {
		c.panel()
	}
	bytesAVX512()
	bytesAVX2()
	roundBytes()
	Generate()
}

// class is an instruction set and what it multiplies: vectors of lanes words, of which several rows of A go through a panel nv at a
// time, a single one through all of it at once, because then memory is the limit.
type class struct {
	name  string
	a, b  string // what a word of A and of the panel is
	step  []string
	lanes int
	nv    int
	reg   []VecPhysical
	// mac multiplies the next word of m rows with nv vectors at RSI; of is the word of a row at RDX, sum the chain of a row and a vector.
	mac  func(c class, m, nv int, of func(r, disp int) Mem, sum func(r, v int) VecPhysical)
	over int // bytes that mac moves on in A
	// halves says that half of a panel may be all that is wanted: of a matrix whose last panel is not full.
	halves bool
}

var (
	zmm = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}
	ymm = []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}

	chain     = []string{"for k := range K { s = fma(a[i*lda+k], b[k*64+j], s) }"}
	avx512    = class{"Float32AVX512", "float32", "float32", chain, 16, 4, zmm, words(func(b, a, s VecPhysical) { VFMADD231PS(b, a, s) }), 4, true}
	avx2      = class{"Float32AVX2", "float32", "float32", chain, 8, 2, ymm, words(func(b, a, s VecPhysical) { VFMADD231PS(b, a, s) }), 4, false}
	dots      = class{"BF16Dots", "uint32", "uint32", []string{"for k := range K { s = dot(a[i*lda+k], b[k*64+j], s) }"}, 16, 4, zmm, words(evex.Dot), 4, false}
	avx2Pairs = class{"BF16AVX2", "float32", "uint32", []string{
		"for k := range K {", "\ts = fma(a[i*lda+2*k], upper(b[k*64+j]), s)", "\ts = fma(a[i*lda+2*k+1], lower(b[k*64+j]), s)", "}"}, 8, 2, ymm, pairs, 8, false}
)

// words is the mac of classes that multiply word by word.
func words(step func(b, a, s VecPhysical)) func(c class, m, nv int, of func(r, disp int) Mem, sum func(r, v int) VecPhysical) {
	return func(c class, m, nv int, of func(r, disp int) Mem, sum func(r, v int) VecPhysical) {
		a, b := c.reg[m*nv], c.reg[m*nv+1:]
		for r := range m {
			VBROADCASTSS(of(r, 0), a)
			for v := range nv {
				if r == 0 {
					VMOVUPS(Mem{Base: RSI, Disp: v * 4 * c.lanes}, b[v%4]) // a single row needs each but once
				}
				step(b[v%4], a, sum(r, v))
			}
		}
	}
}

// pairs is the mac that widens two bfloat16 of a word in registers; A holds the factors of the upper half before those of the lower.
func pairs(c class, m, nv int, of func(r, disp int) Mem, sum func(r, v int) VecPhysical) {
	a, b, t := c.reg[m*nv], c.reg[m*nv+1], c.reg[m*nv+2]
	for v := range nv {
		VMOVUPS(Mem{Base: RSI, Disp: v * 4 * c.lanes}, b)
		VPSRLD(Imm(16), b, t)
		VPSLLD(Imm(16), t, t)
		VPSLLD(Imm(16), b, b)
		for r := range m {
			VBROADCASTSS(of(r, 0), a)
			VFMADD231PS(t, a, sum(r, v))
			VBROADCASTSS(of(r, 4), a)
			VFMADD231PS(b, a, sum(r, v))
		}
	}
}

func (c class) panel() {
	name := "panel" + c.name
	flags := "acc"
	if c.halves {
		flags = "acc, half"
	}
	TEXT(name, NOSPLIT, fmt.Sprintf("func(M, K int, a *%s, lda int, b *%s, c *float32, ldc int, %s bool, next *%s, gap int)", c.a, c.b, flags, c.b))
	doc := []string{fmt.Sprintf("%s computes M (1 to %d) rows of a whole panel of %d columns, K at least 1:", name, most, width), "",
		"\tfor i := range M {", fmt.Sprintf("\t\tfor j := range %d {", width), "\t\t\ts := 0 or, with acc, c[i*ldc+j]"}
	if c.halves {
		doc[0] = fmt.Sprintf("%s computes M (1 to %d) rows of a panel of %d columns, or of half of them, K at least 1:", name, most, width)
		doc[3] = fmt.Sprintf("\t\tfor j := range %d or, with half, %d {", width, width/2)
	}
	for _, line := range c.step {
		doc = append(doc, "\t\t\t"+line)
	}
	Doc(append(doc, "\t\t\tc[i*ldc+j] = s", "\t\t}", "\t}", "",
		"For each k, two further lines of memory from next on, gap words apart, are asked for, into the second-level cache; for a single row",
		fmt.Sprintf("the next %d words.", width))...)
	Pragma("noescape")
	m := Load(Param("M"), RAX)
	lda := Load(Param("lda"), R8)
	Load(Param("b"), RBX)
	Load(Param("c"), R11)
	Load(Param("ldc"), R13)
	SHLQ(Imm(2), lda)
	SHLQ(Imm(2), R13)
	LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, R9)
	LEAQ(Mem{Base: lda, Index: lda, Scale: 4}, R10)
	if c.halves {
		CMPB(NewParamAddr("half", 57), Imm(0))
		JNE(LabelRef("half"))
	}
	for r := 1; r < most; r++ {
		CMPQ(m, Imm(uint64(r)))
		JE(LabelRef(fmt.Sprintf("rows%d", r)))
	}
	for r := most; r > 0; r-- {
		Label(fmt.Sprintf("rows%d", r))
		nv := c.nv
		if r == 1 {
			nv = width / c.lanes
		}
		c.tile(fmt.Sprint(r), r, nv, width/(c.lanes*nv))
		VZEROUPPER()
		RET()
	}
	if !c.halves {
		return
	}
	Label("half")
	for r := 1; r < most; r++ {
		CMPQ(m, Imm(uint64(r)))
		JE(LabelRef(fmt.Sprintf("half%d", r)))
	}
	for r := most; r > 0; r-- {
		Label(fmt.Sprintf("half%d", r))
		c.tile(fmt.Sprintf("half%d", r), r, width/2/c.lanes, 1)
		VZEROUPPER()
		RET()
	}
}

// tile computes m rows of the panel in R11, nv vectors at a time, so many times; labels end with id.
func (c class) tile(id string, m, nv, times int) {
	sum := func(r, v int) VecPhysical { return c.reg[r*nv+v] }
	at := func(base Register, v int) Mem { return Mem{Base: base, Disp: 4 * c.lanes * v} }
	each := func(f func(r, v int)) {
		MOVQ(R11, RDI)
		for r := range m {
			for v := range nv {
				f(r, v)
			}
			if r < m-1 {
				ADDQ(R13, RDI)
			}
		}
	}
	MOVQ(U32(uint32(times)), R14)
	Label("part" + id)
	for i := range m * nv {
		c.zero(c.reg[i])
	}
	CMPB(NewParamAddr("acc", 56), Imm(0))
	JE(LabelRef("begin" + id))
	each(func(r, v int) { VMOVUPS(at(RDI, v), sum(r, v)) })
	Label("begin" + id)
	Load(Param("K"), RCX)
	Load(Param("a"), RDX)
	Load(Param("next"), R15)
	MOVQ(RBX, RSI)
	if m > 1 {
		Load(Param("gap"), R12)
		SHLQ(Imm(2), R12)
	}
	Label("k" + id)
	if m > 1 {
		PREFETCHT1(Mem{Base: R15})
		PREFETCHT1(Mem{Base: R15, Index: R12, Scale: 1})
	}
	for line := 0; m == 1 && line < c.lanes*nv*4; line += 64 {
		PREFETCHT1(Mem{Base: R15, Disp: line})
	}
	c.mac(c, m, nv, func(r, disp int) Mem {
		x := row(RDX, r)
		x.Disp = disp
		return x
	}, sum)
	ADDQ(Imm(uint64(c.over)), RDX)
	ADDQ(U32(width*4), RSI)
	if m > 1 {
		LEAQ(Mem{Base: R15, Index: R12, Scale: 2}, R15)
	} else {
		ADDQ(U32(width*4), R15)
	}
	DECQ(RCX)
	JNZ(LabelRef("k" + id))
	each(func(r, v int) { VMOVUPS(sum(r, v), at(RDI, v)) })
	ADDQ(U32(uint32(c.lanes*nv*4)), RBX)
	ADDQ(U32(uint32(4*c.lanes*nv)), R11)
	DECQ(R14)
	JNZ(LabelRef("part" + id))
}

// row is row r of A from base on, with R8, R9 and R10 one, three and five rows.
func row(base Register, r int) Mem {
	return []Mem{{Base: base}, {Base: base, Index: R8, Scale: 1}, {Base: base, Index: R8, Scale: 2}, {Base: base, Index: R9, Scale: 1},
		{Base: base, Index: R8, Scale: 4}, {Base: base, Index: R10, Scale: 1}}[r]
}

func (c class) zero(v VecPhysical) {
	if c.lanes == 16 {
		VPXORD(v, v, v)
		return
	}
	VXORPS(v, v, v)
}
