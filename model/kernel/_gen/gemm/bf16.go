package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// element is how the elements of B lie in memory.
type element struct {
	name, typ string
	shift     uint64                     // of the size in bytes
	load      func(m Mem, k, v Register) // sixteen of them, under a mask, as float32
}

var (
	float32s = element{"", "float32", 2, func(m Mem, k, v Register) { VMOVUPS_Z(m, k, v) }}
	bf16s    = element{"BF16", "uint16", 1, func(m Mem, k, v Register) {
		VPMOVZXWD_Z(m, k, v)
		VPSLLD(Imm(16), v, v)
	}}
)

// rowBF16 generates what row does for B in bfloat16, whole vectors only; they are widened in registers.
func (c class) rowBF16() {
	name := "rowBF16" + c.name
	TEXT(name, NOSPLIT, "func(kc int, a *float32, aks int, b *uint16, bks int, c *float32, vectors int)")
	Doc(fmt.Sprintf("%s adds one row of a product with a bfloat16 matrix to vectors·%d columns of C; kc is a multiple of 8:", name, c.lanes), "",
		"\tfor k := range kc {", fmt.Sprintf("\t\tfor j := range vectors*%d { c[j] = fma(a[k*aks], widened(b[k*bks+j]), c[j]) }", c.lanes), "\t}")
	Pragma("noescape")
	kc := Load(Param("kc"), RAX)
	a := Load(Param("a"), RBX)
	aks := Load(Param("aks"), R9)
	b := Load(Param("b"), RSI)
	bks := Load(Param("bks"), R10)
	SHLQ(Imm(2), aks)
	SHLQ(Imm(1), bks)
	LEAQ(Mem{Base: bks, Index: bks, Scale: 2}, R11)
	Label("rows")
	for k := range 8 {
		VBROADCASTSS(Mem{Base: a}, c.reg(k))
		ADDQ(aks, a)
	}
	MOVQ(b, R12) // rows 0 to 3
	LEAQ(Mem{Base: b, Index: bks, Scale: 4}, R13)
	LEAQ(Mem{Base: R13, Index: bks, Scale: 4}, b) // the next eight
	Load(Param("c"), RDI)
	Load(Param("vectors"), R15)
	for _, n := range []int{4, 1} {
		loop, next := fmt.Sprintf("by%d", n), fmt.Sprintf("below%d", n)
		Label(loop)
		CMPQ(R15, Imm(uint64(n)))
		JL(LabelRef(next))
		for v := range n {
			VMOVUPS(Mem{Base: RDI, Disp: v * c.bytes}, c.reg(8+v))
		}
		for k := range 8 {
			for v := range n {
				m, wide := Mem{Base: R12, Disp: v * c.bytes / 2}, c.reg(12+(k*n+v)%3)
				if k >= 4 {
					m.Base = R13
				}
				switch k % 4 {
				case 1:
					m.Index, m.Scale = bks, 1
				case 2:
					m.Index, m.Scale = bks, 2
				case 3:
					m.Index, m.Scale = R11, 1
				}
				VPMOVZXWD(m, wide)
				VPSLLD(Imm(16), wide, wide)
				VFMADD231PS(wide, c.reg(k), c.reg(8+v))
			}
		}
		for v := range n {
			VMOVUPS(c.reg(8+v), Mem{Base: RDI, Disp: v * c.bytes})
		}
		ADDQ(U32(n*c.bytes/2), R12)
		ADDQ(U32(n*c.bytes/2), R13)
		ADDQ(U32(n*c.bytes), RDI)
		SUBQ(Imm(uint64(n)), R15)
		JMP(LabelRef(loop))
		Label(next)
	}
	SUBQ(Imm(8), kc)
	JNZ(LabelRef("rows"))
	VZEROUPPER()
	RET()
}
