package model

import (
	"math"
	"sync/atomic"

	"github.com/rankloop/rankloop/model/kernel"
)

// rope turns pairs of channels by angles that grow with the position (rotary
// position embedding): frequency i is theta^(-2i/D).
type rope struct {
	D     int
	theta float64
	table atomic.Pointer[[]float32] // [positions][D]: D/2 cosines, then D/2 sines
}

// angles returns a table of at least n positions.
func (e *rope) angles(n int) []float32 {
	if t := e.table.Load(); t != nil && len(*t) >= n*e.D {
		return *t
	}
	size := 64
	for size < n {
		size *= 2
	}
	t := make([]float32, size*e.D)
	for i := range e.D / 2 {
		freq := math.Pow(e.theta, -float64(2*i)/float64(e.D))
		for pos := range size {
			sin, cos := math.Sincos(float64(pos) * freq)
			t[pos*e.D+i], t[pos*e.D+e.D/2+i] = float32(cos), float32(sin)
		}
	}
	e.table.Store(&t) // another goroutine may have stored the same numbers
	return t
}

// rotate turns the first heads·D elements of every row of x, ld apart, by the angle
// of the row's position; back turns the other way, which is the gradient. Element i
// of a head pairs with i+D/2, the half-split layout of Hugging Face.
func (e *rope) rotate(x []float32, ld, heads int, pos []int32, back bool) {
	last := int32(0)
	for _, t := range pos {
		last = max(last, t)
	}
	table, D, half := e.angles(int(last)+1), e.D, e.D/2
	kernel.Parallel(len(pos), 64, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			cs := table[int(pos[r])*D:][:D]
			cos, sin := cs[:half], cs[half:]
			for h := range heads {
				a := x[r*ld+h*D:][:half]
				b := x[r*ld+h*D+half:][:half]
				if back {
					for i, c := range cos {
						p, q, s := a[i], b[i], sin[i]
						a[i], b[i] = p*c+q*s, q*c-p*s
					}
					continue
				}
				for i, c := range cos {
					p, q, s := a[i], b[i], sin[i]
					a[i], b[i] = p*c-q*s, q*c+p*s
				}
			}
		}
	})
}
