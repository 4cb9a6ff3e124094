package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rankloop/rankloop/model"
)

type benchDecodeCmd struct {
	benchFlags
	shapeFlags
	estimateFlags
	Batch  int `default:"1" help:"Sequences that are written at the same time."`
	Prompt int `default:"64" help:"Tokens of a prompt."`
	Tokens int `default:"32" help:"Tokens written after it."`
	weightsFlag
}

func (benchDecodeCmd) Help() string {
	return `Prompts are read in one pass, the last logits only; then tokens are written one a sequence and step. One sequence is limited by
reading all weights for each token in the form that they are kept in, a batch and the prompt by the 2N operations that a token costs.

Example:
  rankloop bench decode --shape gpt2 --batch 32
  rankloop bench decode --shape gpt2 --weights int8`
}

func (c benchDecodeCmd) Run(ctx context.Context, std streams) error {
	if err := c.prepare(); err != nil {
		return err
	}
	if c.Batch < 1 || c.Prompt < 1 || c.Tokens < 1 {
		return usageError{fmt.Errorf("--batch %d --prompt %d --tokens %d: at least 1 each is wanted", c.Batch, c.Prompt, c.Tokens)}
	}
	if c.Estimate {
		return c.estimate(std)
	}
	m, err := benchModel(c.shapeFlags, c.Prompt+c.Tokens)
	if err != nil {
		return err
	}
	m.Pack(c.Weights)
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
	peak := peakFLOPS
	if c.Weights == model.WeightsBF16 {
		peak = peakMixed
	}
	arithmetic := func() float64 { return peak() / (2 * n) }
	prefill, err := sample(ctx, fmt.Sprintf("prompts/%s/%dx%d", c.Shape, c.Batch, c.Prompt), "tokens/s", c.Repeats, arithmetic,
		func() float64 { return float64(c.Batch*c.Prompt) * rate(0, read) })
	if err != nil {
		return err
	}
	limit := arithmetic
	memory, bytes := bandwidth(), tokenBytes(m)
	if c.Batch == 1 {
		limit = func() float64 { return memory() / bytes }
	}
	write, err := sample(ctx, fmt.Sprintf("decode/%s/%dx1", c.Shape, c.Batch), "tokens/s", c.Repeats, limit, func() float64 {
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
	return c.report(std, map[string]any{"shape": c.Shape, "batch": c.Batch, "weights": c.Weights, "prefill_tokens_per_s": prefill.Value, "tokens_per_s": write.Value, "ratio": write.Ratio}, prefill, write)
}

// tokenBytes is the memory that one token reads: every tensor, in the form that it is kept in.
func tokenBytes(m *model.Transformer) float64 {
	var n int64
	for _, p := range m.Params() {
		n += p.Bytes()
	}
	return float64(n)
}

// estimate prints reading the prompts and writing a token of each, in the middle of what is to be written, on paper.
func (c benchDecodeCmd) estimate(std streams) error {
	cfg, err := c.fitting(c.Prompt + c.Tokens)
	if err != nil {
		return err
	}
	on, err := c.machine()
	if err != nil {
		return err
	}
	past := c.Prompt + c.Tokens/2
	return c.printEstimates(std, on, cfg,
		on.estimate(fmt.Sprintf("prompts/%s/%dx%d", c.Shape, c.Batch, c.Prompt), cfg, model.Work{Sequences: c.Batch, Tokens: c.Prompt, Heads: 1}),
		on.estimate(fmt.Sprintf("decode/%s/%dx1", c.Shape, c.Batch), cfg, model.Work{Sequences: c.Batch, Tokens: 1, Past: past, Heads: 1}))
}
