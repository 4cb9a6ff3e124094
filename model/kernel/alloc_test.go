package kernel

import "testing"

func TestFloats(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 1<<20 - 1, 1 << 20, 3<<20 + 5} {
		x := Floats(n)
		if len(x) != n {
			t.Fatalf("%d floats of %d", len(x), n)
		}
		for i := range x {
			if x[i] != 0 {
				t.Fatalf("element %d of %d is %g", i, n, x[i])
			}
			x[i] = 1
		}
	}
}
