//go:build (!amd64 && !arm64) || noasm

package kernel

// atLevels runs f for the only instruction set there is.
func atLevels(f func(name string, fused bool)) { f("portable", false) }
