package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func halfOf(rng *rand.Rand, n int) []uint16 {
	x := make([]uint16, n)
	Narrow(x, randoms(rng, n))
	return x
}

// A product with a bfloat16 matrix has the bits of the product with the widened one, and reads and writes nothing else.
func TestProductsOfBF16(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		threaded(t, func(t *testing.T, threads int) {
			rng := rand.New(rand.NewPCG(1, 2))
			for _, s := range [][3]int{{1, 1, 1}, {1, 700, 300}, {3, 17, 130}, {5, 490, 129}, {33, 49, 385}, {130, 200, 400}, {2, 3, 0}, {300, 31, 20}} {
				M, N, K := s[0], s[1], s[2]
				for _, acc := range []bool{false, true} {
					for _, l := range []struct {
						name       string
						wide       func(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool)
						half       func(M, N, K int, a []float32, lda int, b []uint16, ldb int, c []float32, ldc int, acc bool)
						rows, cols int
					}{{"NN", NN, NNBF16, K, N}, {"NT", NT, NTBF16, N, K}} {
						lda, ldb, ldc := K+rng.IntN(3), l.cols+rng.IntN(3), N+rng.IntN(3)
						a, b := randoms(rng, M*lda), halfOf(rng, l.rows*ldb)
						wide := make([]float32, len(b))
						Widen(wide, b)
						start := randoms(rng, M*ldc)
						want, intact := guarded(t, len(start), 3)
						copy(want, start)
						got, intactToo := guarded(t, len(start), 5)
						copy(got, start)
						l.wide(M, N, K, a, lda, wide, ldb, want, ldc, acc)
						l.half(M, N, K, a, lda, b, ldb, got, ldc, acc)
						intact()
						intactToo()
						for i := range want {
							if !same(got[i], want[i]) {
								t.Fatalf("%s M=%d N=%d K=%d acc=%v, %d threads: element %d is %g, want %g", l.name, M, N, K, acc, threads, i, got[i], want[i])
							}
						}
					}
				}
			}
		})
	})
}

func TestWiden(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		all := make([]uint16, 1<<16)
		for i := range all {
			all[i] = uint16(i)
		}
		for _, n := range []int{0, 1, 15, 16, 17, 31, 127, 128, 129, 1 << 16} {
			x, intact := guarded(t, n, n&7)
			Widen(x, all)
			intact()
			sum, intact := guarded(t, n, n&7)
			clear(sum)
			AddWidened(sum, all)
			intact()
			for i, v := range x {
				if math.Float32bits(v) != uint32(i)<<16 || !same(sum[i], v+0) {
					t.Fatalf("%d of %d: %g, added %g", i, n, v, sum[i])
				}
			}
		}
	})
}

// Narrow takes the nearest of all bfloat16 numbers, the even one of two, and is the identity on them.
func TestNarrow(t *testing.T) {
	wide := func(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }
	for _, c := range []struct {
		x    uint32
		want uint16
	}{
		{0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82}, {0x3f817fff, 0x3f81},
		{0xbf818000, 0xbf82}, {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0}, {0x00000001, 0}, {0x80000000, 0x8000}, {0x00018000, 2},
	} {
		var got [1]uint16
		Narrow(got[:], []float32{math.Float32frombits(c.x)})
		if got[0] != c.want {
			t.Errorf("%08x is rounded to %04x, want %04x", c.x, got[0], c.want)
		}
	}
	for i := range 1 << 16 {
		var got, dice [1]uint16
		v := wide(uint16(i))
		Narrow(got[:], []float32{v})
		NarrowStochastic(dice[:], []float32{v}, 7, i)
		if v != v {
			if x, y := wide(got[0]), wide(dice[0]); x == x || y == y {
				t.Errorf("NaN %04x became %g and %g", i, x, y)
			}
			continue
		}
		if got[0] != uint16(i) || dice[0] != uint16(i) {
			t.Errorf("%04x became %04x and %04x", i, got[0], dice[0])
		}
	}
}

// RoundBF16 agrees with the definition on numbers of every kind.
func TestRoundBF16(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x, sum := numbers(rng, 4096, wildNumbers), randoms(rng, 4096)
	got, added := append([]float32(nil), x...), append([]float32(nil), sum...)
	RoundBF16(got)
	AddRounded(added, x)
	for i, v := range x {
		if want := nearestBF16(v); !same(got[i], want) || !same(added[i], sum[i]+want) {
			t.Fatalf("%x is rounded to %x, added %x; want %x, %x", v, got[i], added[i], want, sum[i]+want)
		}
	}
}

// The expectation of stochastic rounding is the number, its two neighbours are the only results, and cutting the work anywhere
// changes nothing.
func TestNarrowStochastic(t *testing.T) {
	const n = 1 << 16
	for _, x := range []float32{1.001, -0.3, 3e-5, 1 + 1./512} {
		src, dst, parts := make([]float32, n), make([]uint16, n), make([]uint16, n)
		for i := range src {
			src[i] = x
		}
		NarrowStochastic(dst, src, 42, 0)
		NarrowStochastic(parts[:1000], src, 42, 0)
		NarrowStochastic(parts[1000:], src, 42, 1000)
		mean, low, high := 0.0, math.Inf(1), math.Inf(-1)
		for i, h := range dst {
			if h != parts[i] {
				t.Fatalf("%g: element %d depends on how the work is cut", x, i)
			}
			v := float64(math.Float32frombits(uint32(h) << 16))
			mean, low, high = mean+v/n, min(low, v), max(high, v)
		}
		ulp := math.Abs(float64(x)) / 128
		if low > float64(x) || high < float64(x) || high-low > ulp || math.Abs(mean-float64(x)) > 4*ulp/math.Sqrt(4*n) {
			t.Errorf("%g: mean %g, from %g to %g", x, mean, low, high)
		}
	}
	var got [3]uint16
	NarrowStochastic(got[:], []float32{float32(math.Inf(1)), float32(math.NaN()), float32(math.Inf(-1))}, 1, 0)
	if got[0] != 0x7f80 || got[1]&0x7f80 != 0x7f80 || got[1]&0x7f == 0 || got[2] != 0xff80 {
		t.Errorf("infinite and undefined numbers became %04x", got)
	}
}

// BenchmarkBF16 compares products with a bfloat16 matrix with those in float32, on weights that no cache holds.
func BenchmarkBF16(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	const N, K = 6400, 4800
	wide, half := randoms(rng, N*K), halfOf(rng, N*K)
	row, sum := randoms(rng, 4096), make([]float32, 4096)
	b.Run("Round", func(b *testing.B) {
		for b.Loop() {
			RoundBF16(row)
			AddRounded(sum, row)
		}
	})
	for _, M := range []int{1, 8, 64, 256} {
		a, c := randoms(rng, M*K), make([]float32, M*N)
		for _, f := range []struct {
			name string
			run  func()
		}{
			{"NN-F32", func() { NN(M, N, K, a, K, wide, N, c, N, false) }}, {"NN-BF16", func() { NNBF16(M, N, K, a, K, half, N, c, N, false) }},
			{"NT-F32", func() { NT(M, N, K, a, K, wide, K, c, N, false) }}, {"NT-BF16", func() { NTBF16(M, N, K, a, K, half, K, c, N, false) }},
		} {
			b.Run(fmt.Sprintf("%s-M%d", f.name, M), func(b *testing.B) {
				for b.Loop() {
					f.run()
				}
				b.ReportMetric(2*float64(M*N*K)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
