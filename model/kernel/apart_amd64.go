//go:build amd64 && !noasm

package kernel

// apart is apartGo, four rows and two vectors at a time.
func apart(M, N, K int, a []float32, lda int, b []float32, ldb, step int, c []float32, ldc int, acc bool) {
	if level == portable {
		apartGo(M, N, K, a, lda, b, ldb, step, c, ldc, acc)
		return
	}
	if raceEnabled {
		for i := range M {
			reads(a[i*lda:][:K])
			readsRows(b[i*step:], K, N, ldb)
			writes(c[i*ldc:][:N])
		}
	}
	lanes, _, _ := shape()
	for i := 0; i < M; i += 4 {
		m, x := min(4, M-i), &a[i*lda]
		for j := 0; j < N; j += 2 * lanes {
			n := min(2*lanes, N-j)
			vectors := (n + lanes - 1) / lanes
			y, z := &b[i*step+j], &c[i*ldc+j]
			if lanes == 16 {
				apartAVX512(m, K, x, lda, y, ldb, step, z, ldc, vectors, n-(vectors-1)*lanes, acc)
			} else {
				apartAVX2(m, K, x, lda, y, ldb, step, z, ldc, vectors, n-(vectors-1)*lanes, acc)
			}
		}
	}
}
