package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// deep are shapes of every family with enough layers for recomputation to pay.
var deep = []Config{
	{Family: "gpt1", Vocab: 41, Context: 40, Layers: 5, Width: 24, Heads: 3, BOS: -1, EOS: -1},
	{Family: "gpt2", Vocab: 41, Context: 40, Layers: 5, Width: 24, Heads: 3, BOS: -1, EOS: -1},
	{Family: "gpt3", Vocab: 41, Context: 40, Layers: 5, Width: 24, Heads: 3, Window: 7, BOS: -1, EOS: -1},
	{Family: "llama", Vocab: 41, Context: 40, Layers: 5, Width: 24, Heads: 4, KVHeads: 2, Hidden: 52, QKVBias: true, BOS: -1, EOS: -1},
}

// deepBatch draws sequences of lengths up to the context.
func deepBatch(cfg Config, n int) []Sequence {
	rng := rand.New(rand.NewPCG(1, 2))
	batch := make([]Sequence, n)
	for i := range batch {
		ids := make([]int32, 2+rng.IntN(cfg.Context-1))
		for t := range ids {
			ids[t] = int32(rng.IntN(cfg.Vocab))
		}
		batch[i] = Sequence{IDs: ids, Start: 1 + rng.IntN(len(ids)-1), Stream: uint64(i)}
	}
	return batch
}

// train runs one pass forward and backward and returns its log-probabilities and the
// size of its activations.
func train(m *Transformer, batch []Sequence) (logprobs [][]float32, size int) {
	m.ZeroGrad()
	pass := m.Forward(batch, WantLogprobs)
	p := pass.p
	pass.Backward(Grads{Logprobs: pass.Logprobs})
	return pass.Logprobs, p.arena.used + p.arena.over
}

func equalBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %g, want the bits of %g", what, i, got[i], want[i])
		}
	}
}

// Recomputation changes no bit of any gradient and saves most of the activations, under
// dropout, with adapters and with BF16 matrices.
func TestRecompute(t *testing.T) {
	for _, cfg := range deep {
		for _, half := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s-%v", cfg.Family, half), func(t *testing.T) {
				m, err := New(cfg, 1)
				if err != nil {
					t.Fatal(err)
				}
				m.SetDropout(0.2, 3)
				if half {
					m.ToBF16()
					if err := m.AddLoRA(LoRA{Rank: 2, Alpha: 3}, 1); err != nil {
						t.Fatal(err)
					}
					for _, p := range m.Trainable() {
						fillNormal(p.Data, 0.1, 7, uint64(p.Len()))
					}
				}
				again := m.Clone()
				again.SetRecompute(true)
				batch := deepBatch(cfg, 20)
				for round := range 2 { // the second on buffers that were used before
					want, all := train(m, batch)
					got, few := train(again, batch)
					for i := range want {
						equalBits(t, fmt.Sprintf("log-probabilities of %d", i), got[i], want[i])
					}
					for i, p := range m.Trainable() {
						if len(p.Grad) == 0 {
							t.Fatalf("%s has no gradient", p.Name)
						}
						equalBits(t, "gradient of "+p.Name, again.Trainable()[i].Grad, p.Grad)
					}
					if few > all/2 {
						t.Errorf("round %d: %d floats, %d without recomputation", round, few, all)
					}
				}
				if c := again.Clone(); !c.recompute {
					t.Error("a clone forgets to recompute")
				}
			})
		}
	}
}
