//go:build amd64 && !noasm

package kernel

func fmaLoop(rounds int) int64 {
	switch level {
	case avx512:
		fmaLoopAVX512(rounds)
		return int64(rounds) * 24 * 16 * 2
	case avx2:
		fmaLoopAVX2(rounds)
		return int64(rounds) * 12 * 8 * 2
	}
	return fmaLoopGo(rounds)
}

func mixedLoop(rounds int) int64 {
	if !dots {
		return fmaLoop(rounds)
	}
	dotLoop(rounds)
	return int64(rounds) * 24 * 16 * 4
}

func readLoop(x []float32) float32 {
	reads(x)
	if level == portable {
		return readLoopGo(x)
	}
	return readLoopAVX2(at(x), len(x))
}
