//go:build amd64 && !noasm

package kernel

// run computes m rows of the panel that begins with column j, or adds to them, from its weights k to k+kc.
func (w *Panels) run(j, k, kc, m int, a []float32, lda int, c []float32, ldc int, acc bool) {
	if level == portable || kc == 0 {
		w.runWidened(j, k, kc, m, a, lda, c, ldc, acc)
		return
	}
	from := j*w.K + k*panelWidth
	switch wide := level == avx512; {
	case w.Form == FormFloat32 && wide:
		panelFloat32AVX512(m, kc, &a[0], lda, &w.wide[from], &c[0], ldc, acc)
	case w.Form == FormFloat32:
		panelFloat32AVX2(m, kc, &a[0], lda, &w.wide[from], &c[0], ldc, acc)
	case w.Form == FormBF16 && wide:
		panelBF16AVX512(m, kc, &a[0], lda, &w.half[from], &c[0], ldc, acc)
	case w.Form == FormBF16:
		panelBF16AVX2(m, kc, &a[0], lda, &w.half[from], &c[0], ldc, acc)
	case wide:
		panelInt8AVX512(m, kc, &a[0], lda, &w.narrow[from], &w.scales[j], &c[0], ldc, acc)
	default:
		panelInt8AVX2(m, kc, &a[0], lda, &w.narrow[from], &w.scales[j], &c[0], ldc, acc)
	}
}
