package decode

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/rankloop/rankloop/model"
)

func newModel(t testing.TB, family string, vocab int) *model.Transformer {
	t.Helper()
	cfg := model.Config{Family: family, Vocab: vocab, Context: 48, Layers: 2, Width: 24, Heads: 3, BOS: -1, EOS: 0}
	if family == "llama" {
		cfg.Width, cfg.Heads, cfg.KVHeads, cfg.Hidden = 32, 4, 2, 60
	}
	m, err := model.New(cfg, 7)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, p := range m.Params() {
		for i := range p.Data {
			p.Data[i] += float32(rng.NormFloat64() * 0.15)
		}
	}
	return m
}

// prompts are n prompts of 1 to 20 tokens, some the same as the one before.
func prompts(n, vocab int) [][]int32 {
	rng := rand.New(rand.NewPCG(3, 4))
	out := make([][]int32, n)
	for i := range out {
		if i > 0 && rng.IntN(2) == 0 {
			out[i] = out[i-1]
			continue
		}
		out[i] = make([]int32, 1+rng.IntN(20))
		for t := range out[i] {
			out[i][t] = int32(rng.IntN(vocab))
		}
	}
	return out
}

// What a row samples does not depend on the batch, and its log-probabilities are
// those of Score to the bit.
func TestGenerateDoesNotDependOnTheBatch(t *testing.T) {
	for _, family := range []string{"gpt2", "llama"} {
		m := newModel(t, family, 50)
		ask := prompts(60, 50)
		for name, p := range map[string]Params{
			"sampled":   {MaxTokens: 25, Temperature: 1, Seed: 5},
			"filtered":  {MaxTokens: 60, Temperature: 0.8, TopK: 20, TopP: 0.9, PresencePenalty: 0.5, Seed: 6},
			"greedy":    {MaxTokens: 60},
			"no ending": {MaxTokens: 30, Temperature: 1.3, IgnoreEOS: true},
		} {
			p.Stop = nil
			want, err := generate(context.Background(), m, ask, p, 0, nil, 256)
			if err != nil {
				t.Fatal(err)
			}
			for _, width := range []int{1, 9, 33} {
				got, err := generate(context.Background(), m, ask, p, 0, nil, width)
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s %s: width %d gives other completions than 256 (%v)", family, name, width, err)
				}
			}
			var seqs []model.Sequence
			ended := map[string]int{}
			for i, c := range want {
				seqs = append(seqs, model.Sequence{IDs: append(append([]int32{}, ask[i]...), c.IDs...), Start: len(ask[i])})
				ended[c.Finish]++
				limit := min(p.MaxTokens, m.Config().Context+1-len(ask[i]))
				last := c.IDs[len(c.IDs)-1]
				for _, id := range c.IDs[:len(c.IDs)-1] {
					if id == 0 && !p.IgnoreEOS {
						t.Errorf("%s %s: row %d goes on after the end of text", family, name, i)
					}
				}
				switch {
				case c.Finish == FinishStop && (last != 0 || p.IgnoreEOS):
					t.Errorf("%s %s: row %d stops at token %d", family, name, i, last)
				case c.Finish == FinishLength && len(c.IDs) != limit:
					t.Errorf("%s %s: row %d has %d tokens, may have %d", family, name, i, len(c.IDs), limit)
				case c.Finish != FinishStop && c.Finish != FinishLength:
					t.Errorf("%s %s: row %d finishes by %q", family, name, i, c.Finish)
				}
			}
			if name == "sampled" && (ended[FinishStop] == 0 || ended[FinishLength] == 0) {
				t.Errorf("%s: the rows end by %v only", family, ended)
			}
			for i, row := range m.Score(seqs, model.WantLogprobs).Logprobs {
				if !reflect.DeepEqual(row, want[i].Logprobs) {
					t.Errorf("%s %s: row %d: log-probabilities %v, Score says %v", family, name, i, want[i].Logprobs, row)
				}
			}
		}
	}
}

func TestGenerateSeeds(t *testing.T) {
	m := newModel(t, "gpt2", 50)
	ask := [][]int32{{1, 2}, {1, 2}}
	run := func(seed uint64) []Completion {
		out, err := Generate(context.Background(), m, ask, Params{MaxTokens: 30, Temperature: 1, IgnoreEOS: true, Seed: seed}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	a, b := run(1), run(2)
	if reflect.DeepEqual(a[0], a[1]) || reflect.DeepEqual(a[0], b[0]) {
		t.Error("rows or seeds share their random numbers")
	}
}

func TestGenerateRefuses(t *testing.T) {
	m := newModel(t, "gpt2", 50)
	good := Params{MaxTokens: 5, Temperature: 1}
	var bad *model.InvalidError
	for name, c := range map[string]struct {
		prompt []int32
		p      Params
	}{
		"empty prompt": {nil, good},
		"long prompt":  {make([]int32, 49), good},
		"token":        {[]int32{50}, good},
		"negative":     {[]int32{-1}, good},
		"stop":         {[]int32{1}, Params{MaxTokens: 5, Stop: []string{"x"}}},
		"no tokens":    {[]int32{1}, Params{}},
	} {
		if _, err := Generate(context.Background(), m, [][]int32{c.prompt}, c.p, 0, nil); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := 0
	_, err := generate(ctx, m, prompts(20, 50), good, -1, func(n int) { done = n; cancel() }, 8)
	if !errors.Is(err, context.Canceled) || done == 0 || done == 20 {
		t.Errorf("cancelled after %d completions: %v", done, err)
	}
	if out, err := Generate(context.Background(), m, nil, good, 0, nil); err != nil || len(out) != 0 {
		t.Errorf("no prompts: %v, %v", out, err)
	}
}

// A prompt longer than a chunk is fed in several steps, with the same result.
func TestGenerateLongPrompts(t *testing.T) {
	m, err := model.New(model.Config{Family: "gpt2", Vocab: 30, Context: 3*chunk + 10, Layers: 1, Width: 16, Heads: 2, BOS: -1, EOS: -1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var ask [][]int32
	for i, n := range []int{chunk - 1, chunk, chunk + 1, 2*chunk + 1, 3 * chunk, 3 * chunk} {
		ids := make([]int32, n)
		for t := range ids {
			ids[t] = int32((t*7 + i/5) % 30)
		}
		ask = append(ask, ids)
	}
	out, err := Generate(context.Background(), m, ask, Params{MaxTokens: 8, Temperature: 1}, -1, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range out {
		ids := append(append([]int32{}, ask[i]...), c.IDs...)
		row := m.Score([]model.Sequence{{IDs: ids, Start: len(ask[i])}}, model.WantLogprobs).Logprobs[0]
		if len(c.IDs) != 8 || !reflect.DeepEqual(row, c.Logprobs) {
			t.Errorf("prompt of %d tokens: log-probabilities %v, Score says %v", len(ask[i]), c.Logprobs, row)
		}
	}
}

// Equal prompts share their reading wherever they stand, while the first is read and after, and the values of a scalar head
// come with the tokens, to the bits of Score.
func TestGenerateSharesPrompts(t *testing.T) {
	m := newModel(t, "gpt2", 50)
	m.AddHead(model.HeadValue, 3)
	kinds := [][]int32{{1, 2, 3, 4, 5}, {7}, {1, 2, 3, 4, 6}, {9, 9}}
	var ask [][]int32
	for i := range 40 {
		ask = append(ask, kinds[i%len(kinds)])
	}
	p := Params{MaxTokens: 12, Temperature: 1, Seed: 5}
	want, err := generate(context.Background(), m, ask, p, 0, nil, 256)
	if err != nil {
		t.Fatal(err)
	}
	for _, width := range []int{1, 13} {
		if got, err := generate(context.Background(), m, ask, p, 0, nil, width); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("width %d gives other completions than 256 (%v)", width, err)
		}
	}
	var seqs []model.Sequence
	for i, c := range want {
		seqs = append(seqs, model.Sequence{IDs: append(append([]int32{}, ask[i]...), c.IDs...), Start: len(ask[i])})
	}
	pass := m.Score(seqs, model.WantLogprobs|model.WantValues)
	for i, c := range want {
		if !reflect.DeepEqual(pass.Logprobs[i], c.Logprobs) || !reflect.DeepEqual(pass.Values[i], c.Values) {
			t.Errorf("row %d: %v %v, Score says %v %v", i, c.Logprobs, c.Values, pass.Logprobs[i], pass.Values[i])
		}
	}
	for i, at := range grouped(ask) {
		if at != i%10*4+i/10 {
			t.Fatalf("place %d is prompt %d", i, at)
		}
	}
}
