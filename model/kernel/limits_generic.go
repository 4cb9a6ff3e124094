//go:build !amd64 || noasm

package kernel

func fmaLoop(rounds int) int64     { return fmaLoopGo(rounds) }
func readLoop(x []float32) float32 { return readLoopGo(x) }
