//go:build !amd64 || noasm

package kernel

func (w *Panels) halves() bool { return false }

func (w *Panels) run(j, k, kc, i, m int, a *left, c []float32, ldc int, acc bool, _ *float32) {
	w.runGo(j, k, kc, i, m, a, c, ldc, acc)
}

func largest(x []float32) uint32 { return largestGo(x) }
func roundBytes(high, low []uint32, x []float32, inverse float32) (h, l int32) {
	return roundBytesGo(high, low, x, inverse)
}
