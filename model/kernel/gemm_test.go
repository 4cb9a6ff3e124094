package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func randoms(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func TestQuick(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		M, N, K := 1+rng.IntN(70), 1+rng.IntN(70), 1+rng.IntN(300)
		a, b := randoms(rng, M*K), randoms(rng, K*N)
		c := make([]float32, M*N)
		NN(M, N, K, a, K, b, N, c, N, false)
		at, bt := make([]float32, M*K), make([]float32, K*N)
		for i := range M {
			for k := range K {
				at[k*M+i] = a[i*K+k]
			}
		}
		for j := range N {
			for k := range K {
				bt[j*K+k] = b[k*N+j]
			}
		}
		d, e := make([]float32, M*N), make([]float32, M*N)
		NT(M, N, K, a, K, bt, K, d, N, false)
		TN(M, N, K, at, M, b, N, e, N, false)
		for i := range M {
			for j := range N {
				var s float64
				for k := range K {
					s += float64(a[i*K+k]) * float64(b[k*N+j])
				}
				if math.Abs(s-float64(c[i*N+j])) > 1e-4 || c[i*N+j] != d[i*N+j] || c[i*N+j] != e[i*N+j] {
					t.Fatal(M, N, K, i, j, s, c[i*N+j], d[i*N+j], e[i*N+j])
				}
			}
		}
	}
}

func BenchmarkNN(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	M, N, K := 4096, 384, 96
	x, y, z := randoms(rng, M*K), randoms(rng, N*K), randoms(rng, M*N)
	for b.Loop() {
		NN(M, N, K, x, K, y, N, z, N, false)
	}
	b.ReportMetric(2*float64(M*N*K)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
