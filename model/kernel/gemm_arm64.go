//go:build !noasm

package kernel

import (
	"os"
	"sync"
)

// The products on arm64, which has NEON always: every element the same chain of fused multiply-adds, and so the same bits, as in
// the class "fma2" of amd64.

const (
	portable = iota
	neon
)

// level is the instruction set in use. It is set once, before anything runs; tests change it.
var level = choose(os.Getenv("RANKLOOP_KERNEL"))

// choose returns the instruction set that RANKLOOP_KERNEL asks for.
func choose(env string) int {
	if env == "portable" {
		return portable
	}
	return neon
}

// Class names the arithmetic of the kernels in use: "neon", products of fused multiply-adds with all else as in "portable", or
// "portable". Numbers of one class are reproducible to the bit; between classes they agree to rounding.
func Class() string {
	if level == portable {
		return "portable"
	}
	return "neon"
}

const (
	tileRows   = 8
	tileCols   = 12
	kcMax      = 384  // depth of one block: a panel of B of this depth stays in the first-level cache
	rowsMax    = 256  // rows of A that are packed at once: with kcMax they fit the second-level cache
	rowPart    = 2048 // columns of a single row of C that stay in the first-level cache
	directRows = 16   // fewer rows do not repay copying B
)

// blocks are the packed parts of A and B that a goroutine works on, and a tile for what lies over the edges of C.
type blocks struct {
	a    [rowsMax * kcMax]float32
	b    [tileCols * kcMax]float32
	tile [tileRows * tileCols]float32
}

var blockPool = sync.Pool{New: func() any { return new(blocks) }}

func (p *product) split(threads int) (rows, cols int) {
	if level == portable {
		return p.splitGo(threads)
	}
	if threads == 1 || p.M*p.N*p.K < 2*parallelWork {
		return p.M, p.N
	}
	parts := 4 * threads // tiles of C, about so many
	if p.M == 1 {
		parts = threads // memory is the limit: long runs of it are read faster
	}
	if p.M >= 64*parts { // rows first, because each tile packs its own panels of B
		return roundUp((p.M+parts-1)/parts, tileRows), p.N
	}
	return p.M, roundUp((p.N+parts-1)/parts, 4*tileCols)
}

// run computes C[i0:i1, j0:j1] on the calling goroutine.
func (p *product) run(i0, i1, j0, j1 int) {
	if level == portable {
		p.runGo(i0, i1, j0, j1)
		return
	}
	if i1-i0 == 1 {
		if j0 = p.runRow(i0, j0, j1); j0 == j1 {
			return
		}
	}
	buf := blockPool.Get().(*blocks)
	defer blockPool.Put(buf)
	direct := p.bns == 1 && i1-i0 < directRows
	for ; i0 < i1; i0 += rowsMax {
		rows := min(rowsMax, i1-i0)
		for k := 0; k < p.K; k += kcMax {
			kc := min(kcMax, p.K-k)
			pause()
			p.packA(buf.a[:], i0, rows, k, kc)
			for j := j0; j < j1; j += tileCols {
				cols := min(tileCols, j1-j)
				b, bks := buf.b[:], tileCols
				if direct && cols == tileCols {
					b, bks = p.b[k*p.bks+j:], p.bks
				} else {
					p.packB(b, k, kc, j, cols)
				}
				p.panel(buf, b, bks, i0, rows, kc, j, cols, p.acc || k > 0)
			}
		}
	}
}

// panel computes rows × cols elements of C from the packed rows of A and a panel of B.
func (p *product) panel(buf *blocks, b []float32, bks, i0, rows, kc, j, cols int, acc bool) {
	for i := 0; i < rows; i += tileRows {
		n, tile := min(tileRows, rows-i), tile8NEON
		if n <= 4 {
			tile = tile4NEON
		}
		a, c := &buf.a[i*kc], p.c[(i0+i)*p.ldc+j:]
		if n&3 == 0 && cols == tileCols {
			tile(kc, a, &b[0], bks, &c[0], p.ldc, acc)
			continue
		}
		if acc {
			for r := range n {
				copy(buf.tile[r*tileCols:], c[r*p.ldc:][:cols])
			}
		}
		tile(kc, a, &b[0], bks, &buf.tile[0], tileCols, acc)
		for r := range n {
			copy(c[r*p.ldc:][:cols], buf.tile[r*tileCols:])
		}
	}
}

// packA copies A[i0:i0+rows, k:k+kc] to groups of eight rows, the last one of four where no more are left: [kc][8], element by
// element of k; rows that are not there are zero.
func (p *product) packA(dst []float32, i0, rows, k, kc int) {
	for i := 0; i < rows; i += tileRows {
		n, width := min(tileRows, rows-i), tileRows
		if n <= 4 {
			width = 4
		}
		out, src := dst[i*kc:][:width*kc], p.a[(i0+i)*p.ars+k*p.aks:]
		switch {
		case p.aks == 1:
			transposeInto(out, width, src, p.ars, n, kc)
		case n == width:
			for q := range kc {
				copy(out[q*width:][:width], src[q*p.aks:])
			}
		default:
			for q := range kc {
				row := out[q*width:][:width]
				clear(row[copy(row[:n], src[q*p.aks:]):])
			}
		}
	}
}

// packB copies B[k:k+kc, j:j+cols] to a panel [kc][12], padded with zeros.
func (p *product) packB(dst []float32, k, kc, j, cols int) {
	src := p.b[k*p.bks+j*p.bns:]
	if p.bns != 1 {
		transposeInto(dst, tileCols, src, p.bns, cols, kc)
		return
	}
	for q := range kc {
		row := dst[q*tileCols:][:tileCols]
		clear(row[copy(row[:cols], src[q*p.bks:]):])
	}
}

// transposeInto writes the n rows of src [n,k], ld elements apart, to the columns of dst [k,width]; columns from n on become zero. width is a
// multiple of 4.
func transposeInto(dst []float32, width int, src []float32, ld, n, k int) {
	r := 0
	for ; r+4 <= n; r += 4 {
		turnNEON(&dst[r], width, &src[r*ld], ld, k)
	}
	if r == width {
		return
	}
	for q := range k {
		row := dst[q*width+r:][:width-r]
		clear(row)
		for s := range n - r {
			row[s] = src[(r+s)*ld+q]
		}
	}
}

// runRow computes the first columns of C[i, j0:j1] without packing, for memory is the limit, and returns the first one that is left.
func (p *product) runRow(i, j0, j1 int) int {
	a := p.a[i*p.ars:]
	if p.bns != 1 {
		if p.aks != 1 {
			return j0
		}
		for ; j0+16 <= j1; j0 += 16 {
			columnsNEON(p.K, &a[0], &p.b[j0*p.bns], p.bns, &p.c[i*p.ldc+j0], p.acc)
		}
		return j0
	}
	for ; j0 < j1; j0 += rowPart { // of B eight rows at a time, with a part of C that stays in the first-level cache
		c := p.c[i*p.ldc+j0:][:min(rowPart, j1-j0)]
		if !p.acc {
			clear(c)
		}
		rowNEON(p.K, &a[0], p.aks, &p.b[j0], p.bks, &c[0], len(c))
	}
	return j1
}

func (p *product) runHalfDirect(_, _, j0, _ int) int { return j0 }

func fmaLoop(rounds int) int64 {
	if level == portable {
		return fmaLoopGo(rounds)
	}
	fmaLoopNEON(rounds)
	return int64(rounds) * 24 * 4 * 2
}

func readLoop(x []float32) (sum float32) {
	if level == portable || len(x) == 0 {
		return readLoopGo(x)
	}
	reads(x)
	var sums [16]float32
	readLoopNEON(&x[0], len(x), &sums)
	for _, v := range sums {
		sum += v
	}
	return sum
}

// tile8NEON computes a tile of 8 × 12 from eight packed rows of A:
//
//	for i := range 8 {
//		for j := range 12 {
//			s := 0 or, with acc, c[i*ldc+j]
//			for k := range kc { s = fma(a[k*8+i], b[k*bks+j], s) }
//			c[i*ldc+j] = s
//		}
//	}
//
//go:noescape
func tile8NEON(kc int, a *float32, b *float32, bks int, c *float32, ldc int, acc bool)

// tile4NEON is tile8NEON for four rows, a [kc][4].
//
//go:noescape
func tile4NEON(kc int, a *float32, b *float32, bks int, c *float32, ldc int, acc bool)

// rowNEON adds one row of a product to n columns of C:
//
//	for k := range kc {
//		for j := range n { c[j] = fma(a[k*aks], b[k*bks+j], c[j]) }
//	}
//
//go:noescape
func rowNEON(kc int, a *float32, aks int, b *float32, bks int, c *float32, n int)

// columnsNEON computes 16 columns of one row of a product with a transposed matrix:
//
//	for j := range 16 {
//		s := 0 or, with acc, c[j]
//		for k := range kc { s = fma(a[k], b[j*bns+k], s) }
//		c[j] = s
//	}
//
//go:noescape
func columnsNEON(kc int, a *float32, b *float32, bns int, c *float32, acc bool)

// turnNEON writes four rows of src [4,k], ld elements apart, to four columns of dst, stride elements from row to row.
//
//go:noescape
func turnNEON(dst *float32, stride int, src *float32, ld int, k int)

// fmaLoopNEON does n rounds of 24 independent vector multiply-adds, in registers alone.
func fmaLoopNEON(n int)

// readLoopNEON reads n floats, a multiple of 16, and writes sixteen sums that add up to theirs.
//
//go:noescape
func readLoopNEON(x *float32, n int, sums *[16]float32)
