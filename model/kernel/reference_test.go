package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// fma is a·b+c rounded once to float32: the product is exact in float64, the sum is rounded to odd there (towards the odd
// neighbour where it is inexact), so that rounding it once more to float32 gives what a single rounding would (Boldo and
// Melquiond 2008).
func fma(a, b, c float32) float32 {
	p, z := float64(a)*float64(b), float64(c)
	s := p + z
	if math.IsNaN(s) || math.IsInf(s, 0) {
		return float32(s)
	}
	v := s - p
	if e := (p - (s - v)) + (z - v); e != 0 && math.Float64bits(s)&1 == 0 {
		if (e > 0) == (s > 0) {
			s = math.Float64frombits(math.Float64bits(s) + 1)
		} else {
			s = math.Float64frombits(math.Float64bits(s) - 1)
		}
	}
	return float32(s)
}

func TestReferenceFMA(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	number := func() float32 { // any finite number, often of like size
		for {
			v := math.Float32frombits(rng.Uint32())
			if rng.IntN(2) == 0 {
				v = float32(rng.NormFloat64())
			}
			if !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) {
				return v
			}
		}
	}
	naive := 0
	for range 100000 {
		a, b, c := number(), number(), number()
		if rng.IntN(4) == 0 { // all but cancelled, or half way between two numbers
			c = -float32(float64(a) * float64(b) * (1 + float64(rng.IntN(9)-4)/(1<<25)))
			if math.IsInf(float64(c), 0) {
				continue
			}
		}
		sum := new(big.Float).SetPrec(600).SetFloat64(float64(a))
		sum.Mul(sum, new(big.Float).SetFloat64(float64(b)))
		sum.Add(sum, new(big.Float).SetFloat64(float64(c)))
		want, _ := sum.Float32()
		if got := fma(a, b, c); got != want {
			t.Fatalf("fma(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
		if float32(float64(a)*float64(b)+float64(c)) != want {
			naive++
		}
	}
	t.Logf("rounding twice would be wrong %d times", naive)
}

func randoms(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// same reports whether two numbers have the same bits, or are both NaN.
func same(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}

// guard marks memory that no kernel may change.
const guard = -12345.678

// guarded returns a slice of n elements at the given offset from a vector's alignment, and a check that nothing around it was written.
func guarded(t testing.TB, n, offset int) (x []float32, intact func()) {
	const margin = 64
	whole := make([]float32, n+2*margin+offset)
	for i := range whole {
		whole[i] = guard
	}
	x = whole[margin+offset:][:n:n]
	return x, func() {
		t.Helper()
		for i, v := range whole {
			if (i < margin+offset || i >= margin+offset+n) && v != guard {
				t.Fatalf("element %d of %d was written", i-margin-offset, n)
			}
		}
	}
}

// eachLevel is atLevels in subtests.
func eachLevel(t *testing.T, f func(t *testing.T, fused bool)) {
	atLevels(func(name string, fused bool) {
		t.Run(name, func(t *testing.T) { f(t, fused) })
	})
}

// threaded runs f with 1, 2 and 3 threads.
func threaded(t *testing.T, f func(t *testing.T, threads int)) {
	before := Threads()
	defer SetThreads(before)
	for n := 1; n <= 3; n++ {
		SetThreads(n)
		f(t, n)
	}
}
