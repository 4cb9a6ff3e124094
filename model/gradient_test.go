package model_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// weighted is the loss Σ c·number over all numbers of a pass, in float64: its
// gradients by those numbers are the coefficients c themselves.
func weighted(p *model.Pass, c model.Grads) float64 {
	sum := 0.0
	add := func(x, w [][]float32) {
		for i := range w {
			for j := range w[i] {
				sum += float64(w[i][j]) * float64(x[i][j])
			}
		}
	}
	add(p.Logprobs, c.Logprobs)
	add(p.Values, c.Values)
	add(p.Entropy, c.Entropy)
	for i := range c.Score {
		sum += float64(c.Score[i]) * float64(p.Score[i])
	}
	return sum
}

// TestGradientsByDifferences compares the slopes of each kind of number with the
// gradients: along the gradient of each tensor as a whole, which must be its length,
// and by single elements, so that no part of a gradient can be missing.
func TestGradientsByDifferences(t *testing.T) {
	kinds := []struct {
		name string
		want model.Want
		keep func(g model.Grads) model.Grads
	}{
		{"logprobs", model.WantLogprobs, func(g model.Grads) model.Grads { return model.Grads{Logprobs: g.Logprobs} }},
		{"values", model.WantValues, func(g model.Grads) model.Grads { return model.Grads{Values: g.Values} }},
		{"entropy", model.WantEntropy, func(g model.Grads) model.Grads { return model.Grads{Entropy: g.Entropy} }},
		{"score", model.WantScore, func(g model.Grads) model.Grads { return model.Grads{Score: g.Score} }},
		{"all", everything, func(g model.Grads) model.Grads { return g }},
	}
	forShapes(t, func(t *testing.T, m *model.Transformer, rng *rand.Rand) {
		batch := ragged(rng, m.Config(), 4)
		for i := range batch {
			batch[i].IDs = batch[i].IDs[:min(len(batch[i].IDs), 10)]
			batch[i].Start = min(batch[i].Start, len(batch[i].IDs))
		}
		batch[0].Start = 1
		for _, k := range kinds {
			pass := m.Forward(batch, k.want)
			c := k.keep(randomGrads(rng, pass))
			m.ZeroGrad()
			pass.Backward(c)
			checked := 0
			for _, p := range m.Params() {
				length := norm(p.Grad)
				if length < 1e-3 { // zero in theory (the keys' bias), or a head not read
					continue
				}
				loss := func(move func(i int) float64) float64 {
					old := slices.Clone(p.Data)
					for i := range p.Data {
						p.Data[i] = float32(float64(old[i]) + move(i))
					}
					defer copy(p.Data, old)
					return weighted(m.Score(batch, k.want), c)
				}
				// Central differences at two step sizes, Richardson's extrapolation.
				slope := func(h float64, along func(i int) float64) float64 {
					d := func(h float64) float64 {
						return (loss(func(i int) float64 { return h * along(i) }) - loss(func(i int) float64 { return -h * along(i) })) / (2 * h)
					}
					return (4*d(h) - d(2*h)) / 3
				}
				const h = 0.01
				got := slope(h, func(i int) float64 { return float64(p.Grad[i]) / length })
				if math.Abs(got-length) > 0.01*length+0.01 {
					t.Errorf("%s: slope along the gradient of %s is %g, its length %g", k.name, p.Name, got, length)
				}
				for range 3 {
					e := rng.IntN(len(p.Data))
					got := slope(h, func(i int) float64 {
						if i == e {
							return 1
						}
						return 0
					})
					if d := math.Abs(got - float64(p.Grad[e])); d > 0.01*math.Abs(got)+0.01 {
						t.Errorf("%s: slope by %s[%d] is %g, the gradient %g", k.name, p.Name, e, got, p.Grad[e])
					}
				}
				checked++
			}
			if checked == 0 {
				t.Errorf("%s: nothing to check", k.name)
			}
		}
	})
}

func norm(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}
