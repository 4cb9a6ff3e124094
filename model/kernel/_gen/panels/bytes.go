package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The products of eight bits are whole numbers: a word of the panel holds four weights plus 128, without sign, a word of A four numbers
// of eight bits with sign, in two parts, high and low. See panels.go for what they mean.
const bytesSignature = "func(M, K int, high, low *uint32, lda int, b *uint32, rows *int32, scales, c *float32, ldc int, acc bool)"

func bytesDoc(name string, rows int) {
	TEXT(name, NOSPLIT, bytesSignature)
	Doc(fmt.Sprintf("%s computes M (1 to %d) rows of a whole panel of %d columns, K words deep, at least 1:", name, rows, width), "",
		"\tfor i := range M {", fmt.Sprintf("\t\tfor j := range %d {", width),
		"\t\t\th, l := -rows[i].high, -rows[i].low // rows points to values of type int8Row",
		"\t\t\tfor k := range K {",
		"\t\t\t\th += Σ of the products of the four bytes of high[i*lda+k] and b[k*64+j]",
		"\t\t\t\tl += Σ of the products of the four bytes of low[i*lda+k] and b[k*64+j]",
		"\t\t\t}",
		"\t\t\ty := fma(128, h, l) * rows[i].scale * scales[j]",
		"\t\t\tc[i*ldc+j] = y or, with acc, c[i*ldc+j] + y",
		"\t\t}", "\t}")
	Pragma("noescape")
}

// int8Row as the assembly sees it: high, low int32, scale float32.
const rowBytes = 12

// bytesAVX512 is the product by VPDPBUSD: a word of both in one instruction.
func bytesAVX512() {
	const name = "panelInt8Dots"
	bytesDoc(name, most)
	bytesProlog()
	for r := 1; r < most; r++ {
		CMPQ(RAX, Imm(uint64(r)))
		JE(LabelRef(fmt.Sprintf("rows%d", r)))
	}
	for m := most; m > 0; m-- {
		Label(fmt.Sprintf("rows%d", m))
		nv := 2
		if m == 1 {
			nv = 4
		}
		bytesTile512(m, nv)
		VZEROUPPER()
		RET()
	}
}

func bytesProlog() {
	Load(Param("M"), RAX)
	Load(Param("lda"), R8)
	Load(Param("b"), RBX)
	Load(Param("scales"), R12)
	Load(Param("c"), R11)
	Load(Param("ldc"), R13)
	SHLQ(Imm(2), R8)
	SHLQ(Imm(2), R13)
	LEAQ(Mem{Base: R8, Index: R8, Scale: 2}, R9)
	LEAQ(Mem{Base: R8, Index: R8, Scale: 4}, R10)
}

// bytesTile512 computes m rows of the panel, nv vectors at a time.
func bytesTile512(m, nv int) {
	id := fmt.Sprint(m)
	high := func(r, v int) VecPhysical { return zmm[2*(r*nv+v)] }
	low := func(r, v int) VecPhysical { return zmm[2*(r*nv+v)+1] }
	b := zmm[2*m*nv:][:nv]
	a := zmm[2*m*nv+nv:][:2]
	MOVQ(U32(uint32(width/(16*nv))), R14)
	Label("part" + id)
	for i := range 2 * m * nv {
		VPXORD(zmm[i], zmm[i], zmm[i])
	}
	Load(Param("K"), RCX)
	Load(Param("high"), RDX)
	Load(Param("low"), R15)
	MOVQ(RBX, RSI)
	Label("k" + id)
	for v := range nv {
		PREFETCHT1(Mem{Base: RSI, Disp: ahead + 64*v})
		VMOVDQU32(Mem{Base: RSI, Disp: 64 * v}, b[v])
	}
	for r := range m {
		VPBROADCASTD(row(RDX, r), a[0])
		VPBROADCASTD(row(R15, r), a[1])
		for v := range nv {
			VPDPBUSD(a[0], b[v], high(r, v))
			VPDPBUSD(a[1], b[v], low(r, v))
		}
	}
	ADDQ(Imm(4), RDX)
	ADDQ(Imm(4), R15)
	ADDQ(U32(width*4), RSI)
	DECQ(RCX)
	JNZ(LabelRef("k" + id))
	Load(Param("rows"), RDX)
	MOVL(U32(0x43000000), ECX) // 128
	VPBROADCASTD(ECX, Z31)
	MOVQ(R11, RDI)
	for r := range m {
		info := Mem{Base: RDX, Disp: rowBytes * r}
		t := zmm[30]
		for v := range nv {
			info.Disp = rowBytes * r
			VPBROADCASTD(info, t)
			VPSUBD(t, high(r, v), high(r, v))
			info.Disp += 4
			VPBROADCASTD(info, t)
			VPSUBD(t, low(r, v), low(r, v))
			VCVTDQ2PS(high(r, v), high(r, v))
			VCVTDQ2PS(low(r, v), low(r, v))
			VFMADD231PS(Z31, high(r, v), low(r, v))
			info.Disp += 4
			VMULPS_BCST(info, low(r, v), low(r, v))
			VMULPS(Mem{Base: R12, Disp: 64 * v}, low(r, v), low(r, v))
		}
	}
	bytesStore(id, m, func(r int) {
		for v := range nv {
			VADDPS(Mem{Base: RDI, Disp: 64 * v}, low(r, v), low(r, v))
		}
	}, func(r int) {
		for v := range nv {
			VMOVUPS(low(r, v), Mem{Base: RDI, Disp: 64 * v})
		}
	})
	ADDQ(U32(uint32(64*nv)), RBX)
	ADDQ(U32(uint32(64*nv)), R11)
	ADDQ(U32(uint32(64*nv)), R12)
	DECQ(R14)
	JNZ(LabelRef("part" + id))
}

// bytesStore stores m rows at R11, after adding what is there if acc is set.
func bytesStore(id string, m int, add, store func(r int)) {
	rows := func(f func(r int)) {
		MOVQ(R11, RDI)
		for r := range m {
			f(r)
			if r < m-1 {
				ADDQ(R13, RDI)
			}
		}
	}
	CMPB(NewParamAddr("acc", 80), Imm(0))
	JE(LabelRef("store" + id))
	rows(add)
	Label("store" + id)
	rows(store)
}

// bytesAVX2 is the product of a single row by VPMADDUBSW: high and low are within ±64, so that the sum of two products fits 16 bits.
func bytesAVX2() {
	const nv = 4
	bytesDoc("panelInt8AVX2", 1)
	bytesProlog()
	high, low := ymm[:nv], ymm[nv:2*nv]
	b, t, ones, ah, al := Y8, Y9, Y10, Y11, Y12
	MOVQ(U32(uint32(width/(8*nv))), R14)
	VPCMPEQW(ones, ones, ones)
	VPSRLW(Imm(15), ones, ones)
	Label("part")
	for i := range 2 * nv {
		VPXOR(ymm[i], ymm[i], ymm[i])
	}
	Load(Param("K"), RCX)
	Load(Param("high"), RDX)
	Load(Param("low"), R15)
	MOVQ(RBX, RSI)
	Label("k")
	VPBROADCASTD(Mem{Base: RDX}, ah)
	VPBROADCASTD(Mem{Base: R15}, al)
	for v := range nv {
		if v%2 == 0 {
			PREFETCHT1(Mem{Base: RSI, Disp: ahead + 32*v})
		}
		VMOVDQU(Mem{Base: RSI, Disp: 32 * v}, b)
		for _, x := range []struct{ a, sum VecPhysical }{{ah, high[v]}, {al, low[v]}} {
			VPMADDUBSW(x.a, b, t)
			VPMADDWD(ones, t, t)
			VPADDD(t, x.sum, x.sum)
		}
	}
	ADDQ(Imm(4), RDX)
	ADDQ(Imm(4), R15)
	ADDQ(U32(width*4), RSI)
	DECQ(RCX)
	JNZ(LabelRef("k"))
	Load(Param("rows"), RDX)
	MOVL(U32(0x43000000), ECX) // 128
	VMOVD(ECX, X11)
	VPBROADCASTD(X11, Y11)
	VBROADCASTSS(Mem{Base: RDX, Disp: 8}, Y12)
	for v := range nv {
		VPBROADCASTD(Mem{Base: RDX}, t)
		VPSUBD(t, high[v], high[v])
		VPBROADCASTD(Mem{Base: RDX, Disp: 4}, t)
		VPSUBD(t, low[v], low[v])
		VCVTDQ2PS(high[v], high[v])
		VCVTDQ2PS(low[v], low[v])
		VFMADD231PS(Y11, high[v], low[v])
		VMULPS(Y12, low[v], low[v])
		VMULPS(Mem{Base: R12, Disp: 32 * v}, low[v], low[v])
	}
	bytesStore("", 1, func(int) {
		for v := range nv {
			VADDPS(Mem{Base: RDI, Disp: 32 * v}, low[v], low[v])
		}
	}, func(int) {
		for v := range nv {
			VMOVUPS(low[v], Mem{Base: RDI, Disp: 32 * v})
		}
	})
	ADDQ(U32(uint32(32*nv)), RBX)
	ADDQ(U32(uint32(32*nv)), R11)
	ADDQ(U32(uint32(32*nv)), R12)
	DECQ(R14)
	JNZ(LabelRef("part"))
	VZEROUPPER()
	RET()
}

// roundBytes generates what rounds a row of A to high and low.
func roundBytes() {
	TEXT("largestAVX2", NOSPLIT, "func(x *float32, n int) uint32")
	Doc("largestAVX2 returns the bits of the largest magnitude of n numbers, a multiple of 32 and at least that; those that are not finite are the largest.")
	Pragma("noescape")
	x, n := Load(Param("x"), RSI), Load(Param("n"), RDX)
	VPCMPEQD(Y15, Y15, Y15)
	VPSRLD(Imm(1), Y15, Y15)
	for i := range 4 {
		VPXOR(ymm[i], ymm[i], ymm[i])
	}
	Label("block")
	for i := range 4 {
		VPAND(Mem{Base: x, Disp: 32 * i}, Y15, ymm[4+i])
		VPMAXUD(ymm[4+i], ymm[i], ymm[i])
	}
	ADDQ(U32(128), x)
	SUBQ(Imm(32), n)
	JNZ(LabelRef("block"))
	VPMAXUD(Y1, Y0, Y0)
	VPMAXUD(Y3, Y2, Y2)
	VPMAXUD(Y2, Y0, Y0)
	joinLanes(VPMAXUD)
	VMOVD(X0, EAX)
	Store(EAX, ReturnIndex(0))
	VZEROUPPER()
	RET()

	TEXT("roundBytesAVX2", NOSPLIT, "func(high, low *uint32, x *float32, n int, inverse float32) (h, l int32)")
	Doc("roundBytesAVX2 rounds n numbers, a multiple of 32 and at least that, and returns the sums of both parts:", "",
		"\tq := to nearest even of x[k]*inverse", "\thigh[k] = (q + 64) >> 7", "\tlow[k] = q - high[k]<<7", "",
		"with four numbers of eight bits in each word of high and low.")
	Pragma("noescape")
	high, low := Load(Param("high"), RDI), Load(Param("low"), RBX)
	x, n = Load(Param("x"), RSI), Load(Param("n"), RDX)
	VBROADCASTSS(NewParamAddr("inverse", 32), Y15)
	MOVL(U32(64), EAX)
	VMOVD(EAX, X14)
	VPBROADCASTD(X14, Y14)
	VMOVDQU(lanes(), Y13)
	VPXOR(Y11, Y11, Y11)
	VPXOR(Y12, Y12, Y12)
	Label("round")
	for i := range 4 {
		q, up := ymm[i], ymm[4+i]
		VMULPS(Mem{Base: x, Disp: 32 * i}, Y15, q)
		VCVTPS2DQ(q, q)
		VPADDD(Y14, q, up)
		VPSRAD(Imm(7), up, up)
		VPSLLD(Imm(7), up, Y8)
		VPSUBD(Y8, q, q)
		VPADDD(up, Y11, Y11)
		VPADDD(q, Y12, Y12)
	}
	for i, to := range []Register{low, high} {
		v := ymm[4*i:]
		VPACKSSDW(v[1], v[0], v[0])
		VPACKSSDW(v[3], v[2], v[2])
		VPACKSSWB(v[2], v[0], v[0])
		VPERMD(v[0], Y13, v[0]) // packing goes by halves of a register
		VMOVDQU(v[0], Mem{Base: to})
	}
	ADDQ(U32(128), x)
	ADDQ(Imm(32), high)
	ADDQ(Imm(32), low)
	SUBQ(Imm(32), n)
	JNZ(LabelRef("round"))
	for i, v := range []VecPhysical{Y11, Y12} {
		VMOVDQA(v, Y0)
		joinLanes(VPADDD)
		VMOVD(X0, EAX)
		Store(EAX, ReturnIndex(i))
	}
	VZEROUPPER()
	RET()
}

// joinLanes joins the eight lanes of Y0 in its first.
func joinLanes(op func(...Op)) {
	VEXTRACTI128(Imm(1), Y0, X1)
	op(X1, X0, X0)
	VPSRLDQ(Imm(8), X0, X1)
	op(X1, X0, X0)
	VPSRLDQ(Imm(4), X0, X1)
	op(X1, X0, X0)
}

// lanes lays down the order that undoes the packing by halves.
func lanes() Mem {
	m := GLOBL("lanes", RODATA|NOPTR)
	for i, lane := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(lane))
	}
	return m
}
