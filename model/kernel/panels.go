package kernel

import (
	"math"
	"unsafe"
)

//go:generate go run -C _gen ./panels -out ../panels_kernels_amd64.s -stubs ../panels_kernels_amd64.go -pkg kernel

// Form is how the weights of Panels are kept.
type Form uint8

const (
	// FormFloat32 keeps them as they are: products have the bits of NN and NT.
	FormFloat32 Form = iota
	// FormBF16 rounds them to bfloat16, to nearest even: products have the bits of NN and NT with the rounded matrix.
	FormBF16
	// FormInt8 rounds them to eight bits with one scale for each of the N columns: W[k,j] = q[k,j]·scale[j] with q a whole
	// number from -127 to 127 and 127·scale[j] the largest magnitude of the column, so that no weight is off by more than half
	// of scale[j]. A product is the chain over k of x[k]·q[k,j], multiplied by the scale at its end and only then added to what C held.
	FormInt8
)

// Panels is a matrix of weights W [K,N] laid out for reading only, y = x·W: blocks of 64 columns, one after the other, so that a
// product for one row reads memory from one end to the other, and one for a few rows needs no copy of a block. In every form
// only the weights are rounded; the arithmetic is the float32 chain over k, as everywhere in this package, so a row's bits
// depend on that row alone.
type Panels struct {
	K, N int
	Form Form

	wide   []float32 // [N/64][K][64] in one of the three forms; the columns after the last are zero
	half   []uint16
	narrow []int8
	scales []float32 // [N] of the last form, up to a multiple of 64
}

const (
	panelWidth = 64      // columns of a panel
	panelRows  = 6       // rows of A that go through a panel at once
	panelBlock = 1 << 17 // numbers of A that stay in the second-level cache while panels pass
	panelBytes = 1 << 18 // of a panel that stay there while rows of A pass
)

// PanelsNN lays out b [K,N], row-major with ldb elements from one row to the next: the right factor of NN.
func PanelsNN(form Form, K, N int, b []float32, ldb int) *Panels {
	check("PanelsNN", "B", b, K, N, ldb)
	return newPanels(form, K, N, b, ldb, 1)
}

// PanelsNT lays out b [N,K], row-major with ldb elements from one row to the next: the right factor of NT.
func PanelsNT(form Form, N, K int, b []float32, ldb int) *Panels {
	check("PanelsNT", "B", b, N, K, ldb)
	return newPanels(form, K, N, b, 1, ldb)
}

// newPanels lays out the matrix whose element (k,j) is b[k*bks+j*bns].
func newPanels(form Form, K, N int, b []float32, bks, bns int) *Panels {
	w := &Panels{K: K, N: N, Form: form}
	count := w.count()
	n := count * K * panelWidth
	switch form {
	case FormFloat32:
		w.wide = slabFloats(n)
	case FormBF16:
		w.half = unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(slabFloats(n/2)))), n)
	default:
		w.narrow = unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(slabFloats(n/4)))), n)
		w.scales = make([]float32, count*panelWidth)
	}
	Parallel(count, 1+(1<<14)/(1+K*panelWidth), func(lo, hi int) {
		withScratch(K*panelWidth, func(s *scratch) {
			wide := s.take(K * panelWidth)
			for p := lo; p < hi; p++ {
				j := p * panelWidth
				cut(wide, b[min(j*bns, len(b)):], bks, bns, min(panelWidth, N-j), K)
				w.set(p, wide)
			}
		})
	})
	return w
}

// cut copies n columns of K weights to wide [K][64].
func cut(wide, b []float32, bks, bns, n, K int) {
	if bns != 1 && K > 0 {
		transpose(wide, panelWidth, b, bns, n, K)
		return
	}
	for k := range K {
		row := wide[k*panelWidth:][:panelWidth]
		clear(row[copy(row, b[k*bks:][:n]):])
	}
}

// set keeps wide [K][64] as panel p.
func (w *Panels) set(p int, wide []float32) {
	at := p * w.K * panelWidth
	switch w.Form {
	case FormFloat32:
		copy(w.wide[at:], wide)
	case FormBF16:
		Narrow(w.half[at:][:len(wide)], wide)
	default:
		quantize(w.narrow[at:], w.scales[p*panelWidth:][:panelWidth], wide)
	}
}

// quantize rounds wide [K][64] to whole multiples of the columns' scales.
func quantize(q []int8, scales, wide []float32) {
	for k := 0; k < len(wide); k += panelWidth {
		for j, v := range wide[k:][:panelWidth] {
			scales[j] = max(scales[j], v, -v)
		}
	}
	var inverse [panelWidth]float64
	for j, m := range scales {
		if scales[j] = m / 127; scales[j] > 0 {
			inverse[j] = 1 / float64(scales[j])
		}
	}
	for k := 0; k < len(wide); k += panelWidth {
		for j, v := range wide[k:][:panelWidth] {
			q[k+j] = int8(min(127, max(-127, math.RoundToEven(float64(v)*inverse[j]))))
		}
	}
}

func (w *Panels) count() int { return (w.N + panelWidth - 1) / panelWidth }

// Bytes is the memory that the weights take.
func (w *Panels) Bytes() int64 {
	return 4*int64(len(w.wide)+len(w.scales)) + 2*int64(len(w.half)) + int64(len(w.narrow))
}

// Column writes column j, the K weights of output j as products see them, to dst.
func (w *Panels) Column(dst []float32, j int) {
	at := j/panelWidth*panelWidth*w.K + j%panelWidth
	for k := range dst[:w.K] {
		switch i := at + k*panelWidth; w.Form {
		case FormFloat32:
			dst[k] = w.wide[i]
		case FormBF16:
			dst[k] = math.Float32frombits(uint32(w.half[i]) << 16)
		default:
			dst[k] = float32(w.narrow[i]) * w.scales[j]
		}
	}
}

// Mul computes c = a·W, or c += a·W where acc is set: a [M,K] and c [M,N], row-major with lda and ldc elements from one row to the next.
func (w *Panels) Mul(M int, a []float32, lda int, c []float32, ldc int, acc bool) {
	check("Panels.Mul", "A", a, M, w.K, lda)
	check("Panels.Mul", "C", c, M, w.N, ldc)
	if M == 0 || w.N == 0 {
		return
	}
	count, grain := w.count(), 1+panelWork/(1+M*w.K*panelWidth)
	if Threads() > 1 && count > grain {
		Parallel(count, grain, func(lo, hi int) { w.mul(lo, hi, M, a, lda, c, ldc, acc) })
		return
	}
	w.mul(0, count, M, a, lda, c, ldc, acc)
}

// panelWork is the number of multiply-adds that are worth a goroutine.
const panelWork = 1 << 17

// mul computes panels lo to hi of the product on the calling goroutine.
func (w *Panels) mul(lo, hi, M int, a []float32, lda int, c []float32, ldc int, acc bool) {
	w.announce(lo, hi, M, a, lda, c, ldc)
	rows := max(1, panelBlock/max(1, w.K)/panelRows) * panelRows
	depth := w.K
	if M > panelRows && w.Form != FormInt8 { // the sums rest in c between blocks; scaled ones cannot
		size := 4
		if w.Form == FormBF16 {
			size = 2
		}
		depth = min(depth, panelBytes/panelWidth/size)
	}
	depth = max(depth, 1)
	for i0 := 0; i0 < M; i0 += rows {
		i1 := min(M, i0+rows)
		for p := lo; p < hi; p++ {
			for k := 0; k == 0 || k < w.K; k += depth {
				for i := i0; i < i1; {
					tiles := (i1 - i + panelRows - 1) / panelRows
					m := (i1 - i + tiles - 1) / tiles // tiles of like size
					w.tile(p, k, min(depth, w.K-k), m, a[i*lda+k:], lda, c[i*ldc:], ldc, acc || k > 0)
					i += m
				}
			}
		}
	}
}

// tile computes m rows of panel p, or adds to them, from its weights k to k+kc.
func (w *Panels) tile(p, k, kc, m int, a []float32, lda int, c []float32, ldc int, acc bool) {
	j := p * panelWidth
	n := min(panelWidth, w.N-j)
	if n == panelWidth {
		w.run(j, k, kc, m, a, lda, c[j:], ldc, acc)
		return
	}
	var whole [panelRows * panelWidth]float32
	if acc {
		for i := range m {
			copy(whole[i*panelWidth:][:n], c[i*ldc+j:])
		}
	}
	w.run(j, k, kc, m, a, lda, whole[:], panelWidth, acc)
	for i := range m {
		copy(c[i*ldc+j:][:n], whole[i*panelWidth:])
	}
}

// runWidened computes m rows of the panel that begins with column j, or adds to them, from its weights k to k+kc: as a product
// with the widened weights, where no kernel widens them in registers.
func (w *Panels) runWidened(j, k, kc, m int, a []float32, lda int, c []float32, ldc int, acc bool) {
	from, n := j*w.K+k*panelWidth, kc*panelWidth
	if w.Form == FormFloat32 {
		p := product{M: m, N: panelWidth, K: kc, a: a, ars: lda, aks: 1, b: w.wide[from:][:n], bks: panelWidth, bns: 1, c: c, ldc: ldc, acc: acc}
		p.serial()
		return
	}
	withScratch(n+m*panelWidth, func(s *scratch) {
		wide := s.take(n)
		p := product{M: m, N: panelWidth, K: kc, a: a, ars: lda, aks: 1, b: wide, bks: panelWidth, bns: 1, c: c, ldc: ldc, acc: acc}
		if w.Form == FormBF16 {
			widen(wide, w.half[from:][:n])
			p.serial()
			return
		}
		for i, q := range w.narrow[from:][:n] {
			wide[i] = float32(q)
		}
		sums := s.take(m * panelWidth)
		p.c, p.ldc, p.acc = sums, panelWidth, false
		p.serial()
		for i := range m {
			row := c[i*ldc:][:panelWidth]
			for l, s := range w.scales[j:][:panelWidth] {
				v := float32(sums[i*panelWidth+l] * s)
				if acc {
					v += row[l]
				}
				row[l] = v
			}
		}
	})
}
