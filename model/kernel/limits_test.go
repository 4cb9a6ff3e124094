package kernel

import "testing"

// The loops do what they say: every number is read once, and operations are counted.
func TestLimits(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		for _, n := range []int{0, 1, 63, 64, 65, 200, 4096} {
			x, intact := guarded(t, n, n&7)
			for i := range x {
				x[i] = 1
			}
			if got := ReadLoop(x); got != float32(n) {
				t.Errorf("the sum of %d ones is %g", n, got)
			}
			intact()
		}
		if one, ten := FMALoop(1), FMALoop(10); one < 8 || ten != 10*one {
			t.Errorf("1 round is %d operations, 10 are %d", one, ten)
		}
	})
}
