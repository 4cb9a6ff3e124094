//go:build !amd64 || noasm

package kernel

func (w *Panels) run(j, k, kc, i, m int, a *left, c []float32, ldc int, acc bool) {
	w.runGo(j, k, kc, i, m, a, c, ldc, acc)
}
