package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model/kernel"
)

// A pass over many spans that leaves rows of the last layer out has the gradients of one that does not, to the order of sums; the same
// bits whatever the threads and with recomputation; and it does leave them out.
func TestRowsBehindAreLeftOut(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	for _, cfg := range deep {
		m, err := New(cfg, 7)
		if err != nil {
			t.Fatal(err)
		}
		m.AddHead(HeadScore, 3)
		if cfg.Family == "gpt2" {
			if err := m.AddLoRA(LoRA{Rank: 2, Alpha: 4, Targets: []string{"c_attn", "c_proj", "c_fc"}}, 1); err != nil {
				t.Fatal(err)
			}
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for _, p := range m.Params() {
			for i := range p.Data {
				p.Data[i] += float32(rng.NormFloat64() * 0.1)
			}
		}
		var late, whole []Sequence
		var short, long Grads
		for range 60 {
			ids := make([]int32, 12+rng.IntN(28))
			for j := range ids {
				ids[j] = int32(rng.IntN(cfg.Vocab))
			}
			start := len(ids) - rng.IntN(8) // some without a response: their score alone is asked for
			d, all := make([]float32, len(ids)-start), make([]float32, len(ids)-1)
			for j := range d {
				d[j] = float32(rng.NormFloat64())
			}
			copy(all[start-1:], d)
			score := float32(rng.NormFloat64())
			late, whole = append(late, Sequence{IDs: ids, Start: start}), append(whole, Sequence{IDs: ids, Start: 1})
			short.Logprobs, long.Logprobs = append(short.Logprobs, d), append(long.Logprobs, all)
			short.Score, long.Score = append(short.Score, score), append(long.Score, score)
		}
		gradients := func(batch []Sequence, g Grads) (all [][]float32) {
			m.ZeroGrad()
			pass := m.Forward(batch, WantLogprobs|WantScore)
			if on, want := pass.p.behind.on, batch[0].Start > 1; on != want || len(pass.p.spans) < 4 {
				t.Errorf("%s: rows are left out: %v, want %v; %d spans", cfg.Family, on, want, len(pass.p.spans))
			}
			pass.Backward(g)
			for _, p := range m.Trainable() {
				all = append(all, slices.Clone(p.Grad))
			}
			return all
		}
		want := gradients(whole, long)
		var first [][]float32
		for n := 1; n <= 3; n++ {
			kernel.SetThreads(n)
			m.SetRecompute(n == 3)
			got := gradients(late, short)
			if first == nil {
				first = got
			}
			for i, p := range m.Trainable() {
				var off, size float64
				for j, v := range got[i] {
					if v != first[i][j] {
						t.Fatalf("%s: %s: element %d is %g with %d threads, %g with one", cfg.Family, p.Name, j, v, n, first[i][j])
					}
					off, size = off+math.Pow(float64(v-want[i][j]), 2), size+math.Pow(float64(want[i][j]), 2)
				}
				if !(off <= 1e-10*size+1e-12) {
					t.Errorf("%s: the gradient of %s is off by %g of its length", cfg.Family, p.Name, math.Sqrt(off/size))
				}
			}
		}
	}
}
