//go:build amd64 && !noasm

package kernel

import (
	"os"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// The instruction sets, in rising order.
const (
	portable = iota
	avx2     // AVX2 and FMA
	avx512   // AVX-512 F and BMI2, for the products and the exponentials
)

// level is the instruction set in use, and dots says that AVX-512 has its products of bfloat16 pairs and of bytes (BF16, VNNI). Both
// are set once, before anything runs; tests change them.
var level, dots = choose(os.Getenv("RANKLOOP_KERNEL"), supported(), cpu.X86.HasAVX512BF16 && cpu.X86.HasAVX512VNNI)

// supported returns the highest instruction set of this processor.
func supported() int {
	switch {
	case !cpu.X86.HasAVX2 || !cpu.X86.HasFMA:
		return portable
	case !cpu.X86.HasAVX512F || !cpu.X86.HasBMI2:
		return avx2
	}
	return avx512
}

// choose returns the instruction set that RANKLOOP_KERNEL asks for, as far as the processor has it.
func choose(env string, have int, haveDots bool) (int, bool) {
	switch env {
	case "portable":
		return portable, false
	case "avx2":
		return min(have, avx2), false
	case "avx512":
		return have, false
	}
	return have, haveDots && have == avx512
}

// Class names the arithmetic of the kernels in use: "fma2", the assembly, whose AVX2 and AVX-512 forms agree to the bit, or
// "portable". Numbers of one class are reproducible to the bit; between classes they agree to rounding.
func Class() string {
	if level == portable {
		return "portable"
	}
	return "fma2"
}

// at is the address of the first element; of an empty slice it is never read.
func at(x []float32) *float32 { return unsafe.SliceData(x) }

func exp(dst, x []float32) {
	reads(x)
	writes(dst)
	switch level {
	case avx512:
		expAVX512(at(dst), at(x), len(dst))
	case avx2:
		expAVX2(at(dst), at(x), len(dst))
	default:
		expGo(dst, x)
	}
}

func gelu(dst, x []float32) {
	reads(x)
	writes(dst)
	switch level {
	case avx512:
		geluAVX512(at(dst), at(x), len(dst))
	case avx2:
		geluAVX2(at(dst), at(x), len(dst))
	default:
		geluGo(dst, x)
	}
}

func geluBackward(dx, x, dy []float32) {
	reads(x)
	reads(dy)
	writes(dx)
	switch level {
	case avx512:
		geluBackwardAVX512(at(dx), at(x), at(dy), len(dx))
	case avx2:
		geluBackwardAVX2(at(dx), at(x), at(dy), len(dx))
	default:
		geluBackwardGo(dx, x, dy)
	}
}

func silu(dst, x []float32) {
	reads(x)
	writes(dst)
	switch level {
	case avx512:
		siluAVX512(at(dst), at(x), len(dst))
	case avx2:
		siluAVX2(at(dst), at(x), len(dst))
	default:
		siluGo(dst, x)
	}
}

func siluBackward(dx, x, dy []float32) {
	reads(x)
	reads(dy)
	writes(dx)
	switch level {
	case avx512:
		siluBackwardAVX512(at(dx), at(x), at(dy), len(dx))
	case avx2:
		siluBackwardAVX2(at(dx), at(x), at(dy), len(dx))
	default:
		siluBackwardGo(dx, x, dy)
	}
}

func add(dst, x []float32) {
	reads(x)
	writes(dst)
	if level == portable {
		addGo(dst, x)
		return
	}
	addAVX2(at(dst), at(x), len(dst))
}

func mul(dst, x []float32) {
	reads(x)
	writes(dst)
	if level == portable {
		mulGo(dst, x)
		return
	}
	mulAVX2(at(dst), at(x), len(dst))
}

func scaleBy(dst []float32, s float32) {
	writes(dst)
	if level == portable {
		scaleGo(dst, s)
		return
	}
	scaleAVX2(at(dst), len(dst), s)
}

func axpy(dst []float32, a float32, x []float32) {
	reads(x[:len(dst)]) // it may go on
	writes(dst)
	if level == portable {
		axpyGo(dst, a, x)
		return
	}
	axpyAVX2(at(dst), a, at(x), len(dst))
}

func dot(a, b []float32) float32 {
	reads(a)
	reads(b)
	if level == portable {
		return dotGo(a, b)
	}
	return dotAVX2(at(a), at(b), len(a))
}

func sum(x []float32) float32 {
	reads(x)
	if level == portable {
		return sumGo(x)
	}
	return sumAVX2(at(x), len(x))
}

func sumSquares(x []float32) float64 {
	reads(x)
	if level == portable {
		return sumSquaresGo(x)
	}
	return sumSquaresAVX2(at(x), len(x))
}

func maximum(x []float32) float32 {
	reads(x)
	if level == portable {
		return maximumGo(x)
	}
	return maximumAVX2(at(x), len(x))
}

func expSum(dst, x []float32, scale, shift float32) float32 {
	reads(x)
	writes(dst)
	switch level {
	case avx512:
		return expSumAVX512(at(dst), at(x), len(x), scale, shift)
	case avx2:
		return expSumAVX2(at(dst), at(x), len(x), scale, shift)
	default:
		return expSumGo(dst, x, scale, shift)
	}
}

func expTotal(x []float32, scale, shift float32) float32 {
	reads(x)
	switch level {
	case avx512:
		return expTotalAVX512(at(x), len(x), scale, shift)
	case avx2:
		return expTotalAVX2(at(x), len(x), scale, shift)
	default:
		return expTotalGo(x, scale, shift)
	}
}

func softmaxGrad(ds, p, dp []float32, delta, scale float32) {
	reads(p)
	reads(dp)
	writes(ds)
	if level == portable {
		softmaxGradGo(ds, p, dp, delta, scale)
		return
	}
	softmaxGradAVX2(at(ds), at(p), at(dp), len(ds), delta, scale)
}

func sumDeviations(x []float32, mean float32) float32 {
	reads(x)
	if level == portable {
		return sumDeviationsGo(x, mean)
	}
	return sumDeviationsAVX2(at(x), len(x), mean)
}

func normalise(dst, x, w, b []float32, mean, rstd float32) {
	reads(x)
	reads(w)
	reads(b)
	writes(dst)
	switch {
	case level == portable:
		normaliseGo(dst, x, w, b, mean, rstd)
	case b != nil:
		layerNormAVX2(at(dst), at(x), at(w), at(b), len(x), mean, rstd)
	default:
		rmsNormAVX2(at(dst), at(x), at(w), len(x), mean, rstd)
	}
}

func normSums(dy, x, w []float32, mean, rstd float32) (float32, float32) {
	reads(dy)
	reads(x)
	reads(w)
	if level == portable {
		return normSumsGo(dy, x, w, mean, rstd)
	}
	return normSumsAVX2(at(dy), at(x), at(w), len(x), mean, rstd)
}

func normInput(dx, dy, x, w []float32, mean, rstd, a, b float32) {
	reads(dy)
	reads(x)
	reads(w)
	writes(dx)
	if level == portable {
		normInputGo(dx, dy, x, w, mean, rstd, a, b)
		return
	}
	normInputAVX2(at(dx), at(dy), at(x), at(w), len(x), mean, rstd, a, b)
}

func normColumns(dw, db, dy, x, mean, rstd []float32, rows, ld int) {
	readsRows(dy, rows, len(dw), ld)
	readsRows(x, rows, len(dw), ld)
	reads(mean)
	reads(rstd)
	writes(dw)
	writes(db)
	if level == portable {
		normColumnsGo(dw, db, dy, x, mean, rstd, rows, ld)
		return
	}
	var none [16]float32
	for j := 0; j < len(dw); j += 16 {
		bias := &none[0]
		if db != nil {
			bias = &db[j]
		}
		normColumnsAVX2(&dw[j], bias, &dy[j], &x[j], at(mean), at(rstd), rows, ld, min(16, len(dw)-j))
	}
}

func adamW(p, g, m, v []float32, s *adamStep) {
	reads(g)
	writes(p)
	writes(m)
	writes(v)
	if level == portable {
		adamWGo(p, g, m, v, s)
		return
	}
	adamWAVX2(at(p), at(g), at(m), at(v), len(p), &s.keep)
}

func widen(dst []float32, src []uint16) {
	reads(src[:len(dst)])
	writes(dst)
	n := len(dst) &^ 15
	if level == portable {
		n = 0
	}
	if n > 0 {
		widenAVX2(&dst[0], &src[0], n)
	}
	widenGo(dst[n:], src[n:])
}
