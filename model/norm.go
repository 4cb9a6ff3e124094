package model

import "github.com/rankloop/rankloop/model/kernel"

// norm is LayerNorm, or RMSNorm where b is nil.
type norm struct {
	w, b *Param
	eps  float32
}

// normRows is the number of rows whose share of the gradient of w and b is summed
// by itself; the shares are then added in order, whatever thread made them.
const normRows = 128

// forward computes y [rows,C]; mean (LayerNorm only) and rstd [rows] are kept for
// the backward pass.
func (n *norm) forward(y, mean, rstd, x []float32, rows int) {
	C := len(n.w.Data)
	if n.b == nil {
		kernel.RMSNorm(y, rstd, x, n.w.Data, rows, C, n.eps)
		return
	}
	kernel.LayerNorm(y, mean, rstd, x, n.w.Data, n.b.Data, rows, C, n.eps)
}

// parts is the number of shares of the gradient for that many rows.
func parts(rows int) int { return (rows + normRows - 1) / normRows }

// backward computes dx [rows,C] from dy and writes each share of the gradient of w
// (and b) to share [parts(rows)][2C].
func (n *norm) backward(dx, share, dy, x, mean, rstd []float32, rows int) {
	C := len(n.w.Data)
	kernel.Parallel(parts(rows), 1, func(a, b int) {
		for i := a; i < b; i++ {
			lo, hi := i*normRows, min((i+1)*normRows, rows)
			s := share[i*2*C : (i+1)*2*C]
			clear(s)
			if n.b == nil {
				kernel.RMSNormBackward(dx[lo*C:hi*C], s[:C], dy[lo*C:hi*C], x[lo*C:hi*C], rstd[lo:hi], n.w.Data, hi-lo, C)
				continue
			}
			kernel.LayerNormBackward(dx[lo*C:hi*C], s[:C], s[C:], dy[lo*C:hi*C], x[lo*C:hi*C], mean[lo:hi], rstd[lo:hi], n.w.Data, hi-lo, C)
		}
	})
}

// addShares adds all shares to the gradients of w and b, in order, unless frozen.
func (n *norm) addShares(share []float32) {
	C := len(n.w.Data)
	sumRows(n.w.grad(), share, 2*C, len(share)/(2*C))
	if n.b != nil {
		sumRows(n.b.grad(), share[C:], 2*C, len(share)/(2*C))
	}
}
