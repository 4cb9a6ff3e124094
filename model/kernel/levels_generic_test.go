//go:build (!amd64 && !arm64) || noasm

package kernel

import "testing"

// eachLevel runs f for the only instruction set there is.
func eachLevel(t *testing.T, f func(t *testing.T, fused bool)) {
	t.Run("portable", func(t *testing.T) { f(t, false) })
}
