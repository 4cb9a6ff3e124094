package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// few512 generates the product of up to eight rows of A with sixteen rows of Bᵀ: blocks of 16 × 16 are transposed in registers
// and used there, so that memory is the limit and not the copying of a panel.
func few512(e element) {
	const most = 8
	name := "few" + e.name + "AVX512"
	TEXT(name, NOSPLIT, fmt.Sprintf("func(M, kc int, a *float32, ars int, b *%s, bns int, c *float32, ldc, n int, acc bool)", e.typ))
	Doc(name+" computes M (1 to 8) rows and n (1 to 16) columns of a product with a transposed matrix:", "",
		"\tfor i := range M {", "\t\tfor j := range n {", "\t\t\ts := 0 or, with acc, c[i*ldc+j]",
		"\t\t\tfor k := range kc { s = fma(a[i*ars+k], b[j*bns+k], s) }", "\t\t\tc[i*ldc+j] = s", "\t\t}", "\t}")
	Pragma("noescape")
	mask := func(from Register, k Register) { // k = the lower from bits
		MOVQ(from, RCX)
		MOVL(U32(1), EAX)
		SHLL(CL, EAX)
		DECL(EAX)
		KMOVW(EAX, k)
	}
	n := Load(Param("n"), R10)
	mask(n, K2)
	MOVL(U32(0xffff), EAX)
	KMOVW(EAX, K1)
	Load(Param("b"), RBX)
	Load(Param("bns"), R9)
	Load(Param("a"), RDI)
	Load(Param("ars"), R8)
	SHLQ(Imm(2), R8)
	SHLQ(Imm(e.shift), R9)
	LEAQ(Mem{Base: R8, Index: R8, Scale: 2}, R11) // 3·ars
	LEAQ(Mem{Base: RDI, Index: R8, Scale: 4}, R15)
	Load(Param("kc"), RDX)
	XORQ(R14, R14)
	rows := Load(Param("M"), RAX)
	for m := 1; m < most; m++ {
		CMPQ(rows, Imm(uint64(m)))
		JE(LabelRef(fmt.Sprintf("few%d", m)))
	}
	for m := most; m > 0; m-- {
		Label(fmt.Sprintf("few%d", m))
		fewRows(e, m)
	}
}

// fewRows is few512 for m rows. RBX is the block of B, RDI and R15 rows 0 and 4 of A, RDX counts k.
func fewRows(e element, m int) {
	id := func(s string) string { return fmt.Sprintf("%s%d", s, m) }
	acc := func(r int) VecPhysical { return zmm[20+r] }
	c := func(f func(r int, m Mem)) {
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
		VPXORD(acc(r), acc(r), acc(r))
	}
	CMPB(NewParamAddr("acc", 72), Imm(0))
	JE(LabelRef(id("block")))
	c(func(r int, m Mem) { VMOVUPS_Z(m, K2, acc(r)) })
	Label(id("block"))
	CMPQ(RDX, Imm(16))
	JGE(LabelRef(id("whole")))
	MOVQ(RDX, RCX)
	MOVL(U32(1), EAX)
	SHLL(CL, EAX)
	DECL(EAX)
	KMOVW(EAX, K1)
	Label(id("whole"))
	MOVQ(RBX, RSI)
	MOVQ(R10, R12)
	MOVQ(R9, R13)
	MOVQ(R9, RCX)
	SHLQ(Imm(4), RCX)
	for r := range 16 {
		walk(func(m Mem) {
			e.load(m, K1, zmm[r])
			m.Index, m.Scale = RCX, 1 // the same place of the next sixteen rows: memory is read without a break
			PREFETCHT1(m)
		})
	}
	transposeBlock(zmm[:16], zmm[16:20])
	for k := range 16 {
		for r := range m {
			a := Mem{Base: RDI, Disp: 4 * k}
			if r >= 4 {
				a.Base = R15
			}
			switch r % 4 {
			case 1:
				a.Index, a.Scale = R8, 1
			case 2:
				a.Index, a.Scale = R8, 2
			case 3:
				a.Index, a.Scale = R11, 1
			}
			VFMADD231PS_BCST(a, zmm[k], acc(r))
		}
		DECQ(RDX)
		JZ(LabelRef(id("done")))
	}
	ADDQ(Imm(16<<e.shift), RBX)
	ADDQ(Imm(64), RDI)
	ADDQ(Imm(64), R15)
	JMP(LabelRef(id("block")))
	Label(id("done"))
	c(func(r int, m Mem) { VMOVUPS(acc(r), K2, m) })
	VZEROUPPER()
	RET()
}

// transposeBlock transposes 16 rows of 16 in a; b are four registers for the work.
func transposeBlock(a, b []VecPhysical) {
	// Pairs of rows, then pairs of pairs within each 128-bit part: part p of row k%4 of four rows; then the parts.
	for q := 0; q < 16; q += 4 {
		VUNPCKLPS(a[q+1], a[q], b[0])
		VUNPCKHPS(a[q+1], a[q], b[1])
		VUNPCKLPS(a[q+3], a[q+2], b[2])
		VUNPCKHPS(a[q+3], a[q+2], b[3])
		VUNPCKLPD(b[2], b[0], a[q])
		VUNPCKHPD(b[2], b[0], a[q+1])
		VUNPCKLPD(b[3], b[1], a[q+2])
		VUNPCKHPD(b[3], b[1], a[q+3])
	}
	for i := range 4 { // a[4q+i], part p: rows 4q to 4q+3 at k = 4p+i
		VSHUFF32X4(Imm(0x44), a[4+i], a[i], b[0])    // q0p0 q0p1 q1p0 q1p1
		VSHUFF32X4(Imm(0xee), a[4+i], a[i], b[1])    // q0p2 q0p3 q1p2 q1p3
		VSHUFF32X4(Imm(0x44), a[12+i], a[8+i], b[2]) // q2p0 q2p1 q3p0 q3p1
		VSHUFF32X4(Imm(0xee), a[12+i], a[8+i], b[3]) // q2p2 q2p3 q3p2 q3p3
		VSHUFF32X4(Imm(0x88), b[2], b[0], a[i])      // p0 of all
		VSHUFF32X4(Imm(0xdd), b[2], b[0], a[4+i])    // p1
		VSHUFF32X4(Imm(0x88), b[3], b[1], a[8+i])    // p2
		VSHUFF32X4(Imm(0xdd), b[3], b[1], a[12+i])   // p3
	}
}
