package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// formed is what products with a panel see of column j of b [K,N], and the scale that follows.
func formed(form Form, b []float32, K, N, j int) (column []float32, scale float32) {
	column, scale = make([]float32, K), 1
	for k := range K {
		column[k] = b[k*N+j]
	}
	switch form {
	case FormBF16:
		half := make([]uint16, K)
		Narrow(half, column)
		Widen(column, half)
	case FormInt8:
		largest := float32(0)
		for _, v := range column {
			largest = max(largest, float32(math.Abs(float64(v))))
		}
		scale = largest / 127
		for k, v := range column {
			if scale > 0 {
				column[k] = float32(math.RoundToEven(float64(v)*(1/float64(scale)))) + 0 // there is no -0
			}
		}
	}
	return column, scale
}

// The columns of Panels are those of the matrix as its form rounds them, from either layout.
func TestPanels(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, s := range [][2]int{{1, 1}, {0, 5}, {5, 0}, {7, 63}, {130, 64}, {33, 65}, {20, 200}} {
			K, N := s[0], s[1]
			ld := K + rng.IntN(3)
			nn, nt := randoms(rng, K*N), randoms(rng, N*ld)
			for j := range N {
				for k := range K {
					if j == N/2 {
						nn[k*N+j] = 0 // a column of zeros
					}
					nt[j*ld+k] = nn[k*N+j]
				}
			}
			for form, size := range map[Form]int{FormFloat32: 4 * K, FormBF16: 2 * K, FormInt8: K + 4} {
				a, b := PanelsNN(form, K, N, nn, N), PanelsNT(form, N, K, nt, ld)
				x, y := make([]float32, K), make([]float32, K)
				for j := range N {
					a.Column(x, j)
					b.Column(y, j)
					want, scale := formed(form, nn, K, N, j)
					for k, v := range want {
						if v *= scale; !same(x[k], v) || !same(y[k], v) {
							t.Fatalf("form %d [%d,%d] element %d,%d: %g and %g, want %g", form, K, N, k, j, x[k], y[k], v)
						}
						if off := math.Abs(float64(x[k] - nn[k*N+j])); form == FormInt8 && off > float64(scale)*0.5001 {
							t.Fatalf("[%d,%d] element %d,%d: %g for %g, scale %g", K, N, k, j, x[k], nn[k*N+j], scale)
						}
					}
				}
				if want := int64((N + 63) / 64 * 64 * size); a.Bytes() != want {
					t.Errorf("form %d [%d,%d] takes %d bytes, want %d", form, K, N, a.Bytes(), want)
				}
			}
		}
	})
}

// Products are one chain over k, to the bit, whatever the batch, the threads and the instruction set, and nothing else is read
// or written; those of float32 and bfloat16 have the bits of NN.
func TestProductsOfPanels(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		step := func(a, b, c float32) float32 { return float32(a*b) + c }
		if fused {
			step = fma
		}
		threaded(t, func(t *testing.T, threads int) {
			rng := rand.New(rand.NewPCG(7, 8))
			for _, s := range [][3]int{{1, 1, 1}, {1, 700, 300}, {2, 64, 33}, {3, 17, 130}, {4, 128, 1}, {5, 190, 129}, {6, 65, 40}, {7, 300, 50}, {40, 130, 50}, {3, 5, 0}, {9, 65, 2500}, {32, 65, 4500}} {
				M, N, K := s[0], s[1], s[2]
				b := randoms(rng, K*N)
				lda, ldc := K+rng.IntN(3), N+rng.IntN(3)
				a, start := randoms(rng, M*lda), randoms(rng, M*ldc)
				if K > 8 && M > 1 {
					a[lda+3], a[lda+5] = float32(math.Inf(1)), float32(math.NaN())
				}
				for _, form := range []Form{FormFloat32, FormBF16, FormInt8} {
					w := PanelsNN(form, K, N, b, N)
					for _, acc := range []bool{false, true} {
						c, intact := guarded(t, len(start), 3)
						copy(c, start)
						w.Mul(M, a, lda, c, ldc, acc)
						intact()
						for range 20 {
							i, j := rng.IntN(M), rng.IntN(N)
							column, scale := formed(form, b, K, N, j)
							sum, begin := float32(0), start[i*ldc+j]
							if acc && form != FormInt8 {
								sum = begin
							}
							for k, v := range column {
								sum = step(a[i*lda+k], v, sum)
							}
							if sum = float32(sum * scale); form == FormInt8 && acc {
								sum += begin
							}
							if got := c[i*ldc+j]; !same(got, sum) {
								t.Fatalf("form %d M=%d N=%d K=%d acc=%v, %d threads: element %d,%d is %g, want %g", form, M, N, K, acc, threads, i, j, got, sum)
							}
						}
						for i := range start { // between the rows
							if i%ldc >= N && c[i] != start[i] {
								t.Fatalf("element %d between the rows was written", i)
							}
						}
						if form == FormFloat32 {
							want := append([]float32(nil), start...)
							NN(M, N, K, a, lda, b, N, want, ldc, acc)
							for i := range want {
								if !same(c[i], want[i]) {
									t.Fatalf("M=%d N=%d K=%d acc=%v: element %d is %g, NN has %g", M, N, K, acc, i, c[i], want[i])
								}
							}
						}
					}
				}
			}
		})
	})
}
