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
		for k, v := range column {
			column[k] = nearestBF16(v)
		}
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
			for form, size := range map[Form]int{FormFloat32: 4 * K, FormBF16: 4 * ((K + 1) / 2), FormInt8: 4*((K+3)/4) + 4} {
				room, intact := guarded(t, PanelsSize(form, K, N)+1, 1)
				a, b := PanelsNN(form, K, N, nn, N, nil), PanelsNT(form, N, K, nt, ld, room)
				if intact(); room[len(room)-1] != guard {
					t.Fatal("more than PanelsSize was written")
				}
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
				if want := int64((N + 63) / 64 * 64 * size); a.Bytes() != want || PanelsBytes(form, K, N) != want {
					t.Errorf("form %d [%d,%d] takes %d bytes, foretold %d, want %d", form, K, N, a.Bytes(), PanelsBytes(form, K, N), want)
				}
			}
		}
	})
}

// product is an element of a product with Panels by definition: x is the row of A, column and scale are what formed returns, begin is
// what is added to.
func (f Form) product(x, column []float32, scale, begin float32, step func(a, b, c float32) float32) float32 {
	switch f {
	case FormFloat32:
		sum := begin
		for k, v := range column {
			sum = step(x[k], v, sum)
		}
		return sum
	case FormBF16:
		p := problem{M: 1, N: 1, K: len(x), a: x, aks: 1, b: column, bks: 1, c: []float32{begin}, acc: true}
		return p.pairChain(0, 0)
	}
	top := 0.0
	for _, v := range x {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return float32(math.NaN())
		}
		top = max(top, math.Abs(float64(v)))
	}
	sum, inverse := int64(0), 8191/float32(top)
	for k, v := range column {
		if top > 0 {
			sum += int64(math.RoundToEven(float64(x[k]*inverse))) * int64(v)
		}
	}
	return float32(float32(float32(sum)*(float32(top)/8191))*scale) + begin
}

// Products follow the definition, whatever the batch, the threads and the instruction set, and nothing else is read or written; those of
// float32 and bfloat16 have the bits of NN and NNMixed, those of eight bits are off by two roundings of a float32 sum at most.
func TestProductsOfPanels(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		step := func(a, b, c float32) float32 { return float32(a*b) + c }
		if fused {
			step = fma
		}
		threaded(t, func(t *testing.T, threads int) {
			rng := rand.New(rand.NewPCG(7, 8))
			for _, s := range [][3]int{{1, 1, 1}, {1, 700, 300}, {2, 64, 33}, {3, 17, 130}, {4, 128, 1}, {5, 190, 129}, {6, 65, 40}, {7, 300, 50}, {40, 130, 50}, {3, 5, 0}, {9, 65, 2500}, {32, 65, 4500}, {13, 96, 40}, {2, 32, 7}, {1, 32, 3}, {8, 160, 1100}, {3, 30, 9}} {
				M, N, K := s[0], s[1], s[2]
				b := randoms(rng, K*N)
				lda, ldc := K+rng.IntN(3), N+rng.IntN(3)
				a, start := randoms(rng, M*lda), randoms(rng, M*ldc)
				if K > 8 && M > 1 {
					a[lda+3], a[lda+5] = float32(math.Inf(1)), float32(math.NaN())
				}
				if M > 2 {
					clear(a[2*lda:][:K])
				}
				for _, form := range []Form{FormFloat32, FormBF16, FormInt8} {
					w := PanelsNN(form, K, N, b, N, nil)
					for _, acc := range []bool{false, true} {
						c, intact := guarded(t, len(start), 3)
						copy(c, start)
						w.Mul(M, a, lda, c, ldc, acc)
						intact()
						for range 20 {
							i, j := rng.IntN(M), rng.IntN(N)
							column, scale := formed(form, b, K, N, j)
							begin := float32(0)
							if acc {
								begin = start[i*ldc+j]
							}
							want := form.product(a[i*lda:][:K], column, scale, begin, step)
							got := c[i*ldc+j]
							if form == FormInt8 && math.Abs(float64(got-want)) <= 1e-6*(math.Abs(float64(want))+math.Abs(float64(begin))) {
								continue
							}
							if !same(got, want) {
								t.Fatalf("form %d M=%d N=%d K=%d acc=%v, %d threads: element %d,%d is %g, want %g", form, M, N, K, acc, threads, i, j, got, want)
							}
						}
						for i := range start { // between the rows
							if i%ldc >= N && c[i] != start[i] {
								t.Fatalf("element %d between the rows was written", i)
							}
						}
						if form == FormInt8 {
							continue
						}
						want := append([]float32(nil), start...)
						[]matmul{NN, NNMixed}[form](M, N, K, a, lda, b, N, want, ldc, acc)
						for i := range want {
							if !same(c[i], want[i]) {
								t.Fatalf("form %d M=%d N=%d K=%d acc=%v: element %d is %g, NN has %g", form, M, N, K, acc, i, c[i], want[i])
							}
						}
					}
				}
			}
		})
	})
}

// Whole numbers are exact, so products of eight bits have the same bits in every class, for numbers of any kind.
func TestInt8Bits(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, s := range [][3]int{{1, 64, 768}, {7, 130, 401}, {6, 70, 3073}} {
		M, N, K := s[0], s[1], s[2]
		a, b := numbers(rng, M*K, nil), randoms(rng, K*N)
		for i := range a {
			a[i] *= float32(math.Exp(3 * rng.NormFloat64())) // outliers
		}
		w, first := PanelsNN(FormInt8, K, N, b, N, nil), []float32(nil)
		atLevels(func(name string, _ bool) {
			c := make([]float32, M*N)
			w.Mul(M, a, K, c, N, false)
			if first == nil {
				first = c
			}
			for i, v := range c {
				if !same(v, first[i]) {
					t.Fatalf("%s, M=%d N=%d K=%d: element %d is %v, the portable one %v", name, M, N, K, i, v, first[i])
				}
			}
		})
		// The error is that of the weights, half a unit each: what A's rounding adds is not seen beside it.
		var off, size float64
		for i := range M {
			for j := range N {
				sum := 0.0
				for k := range K {
					sum += float64(a[i*K+k]) * float64(b[k*N+j])
				}
				off, size = off+math.Pow(sum-float64(first[i*N+j]), 2), size+sum*sum
			}
		}
		if rel := math.Sqrt(off / size); rel > 0.01 {
			t.Errorf("M=%d N=%d K=%d: relative error %.4f", M, N, K, rel)
		}
	}
}
