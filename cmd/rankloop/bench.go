package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

type benchCmd struct {
	Kernels benchKernelsCmd `cmd:"" help:"Matrix products and elementwise kernels, against the peak of multiply-adds and the memory's bandwidth."`
	Train   benchTrainCmd   `cmd:"" help:"Whole training steps, against the peak."`
	Decode  benchDecodeCmd  `cmd:"" help:"Reading prompts and writing tokens with a cache, against bandwidth and peak."`
}

// benchFlags are common to all benchmarks.
type benchFlags struct {
	Threads int  `default:"0" help:"Threads; 0 = as many as the program uses."`
	Repeats int  `default:"7" help:"Samples of each figure; the median is shown."`
	JSON    bool `name:"json" help:"As JSON."`
}

func (f benchFlags) prepare() error {
	if f.Repeats < 1 || f.Repeats > 1000 {
		return usageError{fmt.Errorf("--repeats %d: 1 to 1000 is wanted", f.Repeats)}
	}
	if f.Threads < 0 || f.Threads > 1024 {
		return usageError{fmt.Errorf("--threads %d: 0 to 1024 is wanted", f.Threads)}
	}
	if f.Threads > 0 {
		kernel.SetThreads(f.Threads)
	}
	return nil
}

// shapeFlags say which model is measured.
type shapeFlags struct {
	Shape string `default:"gpt2-124m" help:"small8k (6 layers, 384 wide, vocabulary 8192), small50k (the same, 50257) or gpt2-124m."`
}

func (f shapeFlags) config() (model.Config, error) {
	small := model.Config{Family: "gpt2", Vocab: 8192, Context: 1024, Layers: 6, Width: 384, Heads: 6, BOS: -1, EOS: -1}
	switch f.Shape {
	case "small8k":
		return small, nil
	case "small50k":
		small.Vocab = 50257
		return small, nil
	case "gpt2-124m":
		return model.Config{Family: "gpt2", Vocab: 50257, Context: 1024, Layers: 12, Width: 768, Heads: 12, BOS: -1, EOS: -1}, nil
	}
	return model.Config{}, usageError{fmt.Errorf("--shape %s: unknown; there are small8k, small50k, gpt2-124m", f.Shape)}
}

// figure is one result: samples of a rate, each beside the limit measured just before it.
type figure struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Value  float64 `json:"value"` // median
	Low    float64 `json:"low"`   // of the samples
	High   float64 `json:"high"`
	Limit  float64 `json:"limit,omitempty"` // median of the limits, in the same unit
	Ratio  float64 `json:"ratio,omitempty"` // median of value/limit, pair by pair
	Repeat int     `json:"repeats"`
}

// sample measures a rate several times: limit and then work, alternately, so that what disturbs the machine disturbs both.
// Either returns a rate; limit may be nil. The first round is for warming up.
func sample(ctx context.Context, name, unit string, repeats int, limit, work func() float64) (figure, error) {
	var values, limits, ratios []float64
	for i := range repeats + 1 {
		if err := ctx.Err(); err != nil {
			return figure{}, err
		}
		l := 0.0
		if limit != nil {
			l = limit()
		}
		v := work()
		if i == 0 {
			continue
		}
		values, limits = append(values, v), append(limits, l)
		if l > 0 {
			ratios = append(ratios, v/l)
		}
	}
	f := figure{Name: name, Unit: unit, Value: median(values), Low: slices.Min(values), High: slices.Max(values), Limit: median(limits), Repeat: repeats}
	if len(ratios) > 0 {
		f.Ratio = median(ratios)
	}
	return f, nil
}

func median[T cmp.Ordered](x []T) T {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// rate runs f often enough to take least, and returns calls a second.
func rate(least time.Duration, f func()) float64 {
	calls, start := 0, time.Now()
	for calls == 0 || time.Since(start) < least {
		f()
		calls++
	}
	return float64(calls) / time.Since(start).Seconds()
}

// peakFLOPS is what multiply-adds in registers reach now, on all threads.
func peakFLOPS() float64 {
	const rounds = 100_000
	one := kernel.FMALoop(1)
	tasks := 4 * kernel.Threads()
	return rate(20*time.Millisecond, func() {
		kernel.Parallel(tasks, 1, func(lo, hi int) {
			for range hi - lo {
				kernel.FMALoop(rounds)
			}
		})
	}) * float64(tasks) * rounds * float64(one)
}

// bandwidth returns a function that measures how many bytes a second are read from memory now, on all threads.
func bandwidth() func() float64 {
	x := make([]float32, 64<<20) // 256 MB: no cache holds it
	for i := range x {
		x[i] = 1
	}
	return func() float64 {
		return rate(20*time.Millisecond, func() {
			kernel.Parallel(len(x), 1<<16, func(lo, hi int) { kernel.ReadLoop(x[lo:hi]) })
		}) * 4 * float64(len(x))
	}
}

// report prints figures as a table, or as one JSON object with extra fields.
func (f benchFlags) report(std streams, extra map[string]any, figures ...figure) error {
	if f.JSON {
		out := map[string]any{"threads": kernel.Threads(), "class": kernel.Class(), "figures": figures}
		for k, v := range extra {
			out[k] = v
		}
		return json.NewEncoder(std.out).Encode(out)
	}
	fmt.Fprintf(std.out, "%d threads, %s kernels; medians of %d\n", kernel.Threads(), kernel.Class(), f.Repeats)
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tmeasured\tfrom\tto\tlimit\tshare\t\t")
	for _, g := range figures {
		limit, share := "", ""
		if g.Limit > 0 {
			limit, share = fmt.Sprintf("%.4g", g.Limit), fmt.Sprintf("%.0f%%", 100*g.Ratio)
		}
		fmt.Fprintf(tw, "%s\t%.4g\t%.4g\t%.4g\t%s\t%s\t %s\t\n", g.Name, g.Value, g.Low, g.High, limit, share, g.Unit)
	}
	return tw.Flush()
}
