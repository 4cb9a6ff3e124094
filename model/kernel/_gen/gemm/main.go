// Command gemm generates the matrix kernels: AVX-512 tiles of 8 × 48 and AVX2 tiles of 6 × 16 with every smaller size, the
// copying of panels, the transposition of blocks and the small products of a decoder's attention.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!noasm")
	masks()
	dots.rows()
	narrowRow()
	pairRows()
	transposeDots()
	for _, c := range []class{avx512, avx2} {
		c.rows()
		c.row()
		c.rowBF16()
		c.copyPanel()
		c.apart()
	}
	few512(float32s)
	few512(bf16s)
	few256(float32s)
	few256(bf16s)
	transpose512()
	transpose256()
	Generate()
}

// class is an instruction set with the largest tile that its registers hold.
type class struct {
	name   string
	word   string // what a lane holds of A and of B
	step   string // of the chain over k
	lanes  int    // words in a vector
	bytes  int
	mr, nv int // rows and vectors of the largest tile
	reg    func(i int) VecPhysical
	mac    func(b, a, acc VecPhysical) // a step
	// fetches says that memory which is used next is fetched meanwhile.
	fetches bool
}

var (
	avx512 = class{name: "AVX512", word: "float32", step: "fma", lanes: 16, mr: 8, nv: 3, bytes: 64, reg: func(i int) VecPhysical { return zmm[i] }, mac: fma, fetches: true}
	avx2   = class{name: "AVX2", word: "float32", step: "fma", lanes: 8, mr: 6, nv: 2, bytes: 32, reg: func(i int) VecPhysical { return ymm[i] }, mac: fma, fetches: true}
	zmm    = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}
	ymm    = []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
	table  Mem
)

func fma(b, a, acc VecPhysical) { VFMADD231PS(b, a, acc) }

// masks lays down eight lanes of ones and eight of zeros: the vector at 32-4n has n lanes set.
func masks() {
	table = GLOBL("edge", RODATA|NOPTR)
	for i := range 16 {
		v := uint32(0)
		if i < 8 {
			v = 0xffffffff
		}
		DATA(4*i, U32(v))
	}
}

// edge sets the mask of the last vector from the parameter n, its number of lanes in use: K1, or Y15.
func (c class) edge() {
	n := Load(Param("n"), RCX)
	if c.lanes == 16 {
		MOVL(U32(1), EAX)
		SHLL(CL, EAX)
		DECL(EAX)
		KMOVW(EAX, K1)
		return
	}
	LEAQ(table, RAX)
	SHLQ(Imm(2), n)
	SUBQ(n, RAX)
	VMOVUPS(Mem{Base: RAX, Disp: 32}, Y15)
}

// load loads vector v of nv from m, the last one up to its edge.
func (c class) load(m Mem, v, nv int, to VecPhysical) {
	switch {
	case v < nv-1:
		VMOVUPS(m, to)
	case c.lanes == 16:
		VMOVUPS_Z(m, K1, to)
	default:
		VMASKMOVPS(m, Y15, to)
	}
}

// store stores vector v of nv to m, the last one up to its edge.
func (c class) store(from VecPhysical, m Mem, v, nv int) {
	switch {
	case v < nv-1:
		VMOVUPS(from, m)
	case c.lanes == 16:
		VMOVUPS(from, K1, m)
	default:
		VMASKMOVPS(from, Y15, m)
	}
}

// rows generates the product of M rows of A with one panel of B, nv vectors wide.
func (c class) rows() {
	name := "rows" + c.name
	TEXT(name, NOSPLIT, fmt.Sprintf("func(M, kc int, a *%[1]s, ars, aks int, b *%[1]s, bks int, c *float32, ldc int, nv, n int, acc bool%[2]s)", c.word, c.next()))
	doc := []string{fmt.Sprintf("%s computes M rows of one panel of C, nv vectors of %d columns of which the last counts n:", name, c.lanes), "",
		"\tfor i := range M {",
		"\t\tfor j := range (nv-1)*" + fmt.Sprint(c.lanes) + " + n {",
		"\t\t\ts := 0 or, with acc, c[i*ldc+j]",
		"\t\t\tfor k := range kc { s = " + c.step + "(a[i*ars+k*aks], b[k*bks+j], s) }",
		"\t\t\tc[i*ldc+j] = s",
		"\t\t}", "\t}", "", c.readsWhole()}
	if c.fetches {
		doc = append(doc, "Each tile fetches kc places of memory that are step elements apart, from next on, to the second-level cache: two cache lines of four that begin there, the next tile the other two.")
	}
	Doc(doc...)
	Pragma("noescape")
	c.edge()
	m := Load(Param("M"), RAX)
	block := Load(Param("a"), RBX)
	ars := Load(Param("ars"), R8)
	aks := Load(Param("aks"), R9)
	bks := Load(Param("bks"), R10)
	Load(Param("c"), R11)
	ldc := Load(Param("ldc"), R12)
	for _, r := range []Register{ars, aks, bks, ldc} {
		SHLQ(Imm(2), r)
	}
	LEAQ(Mem{Base: ars, Index: ars, Scale: 2}, R13)
	LEAQ(Mem{Base: ars, Index: ars, Scale: 4}, R14)
	if c.fetches {
		SHLQ(Imm(2), NewParamAddr("step", 104))
	}
	nv := Load(Param("nv"), RCX)
	for v := 1; v < c.nv; v++ {
		CMPQ(nv, Imm(uint64(v)))
		JE(LabelRef(fmt.Sprintf("panel%d", v)))
	}
	for v := c.nv; v > 0; v-- {
		Label(fmt.Sprintf("panel%d", v))
		// Whole tiles, then what is left of the rows in one smaller tile.
		Label(fmt.Sprintf("next%d", v))
		CMPQ(m, Imm(uint64(c.mr)))
		JL(LabelRef(fmt.Sprintf("rest%d", v)))
		c.tile(c.mr, v)
		LEAQ(Mem{Base: block, Index: ars, Scale: 4}, block)
		if c.mr == 8 {
			LEAQ(Mem{Base: block, Index: ars, Scale: 4}, block)
		} else {
			LEAQ(Mem{Base: block, Index: ars, Scale: 2}, block)
		}
		SUBQ(Imm(uint64(c.mr)), m)
		JMP(LabelRef(fmt.Sprintf("next%d", v)))
		Label(fmt.Sprintf("rest%d", v))
		for r := c.mr - 1; r > 0; r-- {
			CMPQ(m, Imm(uint64(r)))
			JE(LabelRef(fmt.Sprintf("rest%dx%d", r, v)))
		}
		JMP(LabelRef("done"))
		for r := c.mr - 1; r > 0; r-- {
			Label(fmt.Sprintf("rest%dx%d", r, v))
			c.tile(r, v)
			JMP(LabelRef("done"))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// next are the parameters of what is fetched.
func (c class) next() string {
	if c.fetches {
		return ", next *float32, step int"
	}
	return ""
}

func (c class) readsWhole() string {
	if c.lanes == 16 {
		return "Nothing beyond the n columns of the last vector is read or written."
	}
	return "Of b whole vectors are read: it must be a padded panel unless n is 8. Nothing else is touched beyond the n columns."
}

// tile computes mr × nv vectors and moves R11, C, to the next rows.
func (c class) tile(mr, nv int) {
	id := fmt.Sprintf("%dx%d", mr, nv)
	acc := func(r, v int) VecPhysical { return c.reg(r*nv + v) }
	bv := func(v int) VecPhysical { return c.reg(mr*nv + v) }
	spare := c.reg(mr*nv + nv)
	row := func(base Register, r int, s, s3, s5 Register) Mem {
		switch r {
		case 0:
			return Mem{Base: base}
		case 1:
			return Mem{Base: base, Index: s, Scale: 1}
		case 2:
			return Mem{Base: base, Index: s, Scale: 2}
		case 3:
			return Mem{Base: base, Index: s3, Scale: 1}
		case 4:
			return Mem{Base: base, Index: s, Scale: 4}
		case 5:
			return Mem{Base: base, Index: s5, Scale: 1}
		case 6:
			return Mem{Base: base, Index: s3, Scale: 2}
		}
		return Mem{Base: base, Index: RCX, Scale: 1} // 7: needs its own register
	}
	// A in DX, B in SI, C in DI, count in R15; RCX = 7·ars.
	MOVQ(R11, RDI)
	for r := range mr {
		for v := range nv {
			c.zero(acc(r, v))
		}
		for at := 0; at < c.bytes*nv; at += 64 {
			PREFETCHT0(Mem{Base: RDI, Disp: at})
		}
		PREFETCHT0(Mem{Base: RDI, Disp: c.bytes*nv - 4})
		if r < mr-1 {
			ADDQ(R12, RDI)
		}
	}
	flag := NewParamAddr("acc", 88)
	CMPB(flag, Imm(0))
	JE(LabelRef("zero" + id))
	MOVQ(R11, RDI)
	for r := range mr {
		for v := range nv {
			c.load(Mem{Base: RDI, Disp: v * c.bytes}, v, nv, acc(r, v))
		}
		if r < mr-1 {
			ADDQ(R12, RDI)
		}
	}
	Label("zero" + id)
	MOVQ(RBX, RDX)
	Load(Param("b"), RSI)
	Load(Param("kc"), R15)
	if mr == 8 {
		LEAQ(Mem{Base: R13, Index: R8, Scale: 4}, RCX)
	}
	if c.fetches {
		MOVQ(RAX, RDI) // the rows left: of two tiles of eight one has bit 3 set
		ANDQ(Imm(8), RDI)
		SHLQ(Imm(3), RDI)
		ADDQ(NewParamAddr("next", 96), RDI)
	}
	Label("k" + id)
	for v := range nv {
		m := Mem{Base: RSI, Disp: v * c.bytes}
		if c.lanes == 16 {
			c.load(m, v, nv, bv(v))
		} else {
			VMOVUPS(m, bv(v))
		}
	}
	for r := range mr {
		VBROADCASTSS(row(RDX, r, R8, R13, R14), spare)
		for v := range nv {
			c.mac(bv(v), spare, acc(r, v))
		}
	}
	PREFETCHT0(Mem{Base: RDX, Index: R9, Scale: 8})
	if c.fetches {
		PREFETCHT1(Mem{Base: RDI})
		PREFETCHT1(Mem{Base: RDI, Disp: 128})
		ADDQ(NewParamAddr("step", 104), RDI)
	}
	ADDQ(R9, RDX)
	ADDQ(R10, RSI)
	DECQ(R15)
	JNZ(LabelRef("k" + id))
	for r := range mr {
		for v := range nv {
			c.store(acc(r, v), Mem{Base: R11, Disp: v * c.bytes}, v, nv)
		}
		ADDQ(R12, R11)
	}
}

// zero clears a vector.
func (c class) zero(v VecPhysical) {
	if c.lanes == 16 {
		VPXORD(v, v, v)
		return
	}
	VXORPS(v, v, v)
}

// copyPanel generates the copy of a panel of B to consecutive memory.
func (c class) copyPanel() {
	name := "copyPanel" + c.name
	TEXT(name, NOSPLIT, "func(dst, src *float32, ld, kc, nv, n int)")
	Doc(fmt.Sprintf("%s copies kc rows of nv vectors of %d columns, of which the last counts n, from rows that are ld elements apart to consecutive ones, padded with zeros.", name, c.lanes))
	Pragma("noescape")
	c.edge()
	dst := Load(Param("dst"), RDI)
	src := Load(Param("src"), RSI)
	ld := Load(Param("ld"), R8)
	SHLQ(Imm(2), ld)
	kc := Load(Param("kc"), RDX)
	nv := Load(Param("nv"), RCX)
	for v := 1; v < c.nv; v++ {
		CMPQ(nv, Imm(uint64(v)))
		JE(LabelRef(fmt.Sprintf("wide%d", v)))
	}
	for w := c.nv; w > 0; w-- {
		Label(fmt.Sprintf("wide%d", w))
		for v := range w {
			c.load(Mem{Base: src, Disp: v * c.bytes}, v, w, c.reg(v))
		}
		PREFETCHT0(Mem{Base: src, Index: ld, Scale: 8})
		if w == 3 {
			PREFETCHT0(Mem{Base: src, Index: ld, Scale: 8, Disp: 128})
		}
		for v := range w {
			VMOVUPS(c.reg(v), Mem{Base: dst, Disp: v * c.bytes})
		}
		ADDQ(ld, src)
		ADDQ(U32(w*c.bytes), dst)
		DECQ(kc)
		JNZ(LabelRef(fmt.Sprintf("wide%d", w)))
		JMP(LabelRef("done"))
	}
	Label("done")
	VZEROUPPER()
	RET()
}
