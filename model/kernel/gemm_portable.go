package kernel

import "sync"

// kcGo is the depth of one packed block of the portable product.
const kcGo = 256

// packGo are the buffers of the portable product.
type packGo struct{ a, b []float32 }

var packsGo = sync.Pool{New: func() any { return &packGo{a: make([]float32, 2*kcGo), b: make([]float32, 4*kcGo)} }}

// splitGo chooses the tiles of the portable product.
func (p *product) splitGo(threads int) (rows, cols int) {
	if threads == 1 || p.M*p.N*p.K < 1<<16 {
		return p.M, p.N
	}
	if p.M >= 16*threads {
		return (p.M + 2*threads - 1) / (2 * threads), p.N
	}
	return p.M, max(16, (p.N+2*threads-1)/(2*threads))
}

// runGo computes C[i0:i1, j0:j1]. Every element is the one sum over k in rising order, each product and each sum rounded to
// float32 (the conversions forbid fused operations), whichever loop computes it.
func (p *product) runGo(i0, i1, j0, j1 int) {
	if i1-i0 < 4 {
		for i := i0; i < i1; i++ {
			p.rowGo(i, j0, j1)
		}
		return
	}
	buf := packsGo.Get().(*packGo)
	defer packsGo.Put(buf)
	for k0 := 0; k0 < p.K; k0 += kcGo {
		kc := min(kcGo, p.K-k0)
		pause()
		acc := p.acc || k0 > 0
		need := (j1 - j0 + 3) / 4 * 4 * kc
		if cap(buf.b) < need {
			buf.b = make([]float32, need)
		}
		for j := j0; j < j1; j += 4 {
			p.packBGo(buf.b[(j-j0)*kc:][:4*kc], k0, kc, j, min(4, j1-j))
		}
		for i := i0; i < i1; i += 2 {
			mr := min(2, i1-i)
			pa := buf.a[:2*kc]
			clear(pa)
			for r := range mr {
				at := (i+r)*p.ars + k0*p.aks
				for k := range kc {
					pa[2*k+r] = p.a[at]
					at += p.aks
				}
			}
			for j := j0; j < j1; j += 4 {
				p.tileGo(pa, buf.b[(j-j0)*kc:][:4*kc], i, mr, j, min(4, j1-j), acc)
			}
		}
	}
}

// packBGo copies B[k0:k0+kc, j:j+nr] to dst [kc][4], padded with zeros.
func (p *product) packBGo(dst []float32, k0, kc, j, nr int) {
	if p.bns == 1 && nr == 4 {
		for k := range kc {
			copy(dst[4*k:4*k+4], p.b[(k0+k)*p.bks+j:])
		}
		return
	}
	for s := range 4 {
		if s >= nr {
			for k := range kc {
				dst[4*k+s] = 0
			}
			continue
		}
		at := (j+s)*p.bns + k0*p.bks
		for k := range kc {
			dst[4*k+s] = p.b[at]
			at += p.bks
		}
	}
}

// tileGo computes a tile of mr × nr elements (at most 2 × 4, what sixteen SSE registers hold) from packed blocks.
func (p *product) tileGo(pa, pb []float32, i, mr, j, nr int, acc bool) {
	var t [2][4]float32
	if acc {
		for r := range mr {
			copy(t[r][:nr], p.c[(i+r)*p.ldc+j:])
		}
	}
	c00, c01, c02, c03 := t[0][0], t[0][1], t[0][2], t[0][3]
	c10, c11, c12, c13 := t[1][0], t[1][1], t[1][2], t[1][3]
	for ; len(pa) >= 8 && len(pb) >= 16; pa, pb = pa[8:], pb[16:] {
		a, b := (*[8]float32)(pa), (*[16]float32)(pb)
		c00 += float32(a[0] * b[0])
		c01 += float32(a[0] * b[1])
		c02 += float32(a[0] * b[2])
		c03 += float32(a[0] * b[3])
		c10 += float32(a[1] * b[0])
		c11 += float32(a[1] * b[1])
		c12 += float32(a[1] * b[2])
		c13 += float32(a[1] * b[3])
		c00 += float32(a[2] * b[4])
		c01 += float32(a[2] * b[5])
		c02 += float32(a[2] * b[6])
		c03 += float32(a[2] * b[7])
		c10 += float32(a[3] * b[4])
		c11 += float32(a[3] * b[5])
		c12 += float32(a[3] * b[6])
		c13 += float32(a[3] * b[7])
		c00 += float32(a[4] * b[8])
		c01 += float32(a[4] * b[9])
		c02 += float32(a[4] * b[10])
		c03 += float32(a[4] * b[11])
		c10 += float32(a[5] * b[8])
		c11 += float32(a[5] * b[9])
		c12 += float32(a[5] * b[10])
		c13 += float32(a[5] * b[11])
		c00 += float32(a[6] * b[12])
		c01 += float32(a[6] * b[13])
		c02 += float32(a[6] * b[14])
		c03 += float32(a[6] * b[15])
		c10 += float32(a[7] * b[12])
		c11 += float32(a[7] * b[13])
		c12 += float32(a[7] * b[14])
		c13 += float32(a[7] * b[15])
	}
	for ; len(pa) >= 2 && len(pb) >= 4; pa, pb = pa[2:], pb[4:] {
		a, b := (*[2]float32)(pa), (*[4]float32)(pb)
		c00 += float32(a[0] * b[0])
		c01 += float32(a[0] * b[1])
		c02 += float32(a[0] * b[2])
		c03 += float32(a[0] * b[3])
		c10 += float32(a[1] * b[0])
		c11 += float32(a[1] * b[1])
		c12 += float32(a[1] * b[2])
		c13 += float32(a[1] * b[3])
	}
	t = [2][4]float32{{c00, c01, c02, c03}, {c10, c11, c12, c13}}
	for r := range mr {
		copy(p.c[(i+r)*p.ldc+j:][:nr], t[r][:nr])
	}
}

// rowGo computes one row without packing, for products too flat to repay it.
func (p *product) rowGo(i, j0, j1 int) {
	c := p.c[i*p.ldc+j0:][:j1-j0]
	if p.bns == 1 {
		if !p.acc {
			clear(c)
		}
		for k := range p.K {
			a := p.a[i*p.ars+k*p.aks]
			for j, b := range p.b[k*p.bks+j0:][:len(c)] {
				c[j] += float32(a * b)
			}
		}
		return
	}
	for j := range c {
		var s float32
		if p.acc {
			s = c[j]
		}
		b := p.b[(j0+j)*p.bns:][:p.K]
		at := i * p.ars
		for _, v := range b {
			s += float32(p.a[at] * v)
			at += p.aks
		}
		c[j] = s
	}
}

// transposeGo writes src [n,k] (ld elements from row to row) to dst [k,stride]; columns n to stride-1 of dst are set to zero.
func transposeGo(dst []float32, stride int, src []float32, ld, n, k int) {
	for q := range k {
		row := dst[q*stride:][:stride]
		for r := range n {
			row[r] = src[r*ld+q]
		}
		clear(row[n:])
	}
}
