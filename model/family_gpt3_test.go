package model_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// gpt3As is a gpt3 with the weights of a gpt2 and a band of that width.
func gpt3As(t *testing.T, m *model.Transformer, window int) *model.Transformer {
	t.Helper()
	cfg := m.Config()
	cfg.Family, cfg.Window = "gpt3", window
	g, err := model.NewZero(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g.AddHead(model.HeadValue, 0)
	g.AddHeadBias()
	for i, p := range g.Params() {
		if q := m.Params()[i]; p.Name != q.Name {
			t.Fatalf("tensor %d is %s, in gpt2 %s", i, p.Name, q.Name)
		}
		copy(p.Data, m.Params()[i].Data)
	}
	return g
}

// What a pass and its gradients say, and the logits after feeding ids one by one.
func everythingOf(m *model.Transformer, batch []model.Sequence) (out [][]float32) {
	pass := m.Forward(batch, everything)
	for _, rows := range [][][]float32{pass.Logprobs, pass.Values, pass.Entropy, {pass.Score}} {
		out = append(out, slices.Concat(rows...))
	}
	m.ZeroGrad()
	pass.Backward(randomGrads(rand.New(rand.NewPCG(3, 4)), pass))
	for _, p := range m.Params() {
		out = append(out, p.Grad)
	}
	cache := m.NewCache()
	for _, id := range batch[0].IDs {
		out = append(out, m.Extend([]*model.Cache{cache}, [][]int32{{id}})[0])
	}
	return out
}

// A band that reaches over every position makes gpt3 the gpt2 of the same weights, bit
// for bit; a narrower one does not.
func TestGPT3WithWideWindowIsGPT2(t *testing.T) {
	for _, i := range []int{0, 1} {
		m := lively(t, shapes[i], 7)
		rng := rand.New(rand.NewPCG(uint64(i), 21))
		batch := ragged(rng, m.Config(), 9)
		longest := 0
		for i, s := range batch {
			batch[i].IDs = s.IDs[:min(len(s.IDs), m.Config().Context)]
			batch[i].Start = min(s.Start, len(batch[i].IDs))
			longest = max(longest, len(batch[i].IDs))
		}
		want := everythingOf(m, batch)
		for _, window := range []int{longest, m.Config().Context, 100 * m.Config().Context} {
			for n, got := range everythingOf(gpt3As(t, m, window), batch) {
				sameBits(t, fmt.Sprintf("shape %d, window %d, output %d", i, window, n), got, want[n])
			}
		}
		for n, got := range everythingOf(gpt3As(t, m, longest/2), batch)[:4] {
			if slices.Equal(got, want[n]) {
				t.Errorf("shape %d: a band of half the positions changes nothing of output %d", i, n)
			}
		}
	}
}

// Through one banded layer and dense ones around it everything reaches everything, but
// a model of two layers whose first is made to pass positions by themselves shows the
// band: logits at t depend on the tokens t-Window+1..t alone.
func TestGPT3Band(t *testing.T) {
	cfg := model.Config{Family: "gpt3", Vocab: 40, Context: 60, Layers: 2, Width: 16, Heads: 2, Window: 5, BOS: -1, EOS: -1}
	m := lively(t, cfg, 2)
	clear(m.Param("h.0.attn.c_proj.weight").Data)
	ids := make([]int32, cfg.Context)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range ids {
		ids[i] = int32(rng.IntN(cfg.Vocab))
	}
	before := m.Logits(ids)
	for _, at := range []int{0, 1, 17, 31, 32, 50} {
		changed := slices.Clone(ids)
		changed[at] = (changed[at] + 1) % int32(cfg.Vocab)
		for pos, row := range m.Logits(changed) {
			if seen := pos >= at && pos < at+cfg.Window; seen == slices.Equal(row, before[pos]) {
				t.Errorf("a change at %d: seen at %d is %v", at, pos, !seen)
			}
		}
	}
}

func TestWindowDefault(t *testing.T) {
	cfg := model.Config{Family: "gpt3", Vocab: 40, Context: 60, Layers: 2, Width: 16, Heads: 2, BOS: -1, EOS: -1}
	if got := cfg.WithDefaults(); got.Window != 256 || !got.Tied {
		t.Errorf("%+v", got)
	}
}
