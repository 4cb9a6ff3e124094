package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

type benchPPOCmd struct {
	benchFlags
	Shape        string `default:"small8k" help:"Shape of all models: ${bench_shapes}."`
	Episodes     int    `default:"32" help:"Episodes of a step."`
	Samples      int    `default:"1" help:"Episodes of each prompt."`
	Prompt       int    `default:"64" help:"Tokens of a prompt."`
	Tokens       int    `default:"48" help:"Tokens of a response; all are written."`
	Epochs       int    `default:"4" help:"Passes over the episodes."`
	Minibatch    int    `default:"8" help:"Episodes of an optimizer step."`
	Critic       string `default:"shared" help:"shared (a value head on the policy) or separate (a model of its own)."`
	Precision    string `enum:"float32,mixed" default:"float32" help:"float32, or mixed: products round their factors to bfloat16, those of the reward model too."`
	AllPositions bool   `help:"Read the heads at every position, those of the prompt included."`
	Old          bool   `help:"Compute the log-probabilities and values of the rollout once more."`
	Savings      bool   `help:"Measure beside it what each of the two adds, alternately."`
}

func (benchPPOCmd) Help() string {
	return `A step is one iteration of PPO on random weights and prompts: sampling, log-probabilities of the reference, rewards of a reward
model, and the optimizer steps. The limit is the peak of multiply-adds divided into the operations of the same work, of the whole
and of each phase. --all-positions --old is the work of trainers that compute both.

Examples:
  rankloop bench ppo
  rankloop bench ppo --shape small50k --savings --repeats 3`
}

func (c benchPPOCmd) Run(ctx context.Context, std streams) error {
	if err := c.prepare(); err != nil {
		return err
	}
	if min(c.Episodes, c.Samples, c.Prompt, c.Tokens, c.Epochs, c.Minibatch) < 1 || c.Episodes%c.Samples != 0 {
		return usageError{fmt.Errorf("--episodes %d --samples %d --prompt %d --tokens %d --epochs %d --minibatch %d: at least 1 each is wanted, and whole prompts",
			c.Episodes, c.Samples, c.Prompt, c.Tokens, c.Epochs, c.Minibatch)}
	}
	t, cfg, err := c.trainer()
	if err != nil {
		return err
	}
	var base ppo.Extra
	if c.AllPositions {
		base |= ppo.ExtraPositions
	}
	if c.Old {
		base |= ppo.ExtraOld
	}
	variants := []ppo.Extra{base}
	if c.Savings {
		variants = append(variants, base^ppo.ExtraOld, base^ppo.ExtraPositions)
	}
	phases := make([][]phase, len(variants))
	for i, v := range variants {
		phases[i] = c.phases(cfg, v)
	}
	values, limits := map[string][]float64{}, map[string][]float64{}
	for r := range c.Repeats + 1 { // the first is for warming up, and holds the checks of a run's start
		for i, v := range variants {
			t.SetExtra(v)
			peak, before := peakOf(c.Precision)(), t.Times()
			seconds, err := iterate(ctx, t)
			if err != nil {
				return err
			}
			if r == 0 {
				continue
			}
			after, name := t.Times(), c.name(v)
			flops := 0.0
			for _, p := range phases[i] {
				flops += p.flops
				part := name + "/" + p.name
				values[part] = append(values[part], (p.time(after) - p.time(before)).Seconds())
				limits[part] = append(limits[part], p.flops/peak)
			}
			values[name], limits[name] = append(values[name], seconds), append(limits[name], flops/peak)
		}
	}
	var figures []figure
	for i, v := range variants {
		name := c.name(v)
		figures = append(figures, newFigure(name, "s", values[name], limits[name]))
		for _, p := range phases[i] {
			part := name + "/" + p.name
			figures = append(figures, newFigure(part, "s", values[part], limits[part]))
		}
	}
	return c.report(std, map[string]any{"shape": c.Shape, "episodes": c.Episodes, "samples": c.Samples, "prompt": c.Prompt, "tokens": c.Tokens,
		"epochs": c.Epochs, "minibatch": c.Minibatch, "critic": c.Critic, "parameters": cfg.NumParams(),
		"seconds": figures[0].Value, "ratio": figures[0].Ratio}, figures...)
}

// trainer makes one whose every iteration is a step of the shape that is asked for.
func (c benchPPOCmd) trainer() (*ppo.Trainer, model.Config, error) {
	m, err := benchModel(shapeFlags{c.Shape}, c.Prompt+c.Tokens)
	if err != nil {
		return nil, model.Config{}, err
	}
	scored := m.Clone()
	scored.AddHead(model.HeadScore, 2)
	var critic *model.Transformer
	cfg := ppo.DefaultConfig()
	cfg.Iterations, cfg.Rollouts, cfg.Chunk, cfg.Minibatch, cfg.Epochs, cfg.MaxTokens = 1<<20, c.Episodes, c.Episodes, min(c.Minibatch, c.Episodes), c.Epochs, c.Tokens
	cfg.Precision = c.Precision
	cfg.LR, cfg.ValueLR, cfg.Critic, cfg.KL.Min, cfg.KL.Max = 1e-5, 1e-5, c.Critic, -1e6, 0
	if c.Critic == ppo.CriticSeparate {
		if critic, err = ppo.Critic(scored, 0, 1); err != nil {
			return nil, model.Config{}, err
		}
	}
	rng := rand.New(rand.NewPCG(2, 3))
	var prompts ppo.PromptList
	for range c.Episodes / c.Samples {
		ids := make([]int32, c.Prompt)
		for i := range ids {
			ids[i] = int32(rng.IntN(m.Config().Vocab))
		}
		for range c.Samples {
			prompts = append(prompts, ids)
		}
	}
	weights := model.WeightsFloat32
	if c.Precision == model.PrecisionMixed {
		weights = model.WeightsBF16
	}
	t, err := ppo.NewTrainer(cfg, m, m, critic, reward.NewScorer(scored.PackedCopy(weights), 0, 1), prompts, -1, nil)
	if err != nil {
		return nil, model.Config{}, usageError{err}
	}
	return t, m.Config(), nil
}

// iterate takes a trainer through one iteration and says how long it took.
func iterate(ctx context.Context, t *ppo.Trainer) (seconds float64, err error) {
	start, now := time.Now(), t.Iteration()
	for t.Iteration() == now {
		if _, err := t.Step(ctx); err != nil {
			return 0, err
		}
	}
	return time.Since(start).Seconds(), nil
}

// phase is a part of a step, with the operations that it takes.
type phase struct {
	name  string
	flops float64
	time  func(ppo.Times) time.Duration
}

// phases are those of a step with that extra work.
func (c benchPPOCmd) phases(cfg model.Config, extra ppo.Extra) []phase {
	flops := func(w model.Work) (sum float64) {
		for _, op := range cfg.Operations(w) {
			sum += op.FLOPs
		}
		return sum
	}
	length, heads := c.Prompt+c.Tokens, c.Tokens
	if extra&ppo.ExtraPositions != 0 {
		heads = length - 1
	}
	read := flops(model.Work{Sequences: c.Episodes, Tokens: length - 1, Heads: heads})
	all := []phase{{"rollout", flops(model.Work{Sequences: c.Episodes / c.Samples, Tokens: c.Prompt, Heads: 1}) +
		float64(c.Tokens-1)*flops(model.Work{Sequences: c.Episodes, Tokens: 1, Past: c.Prompt + c.Tokens/2, Heads: 1}),
		func(t ppo.Times) time.Duration { return t.Rollout }}}
	if extra&ppo.ExtraOld != 0 {
		all = append(all, phase{"old", read, func(t ppo.Times) time.Duration { return t.Old }})
	}
	all = append(all, phase{"reference", read, func(t ppo.Times) time.Duration { return t.Reference }},
		phase{"reward", flops(model.Work{Sequences: c.Episodes, Tokens: length}), func(t ppo.Times) time.Duration { return t.Reward }})
	update := flops(model.Work{Sequences: c.Episodes, Tokens: length - 1, Heads: c.Tokens, Train: true})
	// No gradient reaches the heads outside the responses: they are only read there.
	update += 2 * float64(c.Episodes*(heads-c.Tokens)) * float64(cfg.Vocab) * float64(cfg.Width)
	if c.Critic == ppo.CriticSeparate {
		all = append(all, phase{"values", flops(model.Work{Sequences: c.Episodes, Tokens: length - 1}), func(t ppo.Times) time.Duration { return t.Values }})
		update += flops(model.Work{Sequences: c.Episodes, Tokens: length - 1, Train: true})
	}
	return append(all, phase{"update", float64(c.Epochs) * update, func(t ppo.Times) time.Duration { return t.Update }})
}

// name is that of the figure of a step with that extra work.
func (c benchPPOCmd) name(extra ppo.Extra) string {
	parts := []string{fmt.Sprintf("ppo/%s/%dx%d+%d", c.Shape, c.Episodes, c.Prompt, c.Tokens)}
	if c.Precision == model.PrecisionMixed {
		parts = append(parts, "mixed")
	}
	if extra&ppo.ExtraPositions != 0 {
		parts = append(parts, "all-positions")
	}
	if extra&ppo.ExtraOld != 0 {
		parts = append(parts, "old")
	}
	return strings.Join(parts, "/")
}
