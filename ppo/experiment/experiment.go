package experiment

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Row is one measured value against its bound.
type Row struct {
	Seed  int     `json:"seed"` // -1: over all seeds
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Bound string  `json:"bound"` // "" = shown, not demanded
	Holds bool    `json:"holds"`
}

// Result is what an experiment found. It holds where every row does.
type Result struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Holds bool   `json:"holds"`
	Seeds []int  `json:"seeds"`
	Rows  []Row  `json:"rows"`
}

// spec is one line of the table of experiments.
type spec struct {
	name, title string
	run         func(ctx context.Context, l *lab, r *recorder) error
}

// table lists the experiments in the order in which "all" runs them. The letters are those of the acceptance tests.
func table() []spec {
	return []spec{
		{"gradient", "A1: objectives against central differences", runGradient},
		{"sampler", "A2: the sampler's log-probabilities are the trainer's; KL to the reference starts at 0", runSampler},
		{"pretrain", "A3: pretraining reaches the source's entropy, and no lower", runPretrain},
		{"sft", "A4: fine-tuning makes answers follow the topic", runSFT},
		{"reward", "A5: a reward model finds the gold preference behind noisy rankings", runReward},
		{"grouping", "A6: all pairs of a prompt are one batch element", runGrouping},
		{"norm", "A7: reference answers score 0, after saving and in PPO too", runNorm},
		{"gold", "A8: PPO on the gold score itself", runGold},
		{"ppo", "A9: PPO on the learned reward beats SFT by gold", runPPO},
		{"faults", "A15: known bugs stop the run", runFaults},
	}
}

// Names lists the experiments.
func Names() []string {
	var out []string
	for _, s := range table() {
		out = append(out, s.name)
	}
	return out
}

// Run does one experiment, or "all" of them, and returns its rows. log (may be nil) is told what goes on, a line at a time.
// An error means that the experiment could not be done, not that it does not hold.
func Run(ctx context.Context, name string, seeds []int, log func(string)) (Result, error) {
	if log == nil {
		log = func(string) {}
	}
	return newLab(log).experiment(ctx, name, seeds)
}

func (l *lab) experiment(ctx context.Context, name string, seeds []int) (Result, error) {
	if len(seeds) == 0 {
		return Result{}, fmt.Errorf("experiment %s: no seeds", name)
	}
	all := table()
	if name != "all" {
		all = slices.DeleteFunc(all, func(s spec) bool { return s.name != name })
	}
	if len(all) == 0 {
		return Result{}, fmt.Errorf("there is no experiment %q; there are %s and all", name, strings.Join(Names(), ", "))
	}
	res := Result{Name: name, Title: all[0].title, Holds: true, Seeds: seeds}
	if len(all) > 1 {
		res.Title = "all experiments"
	}
	for _, s := range all {
		r := &recorder{seeds: seeds, log: l.log, prefix: s.name + ": "}
		if err := s.run(ctx, l, r); err != nil {
			return res, fmt.Errorf("experiment %s: %w", s.name, err)
		}
		for _, row := range r.rows {
			if len(all) > 1 {
				row.What = s.name + ": " + row.What
			}
			res.Rows = append(res.Rows, row)
			res.Holds = res.Holds && row.Holds
		}
	}
	return res, nil
}

// all is the seed of a row over all seeds.
const all = -1

// recorder collects rows.
type recorder struct {
	seeds  []int
	rows   []Row
	log    func(string)
	prefix string
}

func (r *recorder) add(seed int, what string, value float64, bound string, holds bool) {
	r.rows = append(r.rows, Row{seed, what, value, bound, holds})
	mark := ""
	if !holds {
		mark = "  FAILS"
	}
	at := "all seeds"
	if seed >= 0 {
		at = fmt.Sprintf("seed %d", seed)
	}
	r.log(fmt.Sprintf("%s%s: %s = %.5g %s%s", r.prefix, at, what, value, bound, mark))
}

func (r *recorder) show(seed int, what string, value float64) { r.add(seed, what, value, "", true) }

func (r *recorder) atLeast(seed int, what string, value, bound float64) {
	r.add(seed, what, value, fmt.Sprintf(">= %g", bound), value >= bound)
}

func (r *recorder) atMost(seed int, what string, value, bound float64) {
	r.add(seed, what, value, fmt.Sprintf("<= %g", bound), value <= bound)
}

func (r *recorder) within(seed int, what string, value, low, high float64) {
	r.add(seed, what, value, fmt.Sprintf("%g .. %g", low, high), value >= low && value <= high)
}

// below is for values that are allowed to be anything but close: |value| < bound.
func (r *recorder) below(seed int, what string, value, bound float64) {
	r.add(seed, what, value, fmt.Sprintf("|x| < %g", bound), math.Abs(value) < bound)
}

func average(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v
	}
	return s / float64(len(x))
}
