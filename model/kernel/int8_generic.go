//go:build !amd64 || noasm

package kernel

func int8Tile(m, K int, a []float32, lda int, panel []int8, scales, c []float32, ldc int, acc bool) {
	int8TileGo(m, K, a, lda, panel, scales, c, ldc, acc)
}
