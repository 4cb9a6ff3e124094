package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rankloop/rankloop/model"
)

type benchTrainCmd struct {
	benchFlags
	shapeFlags
	estimateFlags
	Batch     int    `default:"4" help:"Sequences of a step."`
	Seq       int    `default:"256" help:"Tokens of a sequence."`
	LoRA      int    `name:"lora" default:"0" help:"Train adapters of this rank on the projections to queries, keys and values instead of the weights." placeholder:"RANK"`
	Precision string `enum:"float32,mixed" default:"float32" help:"float32, or mixed: products round their factors to bfloat16 and add up in float32; weights and moments stay float32."`
	Recompute bool   `help:"Keep only each layer's input and compute the rest again on the way back: less memory, more time."`
	Beside    bool   `help:"With --recompute: measure beside it, alternately, the step that keeps everything."`
}

func (benchTrainCmd) Help() string {
	return `A step is forward, backward and AdamW on random weights and tokens. The limit is the peak of multiply-adds divided by the 6N
operations that a token costs in a model of N parameters; 4N where the weights are frozen and adapters are trained.

Examples:
  rankloop bench train --shape small8k --batch 4 --seq 256
  rankloop bench train --shape gpt2-1.5b --batch 1 --seq 64 --lora 8 --recompute
  rankloop bench train --shape gpt3-175b --batch 1 --seq 2048 --estimate --peak 300000 --bandwidth 2000`
}

func (c benchTrainCmd) Run(ctx context.Context, std streams) error {
	if err := c.prepare(); err != nil {
		return err
	}
	if c.Batch < 1 || c.Seq < 2 {
		return usageError{fmt.Errorf("--batch %d --seq %d: at least 1 and 2 are wanted", c.Batch, c.Seq)}
	}
	if c.LoRA < 0 {
		return usageError{fmt.Errorf("--lora %d: a rank from 1 on is wanted", c.LoRA)}
	}
	if c.Beside && !c.Recompute {
		return usageError{fmt.Errorf("--beside goes with --recompute")}
	}
	if c.Estimate {
		if c.LoRA > 0 || c.Recompute {
			return usageError{fmt.Errorf("--estimate knows whole steps only: leave out --lora and --recompute")}
		}
		return c.estimate(std)
	}
	m, err := benchModel(c.shapeFlags, c.Seq)
	if err != nil {
		return err
	}
	n := float64(m.NumParams())
	perToken, name := 6*n, ""
	if c.Precision == model.PrecisionMixed {
		m.SetMixed(true)
		name = "/mixed"
	}
	if c.Recompute {
		m.SetRecompute(true)
		name += "/recompute"
	}
	if c.LoRA > 0 {
		if err := m.AddLoRA(model.LoRA{Rank: c.LoRA, Alpha: float64(2 * c.LoRA)}, 1); err != nil {
			return usageError{fmt.Errorf("--lora %d: %w", c.LoRA, err)}
		}
		perToken, name = 4*n, fmt.Sprintf("%s/lora%d", name, c.LoRA)
	}
	step := trainStep(m, c.Batch, c.Seq)
	if c.Beside {
		return c.beside(ctx, std, m, step)
	}
	tokens := float64(c.Batch * c.Seq)
	var failed error
	f, err := sample(ctx, fmt.Sprintf("train/%s/%dx%d%s", c.Shape, c.Batch, c.Seq, name), "tokens/s", c.Repeats,
		func() float64 { return peakOf(c.Precision)() / perToken },
		func() float64 {
			return tokens * rate(0, func() {
				if err := step(); err != nil {
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

// beside measures steps with and without recomputation in turn: how long both take, and the ratio.
func (c benchTrainCmd) beside(ctx context.Context, std streams, m *model.Transformer, step func() error) error {
	variant, lora := "", (*model.LoRA)(nil)
	if m.Mixed() {
		variant = "/mixed"
	}
	if c.LoRA > 0 {
		variant, lora = fmt.Sprintf("%s/lora%d", variant, c.LoRA), &model.LoRA{Rank: c.LoRA, Alpha: float64(2 * c.LoRA)}
	}
	var seconds [2][]float64
	var ratios []float64
	for round := range c.Repeats + 1 {
		for i := range seconds {
			if err := ctx.Err(); err != nil {
				return err
			}
			m.SetRecompute(i == 1)
			start := time.Now()
			if err := step(); err != nil {
				return err
			}
			if round > 0 { // the first is for warming up
				seconds[i] = append(seconds[i], time.Since(start).Seconds())
			}
		}
		if round > 0 {
			ratios = append(ratios, seconds[1][round-1]/seconds[0][round-1])
		}
	}
	name := fmt.Sprintf("train/%s/%dx%d%s", c.Shape, c.Batch, c.Seq, variant)
	ratio := newFigure(name+"/recompute, of the time", "x", ratios, nil)
	plan := model.MemoryPlan{Tokens: c.Batch * c.Seq, Longest: c.Seq, Train: true, LoRA: lora}
	kept := m.Config().Memory(plan).Activations
	plan.Recompute = true
	again := m.Config().Memory(plan).Activations
	return c.report(std, map[string]any{"shape": c.Shape, "batch": c.Batch, "seq": c.Seq, "parameters": m.NumParams(), "time_ratio": ratio.Value,
		"activations": map[string]int64{"kept": kept, "recompute": again}},
		newFigure(name, "s", seconds[0], nil), newFigure(name+"/recompute", "s", seconds[1], nil), ratio,
		newFigure(name+"/recompute, of the activations", "x", []float64{float64(again) / float64(kept)}, nil))
}

// trainStep returns a whole step on batch sequences of seq tokens each.
func trainStep(m *model.Transformer, batch, seq int) func() error {
	sequences, grads := benchBatch(m, batch, seq)
	opt := model.NewAdamW()
	return func() error {
		m.ForwardLoss(sequences, grads.Logprobs).Backward(model.Grads{})
		_, err := opt.Step(m, 1e-4)
		return err
	}
}

// trainWork is the same step for the cost model.
func trainWork(batch, seq int, mixed bool) model.Work {
	return model.Work{Sequences: batch, Tokens: seq, Heads: seq, Train: true, Mixed: mixed}
}

// estimate prints a step on paper.
func (c benchTrainCmd) estimate(std streams) error {
	cfg, err := c.fitting(c.Seq)
	if err != nil {
		return err
	}
	work := trainWork(c.Batch, c.Seq, c.Precision == "mixed")
	on, err := c.machine(cfg, work)
	if err != nil {
		return err
	}
	return c.printEstimates(std, on, cfg, on.estimate(fmt.Sprintf("train/%s/%dx%d", c.Shape, c.Batch, c.Seq), cfg, work))
}
