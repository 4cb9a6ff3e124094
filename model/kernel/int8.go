package kernel

import (
	"math"
	"unsafe"
)

//go:generate go run -C _gen ./int8 -out ../int8_kernels_amd64.s -stubs ../int8_kernels_amd64.go -pkg kernel

// Int8 is a matrix of weights W [K,N] in eight bits with one scale for each of its N columns, the outputs of y = x·W:
// W[k,j] = q[k,j]·scale[j] with q a whole number from -127 to 127 and 127·scale[j] the largest magnitude of the column, so that
// no weight is off by more than half of scale[j]. Only weights are rounded: a product is the float32 chain over k of x[k]·q[k,j],
// as everywhere in this package, then multiplied by the scale. So a row's bits depend on that row alone.
//
// It is for reading: weights are a quarter of the bytes, and where memory is the limit products take a quarter of the time.
type Int8 struct {
	K, N   int
	panels []int8    // [N/64][K][64], the columns after the last are zero
	scales []float32 // [N], up to a multiple of 64
}

// int8Width is the number of columns of a panel.
const int8Width = 64

// QuantizeNN rounds b [K,N], row-major with ldb elements from one row to the next, whose columns are outputs.
func QuantizeNN(K, N int, b []float32, ldb int) *Int8 {
	check("QuantizeNN", "B", b, K, N, ldb)
	return quantize(K, N, b, ldb, 1)
}

// QuantizeNT rounds b [N,K], row-major with ldb elements from one row to the next, whose rows are outputs.
func QuantizeNT(N, K int, b []float32, ldb int) *Int8 {
	check("QuantizeNT", "B", b, N, K, ldb)
	return quantize(K, N, b, 1, ldb)
}

// quantize rounds the matrix whose element (k,j) is b[k*bks+j*bns].
func quantize(K, N int, b []float32, bks, bns int) *Int8 {
	count := (N + int8Width - 1) / int8Width
	panels := Floats(count * K * int8Width / 4) // for its huge pages
	w := &Int8{K: K, N: N, panels: unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(panels))), 4*len(panels)), scales: make([]float32, count*int8Width)}
	Parallel(count, 1+(1<<14)/(1+K*int8Width), func(lo, hi int) {
		for p := lo; p < hi; p++ {
			w.quantizePanel(p, b, bks, bns)
		}
	})
	return w
}

// quantizePanel rounds the columns of panel p.
func (w *Int8) quantizePanel(p int, b []float32, bks, bns int) {
	j0 := p * int8Width
	n := min(int8Width, w.N-j0)
	withScratch(w.K*int8Width, func(s *scratch) {
		wide := s.take(w.K * int8Width) // the panel in float32
		if bns == 1 {
			for k := range w.K {
				clear(wide[k*int8Width:][copy(wide[k*int8Width:][:int8Width], b[k*bks+j0:][:n]):int8Width])
			}
		} else if w.K > 0 {
			transpose(wide, int8Width, b[j0*bns:], bns, n, w.K)
		}
		var inverse [int8Width]float64
		scales := w.scales[j0:][:int8Width]
		for k := 0; k < len(wide); k += int8Width {
			for j, v := range wide[k:][:int8Width] {
				scales[j] = max(scales[j], v, -v)
			}
		}
		for j, m := range scales {
			if scales[j] = m / 127; scales[j] > 0 {
				inverse[j] = 1 / float64(scales[j])
			}
		}
		panel := w.panels[j0*w.K:]
		for k := 0; k < len(wide); k += int8Width {
			for j, v := range wide[k:][:int8Width] {
				panel[k+j] = int8(min(127, max(-127, math.RoundToEven(float64(v)*inverse[j]))))
			}
		}
	})
}

// Bytes is the memory that the matrix takes.
func (w *Int8) Bytes() int64 { return int64(len(w.panels)) + 4*int64(len(w.scales)) }

// Column writes column j, the K weights of output j, to dst.
func (w *Int8) Column(dst []float32, j int) {
	s := w.scales[:w.N][j]
	first := j/int8Width*int8Width*w.K + j%int8Width
	for k := range dst[:w.K] {
		dst[k] = float32(w.panels[first+k*int8Width]) * s
	}
}

// Mul computes c = a·W, or c += a·W where acc is set: a [M,K] and c [M,N], row-major with lda and ldc elements from one row to the next.
func (w *Int8) Mul(M int, a []float32, lda int, c []float32, ldc int, acc bool) {
	check("Int8.Mul", "A", a, M, w.K, lda)
	check("Int8.Mul", "C", c, M, w.N, ldc)
	if M == 0 || w.N == 0 {
		return
	}
	count := (w.N + int8Width - 1) / int8Width
	grain := 1 + (1<<17)/(1+M*w.K*int8Width)
	if workers := min(Threads(), (count+grain-1)/grain); workers > 1 {
		Parallel(count, grain, func(lo, hi int) { w.mul(lo, hi, M, a, lda, c, ldc, acc) })
		return
	}
	w.mul(0, count, M, a, lda, c, ldc, acc)
}

const (
	int8Rows  = 6       // rows of A that go through a panel at once
	int8Block = 1 << 17 // numbers of A that stay in the second-level cache while panels pass
)

// mul computes panels lo to hi of the product on the calling goroutine.
func (w *Int8) mul(lo, hi, M int, a []float32, lda int, c []float32, ldc int, acc bool) {
	rows := max(1, int8Block/max(1, w.K)/int8Rows) * int8Rows
	for i0 := 0; i0 < M; i0 += rows {
		i1 := min(M, i0+rows)
		for p := lo; p < hi; p++ {
			for i := i0; i < i1; {
				m := (i1 - i + (i1-i+int8Rows-1)/int8Rows - 1) / ((i1 - i + int8Rows - 1) / int8Rows) // tiles of like size
				w.tile(p, m, a[i*lda:], lda, c[i*ldc:], ldc, acc)
				i += m
			}
		}
	}
}

// tile computes m rows of panel p.
func (w *Int8) tile(p, m int, a []float32, lda int, c []float32, ldc int, acc bool) {
	j := p * int8Width
	panel, scales := w.panels[j*w.K:], w.scales[j:]
	n := min(int8Width, w.N-j)
	if n == int8Width {
		int8Tile(m, w.K, a, lda, panel, scales, c[j:], ldc, acc)
		return
	}
	var whole [int8Rows * int8Width]float32
	if acc {
		for i := range m {
			copy(whole[i*int8Width:][:n], c[i*ldc+j:])
		}
	}
	int8Tile(m, w.K, a, lda, panel, scales, whole[:], int8Width, acc)
	for i := range m {
		copy(c[i*ldc+j:][:n], whole[i*int8Width:])
	}
}

// int8TileGo is a tile in plain Go, each product and each sum rounded to float32.
func int8TileGo(m, K int, a []float32, lda int, panel []int8, scales, c []float32, ldc int, acc bool) {
	for i := range m {
		var sum [int8Width]float32
		for k, x := range a[i*lda:][:K] {
			for j, q := range panel[k*int8Width:][:int8Width] {
				sum[j] += float32(x * float32(q))
			}
		}
		row := c[i*ldc:][:int8Width]
		for j, s := range sum {
			s = float32(s * scales[j])
			if acc {
				s += row[j]
			}
			row[j] = s
		}
	}
}
