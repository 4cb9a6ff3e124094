package kernel

// What the processor can do at most, for a benchmark to compare with: the peak of fused multiply-adds and the memory's bandwidth.

//go:generate go run -C _gen ./limits -out ../limits_kernels_amd64.s -stubs ../limits_kernels_amd64.go -pkg kernel

// FMALoop does rounds of independent multiply-adds that touch no memory, on the calling goroutine, and returns how many
// floating point operations that were (two to a multiply-add).
func FMALoop(rounds int) (operations int64) { return fmaLoop(max(rounds, 1)) }

// MixedLoop is FMALoop for the products in mixed precision: without an instruction for pairs of bfloat16 it is the same.
func MixedLoop(rounds int) (operations int64) { return mixedLoop(max(rounds, 1)) }

// ReadLoop reads x as fast as memory allows, on the calling goroutine, and returns the sum in no particular order.
func ReadLoop(x []float32) (sum float32) {
	n := len(x) &^ 63
	sum = readLoop(x[:n])
	for _, v := range x[n:] {
		sum += v
	}
	return sum
}

// fmaLoopGo is a round of four multiplications and additions, not fused, like the portable products.
func fmaLoopGo(rounds int) int64 {
	var a, b, c, d, x float32 = 0, 0, 0, 0, 0.5
	for range rounds {
		a, b, c, d = float32(a*x)+x, float32(b*x)+x, float32(c*x)+x, float32(d*x)+x
	}
	if a+b+c+d > 4 { // they tend to 1 each: never so, but then they must be computed
		return 0
	}
	return 8 * int64(rounds)
}

func readLoopGo(x []float32) float32 {
	var a, b, c, d float32
	for ; len(x) >= 4; x = x[4:] {
		a, b, c, d = a+x[0], b+x[1], c+x[2], d+x[3]
	}
	return a + b + c + d
}
