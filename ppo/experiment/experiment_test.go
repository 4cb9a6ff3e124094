package experiment

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// shared is one laboratory for all tests of the package: its models are trained once.
var shared = sync.OnceValue(func() *lab { return newLab(func(string) {}) })

// hold runs an experiment and wants every row of it to hold.
func hold(t *testing.T, name string, seeds ...int) Result {
	t.Helper()
	l := shared()
	l.log = func(line string) { t.Log(line) }
	defer func() { l.log = func(string) {} }()
	if testing.Short() {
		seeds = seeds[:1]
	}
	r, err := l.experiment(context.Background(), name, seeds)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Rows {
		if !row.Holds {
			t.Errorf("seed %d: %s = %g, bound %s", row.Seed, row.What, row.Value, row.Bound)
		}
	}
	if r.Holds == t.Failed() || len(r.Rows) == 0 {
		t.Errorf("holds = %v with %d rows", r.Holds, len(r.Rows))
	}
	return r
}

func TestGradient(t *testing.T) { hold(t, "gradient", 0, 1, 2, 3, 4) }
func TestSampler(t *testing.T)  { hold(t, "sampler", 0, 1, 2, 3, 4) }
func TestPretrain(t *testing.T) { hold(t, "pretrain", 0) }
func TestSFT(t *testing.T)      { hold(t, "sft", 0, 1, 2, 3, 4) }
func TestReward(t *testing.T)   { hold(t, "reward", 0, 1, 2, 3, 4) }
func TestGrouping(t *testing.T) { hold(t, "grouping", 0, 1, 2, 3, 4) }
func TestNorm(t *testing.T)     { hold(t, "norm", 0, 1, 2, 3, 4) }
func TestGold(t *testing.T)     { hold(t, "gold", 0) }
func TestPPO(t *testing.T)      { hold(t, "ppo", 0, 1, 2, 3, 4) }

// TestFaults also wants each fault to be told apart: by the check that is there for it.
func TestFaults(t *testing.T) {
	r := hold(t, "faults", 0)
	for fault, check := range map[string]string{"kl-sign": "kl", "penalty": "rewards", "old-logprobs": "reference", "reference": "reference", "score-sign": "score"} {
		want := fmt.Sprintf("%s seen by check %q", fault, check)
		if !slices.ContainsFunc(r.Rows, func(row Row) bool { return strings.HasPrefix(row.What, want) }) {
			t.Errorf("no row says: %s", want)
		}
	}
}

// TestShape pins the size that the measured values belong to.
func TestShape(t *testing.T) {
	base, err := shared().Base(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if n := base.NumParams(); n != 108736 {
		t.Errorf("%d weights", n)
	}
}

// TestRepeatable does a small experiment twice, from nothing.
func TestRepeatable(t *testing.T) {
	run := func() Result {
		r, err := newLab(func(string) {}).experiment(context.Background(), "gradient", []int{3})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if a, b := run(), run(); !slices.Equal(a.Rows, b.Rows) {
		t.Errorf("%v and %v", a.Rows, b.Rows)
	}
}

func TestUnknown(t *testing.T) {
	if _, err := Run(context.Background(), "nonsense", []int{0}, nil); err == nil || !strings.Contains(err.Error(), "faults") {
		t.Errorf("an unknown name: %v", err)
	}
	if _, err := Run(context.Background(), "gradient", nil, nil); err == nil {
		t.Error("no seeds")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, "pretrain", []int{0}, nil); err == nil {
		t.Error("a cancelled context")
	}
}
