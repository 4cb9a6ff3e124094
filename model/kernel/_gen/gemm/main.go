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
	transposeLoads()
	transpose256()
	cpuid()
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
	// fetches says that memory which is used next is fetched or copied meanwhile.
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

// cpuid generates the instruction of that name.
func cpuid() {
	TEXT("cpuid", NOSPLIT, "func(leaf, sub uint32) (a, b, c, d uint32)")
	Doc("cpuid returns what the processor says of itself.")
	Load(Param("leaf"), EAX)
	Load(Param("sub"), ECX)
	CPUID()
	for i, r := range []Register{EAX, EBX, ECX, EDX} {
		Store(r, Return([]string{"a", "b", "c", "d"}[i]))
	}
	RET()
}
