package kernel

import "fmt"

// NN computes C = A·B, or C += A·B where acc is set: A [M,K], B [K,N], C [M,N], row-major, with lda, ldb, ldc elements from
// one row to the next. C must not overlap A or B. In the forward pass of a layer with W [in,out]: y = x·W.
func NN(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	check("NN", "A", a, M, K, lda)
	check("NN", "B", b, K, N, ldb)
	check("NN", "C", c, M, N, ldc)
	gemm(product{M: M, N: N, K: K, a: a, ars: lda, aks: 1, b: b, bks: ldb, bns: 1, c: c, ldc: ldc, acc: acc})
}

// NT computes C = A·Bᵀ, or C += A·Bᵀ where acc is set: A [M,K], B [N,K], C [M,N]; otherwise as NN. In the forward pass of a
// layer with W [out,in]: y = x·Wᵀ.
func NT(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	check("NT", "A", a, M, K, lda)
	check("NT", "B", b, N, K, ldb)
	check("NT", "C", c, M, N, ldc)
	gemm(product{M: M, N: N, K: K, a: a, ars: lda, aks: 1, b: b, bks: 1, bns: ldb, c: c, ldc: ldc, acc: acc})
}

// TN computes C = Aᵀ·B, or C += Aᵀ·B where acc is set: A [K,M], B [K,N], C [M,N]; otherwise as NN. It is the gradient of a
// weight, dW += xᵀ·dy, with K the number of tokens.
func TN(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	check("TN", "A", a, K, M, lda)
	check("TN", "B", b, K, N, ldb)
	check("TN", "C", c, M, N, ldc)
	gemm(product{M: M, N: N, K: K, a: a, ars: 1, aks: lda, b: b, bks: ldb, bns: 1, c: c, ldc: ldc, acc: acc})
}

// product is one matrix product: element (i,k) of the left factor is a[i*ars+k*aks], element (k,j) of the right one
// b[k*bks+j*bns], where one of bks and bns is 1; the result is c[i*ldc+j].
type product struct {
	M, N, K  int
	a        []float32
	ars, aks int
	b        []float32
	half     []uint16 // B in bfloat16, in place of b
	bks, bns int
	c        []float32
	ldc      int
	acc      bool
}

// gemm runs p on the parallel-for, where it is large enough to be split.
func gemm(p product) {
	if p.M == 0 || p.N == 0 {
		return
	}
	rows, cols := p.split(Threads())
	if p.K == 0 || rows == p.M && cols >= p.N {
		p.serial()
		return
	}
	shared := p // what the goroutines see is on the heap; p need not be
	down, across := (p.M+rows-1)/rows, (p.N+cols-1)/cols
	Parallel(down*across, 1, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			i, j := t/across*rows, t%across*cols
			shared.tile(i, min(i+rows, shared.M), j, min(j+cols, shared.N))
		}
	})
}

// serial runs p on the calling goroutine.
func (p *product) serial() {
	if p.K == 0 {
		p.clear()
		return
	}
	p.tile(0, p.M, 0, p.N)
}

// tile computes C[i0:i1, j0:j1].
func (p *product) tile(i0, i1, j0, j1 int) {
	p.announce(i0, i1, j0, j1)
	if p.half != nil {
		p.runHalf(i0, i1, j0, j1)
		return
	}
	p.run(i0, i1, j0, j1)
}

// clear sets C to zero unless the product is to be added to it: the product over an empty inner dimension.
func (p *product) clear() {
	if p.acc {
		return
	}
	for i := range p.M {
		clear(p.c[i*p.ldc:][:p.N])
	}
}

// check panics unless m holds a matrix of rows × cols with ld elements from row to row: the assembly does not look.
func check(op, name string, m []float32, rows, cols, ld int) {
	if rows < 0 || cols < 0 || ld < cols || (rows > 0 && cols > 0 && (rows-1)*ld+cols > len(m)) {
		panic(fmt.Sprintf("kernel.%s: %s is [%d,%d] with leading dimension %d, the slice has %d elements", op, name, rows, cols, ld, len(m)))
	}
}
