package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The columns of an Int8 are those of the matrix to half a step of their scales, from either layout.
func TestQuantize(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, s := range [][2]int{{1, 1}, {0, 5}, {5, 0}, {7, 63}, {130, 64}, {33, 65}, {20, 200}} {
			K, N := s[0], s[1]
			ldNN, ldNT := N+rng.IntN(3), K+rng.IntN(3)
			nn, nt := randoms(rng, K*ldNN), randoms(rng, N*ldNT)
			for j := range N {
				for k := range K {
					if j == N/2 {
						nn[k*ldNN+j] = 0 // a column of zeros
					}
					nt[j*ldNT+k] = nn[k*ldNN+j]
				}
			}
			a, b := QuantizeNN(K, N, nn, ldNN), QuantizeNT(N, K, nt, ldNT)
			x, y := make([]float32, K), make([]float32, K)
			for j := range N {
				a.Column(x, j)
				b.Column(y, j)
				largest := float32(0)
				for k := range K {
					largest = max(largest, float32(math.Abs(float64(nn[k*ldNN+j]))))
				}
				for k := range K {
					if off := math.Abs(float64(x[k] - nn[k*ldNN+j])); off > float64(largest)/254*1.0001 || !same(x[k], y[k]) {
						t.Fatalf("[%d,%d] element %d,%d: %g and %g for %g, largest %g", K, N, k, j, x[k], y[k], nn[k*ldNN+j], largest)
					}
				}
			}
			if want := int64((N + 63) / 64 * 64 * (K + 4)); a.Bytes() != want {
				t.Errorf("[%d,%d] takes %d bytes, want %d", K, N, a.Bytes(), want)
			}
		}
	})
}

// Products are the chain over k, then the scale, to the bit, whatever the batch, the threads and the instruction set, and
// nothing else is read or written.
func TestProductsOfInt8(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		step := func(a, b, c float32) float32 { return float32(a*b) + c }
		if Class() == "fma" {
			step = fma
		}
		threaded(t, func(t *testing.T, threads int) {
			rng := rand.New(rand.NewPCG(7, 8))
			for _, s := range [][3]int{{1, 1, 1}, {1, 700, 300}, {2, 64, 33}, {3, 17, 130}, {4, 128, 1}, {5, 190, 129}, {6, 65, 40}, {7, 300, 50}, {40, 130, 50}, {3, 5, 0}, {13, 70, 30000}} {
				M, N, K := s[0], s[1], s[2]
				w := QuantizeNN(K, N, randoms(rng, K*N), N)
				lda, ldc := K+rng.IntN(3), N+rng.IntN(3)
				a, start := randoms(rng, M*lda), randoms(rng, M*ldc)
				if K > 8 && M > 1 {
					a[lda+3], a[lda+5] = float32(math.Inf(1)), float32(math.NaN())
				}
				for _, acc := range []bool{false, true} {
					c, intact := guarded(t, len(start), 3)
					copy(c, start)
					w.Mul(M, a, lda, c, ldc, acc)
					intact()
					for range 50 {
						i, j := rng.IntN(M), rng.IntN(N)
						sum, scale := float32(0), w.scales[j]
						for k := range K {
							sum = step(a[i*lda+k], float32(w.panels[j/64*64*K+k*64+j%64]), sum)
						}
						want := float32(sum * scale)
						if acc {
							want = step(sum, scale, start[i*ldc+j])
						}
						if got := c[i*ldc+j]; !same(got, want) {
							t.Fatalf("M=%d N=%d K=%d acc=%v, %d threads: element %d,%d is %g, want %g", M, N, K, acc, threads, i, j, got, want)
						}
					}
					for i := range start { // between the rows
						if i%ldc >= N && c[i] != start[i] {
							t.Fatalf("element %d between the rows was written", i)
						}
					}
				}
			}
		})
	})
}
