package kernel

import "testing"

// Slices of a slab are zero, apart from each other and of no more room than was asked for, whatever their sizes.
func TestSlabFloats(t *testing.T) {
	var all [][]float32
	for i, n := range []int{1, 0, 17, slabSize / 4, slabSize/4 - 5, slabSize / 4, slabSize/4 + 1, slabSize / 5, slabSize + 3, 64} {
		x := slabFloats(n)
		if len(x) != n || cap(x) != n && n <= slabSize/4 {
			t.Fatalf("%d floats: length %d, room for %d", n, len(x), cap(x))
		}
		for j, v := range x {
			if v != 0 {
				t.Fatalf("%d floats: element %d is %g", n, j, v)
			}
			x[j] = float32(i + 1)
		}
		all = append(all, x)
	}
	for i, x := range all {
		for j, v := range x {
			if v != float32(i+1) {
				t.Fatalf("slice %d: element %d is of slice %g", i, j, v-1)
			}
		}
	}
}
