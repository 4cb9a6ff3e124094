package kernel

import (
	"fmt"
	"math"
	"sync"
)

// Bfloat16 weights are the upper sixteen bits of a float32: the same exponents, eight bits of precision. They take half the
// memory and half the traffic; all arithmetic stays float32, on blocks that are widened where they are used. So a product
// gives the bits that it would give with the widened matrix.

// Widen writes the float32 values of src to dst. len(src) >= len(dst).
func Widen(dst []float32, src []uint16) { widen(dst, src[:len(dst)]) }

// AddWidened computes dst[i] += src[i].
func AddWidened(dst []float32, src []uint16) {
	for i, h := range src[:len(dst)] {
		dst[i] += math.Float32frombits(uint32(h) << 16)
	}
}

// RoundBF16 rounds x to bfloat16, to the nearest and half way to the even one, in place. What is below 2⁻¹²⁶ becomes zero.
func RoundBF16(x []float32) {
	for i, v := range x {
		x[i] = roundBF16(v)
	}
}

// AddRounded computes dst[i] += src[i] rounded as RoundBF16 does.
func AddRounded(dst, src []float32) {
	for i, v := range src[:len(dst)] {
		dst[i] += roundBF16(v)
	}
}

// Narrow rounds src to bfloat16, to the nearest and half way to the even one. len(src) >= len(dst).
func Narrow(dst []uint16, src []float32) {
	src = src[:len(dst)]
	for i := range dst {
		b := math.Float32bits(src[i])
		if src[i] != src[i] {
			dst[i] = uint16(b>>16 | 0x40) // stays a NaN
			continue
		}
		dst[i] = uint16((b + 0x7fff + b>>16&1) >> 16)
	}
}

// NarrowStochastic rounds src to bfloat16 up or down at random, so that the expectation is the number itself: a sum of many
// steps that are each too small to move a weight moves it all the same (Gupta et al. 2015, Deep Learning with Limited Numerical
// Precision). Element i uses the random number i+first of the stream key.
func NarrowStochastic(dst []uint16, src []float32, key uint64, first int) {
	src = src[:len(dst)]
	for i := range dst {
		b := math.Float32bits(src[i])
		if b&0x7f800000 == 0x7f800000 { // infinite or NaN
			dst[i] = uint16(b>>16 | (b&0xffff+0xffff)>>16<<6)
			continue
		}
		dst[i] = uint16((b + uint32(Random(key, uint64(first+i))>>48)) >> 16)
	}
}

// Random is number i of the stream key: the output function of SplitMix64 (Steele, Lea and Flood 2014) at state key + i·γ.
func Random(key, i uint64) uint64 {
	z := key + i*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func widenGo(dst []float32, src []uint16) {
	for i, h := range src[:len(dst)] {
		dst[i] = math.Float32frombits(uint32(h) << 16)
	}
}

// NNBF16 is NN with B in bfloat16.
func NNBF16(M, N, K int, a []float32, lda int, b []uint16, ldb int, c []float32, ldc int, acc bool) {
	check("NNBF16", "A", a, M, K, lda)
	checkBF16("NNBF16", b, K, N, ldb)
	check("NNBF16", "C", c, M, N, ldc)
	gemm(product{M: M, N: N, K: K, a: a, ars: lda, aks: 1, half: b, bks: ldb, bns: 1, c: c, ldc: ldc, acc: acc})
}

// NTBF16 is NT with B in bfloat16.
func NTBF16(M, N, K int, a []float32, lda int, b []uint16, ldb int, c []float32, ldc int, acc bool) {
	check("NTBF16", "A", a, M, K, lda)
	checkBF16("NTBF16", b, N, K, ldb)
	check("NTBF16", "C", c, M, N, ldc)
	gemm(product{M: M, N: N, K: K, a: a, ars: lda, aks: 1, half: b, bks: 1, bns: ldb, c: c, ldc: ldc, acc: acc})
}

// Blocks of B that are widened at once. For few rows of A the block and what is computed from it stay in the first-level
// cache; for many it is as deep as the products' own blocks.
const (
	halfWide  = 480 // columns, a multiple of 48
	halfDepth = 128
	halfFew   = 16 // depth for few rows
	halfDeep  = 384
)

var halves = sync.Pool{New: func() any { return new([halfWide * halfDepth]float32) }}

// runHalf is run with B in bfloat16. The sum of every element rests in C from block to block, in the one chain over k.
func (p *product) runHalf(i0, i1, j0, j1 int) {
	if j0 = p.runHalfDirect(i0, i1, j0, j1); j0 == j1 {
		return
	}
	buf := halves.Get().(*[halfWide * halfDepth]float32)
	defer halves.Put(buf)
	wide, depth := halfWide, halfDepth
	if p.bns != 1 {
		wide, depth = 144, halfDeep
	} else if i1-i0 < 32 {
		depth = halfFew
	}
	sub := *p
	sub.half = nil
	for j := j0; j < j1; j += wide {
		w := min(wide, j1-j)
		sub.c = p.c[j:]
		for k := 0; k < p.K; k += depth {
			kc := min(depth, p.K-k)
			if p.bns == 1 {
				for q := range kc {
					widen(buf[q*w:][:w], p.half[(k+q)*p.bks+j:][:w])
				}
				sub.bks = w
			} else {
				for q := range w {
					widen(buf[q*kc:][:kc], p.half[(j+q)*p.bns+k:][:kc])
				}
				sub.bns = kc
			}
			sub.a, sub.b, sub.K, sub.acc = p.a[k*p.aks:], buf[:w*kc], kc, p.acc || k > 0
			sub.run(i0, i1, 0, w)
		}
	}
}

// checkBF16 is check for a matrix in bfloat16.
func checkBF16(op string, m []uint16, rows, cols, ld int) {
	if rows < 0 || cols < 0 || ld < cols || (rows > 0 && cols > 0 && (rows-1)*ld+cols > len(m)) {
		panic(fmt.Sprintf("kernel.%s: B is [%d,%d] with leading dimension %d, the slice has %d elements", op, rows, cols, ld, len(m)))
	}
}
