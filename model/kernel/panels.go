package kernel

import (
	"math"
	"sync"
	"unsafe"
)

//go:generate go run -C _gen ./panels -out ../panels_kernels_amd64.s -stubs ../panels_kernels_amd64.go -pkg kernel

// Form is how the weights of Panels are kept, and with it the arithmetic of their products.
type Form uint8

const (
	// FormFloat32 keeps them as they are: products have the bits of NN and NT.
	FormFloat32 Form = iota
	// FormBF16 rounds them to bfloat16, to nearest even: products have the bits of NNMixed and NTMixed.
	FormBF16
	// FormInt8 rounds them to eight bits with one scale for each of the N columns: W[k,j] = q[k,j]·scale[j] with q a whole
	// number from -127 to 127 and 127·scale[j] the largest magnitude of the column, so that no weight is off by more than half
	// of scale[j]. A row x of A is rounded to whole multiples of a scale of its own too, of 1/8191 of its largest magnitude, and the
	// sum over k is one of whole numbers, exact; see int8Row.
	FormInt8
)

// per is how many consecutive k of a column a word of a panel holds.
func (f Form) per() int { return [...]int{1, 2, 4}[f] }

// Panels is a matrix of weights W [K,N] laid out for reading only, y = x·W: blocks of 64 columns, one after the other, so that a
// product for one row reads memory from one end to the other, and one for a few rows needs no copy of a block. A row's bits depend
// on that row alone.
type Panels struct {
	K, N int
	Form Form

	wide   []float32 // [N/64][K][64] of FormFloat32; the columns after the last are zero
	words  []uint32  // [N/64][⌈K/per⌉][64] of the other forms: pairs of bfloat16, or four weights plus 128, the lowest k in the lowest bits
	scales []float32 // [N] of FormInt8, up to a multiple of 64
}

const (
	panelWidth = 64      // columns of a panel
	panelRows  = 6       // rows of A that go through a panel at once
	panelBlock = 1 << 17 // words of A that stay in the second-level cache while panels pass
	panelDepth = 128     // words of a column of a panel that stay in the first-level cache while rows of A pass
)

// PanelsNN lays out b [K,N], row-major with ldb elements from one row to the next: the right factor of NN. The weights lie at the
// beginning of room, if it holds PanelsSize elements, otherwise in memory of their own; many matrices in one large room lie
// in huge pages, which each alone may be too small for.
func PanelsNN(form Form, K, N int, b []float32, ldb int, room []float32) *Panels {
	check("PanelsNN", "B", b, K, N, ldb)
	return newPanels(form, K, N, b, ldb, 1, room)
}

// PanelsNT lays out b [N,K], row-major with ldb elements from one row to the next: the right factor of NT. As to room, see PanelsNN.
func PanelsNT(form Form, N, K int, b []float32, ldb int, room []float32) *Panels {
	check("PanelsNT", "B", b, N, K, ldb)
	return newPanels(form, K, N, b, 1, ldb, room)
}

// PanelsSize is the room, in float32, that the weights of Panels take.
func PanelsSize(form Form, K, N int) int {
	w := Panels{K: K, N: N, Form: form}
	return w.count() * w.depth() * panelWidth
}

// PanelsBytes is the memory that Panels take.
func PanelsBytes(form Form, K, N int) int64 {
	n := PanelsSize(form, K, N)
	if w := (&Panels{K: K, N: N, Form: form}); form == FormInt8 {
		n += w.count() * panelWidth // scales
	}
	return 4 * int64(n)
}

// newPanels lays out the matrix whose element (k,j) is b[k*bks+j*bns].
func newPanels(form Form, K, N int, b []float32, bks, bns int, room []float32) *Panels {
	w := &Panels{K: K, N: N, Form: form}
	count, size := w.count(), PanelsSize(form, K, N)
	if len(room) < size {
		room = Floats(size)
	}
	all := room[:size:size]
	if form == FormFloat32 {
		w.wide = all
	} else {
		w.words = unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(all))), len(all))
	}
	if form == FormInt8 {
		w.scales = make([]float32, count*panelWidth)
	}
	Parallel(count, 1+(1<<14)/(1+K*panelWidth), func(lo, hi int) {
		rows := w.depth() * form.per() // K up to whole words
		withScratch(rows*panelWidth, func(s *scratch) {
			wide := s.take(rows * panelWidth)
			for p := lo; p < hi; p++ {
				j := p * panelWidth
				cut(wide, b[min(j*bns, len(b)):], bks, bns, min(panelWidth, N-j), K)
				clear(wide[K*panelWidth:])
				w.set(p, wide)
			}
		})
	})
	return w
}

// depth is the number of words of a column.
func (w *Panels) depth() int { return (w.K + w.Form.per() - 1) / w.Form.per() }

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

// set keeps wide [K][64], K up to whole words, as panel p.
func (w *Panels) set(p int, wide []float32) {
	at, n := p*w.depth()*panelWidth, w.depth()*panelWidth
	switch w.Form {
	case FormFloat32:
		copy(w.wide[at:], wide)
	case FormBF16:
		for i := range n {
			k := i / panelWidth * panelWidth // a word joins two rows
			w.words[at+i] = math.Float32bits(roundBF16(wide[i+k]))>>16 | math.Float32bits(roundBF16(wide[i+k+panelWidth]))
		}
	default:
		quantize(w.words[at:][:n], w.scales[p*panelWidth:][:panelWidth], wide)
	}
}

// quantize rounds wide [4·rows][64] to whole multiples of the columns' scales, four to a word.
func quantize(words []uint32, scales, wide []float32) {
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
	for i := range words {
		at, j := i/panelWidth*4*panelWidth+i%panelWidth, i%panelWidth
		words[i] = 0
		for q := range 4 {
			v := math.RoundToEven(float64(wide[at+q*panelWidth]) * inverse[j])
			words[i] |= uint32(128+int(min(127, max(-127, v)))) << (8 * q)
		}
	}
}

func (w *Panels) count() int { return (w.N + panelWidth - 1) / panelWidth }

// Bytes is the memory that the weights take.
func (w *Panels) Bytes() int64 { return 4 * int64(len(w.wide)+len(w.words)+len(w.scales)) }

// Column writes column j, the K weights of output j as products see them, to dst.
func (w *Panels) Column(dst []float32, j int) {
	at := j/panelWidth*panelWidth*w.depth() + j%panelWidth
	switch dst = dst[:w.K]; w.Form {
	case FormFloat32:
		for k := range dst {
			dst[k] = w.wide[at+k*panelWidth]
		}
	case FormBF16:
		for k := range dst {
			dst[k] = bfloat16(w.words[at+k/2*panelWidth], k%2)
		}
	default:
		for k := range dst {
			dst[k] = float32(w.int8(at+k/4*panelWidth, k%4)) * w.scales[j]
		}
	}
}

// bfloat16 is the lower (0) or upper (1) number of a pair.
func bfloat16(word uint32, part int) float32 {
	return math.Float32frombits(word >> (16 * part) << 16)
}

// int8 is weight part of word i.
func (w *Panels) int8(i, part int) int32 { return int32(w.words[i]>>(8*part)&255) - 128 }

// Mul computes c = a·W, or c += a·W where acc is set: a [M,K] and c [M,N], row-major with lda and ldc elements from one row to the next.
func (w *Panels) Mul(M int, a []float32, lda int, c []float32, ldc int, acc bool) {
	w.MulAhead(M, a, lda, c, ldc, acc, nil)
}

// MulAhead is Mul that meanwhile fetches what is ahead. Where ahead is not nil it runs on the calling goroutine alone.
func (w *Panels) MulAhead(M int, a []float32, lda int, c []float32, ldc int, acc bool, ahead *Ahead) {
	check("Panels.Mul", "A", a, M, w.K, lda)
	check("Panels.Mul", "C", c, M, w.N, ldc)
	if M == 0 || w.N == 0 {
		return
	}
	readsRows(a, M, w.K, lda)
	l := lefts.Get().(*left)
	l.rounding.of = l
	l.w, l.M, l.a, l.lda, l.c, l.ldc, l.acc = w, M, a, lda, c, ldc, acc
	l.prepare()
	if ahead != nil {
		w.mul(0, w.count(), M, l, c, ldc, acc, ahead)
	} else {
		ParallelWork(w.count(), 1+parallelWork/(1+M*w.K*panelWidth), l)
	}
	l.w, l.a, l.wide, l.c = nil, nil, nil, nil // they may hold on to much
	lefts.Put(l)
}

// left is the left factor of a product, as the form of the panels asks for it, and what else the product is of.
type left struct {
	w        *Panels
	M        int
	a, c     []float32
	lda, ldc int
	acc      bool

	wide      []float32 // [M,K] of FormFloat32, the caller's; of FormBF16 rounded, see product.roundLeft
	ld        int       // words from one row to the next
	high, low []uint32  // of FormInt8
	rows      []int8Row // [M]
	room      []float32 // for wide, where it is rounded
	rounding  rounding
}

var lefts = sync.Pool{New: func() any { return new(left) }}

// Run computes panels lo to hi.
func (l *left) Run(lo, hi int) { l.w.mul(lo, hi, l.M, l, l.c, l.ldc, l.acc, nil) }

// prepare makes room for the left factor and rounds it, where the form asks for that.
func (l *left) prepare() {
	switch l.w.Form {
	case FormFloat32:
		l.wide, l.ld = l.a, l.lda
		return
	case FormBF16:
		p := l.factor()
		l.room = room(l.room, p.leftSize())
		l.wide, l.ld = l.room, p.leftSize()/l.M
	default:
		l.ld = l.w.depth()
		l.high, l.low, l.rows = room(l.high, l.M*l.ld), room(l.low, l.M*l.ld), room(l.rows, l.M)
	}
	ParallelWork(l.M, 1+roundWork/(1+l.w.K), &l.rounding)
}

// factor is the product as far as its left factor goes.
func (l *left) factor() product { return product{M: l.M, K: l.w.K, a: l.a, ars: l.lda, aks: 1} }

// rounding is the work of rounding rows of a left factor.
type rounding struct{ of *left }

// Run rounds rows lo to hi.
func (r *rounding) Run(lo, hi int) {
	l := r.of
	if l.w.Form == FormBF16 {
		if p := l.factor(); p.K > 0 {
			p.roundLeft(l.wide, lo, hi)
		}
		return
	}
	for i := lo; i < hi; i++ {
		l.rows[i] = roundInt8(l.high[i*l.ld:][:l.ld], l.low[i*l.ld:][:l.ld], l.a[i*l.lda:][:l.w.K])
	}
}

// room is x with space for n elements.
func room[T any](x []T, n int) []T {
	if len(x) < n {
		return make([]T, n)
	}
	return x
}

// mul computes panels lo to hi of the product on the calling goroutine.
func (w *Panels) mul(lo, hi, M int, a *left, c []float32, ldc int, acc bool, ahead *Ahead) {
	w.announce(lo, hi, M, c, ldc)
	all := w.depth()
	rows := max(1, panelBlock/max(1, all)/panelRows) * panelRows
	depth := all
	if M > panelRows && w.Form != FormInt8 { // the sums rest in c between blocks; scaled ones cannot
		depth = min(depth, panelDepth)
	}
	depth = max(depth, 1)
	for i0 := 0; i0 < M; i0 += rows {
		i1 := min(M, i0+rows)
		for p := lo; p < hi; p++ {
			pause()
			for k := 0; k == 0 || k < all; k += depth {
				kc := min(depth, all-k)
				for i, tile := i0, 0; i < i1; tile++ {
					tiles := (i1 - i + panelRows - 1) / panelRows
					m := (i1 - i + tiles - 1) / tiles // tiles of like size
					var next *float32
					switch {
					case kc == 0 || tiles == 1 && i == i0: // nothing to spread it over
					case tile < 2: // half of the next block each
						next = w.word((p*all+k+kc)*panelWidth + tile*kc*panelWidth/2)
					default:
						next = ahead.take(kc * panelWidth / 2)
					}
					w.tile(p, k, kc, i, m, a, c[i*ldc:], ldc, acc || k > 0, next)
					i += m
				}
			}
		}
	}
}

// word is where word i lies, or the last one.
func (w *Panels) word(i int) *float32 {
	if w.Form == FormFloat32 {
		return &w.wide[min(i, len(w.wide)-1)]
	}
	return (*float32)(unsafe.Pointer(&w.words[min(i, len(w.words)-1)]))
}

// tile computes rows i to i+m of panel p, or adds to them, from its words k to k+kc.
func (w *Panels) tile(p, k, kc, i, m int, a *left, c []float32, ldc int, acc bool, next *float32) {
	j := p * panelWidth
	n := min(panelWidth, w.N-j)
	if n == panelWidth || n == panelWidth/2 && kc > 0 && w.halves() {
		w.run(j, k, kc, i, m, a, c[j:], ldc, acc, next)
		return
	}
	var whole [panelRows * panelWidth]float32
	if acc {
		for r := range m {
			copy(whole[r*panelWidth:][:n], c[r*ldc+j:])
		}
	}
	w.run(j, k, kc, i, m, a, whole[:], panelWidth, acc, next)
	for r := range m {
		copy(c[r*ldc+j:][:n], whole[r*panelWidth:])
	}
}

// runGo computes rows i to i+m of the panel that begins with column j, or adds to them, from its words k to k+kc.
func (w *Panels) runGo(j, k, kc, i, m int, a *left, c []float32, ldc int, acc bool) {
	from, n := j*w.depth()+k*panelWidth, kc*panelWidth
	p := product{M: m, N: panelWidth, K: kc, ars: a.ld, aks: 1, bks: panelWidth, bns: 1, c: c, ldc: ldc, acc: acc}
	switch w.Form {
	case FormFloat32:
		p.a, p.b = a.wide[i*a.ld+k:], w.wide[from:][:n]
		p.serial()
	case FormBF16:
		withScratch(2*n, func(s *scratch) {
			p.a, p.b, p.K = a.wide[i*a.ld+2*k:], s.take(2*n), 2*kc
			for at, word := range w.words[from:][:n] { // the two of a pair change places, see runMixedGo
				to := at + at/panelWidth*panelWidth
				p.b[to], p.b[to+panelWidth] = bfloat16(word, 1), bfloat16(word, 0)
			}
			p.serial()
		})
	default:
		for r := range m {
			w.runInt8Go(c[r*ldc:][:panelWidth], j, a, i+r, acc)
		}
	}
}
