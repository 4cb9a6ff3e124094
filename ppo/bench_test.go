package ppo

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// judge scores with a reward model.
type judge struct{ m *model.Transformer }

func (j judge) Score(_ context.Context, seqs []model.Sequence) ([]float64, error) {
	return widen(j.m.Score(seqs, model.WantScore).Score), nil
}
func (j judge) Digest() string { return j.m.Digest() }

// BenchmarkToy takes the smallest model that experiments are made with through iterations of PPO: 108,736 parameters, 192
// episodes of 3 and 10 tokens, three optimizer steps of policy and critic. Here overhead rules.
func BenchmarkToy(b *testing.B) {
	m, err := model.New(model.Config{Family: "gpt2", Vocab: 56, Context: 79, Layers: 2, Width: 64, Heads: 4, BOS: -1, EOS: -1}, 1)
	if err != nil {
		b.Fatal(err)
	}
	scored := m.Clone()
	scored.AddHead(model.HeadScore, 2)
	critic, err := Critic(scored, 0, 1)
	if err != nil {
		b.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Iterations, cfg.Rollouts, cfg.Minibatch, cfg.Chunk, cfg.MaxTokens = 1<<20, 192, 64, 192, 10
	cfg.LR, cfg.ValueLR, cfg.KL.Min, cfg.KL.Max = 1e-6, 1e-6, -1e6, 0
	prompts := make(PromptList, 16)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range prompts {
		prompts[i] = []int32{1, int32(4 + rng.IntN(52)), 2}
	}
	tr, err := NewTrainer(cfg, m, m, critic, judge{scored}, prompts, -1, nil)
	if err != nil {
		b.Fatal(err)
	}
	iterate := func() {
		for now := tr.Iteration(); tr.Iteration() == now; {
			if _, err := tr.Step(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	}
	iterate() // the buffers, and the checks of a run's start
	b.ReportAllocs()
	for b.Loop() {
		iterate()
	}
	b.ReportMetric(float64(cfg.Rollouts*b.N)/b.Elapsed().Seconds(), "episodes/s")
}
