package kernel

import "math"

// Drop is dropout (Srivastava et al. 2014) in its inverted form: with probability limit/2³² an element of x becomes zero,
// otherwise scale times itself. Element i takes its random number at place i+first of the stream key, two of 32 bits from each
// of its 64.
func Drop(x []float32, key uint64, first int, limit uint32, scale float32) {
	one := func(i int) {
		r := Random(key, uint64(first+i)/2) >> (32 * (uint64(first+i) & 1))
		x[i] = dropped(x[i]*scale, uint32(r), limit)
	}
	i := 0
	if first&1 == 1 && len(x) > 0 {
		one(0)
		i = 1
	}
	for ; i+1 < len(x); i += 2 {
		r := Random(key, uint64(first+i)/2)
		x[i] = dropped(x[i]*scale, uint32(r), limit)
		x[i+1] = dropped(x[i+1]*scale, uint32(r>>32), limit)
	}
	if i < len(x) {
		one(i)
	}
}

// dropped is v, or zero where r < limit, without a branch that the processor could not foresee.
func dropped(v float32, r, limit uint32) float32 {
	gone := uint32((int64(r) - int64(limit)) >> 63)
	return math.Float32frombits(math.Float32bits(v) &^ gone)
}
