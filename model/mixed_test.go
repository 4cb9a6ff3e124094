package model_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// In mixed precision a sequence gives the same numbers alone, in a batch, with a cache, going backward or not, whatever the threads;
// and they are those of float32 to the precision of bfloat16, but not the same.
func TestMixed(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	for i, cfg := range shapes {
		m := lively(t, cfg, uint64(i))
		batch := ragged(rand.New(rand.NewPCG(uint64(i), 4)), cfg, 5)
		want := m.Score(batch, model.WantLogprobs)
		m.SetMixed(true)
		if !m.Mixed() || !m.Clone().Mixed() {
			t.Fatalf("%s: the precision is lost", cfg.Family)
		}
		kernel.SetThreads(1)
		got := m.Score(batch, model.WantLogprobs)
		differ := 0
		for s, row := range got.Logprobs {
			near(t, cfg.Family, [][]float32{row}, [][]float32{want.Logprobs[s]}, 0.05)
			for j, v := range row {
				if v != want.Logprobs[s][j] {
					differ++
				}
			}
			sameBits(t, cfg.Family+": alone", m.Score(batch[s:s+1], model.WantLogprobs).Logprobs[0], row)
		}
		if differ == 0 {
			t.Errorf("%s: nothing was rounded", cfg.Family)
		}
		ids := batch[0].IDs[:min(len(batch[0].IDs), cfg.Context)]
		whole, cache := m.Logits(ids), m.NewCache()
		for r := range ids {
			sameBits(t, cfg.Family+": logits with a cache", m.Extend([]*model.Cache{cache}, [][]int32{ids[r : r+1]})[0], whole[r])
		}
		grads := func() (all [][]float32) {
			m.ZeroGrad()
			pass := m.Forward(batch, model.WantLogprobs)
			if m.Mixed() {
				for s, row := range pass.Logprobs {
					sameBits(t, cfg.Family+": going backward", row, got.Logprobs[s])
				}
			}
			pass.Backward(model.Grads{Logprobs: want.Logprobs})
			for _, p := range m.Params() {
				all = append(all, slices.Clone(p.Grad))
			}
			return all
		}
		one := grads()
		for _, n := range []int{2, 3} {
			kernel.SetThreads(n)
			for j, g := range grads() {
				sameBits(t, cfg.Family+": gradient of "+m.Params()[j].Name, g, one[j])
			}
		}
		m.SetMixed(false)
		for j, g := range grads() {
			var off, size float64
			for e, v := range g {
				d := float64(v - one[j][e])
				off, size = off+d*d, size+float64(v)*float64(v)
			}
			if size > 1e-6 && off > 0.01*size {
				t.Errorf("%s: gradient of %s is off by %.3f of its length, squared", cfg.Family, m.Params()[j].Name, off/size)
			}
		}
	}
}
