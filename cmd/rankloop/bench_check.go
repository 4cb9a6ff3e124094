package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

type benchEstimateCmd struct {
	Shapes    []string `default:"tiny,mini,small8k,gpt2-124m,gpt2-355m" help:"Shapes of models: ${bench_shapes}."`
	Of        []string `default:"train,prompts,decode" enum:"train,prompts,decode" help:"What is estimated: ${enum}."`
	Batch     int      `default:"2" help:"Sequences of a training step."`
	Seq       int      `default:"128" help:"Tokens of a sequence, and of the prompt that is read."`
	Tokens    int      `default:"16" help:"Tokens written after it."`
	Precision string   `enum:"float32,mixed" default:"float32" help:"Of training: float32, or products that round their factors to bfloat16."`
	Within    float64  `default:"20" help:"Percent that the time may be off."`
	Repeats   int      `default:"5" help:"Samples of each figure; the median is compared."`
	Threads   int      `default:"0" help:"Threads; 0 = as many as the program uses."`
	JSON      bool     `name:"json" help:"As JSON."`
}

func (benchEstimateCmd) Help() string {
	return `Measures what --estimate of the benchmarks train and decode says of training, of reading a prompt and of writing after it, in one
run: the constants of the machine and the work are measured in turn, so that what disturbs one disturbs the other. It fails where an
estimate is off by more than --within percent.

Example:
  rankloop bench estimate --shapes small8k,gpt2-124m`
}

// checked is an estimate beside what was measured.
type checked struct {
	Name      string  `json:"name"`
	Estimated float64 `json:"estimated_s"`
	Measured  float64 `json:"measured_s"` // median
	Low       float64 `json:"low_s"`
	High      float64 `json:"high_s"`
	Ratio     float64 `json:"ratio"` // of the estimate to what was measured

	work   model.Work
	before func() // what a run needs, not measured; may be nil
	run    func() error
	share  float64 // of a run that is the work
}

func (c benchEstimateCmd) Run(ctx context.Context, std streams) error {
	if min(c.Batch, c.Tokens, c.Repeats) < 1 || c.Seq < 2 || !(c.Within > 0) {
		return usageError{fmt.Errorf("--batch %d --seq %d --tokens %d --repeats %d --within %g: at least 1, and a sequence of 2 tokens, are wanted", c.Batch, c.Seq, c.Tokens, c.Repeats, c.Within)}
	}
	for _, shape := range c.Shapes {
		if _, err := (shapeFlags{shape}).fitting(c.Seq + c.Tokens); err != nil {
			return err
		}
	}
	if c.Threads > 0 {
		kernel.SetThreads(c.Threads)
	}
	show := newProgress(std.err)
	defer show.end()
	all, done := make([][]*checked, len(c.Shapes)), 0
	// Training comes after all else: weights that are laid out on memory that it leaves behind are read more slowly, as that has
	// lost its huge pages.
	for _, check := range []func(context.Context, string) ([]*checked, error){c.reading, c.training} {
		for i, shape := range c.Shapes {
			show.show("estimate", done, 2*len(c.Shapes), "shapes  "+shape)
			some, err := check(ctx, shape)
			if err != nil {
				return err
			}
			all[i] = append(all[i], some...)
			done++
		}
	}
	show.end()
	return c.report(std, slices.Concat(all...))
}

// training measures a step of one shape.
func (c benchEstimateCmd) training(ctx context.Context, shape string) ([]*checked, error) {
	if !slices.Contains(c.Of, "train") {
		return nil, nil
	}
	m, err := benchModel(shapeFlags{shape}, c.Seq)
	if err != nil {
		return nil, err
	}
	mixed := c.Precision == "mixed"
	m.SetMixed(mixed)
	k := &checked{Name: fmt.Sprintf("train/%s/%dx%d", shape, c.Batch, c.Seq), work: trainWork(c.Batch, c.Seq, mixed), run: trainStep(m, c.Batch, c.Seq), share: 1}
	return []*checked{k}, compare(ctx, m.Config(), c.Repeats, k)
}

// reading measures a prompt and tokens after it, of one shape.
func (c benchEstimateCmd) reading(ctx context.Context, shape string) ([]*checked, error) {
	var out []*checked
	d := &decoder{}
	prompts, write := decodeWorks(1, c.Seq, c.Tokens, model.WeightsFloat32)
	if slices.Contains(c.Of, "prompts") {
		out = append(out, &checked{Name: fmt.Sprintf("prompts/%s/1x%d", shape, c.Seq), work: prompts, run: func() error { d.read(); return nil }, share: 1})
	}
	if slices.Contains(c.Of, "decode") {
		out = append(out, &checked{Name: fmt.Sprintf("decode/%s/1x1", shape), work: write, before: func() { d.read() },
			run: func() error { d.write(); return nil }, share: 1 / float64(c.Tokens)})
	}
	if len(out) == 0 {
		return nil, nil
	}
	m, err := benchModel(shapeFlags{shape}, c.Seq+c.Tokens)
	if err != nil {
		return nil, err
	}
	m.Pack(model.WeightsFloat32)
	*d = *newDecoder(m, 1, c.Seq, c.Tokens)
	return out, compare(ctx, m.Config(), c.Repeats, out...)
}

// compare takes samples of the machine and of the work in turn and puts the estimate beside.
func compare(ctx context.Context, cfg model.Config, repeats int, list ...*checked) error {
	var works []model.Work
	for _, k := range list {
		works = append(works, k.work)
	}
	meter := newMeter(cfg, works...)
	samples := make([][]float64, len(list))
	for round := range repeats + 1 { // the first is for warming up
		meter.round()
		for i, k := range list {
			if err := ctx.Err(); err != nil {
				return err
			}
			s, err := k.seconds()
			if err != nil {
				return err
			}
			if round > 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}
	on := meter.machine()
	for i, k := range list {
		k.Estimated = on.estimate(k.Name, cfg, k.work).Seconds
		k.Measured, k.Low, k.High = median(samples[i]), slices.Min(samples[i]), slices.Max(samples[i])
		k.Ratio = k.Estimated / k.Measured
	}
	return nil
}

// seconds is how long the work takes now: the mean of runs that take long enough together.
func (k *checked) seconds() (float64, error) {
	runs, sum := 0, 0.0
	for ; runs == 0 || sum < 0.05; runs++ {
		if k.before != nil {
			k.before()
		}
		start := time.Now()
		if err := k.run(); err != nil {
			return 0, err
		}
		sum += time.Since(start).Seconds()
	}
	return sum / float64(runs) * k.share, nil
}

func (c benchEstimateCmd) report(std streams, all []*checked) error {
	off := 0
	for _, k := range all {
		if math.Abs(k.Ratio-1) > c.Within/100 {
			off++
		}
	}
	if c.JSON {
		if err := json.NewEncoder(std.out).Encode(map[string]any{"threads": kernel.Threads(), "class": kernel.Class(), "within": c.Within / 100, "off": off, "estimates": all}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(std.out, "%d threads, %s kernels; medians of %d, in milliseconds\n", kernel.Threads(), kernel.Class(), c.Repeats)
		tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(tw, "\tmeasured\tfrom\tto\testimated\tratio\t")
		for _, k := range all {
			fmt.Fprintf(tw, "%s\t%.4g\t%.4g\t%.4g\t%.4g\t%.2f\t\n", k.Name, 1e3*k.Measured, 1e3*k.Low, 1e3*k.High, 1e3*k.Estimated, k.Ratio)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	if off > 0 {
		return fmt.Errorf("%d of %d estimates are off by more than %g%%", off, len(all), c.Within)
	}
	return nil
}
