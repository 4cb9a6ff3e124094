package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/rankloop/rankloop/model/kernel"
)

type benchCmd struct {
	Kernels   benchKernelsCmd   `cmd:"" help:"Matrix products and elementwise kernels, against the peak of multiply-adds and the memory's bandwidth."`
	Train     benchTrainCmd     `cmd:"" help:"Whole training steps, against the peak."`
	Decode    benchDecodeCmd    `cmd:"" help:"Reading prompts and writing tokens with a cache, against bandwidth and peak."`
	Tokenizer benchTokenizerCmd `cmd:"" help:"Cutting text into tokens and putting it together, against looking at each character once."`
	Estimate  benchEstimateCmd  `cmd:"" help:"The cost model against what it estimates."`
	Scaling   benchScalingCmd   `cmd:"" help:"How the time of a training step grows with tokens and parameters, with a picture."`
	PPO       benchPPOCmd       `cmd:"" name:"ppo" help:"A whole step of PPO and its phases, against the peak."`
	Import    benchImportCmd    `cmd:"" help:"Rankings a second from a file into the database, against COPY of the same bytes."`
	Labeling  benchLabelingCmd  `cmd:"" help:"Claims and submits of many labelers, against pgbench on the same Postgres; and under kills."`
	Rounds    benchRoundsCmd    `cmd:"" help:"The forecast of a round's stages against rounds that are run, in time and memory."`
	API       benchAPICmd       `cmd:"" name:"api" help:"The engine behind the API: streams together, beside PPO, and under overload."`
	Small     benchSmallCmd     `cmd:"" help:"Iterations of PPO on models so small that overhead rules, in episodes a second."`
}

func (benchCmd) Help() string {
	return `Each benchmark prints what it measures beside a limit of the machine that is measured in the same run, alternately, so that what
disturbs one disturbs the other: trust the share more than the figure. Medians, and from the lowest to the highest sample. --save
writes the samples in Go's benchmark format, which benchstat reads too; --baseline compares with such a file by the Mann-Whitney U
test, and shows ~ where chance explains the difference (p of 0.05 or more).

Examples:
  rankloop bench train --shape gpt2 --batch 4 --seq 256
  rankloop bench train --shape small8k --save before.txt
  rankloop bench train --shape small8k --baseline before.txt`
}

// benchFlags are common to all benchmarks.
type benchFlags struct {
	Threads  int    `default:"0" help:"Threads; 0 = as many as the program uses."`
	Repeats  int    `default:"7" help:"Samples of each figure; the median is shown."`
	JSON     bool   `name:"json" help:"As JSON."`
	Save     string `help:"Write the samples to this file, in Go's benchmark format." placeholder:"FILE"`
	Baseline string `help:"Compare with a file that --save wrote." placeholder:"FILE"`

	old *baseline // what Baseline holds
}

func (f *benchFlags) prepare() error {
	if f.Repeats < 1 || f.Repeats > 1000 {
		return usageError{fmt.Errorf("--repeats %d: 1 to 1000 is wanted", f.Repeats)}
	}
	if f.Threads < 0 || f.Threads > 1024 {
		return usageError{fmt.Errorf("--threads %d: 0 to 1024 is wanted", f.Threads)}
	}
	if f.Threads > 0 {
		kernel.SetThreads(f.Threads)
	}
	if f.Baseline != "" {
		old, err := readBaseline(f.Baseline)
		if err != nil {
			return usageError{fmt.Errorf("--baseline: %w", err)}
		}
		f.old = old
	}
	return nil
}

// report prints figures as a table, or as one JSON object with extra fields; saves and compares them where that is asked for.
func (f benchFlags) report(std streams, extra map[string]any, figures ...figure) error {
	for i := range figures {
		figures[i].Baseline = f.old.compare(figures[i])
	}
	if f.Save != "" {
		if err := saveBaseline(f.Save, figures); err != nil {
			return err
		}
	}
	if f.JSON {
		out := map[string]any{"threads": kernel.Threads(), "class": kernel.Class(), "figures": figures}
		for k, v := range extra {
			out[k] = v
		}
		return json.NewEncoder(std.out).Encode(out)
	}
	fmt.Fprintf(std.out, "%d threads, %s kernels; medians of %d\n", kernel.Threads(), kernel.Class(), f.Repeats)
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "\tmeasured\tfrom\tto\tlimit\tshare\t\t")
	if f.old != nil {
		fmt.Fprint(tw, "before\tchange\tp\t")
	}
	fmt.Fprintln(tw)
	for _, g := range figures {
		limit, share := "", ""
		if g.Limit > 0 {
			limit, share = digits(g.Limit), fmt.Sprintf("%.0f%%", 100*g.Ratio)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t %s\t", g.Name, digits(g.Value), digits(g.Low), digits(g.High), limit, share, g.Unit)
		if f.old != nil {
			fmt.Fprint(tw, g.Baseline.cells())
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// digits shows four digits of a number, and all of those before the point.
func digits(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}
