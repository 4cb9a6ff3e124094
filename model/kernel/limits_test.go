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
		for name, loop := range map[string]func(int) int64{"FMALoop": FMALoop, "MixedLoop": MixedLoop} {
			if one, ten := loop(1), loop(10); one < 8 || ten != 10*one {
				t.Errorf("%s: 1 round is %d operations, 10 are %d", name, one, ten)
			}
		}
	})
}
