package model

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// Rows that the heads do not read, or that no gradient reaches, are left out to the same bits.
func TestRowsLeftOut(t *testing.T) {
	for _, cfg := range []Config{
		{Family: "gpt1", Vocab: 40, Context: 24, Layers: 2, Width: 24, Heads: 3, BOS: -1, EOS: -1},
		{Family: "gpt2", Vocab: 40, Context: 24, Layers: 2, Width: 24, Heads: 3, BOS: -1, EOS: -1},
		{Family: "llama", Vocab: 40, Context: 24, Layers: 2, Width: 32, Heads: 4, KVHeads: 2, Hidden: 60, BOS: -1, EOS: -1},
	} {
		m, err := New(cfg, 7)
		if err != nil {
			t.Fatal(err)
		}
		m.AddHead(HeadValue, 3)
		rng := rand.New(rand.NewPCG(1, 2))
		for _, p := range m.Params() {
			for i := range p.Data {
				p.Data[i] += float32(rng.NormFloat64() * 0.15)
			}
		}
		var late, whole []Sequence
		for i := range 5 {
			ids := make([]int32, 9+3*i)
			for j := range ids {
				ids[j] = int32(rng.IntN(cfg.Vocab))
			}
			late, whole = append(late, Sequence{IDs: ids, Start: 4 + i}), append(whole, Sequence{IDs: ids, Start: 1})
		}
		want := WantLogprobs | WantValues | WantEntropy | WantScore
		narrow, full := m.Score(late, want), m.Forward(whole, want)
		for i, s := range late {
			for _, x := range [][2][]float32{{narrow.Logprobs[i], full.Logprobs[i]}, {narrow.Values[i], full.Values[i]}, {narrow.Entropy[i], full.Entropy[i]}} {
				if !reflect.DeepEqual(x[0], x[1][s.Start-1:]) {
					t.Errorf("%s: sequence %d: %v, all rows say %v", cfg.Family, i, x[0], x[1])
				}
			}
		}
		if !reflect.DeepEqual(narrow.Score, full.Score) {
			t.Errorf("%s: scores %v, all rows say %v", cfg.Family, narrow.Score, full.Score)
		}
		if only := m.Score(late, WantScore).Score; !reflect.DeepEqual(only, full.Score) {
			t.Errorf("%s: scores alone %v, all rows say %v", cfg.Family, only, full.Score)
		}

		gradients := func(batch []Sequence) map[string][]float32 {
			m.ZeroGrad()
			var g Grads
			for i, s := range batch {
				lp, h := make([]float32, len(s.IDs)-s.Start), make([]float32, len(s.IDs)-s.Start)
				for j := late[i].Start; j < len(s.IDs); j++ {
					lp[j-s.Start], h[j-s.Start] = float32(j%3)-0.5, 0.1*float32(j%2)
				}
				g.Logprobs, g.Entropy = append(g.Logprobs, lp), append(g.Entropy, h)
			}
			m.Forward(batch, WantLogprobs|WantEntropy).Backward(g)
			out := map[string][]float32{}
			for _, p := range m.Params() {
				out[p.Name] = append([]float32(nil), p.Grad...)
			}
			return out
		}
		a, b := gradients(late), gradients(whole)
		for name := range a {
			for i := range a[name] {
				if a[name][i] != b[name][i] {
					t.Fatalf("%s: %s: element %d: %g, with rows of gradient zero %g", cfg.Family, name, i, a[name][i], b[name][i])
				}
			}
		}
	}
}
