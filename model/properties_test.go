package model_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// shapes are small models of every family, with odd sizes on purpose.
var shapes = []model.Config{
	{Family: "gpt2", Vocab: 53, Context: 40, Layers: 2, Width: 24, Heads: 3, BOS: -1, EOS: 0},
	{Family: "gpt2", Vocab: 768, Context: 64, Layers: 2, Width: 64, Heads: 4, BOS: -1, EOS: -1},
	{Family: "llama", Vocab: 61, Context: 40, Layers: 2, Width: 36, Heads: 6, KVHeads: 2, Hidden: 50, BOS: 1, EOS: 2},
	{Family: "llama", Vocab: 45, Context: 48, Layers: 1, Width: 32, Heads: 4, KVHeads: 1, Hidden: 64, Tied: true, BOS: 1, EOS: 2},
	{Family: "llama", Vocab: 50, Context: 40, Layers: 2, Width: 32, Heads: 4, KVHeads: 2, Hidden: 40, QKVBias: true, BOS: -1, EOS: -1,
		RopeScaling: model.RopeScaling{Kind: "llama3", Factor: 8, LowFreq: 1, HighFreq: 4, Original: 32}},
	{Family: "gpt1", Vocab: 47, Context: 50, Layers: 2, Width: 24, Heads: 3, BOS: -1, EOS: -1},
	{Family: "gpt3", Vocab: 59, Context: 70, Layers: 3, Width: 24, Heads: 3, Window: 9, BOS: -1, EOS: -1},
}

// forShapes runs f on a model of every shape, its weights large enough to matter.
func forShapes(t *testing.T, f func(t *testing.T, m *model.Transformer, rng *rand.Rand)) {
	for i, cfg := range shapes {
		t.Run(fmt.Sprintf("%s-%d", cfg.Family, i), func(t *testing.T) {
			f(t, lively(t, cfg, uint64(i)), rand.New(rand.NewPCG(uint64(i), 99)))
		})
	}
}

// lively makes a model with a value head whose weights, biases and norms are all
// away from their initial values.
func lively(t testing.TB, cfg model.Config, seed uint64) *model.Transformer {
	t.Helper()
	m, err := model.New(cfg, seed)
	if err != nil {
		t.Fatal(err)
	}
	m.AddHead(model.HeadValue, seed)
	m.AddHeadBias()
	rng := rand.New(rand.NewPCG(seed, 5))
	for _, p := range m.Params() {
		for i := range p.Data {
			p.Data[i] += float32(rng.NormFloat64() * 0.15)
		}
	}
	return m
}

// ragged draws n sequences whose lengths run from 2 to the context.
func ragged(rng *rand.Rand, cfg model.Config, n int) []model.Sequence {
	out := make([]model.Sequence, n)
	for i := range out {
		ids := make([]int32, 2+rng.IntN(cfg.Context-1))
		for t := range ids {
			ids[t] = int32(rng.IntN(cfg.Vocab))
		}
		out[i] = model.Sequence{IDs: ids, Start: 1 + rng.IntN(len(ids))}
	}
	return out
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d numbers, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Errorf("%s: element %d is %g, want the bits of %g", what, i, got[i], want[i])
			return
		}
	}
}

const everything = model.WantLogprobs | model.WantValues | model.WantEntropy | model.WantScore

func TestLaterTokensChangeNothingBefore(t *testing.T) {
	forShapes(t, func(t *testing.T, m *model.Transformer, rng *rand.Rand) {
		cfg := m.Config()
		for range 20 {
			ids := ragged(rng, cfg, 1)[0].IDs
			before := m.Logits(ids)
			at := rng.IntN(len(ids))
			changed := slices.Clone(ids)
			changed[at] = (changed[at] + 1 + int32(rng.IntN(cfg.Vocab-1))) % int32(cfg.Vocab)
			after := m.Logits(changed)
			for pos := range at {
				sameBits(t, fmt.Sprintf("logits at %d after a change at %d", pos, at), after[pos], before[pos])
			}
			if slices.Equal(after[len(ids)-1], before[len(ids)-1]) {
				t.Errorf("a change at %d of %d does not reach the last logits", at, len(ids))
			}
		}
	})
}

func TestRaggedBatchEqualsOneByOne(t *testing.T) {
	forShapes(t, func(t *testing.T, m *model.Transformer, rng *rand.Rand) {
		batch := ragged(rng, m.Config(), 37)
		for i := range batch {
			if len(batch[i].IDs) > m.Config().Context {
				batch[i].IDs = batch[i].IDs[:m.Config().Context]
				batch[i].Start = min(batch[i].Start, len(batch[i].IDs))
			}
		}
		all, quiet := m.Forward(batch, everything), m.Score(batch, everything)
		for i, s := range batch {
			one := m.Score([]model.Sequence{s}, everything)
			what := fmt.Sprintf("sequence %d of %d tokens from %d", i, len(s.IDs), s.Start)
			for _, p := range []*model.Pass{all, quiet} {
				sameBits(t, what+": Logprobs", p.Logprobs[i], one.Logprobs[0])
				sameBits(t, what+": Values", p.Values[i], one.Values[0])
				sameBits(t, what+": Entropy", p.Entropy[i], one.Entropy[0])
				sameBits(t, what+": Score", p.Score[i:i+1], one.Score)
			}
			logits := m.Logits(s.IDs)
			for j, id := range s.IDs[s.Start:] {
				if got := model.Logprob(logits[s.Start-1+j], id); got != one.Logprobs[0][j] {
					t.Errorf("%s: logprob %d is %g, from the logits %g", what, j, one.Logprobs[0][j], got)
				}
			}
			only := m.Score([]model.Sequence{s}, model.WantLogprobs)
			sameBits(t, what+": Logprobs alone", only.Logprobs[0], one.Logprobs[0])
		}
	})
}

// A sequence may be one token longer than the context where its last token is only
// predicted.
func TestLastTokenIsNotFed(t *testing.T) {
	m := lively(t, shapes[0], 1)
	s := model.Sequence{IDs: make([]int32, m.Config().Context+1), Start: 3}
	if err := m.Check(s, model.WantLogprobs|model.WantValues); err != nil {
		t.Error(err)
	}
	if got := len(m.Score([]model.Sequence{s}, model.WantLogprobs).Logprobs[0]); got != len(s.IDs)-3 {
		t.Errorf("%d log-probabilities", got)
	}
	if err := m.Check(s, model.WantScore); err == nil {
		t.Error("a score beyond the context was accepted")
	}
}

func TestExtendEqualsWholeSequence(t *testing.T) {
	forShapes(t, func(t *testing.T, m *model.Transformer, rng *rand.Rand) {
		cfg := m.Config()
		const n = 19
		var ids [n][]int32
		var caches [n]*model.Cache
		var whole [n][][]float32
		pages := []*model.Pages{m.NewPages(16, 1<<24), m.NewPages(48, 1<<24)}
		for i := range n {
			ids[i] = ragged(rng, cfg, 1)[0].IDs
			ids[i] = ids[i][:min(len(ids[i]), cfg.Context)]
			whole[i], caches[i] = m.Logits(ids[i]), m.NewCache()
			if i%2 == 0 {
				caches[i] = pages[i%len(pages)].NewCache()
			}
		}
		for open := true; open; {
			open = false
			var batch []*model.Cache
			var fresh [][]int32
			var rows []int
			for i, c := range caches { // a random subset, by a random number of tokens
				left := len(ids[i]) - c.Len()
				if left == 0 || rng.IntN(3) == 0 {
					open = open || left > 0
					continue
				}
				open = true
				step := 1
				if rng.IntN(2) == 0 {
					step += rng.IntN(left)
				}
				batch, fresh, rows = append(batch, c), append(fresh, ids[i][c.Len():c.Len()+step]), append(rows, i)
			}
			if len(batch) == 0 {
				continue
			}
			var before []int
			all := make([]bool, len(batch))
			for j, c := range batch {
				before, all[j] = append(before, c.Len()), rng.IntN(3) == 0
			}
			var heard sync.Map
			m.ExtendValues(batch, fresh, all, func(j, at int, logits []float32, _ float32) {
				if _, twice := heard.LoadOrStore([2]int{j, at}, true); twice || !all[j] && at < len(fresh[j])-1 {
					t.Errorf("row %d is heard of at %d", rows[j], at)
				}
				sameBits(t, fmt.Sprintf("row %d at token %d", rows[j], before[j]+at), logits, whole[rows[j]][before[j]+at])
			})
			for j := range batch {
				for at := range fresh[j] {
					if _, ok := heard.Load([2]int{j, at}); !ok && (all[j] || at == len(fresh[j])-1) {
						t.Errorf("row %d is not heard of at %d", rows[j], at)
					}
				}
			}
		}
		for _, c := range caches {
			c.Release()
		}
		for _, p := range pages {
			if p.Free() != p.Total() {
				t.Errorf("%d of %d pages are free in the end", p.Free(), p.Total())
			}
		}
	})
}

func TestForkSharesThePast(t *testing.T) {
	forShapes(t, func(t *testing.T, m *model.Transformer, rng *rand.Rand) {
		prompt := ragged(rng, m.Config(), 1)[0].IDs
		prompt = prompt[:min(len(prompt), 10)]
		c := m.NewPages(16, 1<<24).NewCache()
		m.Extend([]*model.Cache{c}, [][]int32{prompt})
		forks := append(c.Fork(3), c)
		for step := range 6 {
			ids := make([][]int32, len(forks))
			for i := range ids {
				ids[i] = []int32{int32((step*7 + i) % m.Config().Vocab)}
			}
			for i, got := range m.Extend(forks, ids) {
				whole := slices.Clone(prompt)
				for s := range step + 1 {
					whole = append(whole, int32((s*7+i)%m.Config().Vocab))
				}
				logits := m.Logits(whole)
				sameBits(t, fmt.Sprintf("fork %d, step %d", i, step), got, logits[len(whole)-1])
			}
		}
	})
}

// trainSteps makes three AdamW steps with all four kinds of gradients and returns
// the weights.
func trainSteps(t *testing.T, cfg model.Config) (out [][]float32) {
	m := lively(t, cfg, 3)
	rng := rand.New(rand.NewPCG(11, 12))
	opt := model.NewAdamW()
	for range 3 {
		batch := ragged(rng, cfg, 40)
		for i := range batch {
			batch[i].IDs = batch[i].IDs[:min(len(batch[i].IDs), cfg.Context)]
			batch[i].Start = min(batch[i].Start, len(batch[i].IDs))
		}
		pass := m.Forward(batch, everything)
		pass.Backward(randomGrads(rng, pass))
		if _, err := opt.Step(m, 1e-3); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range m.Params() {
		out = append(out, p.Data)
	}
	return out
}

func randomGrads(rng *rand.Rand, p *model.Pass) model.Grads {
	like := func(x [][]float32) [][]float32 {
		if x == nil {
			return nil
		}
		out := make([][]float32, len(x))
		for i := range x {
			out[i] = make([]float32, len(x[i]))
			for j := range out[i] {
				out[i][j] = float32(rng.NormFloat64())
			}
		}
		return out
	}
	g := model.Grads{Logprobs: like(p.Logprobs), Values: like(p.Values), Entropy: like(p.Entropy)}
	if p.Score != nil {
		g.Score = like([][]float32{p.Score})[0]
	}
	return g
}

func TestTrainingDoesNotDependOnThreads(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	for i, cfg := range shapes {
		kernel.SetThreads(1)
		want := trainSteps(t, cfg)
		for _, n := range []int{2, 3, 7} {
			kernel.SetThreads(n)
			for j, got := range trainSteps(t, cfg) {
				sameBits(t, fmt.Sprintf("shape %d, %d threads, tensor %d", i, n, j), got, want[j])
			}
		}
	}
}

// Gradients accumulate: two passes over halves of a batch give what one pass gives,
// up to the order of sums, and a pass under way is not disturbed by another.
func TestBackwardAccumulates(t *testing.T) {
	forShapes(t, func(t *testing.T, m *model.Transformer, rng *rand.Rand) {
		batch := ragged(rng, m.Config(), 8)
		want := model.WantLogprobs | model.WantValues
		whole := m.Forward(batch, want)
		g := model.Grads{Logprobs: whole.Logprobs, Values: whole.Values}
		whole.Backward(g)
		sum := map[string][]float32{}
		for _, p := range m.Params() {
			sum[p.Name] = slices.Clone(p.Grad)
		}
		m.ZeroGrad()
		a, b := m.Forward(batch[:3], want), m.Forward(batch[3:], want)
		b.Backward(model.Grads{Logprobs: g.Logprobs[3:], Values: g.Values[3:]})
		a.Backward(model.Grads{Logprobs: g.Logprobs[:3], Values: g.Values[:3]})
		for _, p := range m.Params() {
			var largest float64
			for _, x := range sum[p.Name] {
				largest = max(largest, math.Abs(float64(x)))
			}
			for i, x := range p.Grad {
				if d := math.Abs(float64(x - sum[p.Name][i])); d > 1e-5*(1+largest) {
					t.Fatalf("%s[%d]: %g, whole batch %g", p.Name, i, x, sum[p.Name][i])
				}
			}
		}
	})
}

// A model whose weights rest may be read by many at once.
func TestConcurrentReaders(t *testing.T) {
	forShapes(t, func(t *testing.T, m *model.Transformer, rng *rand.Rand) {
		batch := ragged(rng, m.Config(), 12)
		for i := range batch {
			batch[i].IDs = batch[i].IDs[:min(len(batch[i].IDs), m.Config().Context)]
			batch[i].Start = min(batch[i].Start, len(batch[i].IDs))
		}
		want := m.Score(batch, everything)
		logits := m.Logits(batch[0].IDs)
		var wg sync.WaitGroup
		for range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range 5 {
					got := m.Score(batch, everything)
					for i := range batch {
						sameBits(t, "Logprobs", got.Logprobs[i], want.Logprobs[i])
						sameBits(t, "Entropy", got.Entropy[i], want.Entropy[i])
						sameBits(t, "Values", got.Values[i], want.Values[i])
					}
					sameBits(t, "Score", got.Score, want.Score)
					last := m.Extend([]*model.Cache{m.NewCache()}, [][]int32{batch[0].IDs})[0]
					sameBits(t, "Extend", last, logits[len(logits)-1])
				}
			}()
		}
		wg.Wait()
	})
}
