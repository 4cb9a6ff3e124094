package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/rankloop/rankloop/ppo/experiment"
)

type experimentCmd struct {
	Name    string `arg:"" optional:"" help:"The experiment, or a set: fast (those that run within minutes) or all. Left out: a list."`
	Seeds   string `help:"Seeds, such as 0-4 or 1,3." default:"0-4"`
	World   string `help:"toy (a grammar of 56 words) or starter (the starter model's, many times slower)." default:"toy" enum:"toy,starter"`
	Size    string `help:"Size of the toy's decoder: fast (0.1 M parameters) or 1m." default:"fast" enum:"fast,1m"`
	Out     string `help:"Folder for report.html, report.json, values.csv and points.csv." placeholder:"DIR" type:"path"`
	Cache   string `help:"Folder that keeps the pretrained and the fine-tuned model; 'none' for no folder. Default: one of the user's cache." placeholder:"DIR"`
	Workers int    `help:"Seeds under way at once, a thread each; 0 = one a thread. No figure depends on it." default:"0"`
	JSON    bool   `name:"json" help:"Print the results as one JSON line."`
}

func (experimentCmd) Help() string {
	return `Trains policies and reward models in a world whose preference is declared, measures what came out against bounds, and exits
0 where everything holds and 1 where it does not. The labelers are synthetic. The same seeds give the same figures. The
manual's page "Experiments" describes each experiment and how to read its plots.

Example:
  rankloop experiment
  rankloop experiment fast --seeds 0-4 --out report
  rankloop experiment kl-frontier --world starter --seeds 0 --out report`
}

func (c experimentCmd) Run(ctx context.Context, std streams) error {
	if c.Name == "" {
		return c.list(std.out)
	}
	seeds, err := parseSeeds(c.Seeds)
	if err != nil {
		return usageError{err}
	}
	cache, err := c.cache()
	if err != nil {
		return err
	}
	results, speed, err := experiment.Run(ctx, c.Name, seeds, experiment.Options{
		World: c.World, Size: c.Size, Cache: cache, Workers: c.Workers, Log: func(line string) { fmt.Fprintln(std.err, line) },
	})
	var wrong *experiment.InvalidError
	if errors.As(err, &wrong) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	report := experiment.NewReport(results)
	fmt.Fprintln(std.err, speed)
	if c.Out != "" {
		if err := report.Save(c.Out, speed); err != nil {
			return err
		}
		fmt.Fprintf(std.err, "wrote %s\n", filepath.Join(c.Out, "report.html"))
	}
	if c.JSON {
		if err := json.NewEncoder(std.out).Encode(report); err != nil {
			return err
		}
	} else if err := writeExperiments(std.out, results); err != nil {
		return err
	}
	var failed []string
	for _, r := range results {
		if !r.Holds {
			failed = append(failed, r.Name)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("does not hold: %s", strings.Join(failed, ", "))
	}
	return nil
}

// list tells the experiments, a line each.
func (c experimentCmd) list(w io.Writer) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(experiment.List())
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, x := range experiment.List() {
		set := ""
		if x.Fast {
			set = "fast"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", x.Name, set, x.Title)
	}
	return tw.Flush()
}

// cache is the folder of base and SFT.
func (c experimentCmd) cache() (string, error) {
	switch c.Cache {
	case "none":
		return "", nil
	case "":
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", usageError{fmt.Errorf("--cache DIR or --cache none is needed: %w", err)}
		}
		return filepath.Join(dir, "rankloop", "experiment"), nil
	}
	return filepath.Abs(c.Cache)
}

// writeExperiments prints what was measured over the seeds.
func writeExperiments(w io.Writer, results []experiment.Result) error {
	for i, r := range results {
		if i > 0 {
			fmt.Fprintln(w)
		}
		verdict := "holds"
		if !r.Holds {
			verdict = "FAILS"
		}
		fmt.Fprintf(w, "%s: %s\n  %s, world %s, size %s, %d seeds, synthetic labelers\n", r.Name, r.Title, verdict, r.World, r.Size, len(r.Seeds))
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, s := range r.Summary {
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\n", s.What, s.Interval(), s.Bound, s.Kept(), s.Verdict())
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		for _, n := range r.Notes {
			fmt.Fprintf(w, "  %s\n", n)
		}
	}
	return nil
}

// parseSeeds reads "0-4" and "1,3,7".
func parseSeeds(s string) ([]int, error) {
	var out []int
	for _, part := range strings.Split(s, ",") {
		lo, hi, ranged := strings.Cut(part, "-")
		if !ranged {
			hi = lo
		}
		a, err1 := strconv.Atoi(strings.TrimSpace(lo))
		b, err2 := strconv.Atoi(strings.TrimSpace(hi))
		if err1 != nil || err2 != nil || a < 0 || b < a || b-a >= 1000 {
			return nil, fmt.Errorf("--seeds %s: want numbers such as 0-4 or 1,3", s)
		}
		for ; a <= b; a++ {
			out = append(out, a)
		}
	}
	return out, nil
}
