package model

import "testing"

// After a pass of each size, passes use the buffers that are there: one large one for
// what goes backward, small ones for the rest.
func TestPassesReuseTheirBuffers(t *testing.T) {
	m, err := New(Config{Family: "gpt2", Vocab: 30, Context: 40, Layers: 2, Width: 16, Heads: 2, BOS: -1, EOS: -1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var batch []Sequence
	for i := range 100 {
		batch = append(batch, Sequence{IDs: make([]int32, 2+i%30), Start: 1})
	}
	step := func() {
		pass := m.Forward(batch, WantLogprobs|WantEntropy)
		pass.Backward(Grads{Logprobs: pass.Logprobs, Entropy: pass.Entropy})
		m.Score(batch[:40], WantLogprobs)
		m.Extend([]*Cache{m.NewCache()}, [][]int32{{1, 2, 3}})
	}
	for range 3 {
		step()
	}
	slabs := map[*float32]bool{}
	for _, p := range m.spare {
		if p.keep {
			slabs[&p.arena.slab[0]] = true
		}
	}
	for range 3 {
		step()
	}
	large := 0
	for _, p := range m.spare {
		if !p.keep {
			continue
		}
		large++
		if p.arena.over != 0 || !slabs[&p.arena.slab[0]] {
			t.Error("a pass took fresh memory")
		}
	}
	if large != 1 || len(m.spare) > 1+maxSpare || len(m.buffers) > 2*maxSpare {
		t.Errorf("%d large buffers of %d, %d of scratch", large, len(m.spare), len(m.buffers))
	}
}
