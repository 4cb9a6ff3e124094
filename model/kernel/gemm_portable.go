package kernel

import "sync"

// kcGo is the depth of one packed block of the portable product.
const kcGo = 256

// packGo are the buffers of the portable product.
type packGo struct{ a, b []float32 }

var packsGo = sync.Pool{New: func() any { return &packGo{a: make([]float32, 4*kcGo), b: make([]float32, 4*kcGo)} }}

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
		acc := p.acc || k0 > 0
		need := (j1 - j0 + 3) / 4 * 4 * kc
		if cap(buf.b) < need {
			buf.b = make([]float32, need)
		}
		for j := j0; j < j1; j += 4 {
			p.packBGo(buf.b[(j-j0)*kc:][:4*kc], k0, kc, j, min(4, j1-j))
		}
		for i := i0; i < i1; i += 4 {
			mr := min(4, i1-i)
			pa := buf.a[:4*kc]
			for r := range 4 {
				if r >= mr {
					for k := range kc {
						pa[4*k+r] = 0
					}
					continue
				}
				at := (i+r)*p.ars + k0*p.aks
				for k := range kc {
					pa[4*k+r] = p.a[at]
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

// tileGo computes a tile of mr × nr elements (at most 4 × 4) from packed blocks, two rows at a time (16 SSE registers).
func (p *product) tileGo(pa, pb []float32, i, mr, j, nr int, acc bool) {
	for r := 0; r < mr; r += 2 {
		var t [2][4]float32
		if acc {
			for q := range min(2, mr-r) {
				copy(t[q][:nr], p.c[(i+r+q)*p.ldc+j:])
			}
		}
		c00, c01, c02, c03 := t[0][0], t[0][1], t[0][2], t[0][3]
		c10, c11, c12, c13 := t[1][0], t[1][1], t[1][2], t[1][3]
		for a, b := pa[r:], pb; len(b) >= 4; b = b[4:] {
			b0, b1, b2, b3 := b[0], b[1], b[2], b[3]
			a0, a1 := a[0], a[1]
			c00 += float32(a0 * b0)
			c01 += float32(a0 * b1)
			c02 += float32(a0 * b2)
			c03 += float32(a0 * b3)
			c10 += float32(a1 * b0)
			c11 += float32(a1 * b1)
			c12 += float32(a1 * b2)
			c13 += float32(a1 * b3)
			if len(a) < 6 {
				break
			}
			a = a[4:]
		}
		t = [2][4]float32{{c00, c01, c02, c03}, {c10, c11, c12, c13}}
		for q := range min(2, mr-r) {
			copy(p.c[(i+r+q)*p.ldc+j:][:nr], t[q][:nr])
		}
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
