package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

type matmul = func(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool)

var mixedProducts = []matmul{NNMixed, NTMixed, TNMixed}

// checkMixed runs p in mixed precision and compares C with the chain over pairs, to the bit: the elements that each lets through.
func checkMixed(t *testing.T, p *problem, each func() bool) {
	t.Helper()
	c, intact := guarded(t, len(p.c), p.K&7)
	copy(c, p.c)
	mixedProducts[p.layout](p.M, p.N, p.K, p.a, p.lda, p.b, p.ldb, c, p.ldc, p.acc)
	intact()
	for i := range c {
		if i%p.ldc >= p.N {
			if c[i] == c[i] {
				t.Fatalf("%v: C was written between its rows", p)
			}
			continue
		}
		if !each() {
			continue
		}
		if s := p.pairChain(i/p.ldc, i%p.ldc); !same(c[i], s) {
			t.Fatalf("%v: C[%d,%d] = %v, want %v", p, i/p.ldc, i%p.ldc, c[i], s)
		}
	}
}

func every() bool { return true }

// pairChain is element (r,j) of the product in mixed precision, by definition.
func (p *problem) pairChain(r, j int) (s float32) {
	if p.acc {
		s = p.c[r*p.ldc+j]
	}
	at := func(k int) (a, b float32) {
		if k < p.K {
			a, b = nearestBF16(p.a[r*p.ars+k*p.aks]), nearestBF16(p.b[k*p.bks+j*p.bns])
		}
		return a, b
	}
	for k := 0; k < p.K; k += 2 {
		a, b := at(k + 1)
		s = fma(a, b, s)
		a, b = at(k)
		s = fma(a, b, s)
	}
	return s
}

// nearestBF16 rounds by the definition: of the two neighbours the nearer, or the even one.
func nearestBF16(v float32) float32 {
	if math.Abs(float64(v)) < 0x1p-126 {
		return float32(math.Copysign(0, float64(v)))
	}
	if v != v || math.IsInf(float64(v), 0) {
		return v
	}
	low := math.Float32frombits(math.Float32bits(v) &^ 0xffff)
	ulp := math.Ldexp(1, math.Ilogb(float64(v))-7)
	switch rest := math.Abs(float64(v)-float64(low)) / ulp; {
	case rest > 0.5 || rest == 0.5 && math.Float32bits(low)&0x10000 != 0:
		return float32(float64(low) + math.Copysign(ulp, float64(v)))
	}
	return low
}

func TestMixedSizes(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		rng := rand.New(rand.NewPCG(5, 6))
		for layout := range mixedProducts {
			for M := range 10 { // every remainder of a tile
				for N := range 52 {
					checkMixed(t, newProblem(rng, layout, M, N, rng.IntN(70), rng.IntN(2) == 0), every)
				}
			}
			for _, s := range [][3]int{{300, 20, 7}, {7, 500, 9}, {9, 50, 1700}, {70, 49, 769}, {65, 97, 97}, {1, 4500, 29}, {1, 21, 500}, {8, 33, 801}, {2100, 5, 3}} { // beyond every block
				checkMixed(t, newProblem(rng, layout, s[0], s[1], s[2], rng.IntN(2) == 0), every)
			}
		}
	})
}

// Whatever the threads, and the numbers: infinite and undefined ones go where they go, what is below 2⁻¹²⁶ is zero.
func TestMixedNumbers(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		threaded(t, func(t *testing.T, threads int) {
			rng := rand.New(rand.NewPCG(uint64(threads), 6))
			for layout := range mixedProducts {
				for _, s := range [][3]int{{130, 300, 260}, {40, 2000, 35}, {600, 50, 100}} {
					p := newProblem(rng, layout, s[0], s[1], s[2], true)
					for range 40 {
						special := []float32{float32(math.Inf(1)), float32(math.NaN()), 0x1p-130, math.MaxFloat32, -0x1p-126, 0x1.01p0, 0x1.03p0}[rng.IntN(7)]
						if p.a[rng.IntN(len(p.a))] = special; rng.IntN(2) == 0 {
							p.b[rng.IntN(len(p.b))] = 1 / special
						}
					}
					for i := range p.c {
						if i%p.ldc >= p.N {
							p.c[i] = float32(math.NaN())
						}
					}
					checkMixed(t, p, func() bool { return rng.IntN(20) == 0 })
				}
			}
		})
	})
}

// Mixed precision is fast where its products run at more than the peak of multiply-adds, by the number of operations a round.
func TestMixedIsFast(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		if MixedIsFast() != (MixedLoop(1) > FMALoop(1)) {
			t.Errorf("fast: %v, %d operations a round beside %d", MixedIsFast(), MixedLoop(1), FMALoop(1))
		}
	})
}

func FuzzMixed(f *testing.F) {
	for n := range uint8(30) {
		f.Add(uint64(n), 7*n, 5*n, 9*n, n%3, n%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, M, N, K, layout uint8, acc bool) {
		atLevels(func(string, bool) {
			checkMixed(t, newProblem(rand.New(rand.NewPCG(seed, 3)), int(layout%3), int(M%40), int(N), int(K), acc), every)
		})
	})
}

// BenchmarkMixed measures products in mixed precision beside those in float32, in the shapes of GPT-2 124M and of a model 384 wide.
func BenchmarkMixed(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range []struct{ layout, M, N, K int }{
		{0, 1024, 2304, 768}, {0, 1024, 768, 3072}, {1, 1024, 2304, 768}, {1, 1024, 768, 3072}, {2, 768, 3072, 1024},
		{0, 256, 2304, 768}, {1, 256, 768, 3072}, {2, 768, 768, 256}, {1, 256, 50257, 768}, {0, 256, 1152, 384}, {1, 256, 384, 1536}, {2, 384, 1536, 1024},
		{0, 32, 2304, 768}, {1, 32, 2304, 768},
	} {
		sizes := [][3]int{{s.M * s.K, s.K, s.N}, {s.M * s.K, s.K, s.K}, {s.K * s.M, s.M, s.N}}[s.layout]
		x, w, y := randoms(rng, sizes[0]), randoms(rng, s.N*s.K), make([]float32, s.M*s.N)
		for _, f := range []struct {
			name string
			run  matmul
		}{{"f32", layouts[s.layout].run}, {"mixed", []matmul{NNMixed, NTMixed, TNMixed}[s.layout]}} {
			b.Run(fmt.Sprintf("%s_M%d_N%d_K%d_%s", layouts[s.layout].name, s.M, s.N, s.K, f.name), func(b *testing.B) {
				benchThreads(b, func(b *testing.B) {
					for b.Loop() {
						f.run(s.M, s.N, s.K, x, sizes[1], w, sizes[2], y, s.N, false)
					}
					b.ReportMetric(2*float64(s.M*s.N*s.K)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			})
		}
	}
}
