package model_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// ForwardLoss has the bits of Forward and Backward: numbers and gradients, in either precision, with dropout and recomputation, whatever
// the threads; and a gradient that was given already is not taken again.
func TestForwardLoss(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	long := model.Config{Family: "gpt2", Vocab: 50, Context: 40, Layers: 1, Width: 16, Heads: 2, BOS: -1, EOS: -1} // more rows than the heads take at once
	for i, cfg := range append(slices.Clone(shapes), long) {
		m := lively(t, cfg, uint64(i))
		rng := rand.New(rand.NewPCG(uint64(i), 14))
		batch := ragged(rng, cfg, 5)
		if cfg == long {
			batch = full(cfg, 20, 40, 1)
		}
		for mode, set := range []func(){func() {}, func() { m.SetMixed(true) }, func() { m.SetRecompute(true); m.SetDropout(0.2, 3) }} {
			set()
			var d [][]float32
			for _, s := range batch {
				row := make([]float32, len(s.IDs)-s.Start)
				for j := range row {
					if rng.IntN(3) > 0 {
						row[j] = float32(rng.NormFloat64())
					}
				}
				d = append(d, row)
			}
			m.ZeroGrad()
			want := m.Forward(batch, model.WantLogprobs)
			want.Backward(model.Grads{Logprobs: d})
			var grads [][]float32
			for _, p := range m.Params() {
				grads = append(grads, slices.Clone(p.Grad))
			}
			for n := 1; n <= 3; n++ {
				kernel.SetThreads(n)
				m.ZeroGrad()
				got := m.ForwardLoss(batch, d)
				got.Backward(model.Grads{})
				for s, row := range got.Logprobs {
					sameBits(t, cfg.Family+": log-probabilities", row, want.Logprobs[s])
				}
				for j, p := range m.Params() {
					if sameBits(t, cfg.Family+": gradient of "+p.Name, p.Grad, grads[j]); t.Failed() {
						t.Fatalf("mode %d, %d threads", mode, n)
					}
				}
			}
		}
	}
	m := lively(t, long, 1)
	pass := m.ForwardLoss(full(long, 1, 5, 1), [][]float32{{1, 1, 1, 1}})
	defer func() {
		if recover() == nil {
			t.Error("the gradient went through twice")
		}
	}()
	pass.Backward(model.Grads{Logprobs: [][]float32{{1, 1, 1, 1}}})
}
