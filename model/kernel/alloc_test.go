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

// The slices of a slab are zero, apart from each other, and cannot grow into one another.
func TestSlab(t *testing.T) {
	sizes := []int{0, 1, 15, 16, 17, 3 << 20, 5}
	slab := Slab(sizes)
	for i, x := range slab {
		if len(x) != sizes[i] || cap(x) != sizes[i] {
			t.Fatalf("slice %d has %d of %d elements", i, len(x), sizes[i])
		}
		for j := range x {
			if x[j] != 0 {
				t.Fatalf("element %d of slice %d is %g", j, i, x[j])
			}
			x[j] = 1
		}
	}
}

func BenchmarkSlab(b *testing.B) {
	for b.Loop() {
		Slab([]int{1 << 20, 1 << 20})
	}
}
