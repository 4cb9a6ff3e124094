package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rankloop/rankloop/model"
)

type benchTrainCmd struct {
	benchFlags
	shapeFlags
	Batch int `default:"4" help:"Sequences of a step."`
	Seq   int `default:"256" help:"Tokens of a sequence."`
}

func (benchTrainCmd) Help() string {
	return `A step is forward, backward and AdamW on random weights and tokens. The limit is the peak of multiply-adds divided by the 6N
operations that a token costs in a model of N parameters.

Example:
  rankloop bench train --shape small8k --batch 4 --seq 256`
}

func (c benchTrainCmd) Run(ctx context.Context, std streams) error {
	if err := c.prepare(); err != nil {
		return err
	}
	m, err := benchModel(c.shapeFlags, c.Seq)
	if err != nil {
		return err
	}
	if c.Batch < 1 || c.Seq < 2 {
		return usageError{fmt.Errorf("--batch %d --seq %d: at least 1 and 2 are wanted", c.Batch, c.Seq)}
	}
	batch, grads := benchBatch(m, c.Batch, c.Seq)
	opt := model.NewAdamW()
	tokens, perToken := float64(c.Batch*c.Seq), 6*float64(m.NumParams())
	var failed error
	f, err := sample(ctx, fmt.Sprintf("train %s %d x %d", c.Shape, c.Batch, c.Seq), "tokens/s", c.Repeats,
		func() float64 { return peakFLOPS() / perToken },
		func() float64 {
			return tokens * rate(0, func() {
				m.Forward(batch, model.WantLogprobs).Backward(grads)
				if _, err := opt.Step(m, 1e-4); err != nil {
					failed = err
				}
			})
		})
	if err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	return c.report(std, map[string]any{"shape": c.Shape, "batch": c.Batch, "seq": c.Seq, "parameters": m.NumParams(),
		"tokens_per_s": f.Value, "peak_flops": f.Limit * perToken, "peak_ratio": f.Ratio}, f)
}

// benchModel makes a model with random weights.
func benchModel(s shapeFlags, tokens int) (*model.Transformer, error) {
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	if tokens > cfg.Context {
		return nil, usageError{fmt.Errorf("%d tokens do not fit the context of %d", tokens, cfg.Context)}
	}
	return model.New(cfg, 1)
}

// benchBatch makes sequences of random tokens with every one but the first a target, and the gradients of their mean loss.
func benchBatch(m *model.Transformer, n, length int) ([]model.Sequence, model.Grads) {
	rng := rand.New(rand.NewPCG(2, 3))
	var batch []model.Sequence
	var g model.Grads
	for range n {
		ids, row := make([]int32, length+1), make([]float32, length)
		for i := range ids {
			ids[i] = int32(rng.IntN(m.Config().Vocab))
		}
		for i := range row {
			row[i] = -1 / float32(n*length)
		}
		batch, g.Logprobs = append(batch, model.Sequence{IDs: ids, Start: 1}), append(g.Logprobs, row)
	}
	return batch, g
}

type benchDecodeCmd struct {
	benchFlags
	shapeFlags
	Batch  int `default:"1" help:"Sequences that are written at the same time."`
	Prompt int `default:"64" help:"Tokens of a prompt."`
	Tokens int `default:"32" help:"Tokens written after it."`
}

func (benchDecodeCmd) Help() string {
	return `Prompts are read in one pass, the last logits only; then tokens are written one a sequence and step. One sequence is limited by
reading all weights for each token, a batch and the prompt by the 2N operations that a token costs.

Example:
  rankloop bench decode --shape gpt2-124m --batch 32`
}

func (c benchDecodeCmd) Run(ctx context.Context, std streams) error {
	if err := c.prepare(); err != nil {
		return err
	}
	if c.Batch < 1 || c.Prompt < 1 || c.Tokens < 1 {
		return usageError{fmt.Errorf("--batch %d --prompt %d --tokens %d: at least 1 each is wanted", c.Batch, c.Prompt, c.Tokens)}
	}
	m, err := benchModel(c.shapeFlags, c.Prompt+c.Tokens)
	if err != nil {
		return err
	}
	batch, _ := benchBatch(m, c.Batch, c.Prompt-1)
	caches, prompts, next := make([]*model.Cache, c.Batch), make([][]int32, c.Batch), make([][]int32, c.Batch)
	for i := range caches {
		caches[i], prompts[i] = m.NewCache(), batch[i].IDs
		caches[i].Reserve(c.Prompt + c.Tokens)
		next[i] = []int32{int32(i)}
	}
	read := func() {
		for _, k := range caches {
			k.Reset()
		}
		m.ExtendFunc(caches, prompts, func(int, []float32) {})
	}
	n := float64(m.NumParams())
	arithmetic := func() float64 { return peakFLOPS() / (2 * n) }
	prefill, err := sample(ctx, fmt.Sprintf("prompts %d x %d", c.Batch, c.Prompt), "tokens/s", c.Repeats, arithmetic,
		func() float64 { return float64(c.Batch*c.Prompt) * rate(0, read) })
	if err != nil {
		return err
	}
	limit := arithmetic
	memory := bandwidth()
	if c.Batch == 1 {
		limit = func() float64 { return memory() / (4 * n) }
	}
	write, err := sample(ctx, fmt.Sprintf("tokens of %d", c.Batch), "tokens/s", c.Repeats, limit, func() float64 {
		read()
		start := time.Now()
		for range c.Tokens {
			m.ExtendFunc(caches, next, func(int, []float32) {})
		}
		return float64(c.Batch*c.Tokens) / time.Since(start).Seconds()
	})
	if err != nil {
		return err
	}
	return c.report(std, map[string]any{"shape": c.Shape, "batch": c.Batch, "prefill_tokens_per_s": prefill.Value, "tokens_per_s": write.Value, "ratio": write.Ratio}, prefill, write)
}
