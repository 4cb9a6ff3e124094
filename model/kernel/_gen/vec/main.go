// Command vec generates the vector kernels: AVX2 and FMA, eight elements at a time, reductions in sixteen lanes.
package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!noasm")
	edgeTable()
	elementwise()
	reductions()
	norms()
	optimizer()
	Generate()
}

var edge Mem

// edgeTable is sixteen lanes of ones and sixteen of zeros: the vector at 64-4r has r lanes set, the next one the rest of r above 8.
func edgeTable() {
	edge = GLOBL("edge16", RODATA|NOPTR)
	for i := range 32 {
		v := uint32(0)
		if i < 16 {
			v = 0xffffffff
		}
		DATA(4*i, U32(v))
	}
}

var constants = map[uint32]Mem{}

// constant is the memory of a vector of equal words.
func constant(bits uint32) Mem {
	if m, ok := constants[bits]; ok {
		return m
	}
	m := GLOBL(name("const", bits), RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(bits))
	}
	constants[bits] = m
	return m
}

func name(prefix string, bits uint32) string {
	const hex = "0123456789abcdef"
	s := []byte(prefix)
	for i := 28; i >= 0; i -= 4 {
		s = append(s, hex[bits>>i&15])
	}
	return string(s)
}

// f is the memory of a vector of equal numbers.
func f(v float64) Mem { return constant(math.Float32bits(float32(v))) }

// masks returns the masks of the first rest (0 to 15) elements: lanes 0 to 7 and, if both, 8 to 15. rest is destroyed.
func masks(rest Register, both bool) (lo, hi VecVirtual) {
	base := GP64()
	LEAQ(edge, base)
	SHLQ(Imm(2), rest)
	SUBQ(rest, base)
	lo = YMM()
	VMOVUPS(Mem{Base: base, Disp: 64}, lo)
	if both {
		hi = YMM()
		VMOVUPS(Mem{Base: base, Disp: 96}, hi)
	}
	return lo, hi
}

// broadcast loads a float32 parameter into all lanes.
func broadcast(param string) VecVirtual {
	x, y := XMM(), YMM()
	Load(Param(param), x)
	VBROADCASTSS(x, y)
	return y
}

// each generates a loop over n elements of several slices, eight at a time, the last ones under a mask. body gets the loaded
// vectors of in and returns those to be stored to out.
func each(in, out []string, body func(v []VecVirtual) []VecVirtual) {
	n := Load(Param("n"), GP64())
	at := map[string]Register{}
	for _, p := range append(append([]string{}, in...), out...) {
		if at[p] == nil {
			at[p] = Load(Param(p), GP64())
		}
	}
	i := GP64()
	XORQ(i, i)
	SUBQ(Imm(8), n)
	JL(LabelRef("tail"))
	Label("loop")
	var v []VecVirtual
	for _, p := range in {
		y := YMM()
		VMOVUPS(Mem{Base: at[p], Index: i, Scale: 4}, y)
		v = append(v, y)
	}
	for j, y := range body(v) {
		VMOVUPS(y, Mem{Base: at[out[j]], Index: i, Scale: 4})
	}
	ADDQ(Imm(8), i)
	SUBQ(Imm(8), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(8), n)
	JZ(LabelRef("done"))
	mask, _ := masks(n, false)
	v = nil
	for _, p := range in {
		y := YMM()
		VMASKMOVPS(Mem{Base: at[p], Index: i, Scale: 4}, mask, y)
		v = append(v, y)
	}
	for j, y := range body(v) {
		VMASKMOVPS(y, mask, Mem{Base: at[out[j]], Index: i, Scale: 4})
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// reduce generates a loop over n elements, sixteen at a time in two halves (lanes 0 to 7 and 8 to 15). body adds to the
// accumulators of its half; mask is nil but for the last ones, where the lanes beyond n are loaded as zero.
func reduce(in []string, body func(half int, v []VecVirtual, at map[string]Mem, mask Op)) {
	reduceAt(in, len(in), body)
}

// reduceAt is reduce where only the first loads slices are loaded; at has the place of all.
func reduceAt(in []string, loads int, body func(half int, v []VecVirtual, at map[string]Mem, mask Op)) {
	n := Load(Param("n"), GP64())
	base := map[string]Register{}
	for _, p := range in {
		base[p] = Load(Param(p), GP64())
	}
	i := GP64()
	XORQ(i, i)
	where := func(half int) map[string]Mem {
		m := map[string]Mem{}
		for p, r := range base {
			m[p] = Mem{Base: r, Index: i, Scale: 4, Disp: 32 * half}
		}
		return m
	}
	SUBQ(Imm(16), n)
	JL(LabelRef("tail"))
	Label("loop")
	for half := range 2 {
		var v []VecVirtual
		at := where(half)
		for _, p := range in[:loads] {
			y := YMM()
			VMOVUPS(at[p], y)
			v = append(v, y)
		}
		body(half, v, at, nil)
	}
	ADDQ(Imm(16), i)
	SUBQ(Imm(16), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(16), n)
	JZ(LabelRef("join"))
	lo, hi := masks(n, true)
	for half, mask := range []VecVirtual{lo, hi} {
		var v []VecVirtual
		at := where(half)
		for _, p := range in[:loads] {
			y := YMM()
			VMASKMOVPS(at[p], mask, y)
			v = append(v, y)
		}
		body(half, v, at, mask)
	}
	Label("join")
}

// accumulators returns a cleared accumulator for each half.
func accumulators() (a [2]VecVirtual) {
	for i := range a {
		a[i] = YMM()
		VXORPS(a[i], a[i], a[i])
	}
	return a
}

// join reduces sixteen lanes to one by op: 16 to 8 to 4 to 2 to 1, halves upon halves.
func join(a [2]VecVirtual, op func(ops ...Op)) Register {
	op(a[1], a[0], a[0])
	x, y := XMM(), XMM()
	VEXTRACTF128(Imm(1), a[0], x)
	op(x, a[0].AsX(), x)
	VMOVHLPS(x, x, y)
	op(y, x, x)
	VMOVSHDUP(x, y)
	op(y, x, x)
	return x
}

// begin starts a kernel; doc says what it computes.
func begin(name, signature, doc string) {
	TEXT(name, NOSPLIT, "func"+signature)
	Doc(name + " " + doc)
	Pragma("noescape")
}

// finish returns x as the only result.
func finish(x Register) { finishAt(x, 0) }

// finishAt returns x as result i, the last one.
func finishAt(x Register, i int) {
	Store(x, ReturnIndex(i))
	VZEROUPPER()
	RET()
}
