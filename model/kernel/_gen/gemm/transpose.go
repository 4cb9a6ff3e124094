package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const transposeSignature = "func(dst *float32, stride int, src *float32, ld, n, k int)"

func transposeDoc(name string, lanes int) {
	Doc(fmt.Sprintf("%s writes the first n (1 to %d) rows of src [n,k], ld elements apart, to the %d columns of dst [k,%d], stride elements from row to row; columns from n on become zero.", name, lanes, lanes, lanes))
	Pragma("noescape")
}

// walk emits the load of row r into v through load and steps RSI on, staying on row n-1 when there are no more: R12 counts,
// R13 is the step, R14 zero.
func walk(load func(m Mem)) {
	load(Mem{Base: RSI})
	DECQ(R12)
	CMOVQEQ(R14, R13)
	ADDQ(R13, RSI)
}

func transposeProlog() {
	Load(Param("dst"), RDI)
	Load(Param("stride"), R8)
	Load(Param("src"), RBX)
	Load(Param("ld"), R9)
	SHLQ(Imm(2), R8)
	SHLQ(Imm(2), R9)
	Load(Param("k"), RDX)
	XORQ(R14, R14)
}

func transpose512() {
	TEXT("transpose16", NOSPLIT, transposeSignature)
	transposeDoc("transpose16", 16)
	transposeProlog()
	lanes := func(from Register, k Register) { // k = the lower from bits
		MOVQ(from, RCX)
		MOVL(U32(1), EAX)
		SHLL(CL, EAX)
		DECL(EAX)
		KMOVW(EAX, k)
	}
	Load(Param("n"), R10)
	lanes(R10, K2)
	MOVL(U32(0xffff), EAX)
	KMOVW(EAX, K1)
	Label("block")
	CMPQ(RDX, Imm(16))
	JGE(LabelRef("whole"))
	lanes(RDX, K1)
	Label("whole")
	MOVQ(RBX, RSI)
	MOVQ(R10, R12)
	MOVQ(R9, R13)
	for r := range 16 {
		walk(func(m Mem) { VMOVUPS_Z(m, K1, zmm[r]) })
	}
	a := zmm[:16]
	transposeBlock(a, zmm[16:20])
	for k := range 16 {
		VMOVAPS_Z(a[k], K2, a[k])
		VMOVUPS(a[k], Mem{Base: RDI})
		ADDQ(R8, RDI)
		DECQ(RDX)
		JZ(LabelRef("done"))
	}
	ADDQ(Imm(64), RBX)
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	RET()
}

// transposeLoads generates what transpose512 does for whole blocks with half the shuffles: the loads put the parts of four rows into the
// parts of a vector, and what remains is to be turned within these.
func transposeLoads() {
	TEXT("transposeLoads16", NOSPLIT, "func(dst *float32, stride int, src *float32, ld, k int)")
	Doc("transposeLoads16 is transpose16 for 16 rows and k, a multiple of 16.")
	Pragma("noescape")
	transposeProlog()
	LEAQ(Mem{Base: R9, Index: R9, Scale: 2}, R11)
	masks := []Register{nil, K1, K2, K3}
	for part, k := range masks {
		if k != nil {
			MOVL(U32(0xf<<(4*part)), EAX)
			KMOVW(EAX, k)
		}
	}
	Label("block")
	LEAQ(Mem{Base: RBX, Index: R9, Scale: 4}, RSI)
	LEAQ(Mem{Base: RBX, Index: R9, Scale: 8}, R12)
	LEAQ(Mem{Base: RSI, Index: R9, Scale: 8}, R13)
	for q := range 4 { // columns 4q to 4q+3 of src
		t, u := zmm[8*(q%2):][:4], zmm[8*(q%2)+4:][:4]
		for part, base := range []Register{RBX, RSI, R12, R13} {
			for r := range 4 {
				m := Mem{Base: base, Disp: 16 * q}
				switch r {
				case 1, 2:
					m.Index, m.Scale = R9, uint8(r)
				case 3:
					m.Index, m.Scale = R11, 1
				}
				if k := masks[part]; k != nil {
					VBROADCASTF32X4(m, k, t[r])
				} else {
					VBROADCASTF32X4(m, t[r])
				}
			}
		}
		VUNPCKLPS(t[1], t[0], u[0])
		VUNPCKHPS(t[1], t[0], u[1])
		VUNPCKLPS(t[3], t[2], u[2])
		VUNPCKHPS(t[3], t[2], u[3])
		VUNPCKLPD(u[2], u[0], t[0])
		VUNPCKHPD(u[2], u[0], t[1])
		VUNPCKLPD(u[3], u[1], t[2])
		VUNPCKHPD(u[3], u[1], t[3])
		for r := range 4 {
			VMOVUPS(t[r], Mem{Base: RDI})
			ADDQ(R8, RDI)
		}
	}
	ADDQ(Imm(64), RBX)
	SUBQ(Imm(16), RDX)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

func transpose256() {
	TEXT("transpose8", NOSPLIT, transposeSignature)
	transposeDoc("transpose8", 8)
	transposeProlog()
	Load(Param("n"), R10)
	firstLanes(R10, Y14)
	VPCMPEQD(Y15, Y15, Y15)
	Label("block")
	CMPQ(RDX, Imm(8))
	JGE(LabelRef("whole"))
	firstLanes(RDX, Y15)
	Label("whole")
	MOVQ(RBX, RSI)
	MOVQ(R10, R12)
	MOVQ(R9, R13)
	a := ymm[:8]
	for r := range 8 {
		walk(func(m Mem) { VMASKMOVPS(m, Y15, a[r]) })
	}
	for _, v := range transposeBlock256(a, ymm[8:12]) {
		VANDPS(v, Y14, v)
		VMOVUPS(v, Mem{Base: RDI})
		ADDQ(R8, RDI)
		DECQ(RDX)
		JZ(LabelRef("done"))
	}
	ADDQ(Imm(32), RBX)
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	RET()
}
