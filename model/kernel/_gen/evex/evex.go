// Package evex writes out the instructions of AVX512-BF16, which neither the assembler nor avo knows, byte by byte.
package evex

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Dot is VDPBF16PS on 512 bits: in each of sixteen lanes acc += b₁·a₁, then acc += b₀·a₀, of the pairs of bfloat16 in b and a.
func Dot(b, a, acc reg.VecPhysical) {
	Comment(fmt.Sprintf("VDPBF16PS %s, %s, %s", b.Asm(), a.Asm(), acc.Asm()))
	emit(f3, 0x52, b, a, acc)
}

// Narrow is VCVTNE2PS2BF16 on 512 bits: dst = sixteen bfloat16 of low and, above them, sixteen of high.
func Narrow(low, high, dst reg.VecPhysical) {
	Comment(fmt.Sprintf("VCVTNE2PS2BF16 %s, %s, %s", low.Asm(), high.Asm(), dst.Asm()))
	emit(f2, 0x72, low, high, dst)
}

// The mandatory prefixes as the field pp has them.
const f3, f2 = 2, 3

// emit writes EVEX.512.pp.0F38.W0 op with rm, vvvv and reg of the manual's operand encoding (Intel SDM, volume 2, section 2.7).
func emit(pp, op byte, rm, vvvv, reg reg.VecPhysical) {
	r, v, b := byte(reg.PhysicalIndex()), byte(vvvv.PhysicalIndex()), byte(rm.PhysicalIndex())
	not := func(x, bit byte) byte { return ^x >> bit & 1 }
	bytes := [6]byte{
		0x62,
		not(r, 3)<<7 | not(b, 4)<<6 | not(b, 3)<<5 | not(r, 4)<<4 | 2,
		^v&15<<3 | 4 | pp,
		2<<5 | not(v, 4)<<3,
		op,
		3<<6 | r&7<<3 | b&7,
	}
	word := func(opcode string, n int, at int) {
		v := uint32(0)
		for i := range n {
			v |= uint32(bytes[at+i]) << (8 * i)
		}
		Instruction(&ir.Instruction{Opcode: opcode, Operands: []operand.Op{operand.U32(v)}})
	}
	word("LONG", 4, 0)
	word("WORD", 2, 4)
}
