//go:build amd64 && !noasm

package kernel

import "unsafe"

// aheadOf is how many words of a panel are asked for ahead of their use.
const aheadOf = 512

// halves says that run knows half of a panel.
func (w *Panels) halves() bool { return level == avx512 && w.Form == FormFloat32 }

// run computes rows i to i+m of the panel that begins with column j, or adds to them, from its words k to k+kc; half of its columns
// where that is all there is and halves says so. Meanwhile the kc·32 words from next on are asked for; where it is nil, what comes after
// in the panel.
func (w *Panels) run(j, k, kc, i, m int, a *left, c []float32, ldc int, acc bool, next *float32) {
	if level == portable || kc == 0 {
		w.runGo(j, k, kc, i, m, a, c, ldc, acc)
		return
	}
	from, at, gap := j*w.depth()+k*panelWidth, i*a.ld, 16
	if next == nil {
		next, gap = w.word(from+aheadOf), 32
	}
	word := (*uint32)(unsafe.Pointer(next))
	switch w.Form {
	case FormFloat32:
		if level == avx512 {
			panelFloat32AVX512(m, kc, &a.wide[at+k], a.ld, &w.wide[from], &c[0], ldc, acc, w.N-j <= panelWidth/2, next, gap)
		} else {
			panelFloat32AVX2(m, kc, &a.wide[at+k], a.ld, &w.wide[from], &c[0], ldc, acc, next, gap)
		}
	case FormBF16:
		if dots {
			panelBF16Dots(m, kc, &words(a.wide)[at+k], a.ld, &w.words[from], &c[0], ldc, acc, word, gap)
		} else {
			panelBF16AVX2(m, kc, &a.wide[at+2*k], a.ld, &w.words[from], &c[0], ldc, acc, word, gap)
		}
	default:
		if dots {
			panelInt8Dots(m, kc, &a.high[at], &a.low[at], a.ld, &w.words[from], &a.rows[i].high, &w.scales[j], &c[0], ldc, acc)
			return
		}
		for r := range m {
			panelInt8AVX2(1, kc, &a.high[at+r*a.ld], &a.low[at+r*a.ld], a.ld, &w.words[from], &a.rows[i+r].high, &w.scales[j], &c[r*ldc], ldc, acc)
		}
	}
}

func largest(x []float32) uint32 {
	n := len(x) &^ 31
	if level == portable || n == 0 {
		return largestGo(x)
	}
	return max(largestAVX2(&x[0], n), largestGo(x[n:]))
}

func roundBytes(high, low []uint32, x []float32, inverse float32) (h, l int32) {
	n := len(x) &^ 31
	if level == portable || n == 0 {
		return roundBytesGo(high, low, x, inverse)
	}
	h, l = roundBytesAVX2(&high[0], &low[0], &x[0], n, inverse)
	restHigh, restLow := roundBytesGo(high[n/4:], low[n/4:], x[n:], inverse)
	return h + restHigh, l + restLow
}
