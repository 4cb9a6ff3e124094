//go:build amd64 && !noasm

package kernel

import "unsafe"

// mixedRows is how many rows of A are worked on with one panel of B: it is read from the second-level cache or the third.
const mixedRows = 2048

func mixedIsFast() bool { return dots }

// leftSize is the room, in words, that roundLeft needs.
func (p *product) leftSize() int {
	if !dots {
		return p.leftSizeGo()
	}
	rows, words := p.leftShape()
	return rows * words
}

// leftShape is that of A in words: rows of pairs of k, or pairs of rows where k runs down the columns.
func (p *product) leftShape() (rows, words int) {
	if p.aks == 1 {
		return p.M, roundUp((p.K+1)/2, 16)
	}
	return (p.K + 1) / 2, roundUp(p.M, 16)
}

// words is x as pairs of bfloat16.
func words(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func (p *product) roundLeft(left []float32, lo, hi int) {
	if !dots {
		p.roundLeftGo(left, lo, hi)
		return
	}
	_, n := p.leftShape()
	dst := words(left)
	if p.aks == 1 {
		for i := lo; i < hi; i++ {
			narrowDots(&dst[i*n], &p.a[i*p.ars], p.K)
		}
		return
	}
	for j := 0; j < p.M; j += 48 {
		pause()
		p.pairs(dst[lo*n+j:], n, p.a[j:], p.aks, lo, hi, min(48, p.M-j))
	}
}

// pairs joins pairs lo to hi of the rows of src, n columns wide (48 at most), ld elements apart, of which there are K.
func (p *product) pairs(dst []uint32, stride int, src []float32, ld, lo, hi, n int) {
	nv := (n + 15) / 16
	edge := n - 16*(nv-1)
	whole := min(hi, p.K/2)
	if lo < whole {
		pairDots(&dst[0], stride, &src[2*lo*ld], ld, whole-lo, nv, edge)
	}
	if whole < hi { // the last row has no partner
		var last [2 * 48]float32
		copy(last[:n], src[2*whole*ld:])
		pairDots(&dst[(whole-lo)*stride], stride, &last[0], 48, 1, nv, edge)
	}
}

// splitMixed is split for products in mixed precision: columns first, because each tile rounds its own panels of B.
func (p *product) splitMixed(threads int) (rows, cols int) {
	if !dots {
		return p.split(threads)
	}
	rows = min(p.M, mixedRows)
	if threads == 1 || p.M*p.N*p.K < 4*parallelWork {
		return rows, p.N
	}
	count, down := (p.N+47)/48, (p.M+rows-1)/rows
	groups := min(count, max(1, 4*threads/down))
	cols = (count + groups - 1) / groups * 48
	if groups = (p.N + cols - 1) / cols; groups < threads && down == 1 {
		parts := (threads + groups - 1) / groups
		rows = max(8, roundUp((p.M+parts-1)/parts, 8))
	}
	return rows, cols
}

func (p *product) runMixed(left []float32, i0, i1, j0, j1 int) {
	if !dots {
		p.runMixedGo(left, i0, i1, j0, j1)
		return
	}
	a := words(left)
	_, n := p.leftShape()
	ars, aks := n, 1
	if p.aks != 1 {
		ars, aks = 1, n
	}
	pairs := (p.K + 1) / 2
	blocks := (pairs + depthMax - 1) / depthMax
	depth := (pairs + blocks - 1) / blocks
	strip := strips.Get().(*[2][stripSize]float32)
	defer strips.Put(strip)
	panel := words(strip[0][:])
	for k := 0; k < pairs; k += depth {
		pause()
		kc := min(depth, pairs-k)
		for j, q := range parts(j0, j1) {
			p.packPairs(panel, k, kc, j, q)
			rowsDots(i1-i0, kc, &a[i0*ars+k*aks], ars, aks, &panel[0], q.vectors*16, &p.c[i0*p.ldc+j], p.ldc, q.vectors, q.edge, p.acc || k > 0)
		}
	}
}

// packPairs rounds pairs k to k+kc of B, the columns of q from j on, to panel [kc][16·vectors].
func (p *product) packPairs(panel []uint32, k, kc, j int, q part) {
	if p.bns == 1 {
		p.pairs(panel, q.vectors*16, p.b[j:], p.bks, k, k+kc, q.width)
		return
	}
	for i := 0; i < q.width; i += 16 {
		transposeDots(&panel[i], q.vectors*16, &p.b[(j+i)*p.bns+2*k], p.bns, min(16, q.width-i), min(2*kc, p.K-2*k))
	}
}
