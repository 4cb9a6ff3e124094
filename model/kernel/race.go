package kernel

import "unsafe"

// The race detector does not see what assembly reads and writes. Under -race every function that may call assembly says so itself,
// element for element; otherwise these functions are empty.

// reads tells the race detector that x is read.
func reads[T any](x []T) {
	if raceEnabled && len(x) > 0 {
		raceRead(unsafe.Pointer(unsafe.SliceData(x)), len(x)*int(unsafe.Sizeof(x[0])))
	}
}

// writes tells the race detector that x is written, and perhaps read.
func writes[T any](x []T) {
	if raceEnabled && len(x) > 0 {
		raceWrite(unsafe.Pointer(unsafe.SliceData(x)), len(x)*int(unsafe.Sizeof(x[0])))
	}
}

// readsRows tells the race detector that rows × cols elements of x are read, ld elements from one row to the next.
func readsRows[T any](x []T, rows, cols, ld int) {
	if raceEnabled && cols > 0 {
		for i := range rows {
			reads(x[i*ld:][:cols])
		}
	}
}

// writesRows tells the race detector that rows × cols elements of x are written, and perhaps read.
func writesRows[T any](x []T, rows, cols, ld int) {
	if raceEnabled && cols > 0 {
		for i := range rows {
			writes(x[i*ld:][:cols])
		}
	}
}

// announce tells the race detector what the computation of C[i0:i1, j0:j1] reads and writes.
func (p *product) announce(i0, i1, j0, j1 int) {
	if !raceEnabled || i0 == i1 || j0 == j1 {
		return
	}
	writesRows(p.c[i0*p.ldc+j0:], i1-i0, j1-j0, p.ldc)
	if p.K == 0 {
		return
	}
	if p.aks == 1 {
		readsRows(p.a[i0*p.ars:], i1-i0, p.K, p.ars)
	} else {
		readsRows(p.a[i0*p.ars:], p.K, i1-i0, p.aks)
	}
	if p.half != nil {
		readsFactor(p.half, p, j0, j1)
	} else {
		readsFactor(p.b, p, j0, j1)
	}
}

// readsFactor tells the race detector that columns j0 to j1 of b, the right factor of p, are read.
func readsFactor[T any](b []T, p *product, j0, j1 int) {
	if p.bns == 1 {
		readsRows(b[j0:], p.K, j1-j0, p.bks)
	} else {
		readsRows(b[j0*p.bns:], j1-j0, p.K, p.bns)
	}
}

// announce tells the race detector what the computation of panels lo to hi of a product reads and writes.
func (w *Panels) announce(lo, hi, M int, c []float32, ldc int) {
	if !raceEnabled {
		return
	}
	j := lo * panelWidth
	writesRows(c[j:], M, min(hi*panelWidth, w.N)-j, ldc)
	from, to := lo*panelWidth*w.depth(), hi*panelWidth*w.depth()
	if w.Form == FormFloat32 {
		reads(w.wide[from:to])
		return
	}
	reads(w.words[from:to])
	if w.Form == FormInt8 {
		reads(w.scales[j : hi*panelWidth])
	}
}
