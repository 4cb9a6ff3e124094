package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// few256 is few512 in AVX2: blocks of 8 × 8, and four rows of A at most, for of the sixteen registers the transposition takes
// twelve. A block of B in bfloat16 is read whole: there are no masks for halves of words.
func few256(e element) {
	const most = 4
	name := "few" + e.name + "AVX2"
	TEXT(name, NOSPLIT, fmt.Sprintf("func(M, kc int, a *float32, ars int, b *%s, bns int, c *float32, ldc, n int, acc bool)", e.typ))
	doc := []string{name + " computes M (1 to 4) rows and n (1 to 8) columns of a product with a transposed matrix:", "",
		"\tfor i := range M {", "\t\tfor j := range n {", "\t\t\ts := 0 or, with acc, c[i*ldc+j]",
		"\t\t\tfor k := range kc { s = fma(a[i*ars+k], b[j*bns+k], s) }", "\t\t\tc[i*ldc+j] = s", "\t\t}", "\t}"}
	if e.shift == 1 {
		doc = append(doc, "", "Of b rows of kc rounded up to a multiple of 8 are read.")
	}
	Doc(doc...)
	Pragma("noescape")
	Load(Param("n"), R10)
	Load(Param("b"), RBX)
	Load(Param("bns"), R9)
	Load(Param("a"), RDI)
	Load(Param("ars"), R8)
	SHLQ(Imm(2), R8)
	SHLQ(Imm(e.shift), R9)
	LEAQ(Mem{Base: R8, Index: R8, Scale: 2}, R11) // 3·ars
	Load(Param("kc"), RDX)
	XORQ(R14, R14)
	rows := Load(Param("M"), RAX)
	for m := 1; m < most; m++ {
		CMPQ(rows, Imm(uint64(m)))
		JE(LabelRef(fmt.Sprintf("few%d", m)))
	}
	for m := most; m > 0; m-- {
		Label(fmt.Sprintf("few%d", m))
		fewRows256(e, m)
	}
}

// firstLanes sets the lower n lanes of v, n at most 8. RCX is lost.
func firstLanes(n Register, v VecPhysical) {
	LEAQ(table, RAX)
	MOVQ(n, RCX)
	SHLQ(Imm(2), RCX)
	SUBQ(RCX, RAX)
	VMOVUPS(Mem{Base: RAX, Disp: 32}, v)
}

// fewRows256 is few256 for m rows. RBX is the block of B, RDI row 0 of A, RDX counts k.
func fewRows256(e element, m int) {
	id := func(s string) string { return fmt.Sprintf("%s%d", s, m) }
	a, b := ymm[:8], ymm[8:12]
	acc := func(r int) VecPhysical { return ymm[12+r] }
	c := func(f func(r int, m Mem)) { // with the mask of the columns in b[0]
		firstLanes(R10, b[0])
		Load(Param("c"), RSI)
		Load(Param("ldc"), R12)
		for r := range m {
			f(r, Mem{Base: RSI})
			if r < m-1 {
				LEAQ(Mem{Base: RSI, Index: R12, Scale: 4}, RSI)
			}
		}
	}
	for r := range m {
		VXORPS(acc(r), acc(r), acc(r))
	}
	CMPB(NewParamAddr("acc", 72), Imm(0))
	JE(LabelRef(id("start")))
	c(func(r int, m Mem) { VMASKMOVPS(m, b[0], acc(r)) })
	Label(id("start"))
	VPCMPEQD(b[0], b[0], b[0]) // the mask of the block's columns of k
	Label(id("block"))
	if e.shift == 2 {
		CMPQ(RDX, Imm(8))
		JGE(LabelRef(id("whole")))
		firstLanes(RDX, b[0])
		Label(id("whole"))
	}
	MOVQ(RBX, RSI)
	MOVQ(R10, R12)
	MOVQ(R9, R13)
	for r := range a {
		walk(func(m Mem) {
			if e.shift == 2 {
				VMASKMOVPS(m, b[0], a[r])
			} else {
				VPMOVZXWD(m, a[r])
				VPSLLD(Imm(16), a[r], a[r])
			}
			m.Disp = 256
			PREFETCHT0(m)
		})
	}
	turned := transposeBlock256(a, b)
	for k := range 8 {
		for r := range m {
			x := Mem{Base: RDI, Disp: 4 * k}
			switch r {
			case 1:
				x.Index, x.Scale = R8, 1
			case 2:
				x.Index, x.Scale = R8, 2
			case 3:
				x.Index, x.Scale = R11, 1
			}
			spare := a[r%2]
			VBROADCASTSS(x, spare)
			VFMADD231PS(spare, turned[k], acc(r))
		}
		DECQ(RDX)
		JZ(LabelRef(id("done")))
	}
	ADDQ(Imm(8<<e.shift), RBX)
	ADDQ(Imm(32), RDI)
	if e.shift == 2 {
		VPCMPEQD(b[0], b[0], b[0])
	}
	JMP(LabelRef(id("block")))
	Label(id("done"))
	c(func(r int, m Mem) { VMASKMOVPS(acc(r), b[0], m) })
	VZEROUPPER()
	RET()
}

// transposeBlock256 transposes 8 rows of 8 in a by way of b, four registers more, and returns where the columns are. a[:4] are free
// then.
func transposeBlock256(a, b []VecPhysical) []VecPhysical {
	for q := 0; q < 8; q += 4 {
		VUNPCKLPS(a[q+1], a[q], b[0])
		VUNPCKHPS(a[q+1], a[q], b[1])
		VUNPCKLPS(a[q+3], a[q+2], b[2])
		VUNPCKHPS(a[q+3], a[q+2], b[3])
		VUNPCKLPD(b[2], b[0], a[q])
		VUNPCKHPD(b[2], b[0], a[q+1])
		VUNPCKLPD(b[3], b[1], a[q+2])
		VUNPCKHPD(b[3], b[1], a[q+3])
	}
	for i := range 4 {
		VPERM2F128(Imm(0x20), a[4+i], a[i], b[i])
		VPERM2F128(Imm(0x31), a[4+i], a[i], a[4+i])
	}
	return append(append([]VecPhysical(nil), b...), a[4:]...)
}
