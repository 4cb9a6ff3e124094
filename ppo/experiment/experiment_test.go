package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/ppo"
)

// shared is one laboratory for all tests of the package: its models are trained once.
var shared = sync.OnceValue(func() *lab {
	l, err := newLab(Options{})
	if err != nil {
		panic(err)
	}
	return l
})

// hold runs an experiment and wants it to hold.
func hold(t *testing.T, name string, seeds ...int) Result {
	t.Helper()
	if testing.Short() {
		seeds = seeds[:1]
	}
	all, _, err := shared().experiments(context.Background(), name, seeds)
	if err != nil {
		t.Fatal(err)
	}
	r := all[0]
	for _, s := range r.Summary {
		if !s.Holds {
			t.Errorf("%s = %g, bound %s, kept by %d of %d seeds", s.What, s.Mean, s.Bound, s.Held, s.Seeds)
		}
	}
	if r.Holds == t.Failed() || len(r.Rows) == 0 {
		t.Errorf("holds = %v with %d rows", r.Holds, len(r.Rows))
	}
	return r
}

// The experiments of the fast set run whole, on five seeds, in a step of their own of .ci/run.

func TestGradient(t *testing.T) { hold(t, "gradient", 0, 1, 2, 3, 4) }
func TestSampler(t *testing.T)  { hold(t, "sampler", 0, 1, 2, 3, 4) }
func TestPretrain(t *testing.T) { hold(t, "pretrain", 0) }
func TestSFT(t *testing.T)      { hold(t, "sft", 0, 1, 2, 3, 4) }
func TestGold(t *testing.T)     { hold(t, "ppo-gold", 0) }
func TestResume(t *testing.T)   { hold(t, "resume", 0) }
func TestBestOfN(t *testing.T)  { hold(t, "best-of-n", 0) }

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

// broken is a laboratory with the shared models and nothing else, to plant bugs in.
func broken(t *testing.T) *lab {
	t.Helper()
	of := shared()
	l := &lab{recipe: of.recipe, world: of.world, models: of.models, digest: of.digest, corpus: of.corpus, demos: of.demos, log: func(line string) { t.Log(line) }}
	for _, name := range []string{"base", "sft"} {
		l.language.get(name, func() (*model.Transformer, error) {
			if name == "base" {
				return of.Base(context.Background())
			}
			return of.SFT(context.Background())
		})
	}
	return l
}

// lend gives a laboratory a reward model of the shared one.
func lend(l *lab, seed, n int) {
	l.rewards.get(fmt.Sprint(seed, n, labeler{}), func() (rewardModel, error) {
		s, err := shared().Reward(context.Background(), seed, n, labeler{})
		return rewardModel{s}, err
	})
}

// TestBroken plants bugs: no experiment that depends on what is broken may hold. The faults of ppo stop the run by its health
// checks, but for the score's sign, of which the trainer knows nothing without a canary: that is what the bounds are for.
func TestBroken(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a policy for each bug")
	}
	for _, c := range []struct {
		name, experiment, fails string
		plant                   func(l *lab)
	}{
		{"KL with the wrong sign", "ppo-reward", "stopped by its health checks", func(l *lab) { l.fault = ppo.FaultKLSign }},
		{"penalty added", "kl-frontier", "stopped by its health checks", func(l *lab) { l.fault = ppo.FaultPenalty }},
		{"reference one token off", "ppo-reward", "stopped by its health checks", func(l *lab) { l.fault = ppo.FaultReference }},
		{"sampler's log-probabilities one token off", "overoptimization", "stopped by its health checks", func(l *lab) { l.fault = ppo.FaultOldLogprobs }},
		{"score with the wrong sign", "ppo-reward", "win against SFT", func(l *lab) { l.fault = ppo.FaultScoreSign }},
		{"a policy that does not learn", "ppo-reward", "win against SFT", func(l *lab) { l.recipe.PolicyLR = 0 }},
		{"no penalty", "ppo-reward", "KL", func(l *lab) { l.recipe.Beta = 0 }},
		{"a reward model that does not learn", "best-of-n", "rise of gold from 1 to 16", func(l *lab) { l.recipe.RewardLR = 0 }},
		{"fine-tuning that does nothing", "sft", "SFT answers on topic", func(l *lab) { l.language.made["sft"] = l.language.made["base"] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := broken(t)
			c.plant(l)
			if l.recipe.RewardLR > 0 {
				lend(l, 0, l.recipe.Ranked)
			}
			all, _, err := l.experiments(context.Background(), c.experiment, []int{0})
			if err != nil {
				t.Fatal(err)
			}
			failed := func(s Summary) bool { return s.What == c.fails && !s.Holds }
			if all[0].Holds || !slices.ContainsFunc(all[0].Summary, failed) {
				t.Errorf("it holds; %q should fail", c.fails)
			}
		})
	}
}

// TestShape pins the sizes that the measured values belong to.
func TestShape(t *testing.T) {
	for size, want := range map[string]int{SizeFast: 108736, Size1M: 1008896} {
		r, err := newRecipe(WorldToy, size)
		if err != nil {
			t.Fatal(err)
		}
		m, err := model.New(r.Language.Shape, 1)
		if err != nil {
			t.Fatal(err)
		}
		if n := m.NumParams(); n != want {
			t.Errorf("%s: %d weights, %d are wanted", size, n, want)
		}
	}
}

// small is a laboratory that does everything in a small way.
func small(t *testing.T, opt Options) *lab {
	t.Helper()
	l, err := newLab(opt)
	if err != nil {
		t.Fatal(err)
	}
	r := &l.recipe
	r.Language.PretrainSteps, r.Language.SFTSteps = 30, 30
	r.Ranked, r.Weak, r.Relabel, r.Held = 64, 32, 16, 40
	r.Iterations, r.Rollouts, r.Push, r.PushRollouts, r.RewardEpochs = 2, 64, 6, 64, 1
	l.prepare()
	return l
}

// TestRepeatable does experiments from nothing, with one worker and with two, and with base and SFT from a cache: the results are
// the same to the last digit.
func TestRepeatable(t *testing.T) {
	cache := t.TempDir()
	var want []byte
	for i, opt := range []Options{{Workers: 1}, {Workers: 2}, {Workers: 2, Cache: cache}, {Workers: 1, Cache: cache}} {
		l := small(t, opt)
		var results []Result
		for _, name := range []string{"ppo-reward", "overoptimization", "loop"} {
			r, speed, err := l.experiments(context.Background(), name, []int{3, 5})
			if err != nil {
				t.Fatal(err)
			}
			if name == "ppo-reward" && (speed.Episodes != 2*(2+nullIterations+2)*64 || speed.PerThread() <= 0) {
				t.Errorf("speed %+v", speed)
			}
			results = append(results, r...)
		}
		got, err := json.Marshal(NewReport(results))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			want = got
		}
		if string(got) != string(want) {
			t.Errorf("%+v: other results than with one worker and no cache:\n%s\n%s", opt, got, want)
		}
	}
	other := small(t, Options{})
	r, _, err := other.experiments(context.Background(), "ppo-reward", []int{4, 5})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := json.Marshal(r); strings.Contains(string(want), string(got)) {
		t.Error("another seed gives the same results")
	}
}

func TestWrongOptions(t *testing.T) {
	for _, c := range []struct {
		name  string
		seeds []int
		opt   Options
		field string
	}{
		{"nonsense", []int{0}, Options{}, "name"},
		{"gradient", nil, Options{}, "seeds"},
		{"gradient", []int{0}, Options{World: "moon"}, "world"},
		{"gradient", []int{0}, Options{Size: "huge"}, "size"},
		{"gradient", []int{0}, Options{World: WorldStarter, Size: Size1M}, "size"},
	} {
		_, _, err := Run(context.Background(), c.name, c.seeds, c.opt)
		var wrong *InvalidError
		if !errors.As(err, &wrong) || wrong.Field != c.field {
			t.Errorf("%s %v %+v: %v", c.name, c.seeds, c.opt, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Run(ctx, "pretrain", []int{0}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}

// TestSets: the fast set is a part of all.
func TestSets(t *testing.T) {
	names := func(name string) []string {
		specs, err := choose(name)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, s := range specs {
			out = append(out, s.name)
		}
		return out
	}
	if got := names(All); !slices.Equal(got, Names()) {
		t.Errorf("all: %v", got)
	}
	want := []string{"reward-curve", "ppo-reward", "kl-frontier", "overoptimization", "best-of-n", "loop"}
	if got := names(Fast); !slices.Equal(got, want) {
		t.Errorf("fast: %v", got)
	}
}
