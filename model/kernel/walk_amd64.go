//go:build amd64 && !noasm

package kernel

import (
	"iter"
	"sync"
)

// The walk over the blocks of a product with few rows, and what it shares with the one for many. Measured at the shapes of GPT-2 on
// Zen 4 (32 kB and 1 MB of cache) and Sapphire Rapids (48 kB and 2 MB, twice the multiply-adds a cycle): what they gain over one
// walk for all is that memory is read and written while the multiply-adds go on, not before and after.
const (
	depthMax   = 384            // depth of a block of B that is copied,
	depthLying = 256            // of one that is read where it lies,
	depthFew   = 64             // and of one that is transposed for few rows: four cache lines of each column
	stripRows  = 48             // rows of A that pass one panel of B before the next comes
	leftRows   = 8 * stripRows  // rows of A that are copied at once, and
	stripSize  = depthMax * 144 // numbers of B: both stay in the second-level cache
)

// strips are the buffers for copies of B: the block at work and the next.
var strips = sync.Pool{New: func() any { return new([2][stripSize]float32) }}

// thin is the number of rows up to which runThin is the faster walk.
func (p *product) thin() int {
	switch {
	case p.bns != 1:
		return 64 // more rows repay transposing deeper blocks
	case p.aks != 1 && wideCore:
		return 32
	case p.aks != 1:
		return 128
	case wideCore && p.K*p.N > 1<<20: // B is not in the second-level cache
		return 24
	case wideCore:
		return 48
	}
	return 256
}

// runThin computes C[i0:i1, j0:j1] panel by panel, for few rows: the walk down a panel of B, which is used where it lies or, if B is
// stored by columns, transposed in blocks that stay in the first-level cache. While one block is worked on the next is fetched.
func (p *product) runThin(i0, i1, j0, j1 int) {
	lanes, _, _ := shape()
	depth, step, lies := depthLying, p.bks, p.bns == 1
	if !lies {
		depth, step = depthFew, p.bns
	}
	var panel []float32
	if !lies || lanes == 8 && (j1-j0)%8 != 0 { // of the last vector AVX2 reads all
		strip := strips.Get().(*[2][stripSize]float32)
		defer strips.Put(strip)
		panel = strip[0][:]
	}
	for j, q := range parts(j0, j1) {
		pause()
		for k := 0; k < p.K; k += depth {
			kc := min(depth, p.K-k)
			b, bks := p.b[k*p.bks+j*p.bns:], p.bks
			if !lies || lanes == 8 && q.edge < 8 {
				p.pack(panel, k, kc, j, q)
				b, bks = panel, q.vectors*lanes
			}
			next := (k+kc)*p.bks + j*p.bns
			if k+kc == p.K {
				next = (j + q.width) * p.bns
			}
			p.rows(i0, i1, k, kc, b, bks, j, q, meanwhile{from: &p.b[min(next, len(p.b)-1)], step: step, share: -1})
		}
	}
}

// rows computes C[i0:i1], the columns of q from j on, from k to k+kc, with b where this block of B lies and bks from row to row.
func (p *product) rows(i0, i1, k, kc int, b []float32, bks, j int, q part, x meanwhile) {
	tiles(i1-i0, kc, &p.a[i0*p.ars+k*p.aks], p.ars, p.aks, b, bks, &p.c[i0*p.ldc+j], p.ldc, q, p.acc || k > 0, x)
}

// meanwhile is what is done with memory during multiply-adds: places from from on, step elements apart, are copied to panel or, where
// that is nil, fetched, share of them by each tile. With a share below 0 each tile fetches as many as the product is deep.
type meanwhile struct {
	from          *float32
	step          int
	panel         *float32
	places, share int
}

// tiles calls the kernel of the instruction set in use.
func tiles(M, kc int, a *float32, ars, aks int, b []float32, bks int, c *float32, ldc int, q part, acc bool, x meanwhile) {
	if level == avx512 {
		rowsAVX512(M, kc, a, ars, aks, &b[0], bks, c, ldc, q.vectors, q.edge, acc, x.from, x.step, x.panel, x.places, x.share)
	} else {
		rowsAVX2(M, kc, a, ars, aks, &b[0], bks, c, ldc, q.vectors, q.edge, acc, x.from, x.step, x.panel, x.places, x.share)
	}
}

// part is a panel: its columns, its vectors, and the columns of the last of them.
type part struct{ width, vectors, edge int }

// parts deals the columns j0 to j1 out to panels, evenly: 4 vectors are two panels of 2, not 3 and 1.
func parts(j0, j1 int) iter.Seq2[int, part] {
	return func(yield func(int, part) bool) {
		lanes, _, nv := shape()
		for left := (j1 - j0 + lanes - 1) / lanes; left > 0; {
			rest := (left + nv - 1) / nv // panels still to come
			v := (left + rest - 1) / rest
			left -= v
			width := min(v*lanes, j1-j0)
			if !yield(j0, part{width, v, width - (v-1)*lanes}) {
				return
			}
			j0 += width
		}
	}
}

// pack copies B[k:k+kc], the columns of q from j on, to panel [kc][v·lanes], where the last of the v vectors counts edge columns.
func (p *product) pack(panel []float32, k, kc, j int, q part) {
	lanes, _, _ := shape()
	panel, src := panel[:kc*q.vectors*lanes], p.b[k*p.bks+j*p.bns:]
	switch {
	case p.bns != 1:
		for i := range q.vectors {
			n := lanes
			if i == q.vectors-1 {
				n = q.edge
			}
			if lanes == 16 {
				transposeWide(panel[i*lanes:], q.vectors*lanes, src[i*lanes*p.bns:], p.bns, n, kc)
			} else {
				transpose8(&panel[i*lanes], q.vectors*lanes, &src[i*lanes*p.bns], p.bns, n, kc)
			}
		}
	case lanes == 16:
		copyPanelAVX512(&panel[0], &src[0], p.bks, kc, q.vectors, q.edge)
	default:
		copyPanelAVX2(&panel[0], &src[0], p.bks, kc, q.vectors, q.edge)
	}
}
