//go:build !amd64 || noasm

package kernel

func (w *Panels) run(j, k, kc, m int, a []float32, lda int, c []float32, ldc int, acc bool) {
	w.runWidened(j, k, kc, m, a, lda, c, ldc, acc)
}
