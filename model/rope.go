package model

import (
	"math"
	"sync/atomic"

	"github.com/rankloop/rankloop/model/kernel"
)

// RopeScaling stretches the rotary frequencies, so that a model reads more positions
// than it was trained on. The zero value leaves them as they are.
type RopeScaling struct {
	// Kind is "" (none), "linear" or "llama3".
	Kind string `json:",omitempty"`
	// Factor >= 1 divides the frequencies: all of them in linear (Chen et al. 2023,
	// position interpolation), the low ones in llama3.
	Factor float64 `json:",omitempty"`
	// LowFreq, HighFreq and Original belong to llama3 (Llama 3.1, 2024): a frequency
	// that turns fewer than LowFreq times over the Original positions is divided, one
	// that turns more than HighFreq times stays, those between are blended.
	LowFreq  float64 `json:",omitempty"`
	HighFreq float64 `json:",omitempty"`
	Original int     `json:",omitempty"`
}

func (s RopeScaling) validate() error {
	switch s.Kind {
	case "":
		if s != (RopeScaling{}) {
			return invalid("RopeScaling", "it has numbers but no Kind")
		}
		return nil
	case "linear":
		if s.LowFreq != 0 || s.HighFreq != 0 || s.Original != 0 {
			return invalid("RopeScaling", "linear has a Factor only")
		}
	case "llama3":
		if !(s.LowFreq > 0 && s.HighFreq > s.LowFreq && s.HighFreq < 1e6) {
			return invalid("RopeScaling", "LowFreq %g and HighFreq %g are not in order above 0", s.LowFreq, s.HighFreq)
		}
		if s.Original < 1 || s.Original > maxDim {
			return invalid("RopeScaling", "Original %d is not in 1..%d", s.Original, maxDim)
		}
	default:
		return invalid("RopeScaling", "the kind %q is not known; there are linear and llama3", s.Kind)
	}
	if !(s.Factor >= 1 && s.Factor < 1e6) {
		return invalid("RopeScaling", "Factor %g is not in [1,1e6)", s.Factor)
	}
	return nil
}

// scale returns the stretched frequency, in radians per position.
func (s RopeScaling) scale(freq float64) float64 {
	switch s.Kind {
	case "linear":
		return freq / s.Factor
	case "llama3":
		turns := float64(s.Original) * freq / (2 * math.Pi)
		keep := min(max((turns-s.LowFreq)/(s.HighFreq-s.LowFreq), 0), 1)
		return keep*freq + (1-keep)*freq/s.Factor
	}
	return freq
}

// rope turns pairs of channels by angles that grow with the position (rotary
// position embedding, Su et al. 2021): frequency i is theta^(-2i/D), then scaled.
type rope struct {
	D       int
	theta   float64
	scaling RopeScaling
	table   atomic.Pointer[[]float32] // [positions][D]: D/2 cosines, then D/2 sines
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
		freq := e.scaling.scale(math.Pow(e.theta, -float64(2*i)/float64(e.D)))
		for pos := range size {
			sin, cos := math.Sincos(float64(pos) * freq)
			t[pos*e.D+i], t[pos*e.D+e.D/2+i] = float32(cos), float32(sin)
		}
	}
	e.table.Store(&t) // another goroutine may have stored the same numbers
	return t
}

// rotation is the work of turning the heads of rows.
type rotation struct {
	x         []float32
	ld, heads int
	pos       []int32   // of each row
	table     []float32 // of the angles
	D         int
	back      bool
}

// rotate turns the first heads·D elements of every row of x, ld apart, by the angle
// of the row's position; back turns the other way, which is the gradient. Element i
// of a head pairs with i+D/2, the half-split layout of Hugging Face. w is room for the work.
func (e *rope) rotate(w *rotation, x []float32, ld, heads int, pos []int32, back bool) {
	last := int32(0)
	for _, t := range pos {
		last = max(last, t)
	}
	*w = rotation{x, ld, heads, pos, e.angles(int(last) + 1), e.D, back}
	kernel.ParallelWork(len(pos), 64, w)
}

// Run turns rows lo to hi.
func (w *rotation) Run(lo, hi int) {
	half := w.D / 2
	for r := lo; r < hi; r++ {
		cs := w.table[int(w.pos[r])*w.D:][:w.D]
		cos, sin := cs[:half], cs[half:]
		for h := range w.heads {
			a := w.x[r*w.ld+h*w.D:][:half]
			b := w.x[r*w.ld+h*w.D+half:][:half]
			if w.back {
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
}
