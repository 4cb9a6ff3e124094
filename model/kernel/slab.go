package kernel

import "sync"

// slab is what slabFloats hands out next.
var slab struct {
	sync.Mutex
	rest []float32
}

// slabSize is the size of a slab in floats: eight huge pages.
const slabSize = 1 << 22

// slabFloats returns n zeros for weights that are read over and over for long: those too small for huge pages of their own lie in
// one slab with their neighbours. A slab is let go when nothing of it is used any more, so it is for what comes and goes together.
func slabFloats(n int) []float32 {
	step := (n + 15) &^ 15
	if step > slabSize/4 {
		return Floats(n)
	}
	slab.Lock()
	defer slab.Unlock()
	if len(slab.rest) < step {
		slab.rest = Floats(slabSize)
	}
	x := slab.rest[:n:n]
	slab.rest = slab.rest[step:]
	return x
}
