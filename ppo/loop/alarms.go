package loop

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo"
)

// Rule is an alarm that stops the PPO run of a round: a figure of its steps, and how far it may go.
type Rule struct {
	Name    string
	Metric  string  // "" is every figure
	Default float64 // limit
	Meaning string  // of the limit
	may     func(limit float64) bool
	// bounds are what the figure must stay within; first is what the run began with.
	bounds func(limit, first float64) (low, high float64)
}

// fewRepeats is taken for the repetition that a run began with where it had less: three times nothing is nothing.
const fewRepeats = 0.05

// rules is the one table. ppo has guards of its own on KL, ratio and what is not finite; they look at a batch before anything is learned
// from it, and stop the run at its last checkpoint by the same alarm.
var rules = []Rule{
	{RuleNotFinite, "", 0, "any figure of a step is NaN or infinite; there is no limit to set",
		func(l float64) bool { return l == 0 }, func(_, _ float64) (float64, float64) { return math.Inf(-1), math.Inf(1) }},
	{RuleKL, "kl", 30, "most nats per answer from the supervised policy",
		func(l float64) bool { return l > 0 }, func(l, _ float64) (float64, float64) { return math.Inf(-1), l }},
	{RuleNegativeKL, "kl", -0.3, "least nats per answer: below zero beyond noise, the samples are not the policy's",
		func(l float64) bool { return l <= 0 }, func(l, _ float64) (float64, float64) { return l, math.Inf(1) }},
	{RuleLength, "length", 3, "how many times longer or shorter than in the first iteration answers may be",
		func(l float64) bool { return l > 1 }, func(l, first float64) (float64, float64) { return first / l, first * l }},
	{RuleRepetition, "repeat_rate", 3, "how many times more an answer may repeat itself than in the first iteration, or than 5% where that had less",
		func(l float64) bool { return l > 1 }, func(l, first float64) (float64, float64) {
			return math.Inf(-1), l * max(first, fewRepeats)
		}},
	{RuleEntropy, "entropy", 0.1, "least share of the first iteration's entropy per token: below it there is one answer for everything",
		func(l float64) bool { return l > 0 && l < 1 }, func(l, first float64) (float64, float64) { return l * first, math.Inf(1) }},
	{RuleRatio, "ratio_mean", 10, "largest mean ratio of an optimizer step to the policy that sampled",
		func(l float64) bool { return l > 1 }, func(l, _ float64) (float64, float64) { return math.Inf(-1), l }},
}

// Names of the rules.
const (
	RuleNotFinite  = "not_finite"
	RuleKL         = "kl"
	RuleNegativeKL = "negative_kl"
	RuleLength     = "length"
	RuleRepetition = "repetition"
	RuleEntropy    = "entropy"
	RuleRatio      = "ratio"
)

// Rules are the alarms that stop a run, in the order in which they are looked at.
func Rules() []Rule { return slices.Clone(rules) }

func ruleOf(name string) (Rule, bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == name })
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}

// check says why a limit cannot be used, as *InvalidError.
func (r Rule) check(field string, limit float64) error {
	if math.IsNaN(limit) || math.IsInf(limit, 0) || !r.may(limit) {
		return &InvalidError{field, fmt.Sprintf("%g cannot be a limit of the rule %s", limit, r.Name)}
	}
	return nil
}

// Limits are limits of rules by name; nil is off.
type Limits map[string]*float64

// DefaultLimits are the rules' own.
func DefaultLimits() Limits {
	out := Limits{}
	for _, r := range rules {
		out[r.Name] = &r.Default
	}
	return out
}

// Of is the limit of a rule, false where it is off.
func (l Limits) Of(r Rule) (float64, bool) {
	limit, set := l[r.Name]
	switch {
	case !set:
		return r.Default, true
	case limit == nil:
		return 0, false
	}
	return *limit, true
}

func (l Limits) validate() error {
	for _, name := range slices.Sorted(maps.Keys(l)) {
		r, ok := ruleOf(name)
		if !ok {
			return &InvalidError{"alarms", fmt.Sprintf("%q is none of %s", name, strings.Join(ruleNames(), ", "))}
		}
		if limit := l[name]; limit != nil {
			if err := r.check("alarms."+name, *limit); err != nil {
				return err
			}
		}
	}
	return nil
}

func ruleNames() (names []string) {
	for _, r := range rules {
		names = append(names, r.Name)
	}
	return names
}

// Trip is a figure that crossed the limit of a rule.
type Trip struct {
	Rule      string
	Metric    string
	Value     float64
	Threshold float64
	Step      int
}

func (t *Trip) Error() string {
	if t.Rule == RuleNotFinite {
		return fmt.Sprintf("%s: %s of step %d is not finite", t.Rule, t.Metric, t.Step)
	}
	side := "above"
	if t.Value < t.Threshold {
		side = "below"
	}
	return fmt.Sprintf("%s: %s of step %d is %.4g, %s the limit of %.4g", t.Rule, t.Metric, t.Step, t.Value, side, t.Threshold)
}

// watch looks at the figures of a run's steps.
type watch struct {
	limits Limits
	first  map[string]float64 // each figure as it was when it was first told
}

// newWatch takes up what a run has told so far.
func newWatch(limits Limits, told []run.Point) *watch {
	w := &watch{limits: limits, first: map[string]float64{}}
	for _, p := range told {
		w.note(p.Metrics)
	}
	return w
}

func (w *watch) note(m run.Metrics) {
	for name, v := range m {
		if _, ok := w.first[name]; !ok {
			w.first[name] = v
		}
	}
}

// see is the first rule that the figures of a step break, nil where there is none.
func (w *watch) see(step int, m run.Metrics) *Trip {
	w.note(m)
	for _, r := range rules {
		limit, on := w.limits.Of(r)
		if !on {
			continue
		}
		if r.Metric == "" {
			for _, name := range slices.Sorted(maps.Keys(m)) {
				if v := m[name]; math.IsNaN(v) || math.IsInf(v, 0) {
					return &Trip{r.Name, name, v, 0, step}
				}
			}
			continue
		}
		v, told := m[r.Metric]
		low, high := r.bounds(limit, w.first[r.Metric])
		switch {
		case told && v < low:
			return &Trip{r.Name, r.Metric, v, low, step}
		case told && v > high:
			return &Trip{r.Name, r.Metric, v, high, step}
		}
	}
	return nil
}

// guarded is the alarm that an error of ppo's own guards stands for; nil where it is another error, or says that the program is at fault.
func (w *watch) guarded(cfg ppo.Config, step int, err error) *Trip {
	if errors.Is(err, ppo.ErrNotFinite) {
		return &Trip{RuleNotFinite, "what a step computes", math.NaN(), 0, step}
	}
	var h *ppo.HealthError
	if !errors.As(err, &h) {
		return nil
	}
	switch {
	case h.Check == "kl" && h.Value < cfg.KL.Min:
		return &Trip{RuleNegativeKL, "kl", h.Value, cfg.KL.Min, step}
	case h.Check == "kl":
		return &Trip{RuleKL, "kl", h.Value, cfg.KL.Max, step}
	case h.Check == "ratio":
		return &Trip{RuleRatio, "ratio_mean", h.Value, cfg.Guard.Ratio, step}
	}
	return nil
}

// allow lets a run past ppo's own guards as far as a person said so of the rules beside them.
func allow(cfg ppo.Config, answered []Alarm) (low, high, ratio float64) {
	low, high, ratio = cfg.KL.Min, cfg.KL.Max, cfg.Guard.Ratio
	for _, a := range answered {
		switch {
		case a.Rule == RuleNegativeKL && a.NewLimit == nil:
			low = math.Inf(-1)
		case a.Rule == RuleNegativeKL:
			low = min(low, *a.NewLimit)
		case a.Rule == RuleKL:
			high = wider(high, a.NewLimit)
		case a.Rule == RuleRatio:
			ratio = wider(ratio, a.NewLimit)
		}
	}
	return low, high, ratio
}

// wider is the larger of two limits, of which nothing and 0 are none.
func wider(limit float64, other *float64) float64 {
	if other == nil || limit == 0 {
		return 0
	}
	return max(limit, *other)
}
