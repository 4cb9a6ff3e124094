//go:build !amd64 || noasm

package kernel

// The vector kernels without assembly: portable Go.

func transpose(dst []float32, stride int, src []float32, ld, n, k int) {
	transposeGo(dst, stride, src, ld, n, k)
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
func expTotal(x []float32, scale, shift float32) float32    { return expTotalGo(x, scale, shift) }
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
func widen(dst []float32, src []uint16)                     { widenGo(dst, src) }
func softmaxGrad(ds, p, dp []float32, delta, scale float32) { softmaxGradGo(ds, p, dp, delta, scale) }
