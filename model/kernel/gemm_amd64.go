//go:build amd64 && !noasm

package kernel

const (
	rowsMax = 256  // rows of a task, which its blocks of A keep in the second-level cache
	rowPart = 2048 // columns of a single row of C that stay in the first-level cache
)

// shape returns the vector length, the rows of a tile and the vectors of a panel of the instruction set in use.
func shape() (lanes, mr, nv int) {
	if level == avx512 {
		return 16, 8, 3
	}
	return 8, 6, 2
}

func (p *product) split(threads int) (rows, cols int) {
	if level == portable {
		return p.splitGo(threads)
	}
	if threads == 1 || p.M*p.N*p.K < 2*parallelWork {
		return p.M, p.N
	}
	lanes, mr, nv := shape()
	// About four tiles for each thread: rows first, because each tile copies its own panels of B, then panels, then fewer rows.
	want := 4 * threads
	if wideCore && p.M > p.thin() {
		want = 2 * threads // a task cannot copy its first block while it multiplies
	}
	if p.M == 1 {
		want = threads // memory is the limit: long runs of it are read faster
	}
	rows = min(p.M, rowsMax)
	across := (p.M + rows - 1) / rows
	if across >= want {
		return rows, p.N
	}
	width := lanes * nv
	count := (p.N + width - 1) / width
	groups := min(count, (want+across-1)/across)
	cols = (count + groups - 1) / groups * width
	if groups = (p.N + cols - 1) / cols; across*groups < want {
		parts := (want + groups - 1) / groups
		rows = min(rows, max(4*mr, roundUp((p.M+parts-1)/parts, mr)))
	}
	return rows, cols
}

// run computes C[i0:i1, j0:j1] on the calling goroutine.
func (p *product) run(i0, i1, j0, j1 int) {
	if level == portable {
		p.runGo(i0, i1, j0, j1)
		return
	}
	if i1-i0 == 1 && p.bns == 1 {
		p.runRow(i0, j0, j1)
		return
	}
	if i1-i0 <= 8 && p.bns != 1 && p.aks == 1 {
		p.runFew(i0, i1, j0, j1)
		return
	}
	if i1-i0 <= p.thin() {
		p.runThin(i0, i1, j0, j1)
		return
	}
	p.runBlocks(i0, i1, j0, j1)
}

// runRow computes C[i, j0:j1] where B is row-major. Memory is the limit: B is read along its rows, eight at a time, with a part
// of C that stays in the first-level cache.
func (p *product) runRow(i, j0, j1 int) {
	lanes, _, _ := shape()
	for ; j0 < j1; j0 += rowPart {
		n := min(rowPart, j1-j0)
		c := p.c[i*p.ldc+j0:][:n]
		if !p.acc {
			clear(c)
		}
		vectors, whole := (n+lanes-1)/lanes, p.K&^7
		edge := n - (vectors-1)*lanes
		if whole > 0 && lanes == 16 {
			rowAVX512(whole, &p.a[i*p.ars], p.aks, &p.b[j0], p.bks, &c[0], vectors, edge)
		} else if whole > 0 {
			rowAVX2(whole, &p.a[i*p.ars], p.aks, &p.b[j0], p.bks, &c[0], vectors, edge)
		}
		for k := whole; k < p.K; k++ {
			axpy(c, p.a[i*p.ars+k*p.aks], p.b[k*p.bks+j0:])
		}
	}
}

// runFew computes C[i0:i1, j0:j1], eight rows at most, where B is stored by columns.
func (p *product) runFew(i0, i1, j0, j1 int) {
	if level == avx512 {
		for ; j0 < j1; j0 += 16 {
			fewAVX512(i1-i0, p.K, &p.a[i0*p.ars], p.ars, &p.b[j0*p.bns], p.bns, &p.c[i0*p.ldc+j0], p.ldc, min(16, j1-j0), p.acc)
		}
		return
	}
	for ; j0 < j1; j0 += 8 {
		for i := i0; i < i1; i += 4 { // the second time B is in the cache
			fewAVX2(min(4, i1-i), p.K, &p.a[i*p.ars], p.ars, &p.b[j0*p.bns], p.bns, &p.c[i*p.ldc+j0], p.ldc, min(8, j1-j0), p.acc)
		}
	}
}

// runFewHalf is runFew with B in bfloat16.
func (p *product) runFewHalf(i0, i1, j0, j1 int) {
	if level == avx512 {
		for ; j0 < j1; j0 += 16 {
			fewBF16AVX512(i1-i0, p.K, &p.a[i0*p.ars], p.ars, &p.half[j0*p.bns], p.bns, &p.c[i0*p.ldc+j0], p.ldc, min(16, j1-j0), p.acc)
		}
		return
	}
	whole := p.K &^ 7
	for ; j0 < j1; j0 += 8 {
		n := min(8, j1-j0)
		var tail [8 * 8]uint16 // what is left of the rows, padded
		for j := range n {
			copy(tail[8*j:], p.half[(j0+j)*p.bns+whole:][:p.K-whole])
		}
		for i := i0; i < i1; i += 4 {
			m, a, c := min(4, i1-i), p.a[i*p.ars:], &p.c[i*p.ldc+j0]
			if whole > 0 {
				fewBF16AVX2(m, whole, &a[0], p.ars, &p.half[j0*p.bns], p.bns, c, p.ldc, n, p.acc)
			}
			if whole < p.K {
				fewBF16AVX2(m, p.K-whole, &a[whole], p.ars, &tail[0], 8, c, p.ldc, n, p.acc || whole > 0)
			}
		}
	}
}

// runHalfDirect computes the first columns of C[i0:i1, j0:j1], B in bfloat16, with kernels that widen it in registers: for a
// single row, or few where B is stored by columns. It returns the first column that is left.
func (p *product) runHalfDirect(i0, i1, j0, j1 int) int {
	lanes, _, _ := shape()
	switch {
	case level == portable || i1-i0 > 8:
		return j0
	case p.bns != 1 && p.aks == 1:
		p.runFewHalf(i0, i1, j0, j1)
		return j1
	case i1-i0 != 1 || p.bns != 1:
		return j0
	}
	var wide [rowPart]float32
	for whole := p.K &^ 7; j1-j0 >= lanes; {
		n := min(rowPart, (j1-j0)/lanes*lanes)
		c := p.c[i0*p.ldc+j0:][:n]
		if !p.acc {
			clear(c)
		}
		if whole > 0 && lanes == 16 {
			rowBF16AVX512(whole, &p.a[i0*p.ars], p.aks, &p.half[j0], p.bks, &c[0], n/lanes)
		} else if whole > 0 {
			rowBF16AVX2(whole, &p.a[i0*p.ars], p.aks, &p.half[j0], p.bks, &c[0], n/lanes)
		}
		for k := whole; k < p.K; k++ {
			widen(wide[:n], p.half[k*p.bks+j0:][:n])
			axpy(c, p.a[i0*p.ars+k*p.aks], wide[:n])
		}
		j0 += n
	}
	return j0
}

// transpose writes src [n,k] (ld elements from row to row) to dst [k,stride]; stride is a multiple of 16, columns n up to it become zero.
func transpose(dst []float32, stride int, src []float32, ld, n, k int) {
	readsRows(src, n, k, ld)
	writesRows(dst, k, stride, stride)
	if level == portable {
		transposeGo(dst, stride, src, ld, n, k)
		return
	}
	lanes, _, _ := shape()
	for i := 0; i < n; i += lanes {
		if lanes == 16 {
			transposeWide(dst[i:], stride, src[i*ld:], ld, min(16, n-i), k)
		} else {
			transpose8(&dst[i], stride, &src[i*ld], ld, min(8, n-i), k)
		}
	}
	for i := roundUp(n, lanes); i < stride; i += lanes { // less than 16 columns are left
		for q := range k {
			clear(dst[q*stride+i:][:lanes])
		}
	}
}

// transposeWide is transpose for the first n rows, 16 at most, by vectors of 16.
func transposeWide(dst []float32, stride int, src []float32, ld, n, k int) {
	whole := 0
	if n == 16 && wideCore { // loads are cheaper there than shuffles
		whole = k &^ 15
	}
	if whole > 0 {
		transposeLoads16(&dst[0], stride, &src[0], ld, whole)
	}
	if whole < k {
		transpose16(&dst[whole*stride], stride, &src[whole], ld, n, k-whole)
	}
}
