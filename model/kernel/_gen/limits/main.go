// Command limits generates loops that run at the limits of the processor: fused multiply-adds in registers, and reads of memory.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/rankloop/rankloop/model/kernel/gen/evex"
)

func main() {
	ConstraintExpr("amd64,!noasm")
	fma("fmaLoopAVX512", 24, func() VecVirtual { return ZMM() })
	fma("fmaLoopAVX2", 12, func() VecVirtual { return YMM() })
	dot()
	read()
	Generate()
}

// fma is a loop of n rounds over independent accumulators, more of them than a fused multiply-add has cycles to wait for.
func fma(name string, accumulators int, vec func() VecVirtual) {
	TEXT(name, NOSPLIT, "func(n int)")
	Doc(fmt.Sprintf("%s does n rounds of %d independent vector multiply-adds, in registers alone.", name, accumulators))
	n := Load(Param("n"), GP64())
	x, y := vec(), vec()
	zero(x)
	zero(y)
	acc := make([]VecVirtual, accumulators)
	for i := range acc {
		acc[i] = vec()
		zero(acc[i])
	}
	Label("round")
	for i := range acc {
		VFMADD231PS(x, y, acc[i])
	}
	DECQ(n)
	JNZ(LabelRef("round"))
	VZEROUPPER()
	RET()
}

// dot is the same of the products of bfloat16 pairs.
func dot() {
	TEXT("dotLoop", NOSPLIT, "func(n int)")
	Doc("dotLoop does n rounds of 24 independent products of 16 pairs of bfloat16, in registers alone.")
	n := Load(Param("n"), RAX)
	acc := []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23}
	for _, v := range append(acc, Z24, Z25) {
		VPXORD(v, v, v)
	}
	Label("round")
	for _, v := range acc {
		evex.Dot(Z24, Z25, v)
	}
	DECQ(n)
	JNZ(LabelRef("round"))
	VZEROUPPER()
	RET()
}

func zero(v VecVirtual) {
	if v.Size() == 64 {
		VPXORD(v, v, v)
		return
	}
	VXORPS(v, v, v)
}

// read adds up n floats in the order that the memory gives them fastest: 32 lanes times 8 at once.
func read() {
	TEXT("readLoopAVX2", NOSPLIT, "func(x *float32, n int) float32")
	Doc("readLoopAVX2 reads n floats, a multiple of 64, and returns their sum in some order.")
	Pragma("noescape")
	x, n := Load(Param("x"), GP64()), Load(Param("n"), GP64())
	acc := make([]VecVirtual, 8)
	for i := range acc {
		acc[i] = YMM()
		zero(acc[i])
	}
	Label("block")
	CMPQ(n, Imm(64))
	JL(LabelRef("join"))
	for i := range acc {
		VADDPS(Mem{Base: x, Disp: 32 * i}, acc[i], acc[i])
	}
	ADDQ(U32(256), x)
	SUBQ(Imm(64), n)
	JMP(LabelRef("block"))
	Label("join")
	for i := range acc[1:] {
		VADDPS(acc[i+1], acc[0], acc[0])
	}
	VHADDPS(acc[0], acc[0], acc[0])
	VHADDPS(acc[0], acc[0], acc[0])
	high := XMM()
	VEXTRACTF128(Imm(1), acc[0], high)
	VADDPS(high, acc[0].AsX(), high)
	to, err := ReturnIndex(0).Resolve()
	if err != nil {
		panic(err)
	}
	VMOVSS(high, to.Addr)
	VZEROUPPER()
	RET()
}
