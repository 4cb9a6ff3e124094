package model

import "github.com/rankloop/rankloop/model/kernel"

// arena hands out float32 slices from one slab that is reused from pass to pass. A
// pass that needs more than the slab holds gets the rest from the heap, and the
// slab is as large as the whole next time.
type arena struct {
	slab []float32
	used int  // of the slab
	over int  // handed out beside it
	dry  bool // hands out nothing and counts in used
}

// reset takes everything back; slices handed out before must not be used any more.
func (a *arena) reset() {
	if a.over > 0 {
		a.slab = kernel.Floats(a.used + a.over)
	}
	a.used, a.over = 0, 0
}

// alloc returns n floats of undefined content, 64-byte steps apart.
func (a *arena) alloc(n int) []float32 {
	if n == 0 {
		return nil
	}
	step := (n + 15) &^ 15
	if a.dry {
		a.used += step
		return nil
	}
	if a.used+step > len(a.slab) {
		a.over += step
		return make([]float32, n)
	}
	s := a.slab[a.used : a.used+n : a.used+n]
	a.used += step
	return s
}
