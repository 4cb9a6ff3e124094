// Command vec generates the vector kernels: AVX2 with FMA, and AVX-512 for those that compute exponentials; reductions in
// sixteen lanes, so that both give the same bits.
package main

import (
	"fmt"
	"go/types"
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!noasm")
	edgeTable()
	for _, now = range []set{avx2, avx512} {
		transcendental()
		exponentials()
	}
	now = avx2 // as fast as AVX-512 for what memory bounds
	arithmetic()
	reductions()
	norms()
	optimizer()
	bf16()
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
	for i := range 16 {
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

// set is the instruction set that is being generated.
type set struct {
	name  string
	lanes int
}

var (
	avx2   = set{"AVX2", 8}
	avx512 = set{"AVX512", 16}
	now    = avx2
)

// vec returns a new vector register.
func vec() VecVirtual {
	if now == avx512 {
		return ZMM()
	}
	return YMM()
}

// vecs returns n of them.
func vecs(n int) []VecVirtual {
	v := make([]VecVirtual, n)
	for i := range v {
		v[i] = vec()
	}
	return v
}

// masks returns the masks of the first rest elements of n consecutive vectors, 16 lanes at most. rest is destroyed.
func masks(rest Register, n int) []Op {
	if now == avx512 {
		k, bits := K(), GP32()
		MOVL(U32(0xffff), bits)
		BZHIL(rest.(GP).As32(), bits, bits)
		KMOVW(bits, k)
		return []Op{k}
	}
	base := GP64()
	LEAQ(edge, base)
	SHLQ(Imm(2), rest)
	SUBQ(rest, base)
	m := make([]Op, n)
	for i := range m {
		y := YMM()
		VMOVUPS(Mem{Base: base, Disp: 64 + 32*i}, y)
		m[i] = y
	}
	return m
}

// load loads a vector, where there is a mask only its lanes, the others becoming zero.
func load(m Mem, mask Op, v VecVirtual) {
	switch {
	case mask == nil:
		VMOVUPS(m, v)
	case now == avx512:
		VMOVUPS_Z(m, mask, v)
	default:
		VMASKMOVPS(m, mask, v)
	}
}

// store stores a vector, where there is a mask only its lanes.
func store(v VecVirtual, mask Op, m Mem) {
	switch {
	case mask == nil:
		VMOVUPS(v, m)
	case now == avx512:
		VMOVUPS(v, mask, m)
	default:
		VMASKMOVPS(v, mask, m)
	}
}

// keep clears the lanes outside the mask, if there is one.
func keep(mask Op, v VecVirtual) {
	switch {
	case mask == nil:
	case now == avx512:
		VMOVAPS_Z(v, mask, v)
	default:
		VANDPS(mask, v, v)
	}
}

// broadcast loads a float32 parameter into all lanes. MOVSS, as Load would write it, is of the old encoding: between instructions
// that write whole vector registers it costs a processor of Intel some hundred cycles.
func broadcast(param string) VecVirtual {
	y := vec()
	VBROADCASTSS(lies(Param(param)).Addr, y)
	return y
}

// lies is where a parameter or a result lies.
func lies(c gotypes.Component) *gotypes.Basic {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b
}

// give stores the lowest lane of x as result i; as to the encoding, see broadcast.
func give(x Register, i int) {
	to := lies(ReturnIndex(i))
	if to.Type.Kind() == types.Float64 {
		VMOVSD(x, to.Addr)
		return
	}
	VMOVSS(x, to.Addr)
}

// each generates a loop over n elements of several slices, unroll vectors at a time (so that their chains of operations
// overlap), then one at a time, the last one under a mask. body gets the loaded vectors v[slice][vector] of in and returns
// those to be stored to out.
func each(in, out []string, unroll int, body func(v [][]VecVirtual) [][]VecVirtual) {
	n := Load(Param("n"), GP64())
	at := map[string]Register{}
	for _, p := range append(append([]string{}, in...), out...) {
		if at[p] == nil {
			at[p] = Load(Param(p), GP64())
		}
	}
	i := GP64()
	XORQ(i, i)
	round := func(count int, mask Op) {
		place := func(p string, u int) Mem { return Mem{Base: at[p], Index: i, Scale: 4, Disp: 4 * now.lanes * u} }
		var v [][]VecVirtual
		for _, p := range in {
			x := vecs(count)
			for u := range x {
				load(place(p, u), mask, x[u])
			}
			v = append(v, x)
		}
		for j, x := range body(v) {
			for u := range x {
				store(x[u], mask, place(out[j], u))
			}
		}
	}
	for u := unroll; u > 0; u-- {
		loop, next := fmt.Sprintf("loop%d", u), fmt.Sprintf("next%d", u)
		Label(loop)
		CMPQ(n, Imm(uint64(u*now.lanes)))
		JL(LabelRef(next))
		round(u, nil)
		ADDQ(Imm(uint64(u*now.lanes)), i)
		SUBQ(Imm(uint64(u*now.lanes)), n)
		JMP(LabelRef(loop))
		Label(next)
	}
	TESTQ(n, n)
	JZ(LabelRef("done"))
	round(1, masks(n, 1)[0])
	Label("done")
	VZEROUPPER()
	RET()
}

// reduce generates a loop over n elements, sixteen at a time or a multiple of that. body gets the loaded vectors v[slice][vector]
// of the first loads slices of in and the place of all in memory, and is to add them to the accumulators, vector i to
// accumulator i mod their number. mask is nil but for the last elements, where the lanes beyond n are loaded as zero.
func reduce(in []string, loads, unroll int, body func(v [][]VecVirtual, at func(slice string, i int) Mem, mask []Op)) {
	n := Load(Param("n"), GP64())
	base := map[string]Register{}
	for _, p := range in {
		base[p] = Load(Param(p), GP64())
	}
	i := GP64()
	XORQ(i, i)
	at := func(p string, u int) Mem { return Mem{Base: base[p], Index: i, Scale: 4, Disp: 4 * now.lanes * u} }
	round := func(count int, mask []Op) {
		var v [][]VecVirtual
		for _, p := range in[:loads] {
			x := vecs(count)
			for u := range x {
				load(at(p, u), mask[u], x[u])
			}
			v = append(v, x)
		}
		body(v, at, mask)
	}
	for u := unroll; u > 0; u-- {
		loop, next := fmt.Sprintf("loop%d", u), fmt.Sprintf("next%d", u)
		Label(loop)
		CMPQ(n, Imm(uint64(u*16)))
		JL(LabelRef(next))
		round(u*16/now.lanes, make([]Op, u*16/now.lanes))
		ADDQ(Imm(uint64(u*16)), i)
		SUBQ(Imm(uint64(u*16)), n)
		JMP(LabelRef(loop))
		Label(next)
	}
	TESTQ(n, n)
	JZ(LabelRef("join"))
	mask := masks(n, 16/now.lanes)
	round(len(mask), mask)
	Label("join")
}

// accumulators returns the cleared accumulators of sixteen lanes: one register, or lanes 0 to 7 and 8 to 15.
func accumulators() []VecVirtual {
	a := vecs(16 / now.lanes)
	for i := range a {
		zero(a[i])
	}
	return a
}

func zero(v VecVirtual) {
	if now == avx512 {
		VPXORD(v, v, v)
		return
	}
	VXORPS(v, v, v)
}

// join reduces sixteen lanes to one by op: 16 to 8 to 4 to 2 to 1, halves upon halves.
func join(a []VecVirtual, op func(ops ...Op)) Register {
	low := a[0].AsY()
	if now == avx512 {
		high := YMM()
		VEXTRACTF64X4(Imm(1), a[0], high)
		op(high, low, low)
	} else {
		op(a[1], low, low)
	}
	x, y := XMM(), XMM()
	VEXTRACTF128(Imm(1), low, x)
	op(x, a[0].AsX(), x)
	VMOVHLPS(x, x, y)
	op(y, x, x)
	VMOVSHDUP(x, y)
	op(y, x, x)
	return x
}

// begin starts a kernel of the present instruction set; doc says what it computes.
func begin(name, signature, doc string) {
	name += now.name
	TEXT(name, NOSPLIT, "func"+signature)
	Doc(name + " " + doc)
	Pragma("noescape")
}

// finish returns x as the only result.
func finish(x Register) { finishAt(x, 0) }

// finishAt returns x as result i, the last one.
func finishAt(x Register, i int) {
	give(x, i)
	VZEROUPPER()
	RET()
}
