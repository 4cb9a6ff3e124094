package kernel

import (
	"math"
	"sync"
)

// normGrain is the number of elements that a goroutine takes at least in the normalisations.
const normGrain = 1 << 14

// LayerNorm normalises each of rows rows of C elements (Ba, Kiros and Hinton 2016): dst = (x-mean)·rstd·w + b with rstd =
// 1/√(variance+eps), the variance over all C elements. mean and rstd [rows] are kept for the backward pass; both may be nil.
// x and dst [rows,C] may be the same; w and b [C]. It runs on the parallel-for where it is large.
func LayerNorm(dst, mean, rstd, x, w, b []float32, rows, C int, eps float32) {
	b = b[:C]
	if mean != nil {
		mean = mean[:rows]
	}
	normRowsForward(forwardNorm{dst: dst, mean: mean, rstd: rstd, x: x, w: w, b: b, C: C, eps: eps}, rows)
}

// LayerNormBackward is the gradient of LayerNorm: dx [rows,C] is overwritten (it may be dy), and dw and db [C] are
// added to, each element in the order of the rows, whatever the threads; both may be nil.
func LayerNormBackward(dx, dw, db, dy, x, mean, rstd, w []float32, rows, C int) {
	normColumnsParallel(dw, db, dy, x, mean[:rows], rstd, rows, C)
	normRows(dx, dy, x, mean, rstd, w, rows, C)
}

// RMSNorm scales each row (Zhang and Sennrich 2019): dst = x·rstd·w with rstd = 1/√(mean of x² + eps). rstd [rows] may be nil;
// x and dst [rows,C] may be the same.
func RMSNorm(dst, rstd, x, w []float32, rows, C int, eps float32) {
	normRowsForward(forwardNorm{dst: dst, rstd: rstd, x: x, w: w, C: C, eps: eps}, rows)
}

// forwardNorm is the work of a normalisation; RMSNorm has no b.
type forwardNorm struct {
	dst, mean, rstd, x, w, b []float32
	C                        int
	eps                      float32
}

var forwardNorms = sync.Pool{New: func() any { return new(forwardNorm) }}

func normRowsForward(n forwardNorm, rows int) {
	n.w, n.dst, n.x = n.w[:n.C], n.dst[:rows*n.C], n.x[:rows*n.C]
	work := forwardNorms.Get().(*forwardNorm)
	*work = n
	ParallelWork(rows, normGrain/max(n.C, 1)+1, work)
	*work = forwardNorm{}
	forwardNorms.Put(work)
}

// Run normalises rows lo to hi.
func (n *forwardNorm) Run(lo, hi int) {
	for i := lo; i < hi; i++ {
		row, m := n.x[i*n.C:][:n.C], float32(0)
		if n.b != nil {
			m = sum(row) / float32(n.C)
		}
		r := inverseRoot(sumDeviations(row, m)/float32(n.C) + n.eps)
		normalise(n.dst[i*n.C:][:n.C], row, n.w, n.b, m, r)
		if n.mean != nil {
			n.mean[i] = m
		}
		if n.rstd != nil {
			n.rstd[i] = r
		}
	}
}

// RMSNormBackward is the gradient of RMSNorm: dx is overwritten, dw added to, as in LayerNormBackward.
func RMSNormBackward(dx, dw, dy, x, rstd, w []float32, rows, C int) {
	normColumnsParallel(dw, nil, dy, x, nil, rstd, rows, C)
	normRows(dx, dy, x, nil, rstd, w, rows, C)
}

// inverseRoot returns 1/√v.
func inverseRoot(v float32) float32 { return 1 / float32(math.Sqrt(float64(v))) }

// normRows computes dx = rstd·(dy·w - a - x̂·b), where b is the mean of dy·w·x̂ and a that of dy·w, or 0 without means.
func normRows(dx, dy, x, mean, rstd, w []float32, rows, C int) {
	w, rstd = w[:C], rstd[:rows]
	dx, dy, x = dx[:rows*C], dy[:rows*C], x[:rows*C]
	Parallel(rows, normGrain/max(C, 1)+1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			g, row := dy[i*C:][:C], x[i*C:][:C]
			var m float32
			if mean != nil {
				m = mean[i]
			}
			a, b := normSums(g, row, w, m, rstd[i])
			if mean == nil {
				a = 0
			}
			normInput(dx[i*C:][:C], g, row, w, m, rstd[i], a/float32(C), b/float32(C))
		}
	})
}

// normColumnsParallel adds the gradients of the weight and the bias, split by columns so that each is one sum over the rows.
func normColumnsParallel(dw, db, dy, x, mean, rstd []float32, rows, C int) {
	if dw == nil || rows == 0 || C == 0 {
		return
	}
	dw, rstd = dw[:C], rstd[:rows]
	dy, x = dy[:rows*C], x[:rows*C]
	if db != nil {
		db = db[:C]
	}
	const block = 16
	Parallel((C+block-1)/block, normGrain/(block*rows)+1, func(lo, hi int) {
		j, end := lo*block, min(hi*block, C)
		var bias []float32
		if db != nil {
			bias = db[j:end]
		}
		normColumns(dw[j:end], bias, dy[j:], x[j:], mean, rstd, rows, C)
	})
}

func sumDeviationsGo(x []float32, mean float32) float32 {
	var l lanes
	for i, v := range x {
		d := v - mean
		l[i&15] += float32(d * d)
	}
	return l.sum()
}

// normaliseGo writes (x-mean)·rstd·w + b to dst; b may be nil.
func normaliseGo(dst, x, w, b []float32, mean, rstd float32) {
	for i, v := range x {
		y := float32((v - mean) * rstd * w[i])
		if b != nil {
			y += b[i]
		}
		dst[i] = y
	}
}

// normSumsGo returns the sums of dy·w and of dy·w·x̂.
func normSumsGo(dy, x, w []float32, mean, rstd float32) (float32, float32) {
	var a, b lanes
	for i, v := range x {
		g := float32(dy[i] * w[i])
		a[i&15] += g
		b[i&15] += float32(g * float32((v-mean)*rstd))
	}
	return a.sum(), b.sum()
}

// normInputGo writes rstd·(dy·w - a - x̂·b) to dx.
func normInputGo(dx, dy, x, w []float32, mean, rstd, a, b float32) {
	for i, v := range x {
		hat := float32((v - mean) * rstd)
		dx[i] = rstd * (float32(dy[i]*w[i]) - a - float32(hat*b))
	}
}

// normColumnsGo adds dy·x̂ of all rows to dw and dy to db (unless nil), len(dw) columns of rows that are ld elements apart;
// mean may be nil.
func normColumnsGo(dw, db, dy, x, mean, rstd []float32, rows, ld int) {
	for i := range rows {
		var m float32
		if mean != nil {
			m = mean[i]
		}
		for j := range dw {
			g := dy[i*ld+j]
			dw[j] += float32(g * float32((x[i*ld+j]-m)*rstd[i]))
			if db != nil {
				db[j] += g
			}
		}
	}
}
