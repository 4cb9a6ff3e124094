package kernel

import "math"

// Mixed precision: the factors of a product are rounded to bfloat16, to nearest even, the sums are float32 (Micikevicius et al. 2018,
// Mixed Precision Training; Kalamkar et al. 2019, A Study of BFLOAT16 for Deep Learning Training). An element is one chain over
// pairs of k, the odd one first, as the processors' instruction has it:
//
//	s = fma(a[i,2q+1], b[2q+1,j], s)
//	s = fma(a[i,2q], b[2q,j], s)
//
// and behind an odd K stands a zero. Products of bfloat16 are exact in float32, so fusing makes no difference and the chain has the same
// bits in every class, but for numbers below 2⁻¹²⁶, which the instruction takes for zero in the sums too, the other classes in
// the factors only.

// NNMixed is NN in mixed precision.
func NNMixed(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	check("NNMixed", "A", a, M, K, lda)
	check("NNMixed", "B", b, K, N, ldb)
	check("NNMixed", "C", c, M, N, ldc)
	mixed(product{M: M, N: N, K: K, a: a, ars: lda, aks: 1, b: b, bks: ldb, bns: 1, c: c, ldc: ldc, acc: acc})
}

// NTMixed is NT in mixed precision.
func NTMixed(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	check("NTMixed", "A", a, M, K, lda)
	check("NTMixed", "B", b, N, K, ldb)
	check("NTMixed", "C", c, M, N, ldc)
	mixed(product{M: M, N: N, K: K, a: a, ars: lda, aks: 1, b: b, bks: 1, bns: ldb, c: c, ldc: ldc, acc: acc})
}

// TNMixed is TN in mixed precision.
func TNMixed(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	check("TNMixed", "A", a, K, M, lda)
	check("TNMixed", "B", b, K, N, ldb)
	check("TNMixed", "C", c, M, N, ldc)
	mixed(product{M: M, N: N, K: K, a: a, ars: 1, aks: lda, b: b, bks: ldb, bns: 1, c: c, ldc: ldc, acc: acc})
}

// MixedIsFast says that the processor multiplies pairs of bfloat16 and the kernels in use do so: elsewhere mixed precision gives the same
// bits, but no sooner than float32.
func MixedIsFast() bool { return mixedIsFast() }

// roundWork is the number of elements whose rounding is worth a goroutine.
const roundWork = 1 << 13

// mixed rounds A once and then computes tiles of C, each of which rounds the columns of B that it needs.
func mixed(p product) {
	if p.M == 0 || p.N == 0 {
		return
	}
	if p.K == 0 {
		p.clear()
		return
	}
	withScratch(p.leftSize(), func(s *scratch) {
		left := s.take(p.leftSize())
		shared := p
		lines, each := p.M, p.K // of A as it is stored
		if p.aks != 1 {
			lines, each = (p.K+1)/2, 2*p.M
		}
		Parallel(lines, 1+roundWork/each, func(lo, hi int) { shared.roundLeft(left, lo, hi) })
		rows, cols := p.splitMixed(Threads())
		down, across := (p.M+rows-1)/rows, (p.N+cols-1)/cols
		Parallel(down*across, 1, func(lo, hi int) {
			for t := lo; t < hi; t++ {
				i, j := t/across*rows, t%across*cols
				i1, j1 := min(i+rows, shared.M), min(j+cols, shared.N)
				shared.announce(i, i1, j, j1)
				shared.runMixed(left, i, i1, j, j1)
			}
		})
	})
}

// mixedWide is how many columns of B are rounded at once where there is no instruction for pairs, mixedDeep how many of K.
const mixedWide, mixedDeep = 96, 384

// leftSizeGo is the room that roundLeftGo needs.
func (p *product) leftSizeGo() int { return p.M * roundUp(p.K, 2) }

// roundLeftGo rounds lines lo to hi of A: rows of k, or pairs of them where k runs down the columns. The two of a pair change places.
func (p *product) roundLeftGo(left []float32, lo, hi int) {
	K := roundUp(p.K, 2)
	if p.aks == 1 {
		for i := lo; i < hi; i++ {
			roundPairs(left[i*K:][:K], p.a[i*p.ars:][:p.K])
		}
		return
	}
	for k := 2 * lo; k < 2*hi; k++ {
		p.roundRow(left[(k^1)*p.M:][:p.M], p.a, k, p.aks, 0)
	}
}

// roundRow rounds row k of m, from column j on; rows from K on are zero.
func (p *product) roundRow(dst, m []float32, k, ld, j int) {
	if k >= p.K {
		clear(dst)
		return
	}
	for i, v := range m[k*ld+j:][:len(dst)] {
		dst[i] = roundBF16(v)
	}
}

// runMixedGo computes C[i0:i1, j0:j1] as a float32 product of rounded factors whose pairs have changed places.
func (p *product) runMixedGo(left []float32, i0, i1, j0, j1 int) {
	K := roundUp(p.K, 2)
	sub := product{M: p.M, a: left, ars: K, aks: 1, ldc: p.ldc}
	if p.aks != 1 {
		sub.ars, sub.aks = 1, p.M
	}
	withScratch(mixedWide*mixedDeep, func(s *scratch) {
		sub.b = s.take(mixedWide * mixedDeep)
		for j := j0; j < j1; j += mixedWide {
			w := min(mixedWide, j1-j)
			sub.c, sub.N = p.c[j:], w
			for k := 0; k < K; k += mixedDeep {
				kc := min(mixedDeep, K-k)
				if p.bns == 1 {
					for q := range kc {
						p.roundRow(sub.b[(q^1)*w:][:w], p.b, k+q, p.bks, j)
					}
					sub.bks, sub.bns = w, 1
				} else {
					for q := range w {
						roundPairs(sub.b[q*kc:][:kc], p.b[(j+q)*p.bns+k:][:min(kc, p.K-k)])
					}
					sub.bks, sub.bns = 1, kc
				}
				sub.a, sub.K, sub.acc = left[k*sub.aks:], kc, p.acc || k > 0
				sub.run(i0, i1, 0, w)
			}
		}
	})
}

// roundPairs rounds src to dst, an even number of elements, with the two of each pair in each other's place and zero behind the last.
func roundPairs(dst, src []float32) {
	for i := range dst {
		v := float32(0)
		if i < len(src) {
			v = src[i]
		}
		dst[i^1] = roundBF16(v)
	}
}

// roundBF16 rounds to bfloat16 as the instruction does: to nearest even, what is below 2⁻¹²⁶ to zero.
func roundBF16(v float32) float32 {
	b := math.Float32bits(v)
	switch {
	case b&0x7f800000 == 0:
		b &= 0x80000000
	case v != v:
		b = b&0xffff0000 | 0x400000
	default:
		b = (b + 0x7fff + b>>16&1) & 0xffff0000
	}
	return math.Float32frombits(b)
}
