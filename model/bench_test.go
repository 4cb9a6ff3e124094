package model_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// starter is the shape of a small model for two cores: about a million weights.
func starter(width int) model.Config {
	return model.Config{Family: "gpt2", Vocab: 768, Context: 128, Layers: 4, Width: width, Heads: 4, BOS: -1, EOS: 0}
}

func full(cfg model.Config, n, length, start int) []model.Sequence {
	rng := rand.New(rand.NewPCG(1, 2))
	batch := make([]model.Sequence, n)
	for i := range batch {
		ids := make([]int32, length)
		for t := range ids {
			ids[t] = int32(rng.IntN(cfg.Vocab))
		}
		batch[i] = model.Sequence{IDs: ids, Start: start}
	}
	return batch
}

// flops is the work of the matrix products per fed token: 2 for each weight forward
// and 4 backward, the head only at response tokens. Attention comes on top.
func flops(cfg model.Config, tokens, heads float64, backward bool) float64 {
	C := float64(cfg.Width)
	body := float64(cfg.Layers) * 12 * C * C
	if cfg.Family == "llama" {
		kv := float64(cfg.KVHeads) / float64(cfg.Heads)
		body = float64(cfg.Layers) * (2*C*C*(1+kv) + 3*C*float64(cfg.Hidden))
	}
	one := 2 * (body*tokens + C*float64(cfg.Vocab)*heads)
	if backward {
		return 3 * one
	}
	return one
}

// peak measures the products alone: a large one, in GFLOP/s.
func peak() float64 {
	const n = 768
	a, b, c := make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
	best := 0.0
	for range 20 {
		start := time.Now()
		kernel.NN(n, n, n, a, n, b, n, c, n, false)
		best = max(best, 2*n*n*n/time.Since(start).Seconds())
	}
	return best / 1e9
}

func BenchmarkTrain(b *testing.B) {
	for _, c := range []struct {
		cfg              model.Config
		n, length, start int
	}{
		{starter(96), 64, 72, 1},
		{starter(128), 64, 72, 1},
		{starter(128), 64, 72, 24},
		{model.Config{Family: "llama", Vocab: 768, Context: 128, Layers: 4, Width: 128, Heads: 4, KVHeads: 2, Hidden: 344, BOS: -1, EOS: 0}, 64, 72, 1},
		{model.Config{Family: "gpt2", Vocab: 8192, Context: 256, Layers: 6, Width: 384, Heads: 6, BOS: -1, EOS: 0}, 4, 256, 1},
	} {
		b.Run(fmt.Sprintf("%s-C%d-V%d-start%d", c.cfg.Family, c.cfg.Width, c.cfg.Vocab, c.start), func(b *testing.B) {
			m, err := model.New(c.cfg, 1)
			if err != nil {
				b.Fatal(err)
			}
			batch, opt := full(c.cfg, c.n, c.length, c.start), model.NewAdamW()
			fed, heads := float64(c.n*(c.length-1)), float64(c.n*(c.length-c.start))
			b.ReportAllocs()
			for b.Loop() {
				pass := m.Forward(batch, model.WantLogprobs)
				pass.Backward(model.Grads{Logprobs: pass.Logprobs})
				if _, err := opt.Step(m, 1e-4); err != nil {
					b.Fatal(err)
				}
			}
			seconds := b.Elapsed().Seconds() / float64(b.N)
			gflops := flops(c.cfg, fed, heads, true) / seconds / 1e9
			b.ReportMetric(fed/seconds, "tok/s")
			b.ReportMetric(gflops, "GFLOP/s")
			b.ReportMetric(gflops/peak(), "of_peak")
		})
	}
}

func BenchmarkScore(b *testing.B) {
	cfg := starter(128)
	m, err := model.New(cfg, 1)
	if err != nil {
		b.Fatal(err)
	}
	batch := full(cfg, 64, 72, 24)
	b.ReportAllocs()
	for b.Loop() {
		m.Score(batch, model.WantLogprobs)
	}
	seconds := b.Elapsed().Seconds() / float64(b.N)
	b.ReportMetric(64*71/seconds, "tok/s")
	b.ReportMetric(flops(cfg, 64*71, 64*48, false)/seconds/1e9, "GFLOP/s")
}

// BenchmarkStep is a token of each of n texts, in the middle of them.
func BenchmarkStep(b *testing.B) {
	for _, n := range []int{1, 4, 8, 16, 32} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			cfg := starter(112)
			m, err := model.New(cfg, 1)
			if err != nil {
				b.Fatal(err)
			}
			m.Pack(model.WeightsFloat32)
			var caches []*model.Cache
			var next, prompts [][]int32
			for i := range n {
				c := m.NewCache()
				c.Reserve(128)
				caches = append(caches, c)
				next = append(next, []int32{int32(i)})
				prompts = append(prompts, full(cfg, 1, 56, 1)[0].IDs)
			}
			each := func(int, []float32) {}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for _, c := range caches {
					c.Reset()
				}
				m.ExtendFunc(caches, prompts, each)
				b.StartTimer()
				for range 16 {
					m.ExtendFunc(caches, next, each)
				}
			}
			b.ReportMetric(16*float64(n)*float64(b.N)/b.Elapsed().Seconds(), "tok/s")
		})
	}
}

// BenchmarkModes compares the ways to train one model: all weights, adapters, BF16,
// recomputation and dropout.
func BenchmarkModes(b *testing.B) {
	cfg := model.Config{Family: "gpt2", Vocab: 8192, Context: 256, Layers: 6, Width: 384, Heads: 6, BOS: -1, EOS: -1}
	adapters := func(m *model.Transformer) {
		if err := m.AddLoRA(model.LoRA{Rank: 8, Alpha: 16}, 1); err != nil {
			b.Fatal(err)
		}
	}
	for _, mode := range []struct {
		name string
		set  func(m *model.Transformer)
	}{
		{"plain", func(m *model.Transformer) {}},
		{"lora", adapters},
		{"bf16", (*model.Transformer).ToBF16},
		{"bf16-lora", func(m *model.Transformer) { m.ToBF16(); adapters(m) }},
		{"recompute", func(m *model.Transformer) { m.SetRecompute(true) }},
		{"dropout", func(m *model.Transformer) { m.SetDropout(0.1, 1) }},
	} {
		b.Run(mode.name, func(b *testing.B) {
			m, err := model.New(cfg, 1)
			if err != nil {
				b.Fatal(err)
			}
			mode.set(m)
			batch, opt := full(cfg, 4, 256, 1), model.NewAdamW()
			for b.Loop() {
				pass := m.Forward(batch, model.WantLogprobs)
				pass.Backward(model.Grads{Logprobs: pass.Logprobs})
				if _, err := opt.Step(m, 1e-4); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(4*255*float64(b.N)/b.Elapsed().Seconds(), "tok/s")
		})
	}
}
