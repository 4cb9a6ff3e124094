//go:build amd64 && !noasm

package kernel

import (
	"os"

	"golang.org/x/sys/cpu"
)

// The instruction sets, in rising order.
const (
	portable = iota
	avx2     // AVX2 and FMA
	avx512   // AVX-512 F, for the matrix products; the vector kernels are AVX2's
)

// level is the instruction set in use. It is set once, before anything runs; tests change it.
var level = choose(os.Getenv("RANKLOOP_KERNEL"), supported())

// supported returns the highest instruction set of this processor.
func supported() int {
	switch {
	case !cpu.X86.HasAVX2 || !cpu.X86.HasFMA:
		return portable
	case !cpu.X86.HasAVX512F:
		return avx2
	}
	return avx512
}

// choose returns the instruction set that RANKLOOP_KERNEL asks for, as far as the processor has it.
func choose(env string, have int) int {
	switch env {
	case "portable":
		return portable
	case "avx2":
		return min(have, avx2)
	}
	return have
}

// Class names the arithmetic of the kernels in use: "fma", the assembly, whose AVX2 and AVX-512 forms agree to the bit, or
// "portable". Numbers of one class are reproducible to the bit; between classes they agree to rounding.
func Class() string {
	if level == portable {
		return "portable"
	}
	return "fma"
}

func exp(dst, x []float32)                                  { expGo(dst, x) }
func gelu(dst, x []float32)                                 { geluGo(dst, x) }
func geluBackward(dx, x, dy []float32)                      { geluBackwardGo(dx, x, dy) }
func silu(dst, x []float32)                                 { siluGo(dst, x) }
func siluBackward(dx, x, dy []float32)                      { siluBackwardGo(dx, x, dy) }
func add(dst, x []float32)                                  { addGo(dst, x) }
func mul(dst, x []float32)                                  { mulGo(dst, x) }
func scaleBy(dst []float32, s float32)                      { scaleGo(dst, s) }
func axpy(dst []float32, a float32, x []float32)            { axpyGo(dst, a, x) }
func dot(a, b []float32) float32                            { return dotGo(a, b) }
func sumSquares(x []float32) float64                        { return sumSquaresGo(x) }
func maximum(x []float32) float32                           { return maximumGo(x) }
func expSum(dst, x []float32, scale, shift float32) float32 { return expSumGo(dst, x, scale, shift) }
func adamW(p, g, m, v []float32, s *adamStep)               { adamWGo(p, g, m, v, s) }
func sum(x []float32) float32                               { return sumGo(x) }
func sumDeviations(x []float32, mean float32) float32       { return sumDeviationsGo(x, mean) }
func normalise(dst, x, w, b []float32, mean, rstd float32)  { normaliseGo(dst, x, w, b, mean, rstd) }
func normSums(dy, x, w []float32, mean, rstd float32) (float32, float32) {
	return normSumsGo(dy, x, w, mean, rstd)
}
func normInput(dx, dy, x, w []float32, mean, rstd, a, b float32) {
	normInputGo(dx, dy, x, w, mean, rstd, a, b)
}
func normColumns(dw, db, dy, x, mean, rstd []float32, rows, ld int) {
	normColumnsGo(dw, db, dy, x, mean, rstd, rows, ld)
}
func softmaxGrad(ds, p, dp []float32, delta, scale float32) { softmaxGradGo(ds, p, dp, delta, scale) }
