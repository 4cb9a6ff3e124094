//go:build !amd64 || noasm

package kernel

func apart(M, N, K int, a []float32, lda int, b []float32, ldb, step int, c []float32, ldc int, acc bool) {
	apartGo(M, N, K, a, lda, b, ldb, step, c, ldc, acc)
}
