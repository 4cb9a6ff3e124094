package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// normExact is LayerNorm (centred) or RMSNorm of one row in float64.
func normExact(x, w, b []float64, eps float64, centred bool) []float64 {
	n := float64(len(x))
	var mean, variance float64
	if centred {
		for _, v := range x {
			mean += v / n
		}
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / n
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v - mean) / math.Sqrt(variance+eps) * w[i]
		if b != nil {
			y[i] += b[i]
		}
	}
	return y
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

func TestNorms(t *testing.T) {
	const eps = 1e-5
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(31, 32))
		for _, s := range [][2]int{{1, 1}, {3, 5}, {2, 8}, {5, 15}, {4, 16}, {7, 33}, {3, 96}, {40, 100}} {
			for _, centred := range []bool{true, false} {
				rows, C := s[0], s[1]
				x, w, b, dy := randoms(rng, rows*C), randoms(rng, C), randoms(rng, C), randoms(rng, rows*C)
				for i := range x {
					x[i] = 2*x[i] + 3
				}
				dst, intact := guarded(t, rows*C, 1)
				dx, intactX := guarded(t, rows*C, 2)
				dw, intactW := guarded(t, C, 3)
				db, intactB := guarded(t, C, 4)
				mean, rstd := make([]float32, rows), make([]float32, rows)
				before := randoms(rng, 2*C)
				copy(dw, before)
				copy(db, before[C:])
				wb := wide(b)
				if centred {
					LayerNorm(dst, mean, rstd, x, w, b, rows, C, eps)
					LayerNormBackward(dx, dw, db, dy, x, mean, rstd, w, rows, C)
				} else {
					RMSNorm(dst, rstd, x, w, rows, C, eps)
					RMSNormBackward(dx, dw, dy, x, rstd, w, rows, C)
					copy(db, before[C:])
					wb = nil
				}
				intact()
				intactX()
				intactW()
				intactB()
				near := func(what string, i int, got float32, want, tol float64) {
					t.Helper()
					if !(math.Abs(float64(got)-want) <= tol) {
						t.Fatalf("rows %d, C %d, centred %v: %s[%d] = %v, want %v", rows, C, centred, what, i, got, want)
					}
				}
				wantW, wantB := wide(before[:C]), wide(before[C:])
				for r := range rows {
					row, g := wide(x[r*C:][:C]), wide(dy[r*C:][:C])
					y := normExact(row, wide(w), wb, eps, centred)
					hat := normExact(row, constants64(C, 1), nil, eps, centred)
					for i := range y {
						near("dst", r*C+i, dst[r*C+i], y[i], 4e-6*(1+math.Abs(y[i])))
						wantW[i] += g[i] * hat[i]
						if centred {
							wantB[i] += g[i]
						}
						// dx[i] = d(sum of dy·y)/dx[i], by differences
						const h = 1e-5
						slope := 0.0
						kept := row[i]
						for _, side := range []float64{1, -1} {
							row[i] = kept + side*h
							for j, v := range normExact(row, wide(w), wb, eps, centred) {
								slope += side * g[j] * v / (2 * h)
							}
						}
						row[i] = kept
						if C > 1 || !centred {
							near("dx", r*C+i, dx[r*C+i], slope, 2e-5*(1+math.Abs(slope)))
						}
					}
				}
				for i := range dw {
					near("dw", i, dw[i], wantW[i], 1e-5*(1+math.Abs(wantW[i])))
					near("db", i, db[i], wantB[i], 1e-5*(1+math.Abs(wantB[i])))
				}
			}
		}
	})
}

func constants64(n int, v float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = v
	}
	return x
}

// Threads change no bit, a row stands alone, and the gradient may replace dy.
func TestNormBits(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(33, 34))
		const rows, C, eps = 700, 100, 1e-5
		x, w, b, dy := randoms(rng, rows*C), randoms(rng, C), randoms(rng, C), randoms(rng, rows*C)
		var want [][]float32
		threaded(t, func(t *testing.T, threads int) {
			y, mean, rstd, z := make([]float32, rows*C), make([]float32, rows), make([]float32, rows), append([]float32(nil), dy...)
			dw, db, dr, u := make([]float32, C), make([]float32, C), make([]float32, C), append([]float32(nil), dy...)
			LayerNorm(y, mean, rstd, x, w, b, rows, C, eps)
			LayerNormBackward(z, dw, db, z, x, mean, rstd, w, rows, C)
			v, root := make([]float32, rows*C), make([]float32, rows)
			RMSNorm(v, root, x, w, rows, C, eps)
			RMSNormBackward(u, dr, u, x, root, w, rows, C)
			got := [][]float32{y, mean, rstd, z, dw, db, v, root, u, dr}
			if want == nil {
				want = got
			}
			for i := range want {
				for j := range want[i] {
					if !same(got[i][j], want[i][j]) {
						t.Fatalf("%d threads: result %d differs at %d", threads, i, j)
					}
				}
			}
			one := append([]float32(nil), x[5*C:6*C]...)
			LayerNorm(one, nil, nil, one, w, b, 1, C, eps)
			two := append([]float32(nil), x[5*C:6*C]...)
			RMSNorm(two, nil, two, w, 1, C, eps)
			for j := range one {
				if !same(one[j], y[5*C+j]) || !same(two[j], v[5*C+j]) {
					t.Fatalf("a row alone differs at %d", j)
				}
			}
		})
	})
}
