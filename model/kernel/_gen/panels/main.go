// Command panels generates the products with a matrix that is kept in panels, in float32, in bfloat16 or in eight bits.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	width = 64   // columns of a panel
	most  = 6    // rows of A at once
	ahead = 2048 // bytes of the panel that are asked for ahead of their use
)

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, c := range []class{avx512, avx2} {
		for _, e := range []element{float32s, bf16s, int8s} {
			c.panel(e)
		}
	}
	Generate()
}

// element is how the weights lie in memory.
type element struct {
	name, typ string
	size      int
	scaled    bool
	load      func(m Mem, to VecPhysical) // a vector of them, as float32
}

var (
	float32s = element{"Float32", "float32", 4, false, func(m Mem, to VecPhysical) { VMOVUPS(m, to) }}
	bf16s    = element{"BF16", "uint16", 2, false, func(m Mem, to VecPhysical) {
		VPMOVZXWD(m, to)
		VPSLLD(Imm(16), to, to)
	}}
	int8s = element{"Int8", "int8", 1, true, func(m Mem, to VecPhysical) {
		VPMOVSXBD(m, to)
		VCVTDQ2PS(to, to)
	}}
)

// class is an instruction set: vectors of lanes float32. Several rows of A go through a panel nv vectors at a time, a single one
// through all of it at once, because then memory is the limit.
type class struct {
	name  string
	lanes int
	nv    int
	reg   []VecPhysical
}

var (
	avx512 = class{"AVX512", 16, 4, []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28}}
	avx2   = class{"AVX2", 8, 2, []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}}
)

func (c class) panel(e element) {
	name := "panel" + e.name + c.name
	scales, doc := "", []string{"\t\t\ts := 0 or, with acc, c[i*ldc+j]", fmt.Sprintf("\t\t\tfor k := range K { s = fma(a[i*lda+k], b[k*%d+j], s) }", width), "\t\t\tc[i*ldc+j] = s"}
	if e.scaled {
		scales, doc[0], doc[2] = "scales, ", "\t\t\ts := 0", "\t\t\tc[i*ldc+j] = s*scales[j] or, with acc, c[i*ldc+j] + s*scales[j]"
	}
	TEXT(name, NOSPLIT, fmt.Sprintf("func(M, K int, a *float32, lda int, b *%s, %sc *float32, ldc int, acc bool)", e.typ, scales))
	doc = append([]string{fmt.Sprintf("%s computes M (1 to %d) rows of a whole panel of %d columns, K at least 1:", name, most, width), "",
		"\tfor i := range M {", fmt.Sprintf("\t\tfor j := range %d {", width)}, append(doc, "\t\t}", "\t}")...)
	Doc(doc...)
	Pragma("noescape")
	m := Load(Param("M"), RAX)
	lda := Load(Param("lda"), R8)
	Load(Param("b"), RBX)
	Load(Param("c"), R11)
	Load(Param("ldc"), R13)
	acc := NewParamAddr("acc", 56)
	if e.scaled {
		Load(Param("scales"), R12)
		acc = NewParamAddr("acc", 64)
	}
	SHLQ(Imm(2), lda)
	SHLQ(Imm(2), R13)
	LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, R9)
	LEAQ(Mem{Base: lda, Index: lda, Scale: 4}, R10)
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
		c.tile(e, r, nv, acc)
		VZEROUPPER()
		RET()
	}
}

// tile computes m rows of the panel in R11, nv vectors at a time.
func (c class) tile(e element, m, nv int, acc Mem) {
	id := fmt.Sprint(m)
	sum := func(r, v int) VecPhysical { return c.reg[r*nv+v] }
	a, b := c.reg[m*nv], c.reg[m*nv+1:] // a number of A, vectors of B
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
	MOVQ(U32(width/(c.lanes*nv)), R14)
	Label("part" + id)
	for i := range m * nv {
		c.zero(c.reg[i])
	}
	if !e.scaled {
		CMPB(acc, Imm(0))
		JE(LabelRef("begin" + id))
		each(func(r, v int) { VMOVUPS(at(RDI, v), sum(r, v)) })
		Label("begin" + id)
	}
	Load(Param("K"), RCX)
	Load(Param("a"), RDX)
	MOVQ(RBX, RSI)
	Label("k" + id)
	for line := 0; line < c.lanes*nv*e.size; line += 64 {
		PREFETCHT0(Mem{Base: RSI, Disp: ahead + line})
	}
	of := func(v int) VecPhysical { return b[v%4] } // a single row needs each but once
	for r := range m {
		VBROADCASTSS(row(RDX, r), a)
		for v := range nv {
			if r == 0 {
				e.load(Mem{Base: RSI, Disp: v * c.lanes * e.size}, of(v))
			}
			VFMADD231PS(of(v), a, sum(r, v))
		}
	}
	ADDQ(Imm(4), RDX)
	ADDQ(U32(uint32(width*e.size)), RSI)
	DECQ(RCX)
	JNZ(LabelRef("k" + id))
	if e.scaled {
		for r := range m {
			for v := range nv {
				VMULPS(at(R12, v), sum(r, v), sum(r, v))
			}
		}
		CMPB(acc, Imm(0))
		JE(LabelRef("store" + id))
		each(func(r, v int) { VADDPS(at(RDI, v), sum(r, v), sum(r, v)) })
		Label("store" + id)
		ADDQ(U32(uint32(4*c.lanes*nv)), R12)
	}
	each(func(r, v int) { VMOVUPS(sum(r, v), at(RDI, v)) })
	ADDQ(U32(uint32(c.lanes*nv*e.size)), RBX)
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
