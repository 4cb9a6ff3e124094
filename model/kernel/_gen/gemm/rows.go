package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// rows generates the product of M rows of A with one panel of B, nv vectors wide.
func (c class) rows() {
	name := "rows" + c.name
	TEXT(name, NOSPLIT, fmt.Sprintf("func(M, kc int, a *%[1]s, ars, aks int, b *%[1]s, bks int, c *float32, ldc int, nv, n int, acc bool%[2]s)", c.word, c.next()))
	doc := []string{fmt.Sprintf("%s computes M rows of one panel of C, nv vectors of %d columns of which the last counts n:", name, c.lanes), "",
		"\tfor i := range M {",
		"\t\tfor j := range (nv-1)*" + fmt.Sprint(c.lanes) + " + n {",
		"\t\t\ts := 0 or, with acc, c[i*ldc+j]",
		"\t\t\tfor k := range kc { s = " + c.step + "(a[i*ars+k*aks], b[k*bks+j], s) }",
		"\t\t\tc[i*ldc+j] = s",
		"\t\t}", "\t}", "", c.readsWhole()}
	if c.fetches {
		doc = append(doc, "Meanwhile, with a share below 0, each tile fetches kc places of memory that are step elements apart, from next on, to the second-level cache: two cache lines of four that begin there, the next tile the other two.",
			fmt.Sprintf("Otherwise whole tiles fetch that part of C which lies below them, and then places rows from next on, step elements apart, are copied to panel (%d columns each, consecutive) or, where panel is nil, fetched (48 columns each): share rows a tile, kc/4 at most. What of the steps they leave is for C.", c.nv*c.lanes))
	}
	Doc(doc...)
	Pragma("noescape")
	c.edge()
	m := Load(Param("M"), RAX)
	block := Load(Param("a"), RBX)
	ars := Load(Param("ars"), R8)
	aks := Load(Param("aks"), R9)
	bks := Load(Param("bks"), R10)
	Load(Param("c"), R11)
	ldc := Load(Param("ldc"), R12)
	for _, r := range []Register{ars, aks, bks, ldc} {
		SHLQ(Imm(2), r)
	}
	LEAQ(Mem{Base: ars, Index: ars, Scale: 2}, R13)
	LEAQ(Mem{Base: ars, Index: ars, Scale: 4}, R14)
	var local Mem
	if c.fetches {
		SHLQ(Imm(2), NewParamAddr("step", 104))
		local = AllocLocal(24)
	}
	nv := Load(Param("nv"), RCX)
	for v := 1; v < c.nv; v++ {
		CMPQ(nv, Imm(uint64(v)))
		JE(LabelRef(fmt.Sprintf("panel%d", v)))
	}
	for v := c.nv; v > 0; v-- {
		Label(fmt.Sprintf("panel%d", v))
		// Whole tiles, then what is left of the rows in one smaller tile.
		Label(fmt.Sprintf("next%d", v))
		CMPQ(m, Imm(uint64(c.mr)))
		JL(LabelRef(fmt.Sprintf("rest%d", v)))
		c.tile(c.mr, v, local)
		LEAQ(Mem{Base: block, Index: ars, Scale: 4}, block)
		if c.mr == 8 {
			LEAQ(Mem{Base: block, Index: ars, Scale: 4}, block)
		} else {
			LEAQ(Mem{Base: block, Index: ars, Scale: 2}, block)
		}
		SUBQ(Imm(uint64(c.mr)), m)
		JMP(LabelRef(fmt.Sprintf("next%d", v)))
		Label(fmt.Sprintf("rest%d", v))
		for r := c.mr - 1; r > 0; r-- {
			CMPQ(m, Imm(uint64(r)))
			JE(LabelRef(fmt.Sprintf("rest%dx%d", r, v)))
		}
		JMP(LabelRef("done"))
		for r := c.mr - 1; r > 0; r-- {
			Label(fmt.Sprintf("rest%dx%d", r, v))
			c.tile(r, v, local)
			JMP(LabelRef("done"))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// next are the parameters of what is fetched.
func (c class) next() string {
	if c.fetches {
		return ", next *float32, step int, panel *float32, places, share int"
	}
	return ""
}

func (c class) readsWhole() string {
	if c.lanes == 16 {
		return "Nothing beyond the n columns of the last vector is read or written."
	}
	return "Of b whole vectors are read: it must be a padded panel unless n is 8. Nothing else is touched beyond the n columns."
}

// tile computes mr × nv vectors and moves R11, C, to the next rows.
func (c class) tile(mr, nv int, local Mem) {
	id := fmt.Sprintf("%dx%d", mr, nv)
	acc := func(r, v int) VecPhysical { return c.reg(r*nv + v) }
	bv := func(v int) VecPhysical { return c.reg(mr*nv + v) }
	spare := c.reg(mr*nv + nv)
	row := func(base Register, r int, s, s3, s5 Register) Mem {
		switch r {
		case 0:
			return Mem{Base: base}
		case 1:
			return Mem{Base: base, Index: s, Scale: 1}
		case 2:
			return Mem{Base: base, Index: s, Scale: 2}
		case 3:
			return Mem{Base: base, Index: s3, Scale: 1}
		case 4:
			return Mem{Base: base, Index: s, Scale: 4}
		case 5:
			return Mem{Base: base, Index: s5, Scale: 1}
		case 6:
			return Mem{Base: base, Index: s3, Scale: 2}
		}
		return Mem{Base: base, Index: RCX, Scale: 1} // 7: needs its own register
	}
	// A in DX, B in SI, C in DI, count in R15; RCX = 7·ars.
	MOVQ(R11, RDI)
	for r := range mr {
		for v := range nv {
			c.zero(acc(r, v))
		}
	}
	whole := mr == c.mr && c.fetches
	if whole { // the tile above has fetched C
		CMPQ(NewParamAddr("share", 128), Imm(0))
		JGE(LabelRef("near" + id))
	}
	for r := range mr {
		for at := 0; at < c.bytes*nv; at += 64 {
			PREFETCHT0(Mem{Base: RDI, Disp: at})
		}
		PREFETCHT0(Mem{Base: RDI, Disp: c.bytes*nv - 4})
		if r < mr-1 {
			ADDQ(R12, RDI)
		}
	}
	if whole {
		Label("near" + id)
	}
	flag := NewParamAddr("acc", 88)
	CMPB(flag, Imm(0))
	JE(LabelRef("zero" + id))
	MOVQ(R11, RDI)
	for r := range mr {
		for v := range nv {
			c.load(Mem{Base: RDI, Disp: v * c.bytes}, v, nv, acc(r, v))
		}
		if r < mr-1 {
			ADDQ(R12, RDI)
		}
	}
	Label("zero" + id)
	MOVQ(RBX, RDX)
	Load(Param("b"), RSI)
	Load(Param("kc"), R15)
	if mr == 8 {
		LEAQ(Mem{Base: R13, Index: R8, Scale: 4}, RCX)
	}
	if c.fetches {
		MOVQ(RAX, RDI) // the rows left: of two tiles of eight one has bit 3 set
		ANDQ(Imm(8), RDI)
		SHLQ(Imm(3), RDI)
		ADDQ(NewParamAddr("next", 96), RDI)
	}
	step := func() {
		for v := range nv {
			m := Mem{Base: RSI, Disp: v * c.bytes}
			if c.lanes == 16 {
				c.load(m, v, nv, bv(v))
			} else {
				VMOVUPS(m, bv(v))
			}
		}
		for r := range mr {
			VBROADCASTSS(row(RDX, r, R8, R13, R14), spare)
			for v := range nv {
				c.mac(bv(v), spare, acc(r, v))
			}
		}
		ADDQ(R9, RDX)
		ADDQ(R10, RSI)
	}
	fetch := func() {
		PREFETCHT1(Mem{Base: RDI})
		PREFETCHT1(Mem{Base: RDI, Disp: 128})
		ADDQ(NewParamAddr("step", 104), RDI)
	}
	if whole {
		c.fours(id, nv, spare, local, step)
	}
	Label("k" + id)
	PREFETCHT0(Mem{Base: RDX, Index: R9, Scale: 8})
	step()
	if c.fetches {
		fetch()
	}
	DECQ(R15)
	JNZ(LabelRef("k" + id))
	if whole {
		Label("sum" + id)
	}
	for r := range mr {
		for v := range nv {
			c.store(acc(r, v), Mem{Base: R11, Disp: v * c.bytes}, v, nv)
		}
		ADDQ(R12, R11)
	}
}

// fours generates the steps of a whole tile by four, and leaves the up to three that remain to what follows. With the first of them the
// rows of C are fetched that the next tile will write. Then comes a share of the next block of B: rows of it are copied to a panel,
// or, where there is none, fetched in parts of 48 numbers.
func (c class) fours(id string, nv int, spare VecPhysical, local Mem, step func()) {
	left, stride, rows := local, local.Offset(8), local.Offset(16)
	next, places := NewParamAddr("next", 96), NewParamAddr("places", 120)
	share := func() { // R15 = what this tile does of places, taken off from them and from the steps that are left
		Load(Param("share"), R15)
		CMPQ(R15, places)
		CMOVQGT(places, R15)
		SUBQ(R15, places)
		SUBQ(R15, left)
		TESTQ(R15, R15)
	}
	CMPQ(NewParamAddr("share", 128), Imm(0))
	JL(LabelRef("k" + id))
	SHRQ(Imm(2), R15)
	MOVQ(R15, left)
	MOVQ(U32(1), rows) // C is not to be fetched, or has been
	SUBQ(NewParamAddr("share", 128), R15)
	JLE(LabelRef("ahead" + id))
	MOVQ(U32(c.mr), RDI)
	CMPQ(R15, RDI)
	CMOVQGT(RDI, R15)
	SUBQ(R15, left)
	MOVQ(R12, stride)
	MOVQ(U32(0), rows)
	LEAQ(Mem{Base: R11, Index: R12, Scale: 4}, RDI)
	LEAQ(Mem{Base: RDI, Index: R12, Scale: uint8(c.mr - 4)}, RDI)
	Label("fetch" + id)
	for range 4 {
		step()
	}
	for _, at := range []int{0, 64, 128, 188} { // they may begin within a cache line
		PREFETCHT1(Mem{Base: RDI, Disp: at})
	}
	ADDQ(stride, RDI)
	DECQ(R15)
	JNZ(LabelRef("fetch" + id))
	CMPQ(rows, Imm(0))
	JNE(LabelRef("fetched" + id))
	INCQ(rows)
	Label("ahead" + id)
	MOVQ(next, RDI)
	CMPQ(NewParamAddr("panel", 112), Imm(0))
	JNE(LabelRef("copies" + id))
	Load(Param("step"), R15)
	MOVQ(R15, stride)
	share()
	JNZ(LabelRef("fetch" + id))
	JMP(LabelRef("plain" + id))
	Label("copies" + id)
	share()
	JZ(LabelRef("plain" + id))
	MOVQ(R15, stride) // counts here
	MOVQ(RAX, rows)
	Load(Param("panel"), RAX)
	Load(Param("step"), R15)
	Label("copy" + id)
	for range 4 {
		step()
	}
	for v := range nv {
		VMOVUPS(Mem{Base: RDI, Disp: v * c.bytes}, spare)
		VMOVUPS(spare, Mem{Base: RAX, Disp: v * c.bytes})
		if v*c.bytes%64 == 0 {
			PREFETCHT1(Mem{Base: RDI, Index: R15, Scale: 8, Disp: v * c.bytes})
		}
	}
	PREFETCHT1(Mem{Base: RDI, Index: R15, Scale: 8, Disp: nv*c.bytes - 4})
	ADDQ(R15, RDI)
	ADDQ(U32(nv*c.bytes), RAX)
	DECQ(stride)
	JNZ(LabelRef("copy" + id))
	MOVQ(RAX, NewParamAddr("panel", 112))
	MOVQ(rows, RAX)
	Label("fetched" + id)
	MOVQ(RDI, next)
	Label("plain" + id)
	MOVQ(left, R15)
	TESTQ(R15, R15)
	JZ(LabelRef("ones" + id))
	Label("four" + id)
	for range 4 {
		step()
	}
	DECQ(R15)
	JNZ(LabelRef("four" + id))
	Label("ones" + id)
	Load(Param("kc"), R15)
	ANDQ(Imm(3), R15)
	JZ(LabelRef("sum" + id))
}
