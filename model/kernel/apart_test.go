package kernel

import (
	"math/rand/v2"
	"testing"
)

// Rows with a matrix each are the products of NN of one row, to the bit, and nothing else is read or written.
func TestApart(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		rng := rand.New(rand.NewPCG(61, 62))
		for _, s := range [][3]int{{1, 1, 1}, {2, 16, 24}, {3, 24, 17}, {4, 32, 24}, {4, 24, 32}, {5, 33, 3}, {7, 8, 40}, {12, 64, 9}, {9, 7, 64}} {
			M, N, K := s[0], s[1], s[2]
			lda, ldb, ldc := K+rng.IntN(3), N+rng.IntN(3), N+rng.IntN(3)
			for _, step := range []int{0, K*ldb + 1, N} {
				if step == N {
					ldb = M * N // side by side, as values lie
				}
				n := (M-1)*step + (K-1)*ldb + N
				b, whole := guarded(t, n, 5)
				copy(b, randoms(rng, n))
				a, start := randoms(rng, M*lda), randoms(rng, (M-1)*ldc+N)
				for _, acc := range []bool{false, true} {
					c, intact := guarded(t, len(start), 3)
					copy(c, start)
					apart(M, N, K, a, lda, b, ldb, step, c, ldc, acc)
					intact()
					whole()
					want := append([]float32(nil), start...)
					for i := range M {
						NN(1, N, K, a[i*lda:], lda, b[i*step:], ldb, want[i*ldc:], ldc, acc)
					}
					for i, v := range want {
						if !same(c[i], v) {
							t.Fatalf("M=%d N=%d K=%d step=%d acc=%v: element %d is %g, want %g", M, N, K, step, acc, i, c[i], v)
						}
					}
				}
			}
		}
	})
}
