package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rankloop/rankloop/ppo"
)

type trainCompareCmd struct {
	Runs   []string `arg:"" help:"Folders of runs (--out of 'rankloop train ...')." placeholder:"RUN"`
	Metric []string `help:"Figures to compare; by default the most telling of those that the runs have." placeholder:"NAME"`
	X      string   `help:"What the curves are drawn over: step, iteration or another figure that stands in the same lines, such as kl." default:"step"`
	Out    string   `help:"Write a page with the plots." placeholder:"FILE.html"`
	JSON   bool     `name:"json" help:"The curves as JSON."`
}

func (trainCompareCmd) Help() string {
	return `Puts the figures of runs beside each other: on the terminal a row per figure and run with its curve, with --out a page with plots.

Examples:
  rankloop train compare runs/ppo runs/grpo
  rankloop train compare runs/ppo runs/grpo runs/rloo --metric score --x kl --out compare.html`
}

// series is a figure of a run. X and Y have the same length.
type series struct {
	Run string    `json:"run"`
	X   []float64 `json:"x"`
	Y   []float64 `json:"y"`
}

// comparison is a figure of all runs that have it.
type comparison struct {
	Metric  string   `json:"metric"`
	Unit    string   `json:"unit,omitempty"`
	Meaning string   `json:"meaning,omitempty"`
	Healthy string   `json:"healthy,omitempty"`
	X       string   `json:"x"`
	Series  []series `json:"series"`
}

// telling are the figures that are shown where none is named.
var telling = []string{"score", "reward", "kl", "best_score", "entropy", "length", "eos_rate", "repeat_rate", "approxkl", "clipfrac", "explained_variance",
	"loss", "heldout_loss", "accuracy", "heldout_accuracy", "margin", "best_of_score"}

func (c trainCompareCmd) Run(std streams) error {
	runs := map[string][]map[string]float64{}
	names := runNames(c.Runs)
	for i, dir := range c.Runs {
		lines, err := readMetrics(dir)
		if err != nil {
			return err
		}
		runs[names[i]] = lines
	}
	all, err := gather(names, runs, c.Metric, c.X)
	if err != nil {
		return err
	}
	if c.Out != "" {
		f, err := os.Create(c.Out)
		if err != nil {
			return err
		}
		if err := errors.Join(comparePage(f, names, all), f.Close()); err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(all)
	}
	if err := writeComparison(std.out, all); err != nil {
		return err
	}
	if c.Out != "" {
		_, err = fmt.Fprintf(std.out, "\nplots %s\n", c.Out)
	}
	return err
}

// runNames are the shortest ends of the paths that tell them apart.
func runNames(dirs []string) []string {
	short := func(dir string, n int) string {
		parts := strings.Split(filepath.ToSlash(filepath.Clean(dir)), "/")
		return strings.Join(parts[max(0, len(parts)-n):], "/")
	}
	for n := 1; ; n++ {
		seen, out := map[string]bool{}, []string{}
		for _, d := range dirs {
			seen[short(d, n)] = true
			out = append(out, short(d, n))
		}
		if len(seen) == len(dirs) || n > 64 {
			for i := range out { // the same run twice
				if n > 64 {
					out[i] = fmt.Sprintf("%s (%d)", out[i], i+1)
				}
			}
			return out
		}
	}
}

// readMetrics reads the lines of a run's metrics.jsonl; a last line that a kill has cut is left out.
func readMetrics(dir string) (lines []map[string]float64, err error) {
	f, err := os.Open(filepath.Join(dir, "metrics.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no folder of a run: it has no metrics.jsonl", dir)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for r := bufio.NewReader(f); ; {
		b, err := r.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		var m map[string]float64
		if err := json.Unmarshal(b, &m); err != nil {
			return nil, fmt.Errorf("%s: line %d of metrics.jsonl: %w", dir, len(lines)+1, err)
		}
		lines = append(lines, m)
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s has no figures yet: its metrics.jsonl is empty", dir)
	}
	return lines, nil
}

// gather collects the figures.
func gather(names []string, runs map[string][]map[string]float64, wanted []string, x string) (all []comparison, err error) {
	defined := map[string]ppo.Metric{}
	for _, m := range ppo.Metrics("") {
		defined[m.Name] = m
	}
	known := map[string]bool{}
	for _, lines := range runs {
		for _, m := range lines {
			for name := range m {
				known[name] = true
			}
		}
	}
	if !known[x] {
		return nil, usageError{fmt.Errorf("--x %s: no run has it; there are %s", x, strings.Join(slices.Sorted(maps.Keys(known)), ", "))}
	}
	for _, name := range wanted {
		if !known[name] {
			return nil, usageError{fmt.Errorf("--metric %s: no run has it; there are %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))}
		}
	}
	if len(wanted) == 0 {
		for _, name := range telling {
			if known[name] && name != x {
				wanted = append(wanted, name)
			}
		}
	}
	for _, name := range wanted {
		c := comparison{Metric: name, X: x, Unit: defined[name].Unit, Meaning: defined[name].Meaning, Healthy: defined[name].Healthy}
		for _, run := range names {
			s := series{Run: run}
			for _, m := range runs[run] {
				at, ok := m[x]
				y, also := m[name]
				if ok && also {
					s.X, s.Y = append(s.X, at), append(s.Y, y)
				}
			}
			if len(s.X) > 0 {
				c.Series = append(c.Series, s)
			}
		}
		if len(c.Series) == 0 {
			return nil, usageError{fmt.Errorf("--x %s: it never stands in the lines of %s", x, name)}
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the runs have none of %s; name a figure with --metric: there are %s", strings.Join(telling, ", "), strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	return all, nil
}

// lastMean is the mean of the last tenth of a curve, at least of one point: what a run came to.
func lastMean(y []float64) float64 {
	tail := y[len(y)-max(1, len(y)/10):]
	sum := 0.0
	for _, v := range tail {
		sum += v
	}
	return sum / float64(len(tail))
}

// writeComparison prints a row per figure and run.
func writeComparison(w io.Writer, all []comparison) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "figure\trun\tfirst\tlast tenth\tleast\tmost\tover %s\n", all[0].X)
	for _, c := range all {
		for i, s := range c.Series {
			name := ""
			if i == 0 {
				name = c.Metric
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, s.Run, fourDigits(s.Y[0]), fourDigits(lastMean(s.Y)), fourDigits(slices.Min(s.Y)), fourDigits(slices.Max(s.Y)), curve(byX(s).Y, 40))
		}
	}
	return tw.Flush()
}

// byX is the series in the order of what it is drawn over.
func byX(s series) series {
	order := make([]int, len(s.X))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case s.X[a] < s.X[b]:
			return -1
		case s.X[a] > s.X[b]:
			return 1
		}
		return 0
	})
	out := series{Run: s.Run}
	for _, i := range order {
		out.X, out.Y = append(out.X, s.X[i]), append(out.Y, s.Y[i])
	}
	return out
}

// fourDigits writes a number in four digits.
func fourDigits(v float64) string {
	if v == 0 || math.Abs(v) >= 1e-3 && math.Abs(v) < 1e5 {
		return fmt.Sprintf("%.4g", v)
	}
	return fmt.Sprintf("%.2e", v)
}
