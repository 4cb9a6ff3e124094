package model

import (
	"fmt"
	"math"
	"runtime"

	"github.com/rankloop/rankloop/model/kernel"
)

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter 2019), in the
// arrangement of PyTorch: p *= 1 - lr·Decay first, then p -= lr·m̂/(√v̂ + Eps).
type AdamW struct {
	Beta1, Beta2 float32 // decay of the first and the second moment
	Eps          float32 // outside the root
	Decay        float32 // of tensors with two or more dimensions, embeddings included
	Clip         float32 // gradients are scaled by min(1, Clip/(norm+1e-6)), one norm over all; 0 = never
	Seed         uint64  // of the stochastic rounding of BF16 weights

	step int
	m, v [][]float32 // in the order of Trainable
}

// NewAdamW returns the optimizer with betas 0.9 and 0.95, eps 1e-8, decay 0.1, clip 1.
func NewAdamW() *AdamW { return &AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Clip: 1} }

// NonFiniteError names a tensor whose gradient has an infinite or undefined element.
type NonFiniteError struct{ Tensor string }

func (e *NonFiniteError) Error() string {
	return "model: the gradient of " + e.Tensor + " is not finite"
}

// stepRows is the number of elements that are updated, or whose squares are summed,
// at once.
const stepRows = 1 << 15

// Step updates the weights of t that are not frozen from their gradients and sets
// those to zero. It returns the norm of the gradients before clipping. Where one is not finite it
// changes nothing and returns *NonFiniteError. A tensor whose gradient and moments
// are zero throughout (a head that no loss reads) is left alone, decay included.
//
// A BF16 weight is stepped in float32 and rounded to one of its two neighbours at
// random, a function of Seed, the step, the tensor and the place in it alone.
func (o *AdamW) Step(t *Transformer, lr float32) (norm float64, err error) {
	defer runtime.KeepAlive(t) // weights may be mapped pages that go with the model
	if t.packed != "" {
		return 0, invalid("weights", "packed as %s, they can only be read", t.packed)
	}
	kernel.BeginBackground()
	defer kernel.EndBackground()
	t.allocGrads()
	params := t.Trainable()
	squares := make([]float64, len(params))
	total := 0.0
	for i, p := range params {
		squares[i] = sumSquares(p.Grad)
		if math.IsNaN(squares[i]) || math.IsInf(squares[i], 0) {
			return math.NaN(), &NonFiniteError{p.Name}
		}
		total += squares[i]
	}
	norm = math.Sqrt(total)
	if err := o.match(params); err != nil {
		return norm, err
	}
	o.step++
	scale := float32(1)
	if o.Clip > 0 {
		scale = float32(min(1, float64(o.Clip)/(norm+1e-6)))
	}
	bc1 := float32(1 - math.Pow(float64(o.Beta1), float64(o.step)))
	bc2 := float32(1 - math.Pow(float64(o.Beta2), float64(o.step)))
	for i, p := range params {
		if squares[i] == 0 && sumSquares(o.m[i]) == 0 {
			continue
		}
		g, decay := p.grad(), o.Decay
		if len(p.Shape) < 2 {
			decay = 0
		}
		key := kernel.Random(kernel.Random(o.Seed, uint64(o.step)), uint64(i))
		kernel.Parallel(p.Len(), stepRows, func(a, b int) {
			if p.Half == nil {
				kernel.AdamW(p.Data[a:b], g[a:b], o.m[i][a:b], o.v[i][a:b], lr, o.Beta1, o.Beta2, o.Eps, decay, bc1, bc2, scale)
				clear(g[a:b])
				return
			}
			wide := t.scratch(min(stepRows, b-a))
			defer t.recycle(wide)
			for ; a < b; a += stepRows {
				x, to := (*wide)[:min(stepRows, b-a)], p.Half[a:]
				e := a + len(x)
				kernel.Widen(x, to)
				kernel.AdamW(x, g[a:e], o.m[i][a:e], o.v[i][a:e], lr, o.Beta1, o.Beta2, o.Eps, decay, bc1, bc2, scale)
				kernel.NarrowStochastic(to[:len(x)], x, key, a)
				clear(g[a:e])
			}
		})
	}
	return norm, nil
}

// match makes the moments fit the tensors at first use.
func (o *AdamW) match(params []*Param) error {
	if o.m == nil {
		lengths := sizes(params, (*Param).Len)
		o.m, o.v = kernel.Slab(lengths), kernel.Slab(lengths)
	}
	if len(o.m) != len(params) {
		return fmt.Errorf("model: the optimizer has moments of %d tensors, the model trains %d", len(o.m), len(params))
	}
	for i, p := range params {
		if len(o.m[i]) != p.Len() || len(o.v[i]) != p.Len() {
			return fmt.Errorf("model: the optimizer's moments of %s have another size", p.Name)
		}
	}
	return nil
}

// sumSquares adds up blocks of fixed size in order, whatever thread summed them.
func sumSquares(x []float32) float64 {
	n := (len(x) + stepRows - 1) / stepRows
	if n <= 1 {
		return kernel.SumSquares(x)
	}
	part := make([]float64, n)
	kernel.Parallel(n, 1, func(a, b int) {
		for i := a; i < b; i++ {
			part[i] = kernel.SumSquares(x[i*stepRows : min((i+1)*stepRows, len(x))])
		}
	})
	sum := 0.0
	for _, s := range part {
		sum += s
	}
	return sum
}

// State returns the steps made and the moments in the order of Trainable, nil before
// the first step. The slices are the optimizer's own.
func (o *AdamW) State() (step int, m, v [][]float32) { return o.step, o.m, o.v }

// SetState puts a state back; the moments are copied.
func (o *AdamW) SetState(step int, m, v [][]float32) {
	clone := func(x [][]float32) (out [][]float32) {
		var lengths []int
		for _, r := range x {
			lengths = append(lengths, len(r))
		}
		if x != nil {
			out = kernel.Slab(lengths)
		}
		for i, r := range x {
			copy(out[i], r)
		}
		return out
	}
	o.step, o.m, o.v = step, clone(m), clone(v)
}
