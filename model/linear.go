package model

import "github.com/rankloop/rankloop/model/kernel"

// linear is y = x·W + b. GPT-2 stores W as [in,out] (Conv1D), Llama as [out,in].
type linear struct {
	w, b    *Param // b nil = no bias
	in, out int
	outIn   bool
}

// forward computes y [rows,out] from x [rows,in]; ldy and ldx are the distances
// between rows.
func (l *linear) forward(y []float32, ldy int, x []float32, ldx, rows int) {
	if l.b != nil {
		for r := range rows {
			copy(y[r*ldy:r*ldy+l.out], l.b.Data)
		}
	}
	l.product(y, ldy, x, ldx, rows, l.b != nil)
}

// forwardAdd computes y = res + x·W + b, both [rows,out] packed; y may be res.
func (l *linear) forwardAdd(y, res, x []float32, ldx, rows int) {
	n := rows * l.out
	if n > 0 && &y[0] != &res[0] {
		copy(y[:n], res[:n])
	}
	if l.b != nil {
		for r := range rows {
			kernel.Add(y[r*l.out:(r+1)*l.out], l.b.Data)
		}
	}
	l.product(y, l.out, x, ldx, rows, true)
}

func (l *linear) product(y []float32, ldy int, x []float32, ldx, rows int, acc bool) {
	if l.outIn {
		kernel.NT(rows, l.out, l.in, x, ldx, l.w.Data, l.in, y, ldy, acc)
	} else {
		kernel.NN(rows, l.out, l.in, x, ldx, l.w.Data, l.out, y, ldy, acc)
	}
}

// backX computes dx [rows,in] packed, or adds to it, from dy [rows,out].
func (l *linear) backX(dx []float32, dy []float32, lddy, rows int, acc bool) {
	if l.outIn {
		kernel.NN(rows, l.in, l.out, dy, lddy, l.w.Data, l.in, dx, l.in, acc)
	} else {
		kernel.NT(rows, l.in, l.out, dy, lddy, l.w.Data, l.out, dx, l.in, acc)
	}
}

// backW adds to the gradients of W and b.
func (l *linear) backW(x []float32, ldx int, dy []float32, lddy, rows int) {
	if l.outIn {
		kernel.TN(l.out, l.in, rows, dy, lddy, x, ldx, l.w.grad(), l.in, true)
	} else {
		kernel.TN(l.in, l.out, rows, x, ldx, dy, lddy, l.w.grad(), l.out, true)
	}
	if l.b != nil {
		sumRows(l.b.grad(), dy, lddy, rows)
	}
}

// sumRows adds every row of x to dst, in row order.
func sumRows(dst, x []float32, ld, rows int) {
	kernel.Parallel(len(dst), 64, func(lo, hi int) {
		for r := range rows {
			kernel.Add(dst[lo:hi], x[r*ld+lo:r*ld+hi])
		}
	})
}
