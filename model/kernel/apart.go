package kernel

// apartGo computes c [M,N], or adds to it, whose rows are products of a row of a [M,K] with a matrix of its own each: that of row i
// begins at b[i*step] and has rows ldb apart. step 0 is one matrix for all. K is at least 1. It runs on the calling goroutine.
func apartGo(M, N, K int, a []float32, lda int, b []float32, ldb, step int, c []float32, ldc int, acc bool) {
	if step == 0 {
		mm(M, N, K, a, lda, b, ldb, c, ldc, acc)
		return
	}
	for i := range M {
		mm(1, N, K, a[i*lda:], lda, b[i*step:], ldb, c[i*ldc:], ldc, acc)
	}
}
