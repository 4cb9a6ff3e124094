//go:build amd64 && !noasm

package kernel

import "unsafe"

func int8Tile(m, K int, a []float32, lda int, panel []int8, scales, c []float32, ldc int, acc bool) {
	switch level {
	case avx512:
		int8AVX512(m, K, at(a), lda, unsafe.SliceData(panel), at(scales), at(c), ldc, acc)
	case avx2:
		int8AVX2(m, K, at(a), lda, unsafe.SliceData(panel), at(scales), at(c), ldc, acc)
	default:
		int8TileGo(m, K, a, lda, panel, scales, c, ldc, acc)
	}
}
