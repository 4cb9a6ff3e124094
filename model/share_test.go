package model

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// Sequences with the same prompt share its rows in a pass that does not go backward, to the same bits, in whatever order they come; short
// prompts, other prompts and other borders between prompt and response do not.
func TestSharedPrompts(t *testing.T) {
	for _, cfg := range deep {
		cfg = cfg.WithDefaults()
		cfg.Context = max(cfg.Context, 40)
		m, err := New(cfg, 7)
		if err != nil {
			t.Fatal(err)
		}
		m.AddHead(HeadValue, 3)
		rng := rand.New(rand.NewPCG(1, 2))
		for _, p := range m.Params() {
			for i := range p.Data {
				p.Data[i] += float32(rng.NormFloat64() * 0.1)
			}
		}
		tokens := func(n int) []int32 {
			ids := make([]int32, n)
			for j := range ids {
				ids[j] = int32(rng.IntN(cfg.Vocab))
			}
			return ids
		}
		prompts := [][]int32{tokens(12), tokens(20), tokens(leastShared - 1)}
		var batch []Sequence
		for i := range 30 {
			prompt := prompts[rng.IntN(len(prompts))]
			ids := append(append([]int32(nil), prompt...), tokens(i%9)...)
			start := len(prompt)
			if i%7 == 6 && len(ids) > start {
				start++ // this sequence's prompt is a longer one
			}
			batch = append(batch, Sequence{IDs: ids, Start: start})
		}
		for _, want := range []Want{WantLogprobs, WantLogprobs | WantValues | WantEntropy, WantScore, WantLogprobs | WantScore} {
			m.spare = nil
			got, all, fed := m.Score(batch, want), 0, 0
			for i, s := range batch {
				alone := m.Score([]Sequence{s}, want)
				for _, x := range [][2][][]float32{{got.Logprobs, alone.Logprobs}, {got.Values, alone.Values}, {got.Entropy, alone.Entropy}} {
					if x[0] != nil && !reflect.DeepEqual(x[0][i], x[1][0]) {
						t.Errorf("%s, want %d: sequence %d says %v, alone %v", cfg.Family, want, i, x[0][i], x[1][0])
					}
				}
				if got.Score != nil && got.Score[i] != alone.Score[0] {
					t.Errorf("%s, want %d: sequence %d scores %v, alone %v", cfg.Family, want, i, got.Score[i], alone.Score[0])
				}
				all += s.fed(want)
			}
			order := together(batch)
			sorted := make([]Sequence, len(batch))
			for i, from := range order {
				sorted[i] = batch[from]
			}
			for lo, ends := 0, m.spanEnds(sorted, want, true); len(ends) > 0; ends = ends[1:] {
				p := planes{m: m}
				p.load(sorted[lo:ends[0]], want, true)
				fed, lo = fed+p.rows, ends[0]
			}
			if fed >= all*3/4 {
				t.Errorf("%s, want %d: %d rows of %d are fed", cfg.Family, want, fed, all)
			}
		}
	}
}
