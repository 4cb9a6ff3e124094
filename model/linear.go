package model

import "github.com/rankloop/rankloop/model/kernel"

// linear is y = x·W + b. GPT-2 stores W as [in,out] (Conv1D), Llama as [out,in].
// Where W carries an adapter, its share comes on top.
type linear struct {
	w, b    *Param // b nil = no bias
	in, out int
	outIn   bool
}

// forward computes y [rows,out] from x [rows,in]; ldy and ldx are the distances
// between rows. Meanwhile what is ahead is fetched, if anything is.
func (l *linear) forward(y []float32, ldy int, x []float32, ldx, rows int, ahead *kernel.Ahead) {
	if l.b != nil {
		for r := range rows {
			copy(y[r*ldy:r*ldy+l.out], l.b.Data)
		}
	}
	l.product(y, ldy, x, ldx, rows, l.b != nil, ahead)
}

// forwardAdd computes y = res + x·W + b, both [rows,out] packed; y may be res.
func (l *linear) forwardAdd(y, res, x []float32, ldx, rows int, ahead *kernel.Ahead) {
	n := rows * l.out
	if n > 0 && &y[0] != &res[0] {
		copy(y[:n], res[:n])
	}
	if l.b != nil {
		for r := range rows {
			kernel.Add(y[r*l.out:(r+1)*l.out], l.b.Data)
		}
	}
	l.product(y, l.out, x, ldx, rows, true, ahead)
}

func (l *linear) product(y []float32, ldy int, x []float32, ldx, rows int, acc bool, ahead *kernel.Ahead) {
	switch {
	case l.w.panels != nil:
		l.w.panels.MulAhead(rows, x, ldx, y, ldy, acc, ahead)
	case l.outIn:
		l.w.timesT(rows, l.out, l.in, x, ldx, y, ldy, acc)
	default:
		l.w.times(rows, l.out, l.in, x, ldx, y, ldy, acc)
	}
	if a := l.w.adapter; a != nil {
		a.forward(y, ldy, x, ldx, rows)
	}
}

// backX computes dx [rows,in] packed, or adds to it, from dy [rows,out].
func (l *linear) backX(dx []float32, dy []float32, lddy, rows int, acc bool) {
	if l.outIn {
		l.w.times(rows, l.in, l.out, dy, lddy, dx, l.in, acc)
	} else {
		l.w.timesT(rows, l.in, l.out, dy, lddy, dx, l.in, acc)
	}
	if a := l.w.adapter; a != nil {
		a.backX(dx, dy, lddy, rows)
	}
}

// backW adds to the gradients of W, b and the adapter, as far as they are trained.
func (l *linear) backW(x []float32, ldx int, dy []float32, lddy, rows int) {
	switch {
	case l.w.Frozen:
	case l.outIn:
		l.w.addProduct(l.out, l.in, rows, dy, lddy, x, ldx)
	default:
		l.w.addProduct(l.in, l.out, rows, x, ldx, dy, lddy)
	}
	if l.b != nil {
		sumRows(l.b.grad(), dy, lddy, rows)
	}
	if a := l.w.adapter; a != nil {
		a.backW(x, ldx, dy, lddy, rows)
	}
}

// times computes c [M,N] = a·w, or adds to it, with w [K,N], which are packed for it if at all.
func (p *Param) times(M, N, K int, a []float32, lda int, c []float32, ldc int, acc bool) {
	if p.panels != nil {
		p.panels.Mul(M, a, lda, c, ldc, acc)
		return
	}
	if p.Half != nil {
		kernel.NNBF16(M, N, K, a, lda, p.Half, N, c, ldc, acc)
		return
	}
	if p.mixed {
		kernel.NNMixed(M, N, K, a, lda, p.Data, N, c, ldc, acc)
		return
	}
	kernel.NN(M, N, K, a, lda, p.Data, N, c, ldc, acc)
}

// timesT computes c [M,N] = a·wᵀ, or adds to it, with w [N,K].
func (p *Param) timesT(M, N, K int, a []float32, lda int, c []float32, ldc int, acc bool) {
	if p.panels != nil {
		p.panels.Mul(M, a, lda, c, ldc, acc)
		return
	}
	if p.Half != nil {
		kernel.NTBF16(M, N, K, a, lda, p.Half, K, c, ldc, acc)
		return
	}
	if p.mixed {
		kernel.NTMixed(M, N, K, a, lda, p.Data, K, c, ldc, acc)
		return
	}
	kernel.NT(M, N, K, a, lda, p.Data, K, c, ldc, acc)
}

// addProduct adds aᵀ·b, of matrices [K,M] and [K,N], to the gradient [M,N] of a tensor that is trained.
func (p *Param) addProduct(M, N, K int, a []float32, lda int, b []float32, ldb int) {
	if p.mixed {
		kernel.TNMixed(M, N, K, a, lda, b, ldb, p.grad(), N, true)
		return
	}
	kernel.TN(M, N, K, a, lda, b, ldb, p.grad(), N, true)
}

// sumRows adds every row of x to dst, in row order; dst nil takes nothing.
func sumRows(dst, x []float32, ld, rows int) {
	kernel.Parallel(len(dst), 64, func(lo, hi int) {
		for r := range rows {
			kernel.Add(dst[lo:hi], x[r*ld+lo:r*ld+hi])
		}
	})
}
