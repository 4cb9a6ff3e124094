package loop

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo"
)

// scorerOf is a reward by a function of the answer and of how often it was asked.
type scorerOf struct {
	calls *int
	of    func(call int, answer []int32) float64
}

func (s scorerOf) Digest() string { return "test" }

func (s scorerOf) Score(_ context.Context, seqs []model.Sequence) ([]float64, error) {
	*s.calls++
	out := make([]float64, len(seqs))
	for i, q := range seqs {
		out[i] = s.of(*s.calls, q.IDs[q.Start:])
	}
	return out, nil
}

// fives likes one token more than all others.
func fives(_ int, answer []int32) float64 {
	n := 0.0
	for _, id := range answer {
		if id == 5 {
			n += 4
		}
	}
	return n / float64(len(answer))
}

// smallPPO is a real run of a model of 12 tokens, of which 0 ends an answer.
func smallPPO(t *testing.T, limits Limits, of func(int, []int32) float64, change func(*ppo.Config)) *ppoRun {
	t.Helper()
	tiny := func(seed uint64) *model.Transformer {
		m, err := model.New(model.Config{Family: "gpt2", Vocab: 12, Context: 24, Layers: 1, Width: 16, Heads: 2, BOS: -1, EOS: 0}, seed)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	c := ppo.DefaultConfig()
	c.Iterations, c.Rollouts, c.Minibatch, c.Epochs, c.Chunk, c.MaxTokens, c.Seed = 40, 32, 16, 2, 32, 14, 7
	c.LR, c.ValueLR, c.KL.Coef = 1e-2, 1e-2, 0
	change(&c)
	policy, value := tiny(1), tiny(2)
	value.AddHead(model.HeadValue, 3)
	tr, err := ppo.NewTrainer(c, policy, policy, value, scorerOf{new(int), of}, ppo.PromptList{{1, 2}, {1, 3}, {1, 4, 4}}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &ppoRun{Trainer: tr, cfg: c, watch: newWatch(limits, nil), probe: &probe{every: 1}}
}

// only leaves one rule on, with a limit.
func only(name string, limit float64) Limits {
	out := Limits{}
	for _, r := range rules {
		out[r.Name] = nil
	}
	out[name] = &limit
	return out
}

func runToEnd(t *testing.T, p *ppoRun) (last run.Metrics, trip *Trip) {
	t.Helper()
	for !p.Done() {
		m, err := p.Step(t.Context())
		if err == nil {
			last = m
			continue
		}
		var halt *run.HaltError
		if !errors.As(err, &halt) || !errors.As(err, &trip) {
			t.Fatal(err)
		}
		return m, trip
	}
	return last, nil
}

// TestAlarms trips each rule in a real run: what the run does is what the alarm is there for.
func TestAlarms(t *testing.T) {
	for _, c := range []struct {
		rule   string
		limit  float64
		score  func(int, []int32) float64
		change func(*ppo.Config)
		fault  ppo.Fault
		guard  bool // ppo sees it before it learns from it
	}{
		{rule: RuleKL, limit: 0.5, score: fives},
		{rule: RuleKL, limit: 5, score: fives, change: func(c *ppo.Config) { c.KL.Max = 0.5 }, guard: true},
		{rule: RuleNegativeKL, limit: -0.05, score: fives, fault: ppo.FaultKLSign, change: func(c *ppo.Config) { c.LR = 3e-3 }},
		{rule: RuleNegativeKL, limit: -50, score: fives, fault: ppo.FaultKLSign, guard: true},
		{rule: RuleLength, limit: 2, score: func(_ int, a []int32) float64 { return -float64(len(a)) }},
		{rule: RuleRepetition, limit: 3, score: fives},
		{rule: RuleEntropy, limit: 0.5, score: fives},
		{rule: RuleRatio, limit: 1.02, score: fives, change: func(c *ppo.Config) { c.LR = 3e-2 }},
		{rule: RuleRatio, limit: 10, score: fives, change: func(c *ppo.Config) { c.LR, c.Guard.Ratio = 3e-2, 1.02 }, guard: true},
		{rule: RuleNotFinite, score: func(call int, a []int32) float64 {
			if call > 3 {
				return math.NaN()
			}
			return fives(call, a)
		}, guard: true},
	} {
		change := c.change
		if change == nil {
			change = func(*ppo.Config) {}
		}
		p := smallPPO(t, only(c.rule, c.limit), c.score, change)
		p.Inject(c.fault)
		m, trip := runToEnd(t, p)
		if trip == nil {
			t.Errorf("%s did not go off; last %v, first %v", c.rule, m, p.watch.first)
			continue
		}
		step, _ := p.Progress()
		if trip.Rule != c.rule || (m == nil) != c.guard || trip.Step != step+map[bool]int{true: 1}[c.guard] || trip.Error() == "" {
			t.Errorf("%s: %+v at step %d with %v", c.rule, trip, step, m)
		}
	}
	w := newWatch(DefaultLimits(), nil)
	if trip := w.see(3, run.Metrics{"kl": 1, "grad_norm": math.Inf(1)}); trip == nil || trip.Rule != RuleNotFinite || trip.Metric != "grad_norm" || trip.Step != 3 {
		t.Errorf("an infinite figure: %+v", trip)
	}
	if trip := newWatch(only(RuleKL, 1), nil).see(1, run.Metrics{"grad_norm": math.NaN()}); trip != nil {
		t.Errorf("a rule that is off: %+v", trip)
	}
}

// TestHealthyRun: a run that learns slowly, held to its reference, trips nothing, and what it began with is known again after a restart.
func TestHealthyRun(t *testing.T) {
	p := smallPPO(t, DefaultLimits(), fives, func(c *ppo.Config) { c.Iterations, c.LR, c.KL.Coef = 10, 1e-3, 0.1 })
	m, trip := runToEnd(t, p)
	if trip != nil || m == nil || p.Iteration() != 10 {
		t.Errorf("%+v after %v", trip, m)
	}
	again := newWatch(only(RuleLength, 2), []run.Point{{Step: 1, Metrics: run.Metrics{}}, {Step: 2, Metrics: run.Metrics{"length": 4}}, {Step: 9, Metrics: run.Metrics{"length": 7}}})
	if trip := again.see(10, run.Metrics{"length": 8.5}); trip == nil || trip.Threshold != 8 {
		t.Errorf("%+v: the first iteration's length is 4", trip)
	}
}

func TestLimits(t *testing.T) {
	ten := 10.0
	for name, bad := range map[string]float64{RuleKL: 0, RuleNegativeKL: 1, RuleLength: 1, RuleRepetition: .5, RuleEntropy: 1, RuleRatio: math.Inf(1), RuleNotFinite: 3, "mood": 1} {
		var invalid *InvalidError
		if err := (Limits{name: &bad}).validate(); !errors.As(err, &invalid) {
			t.Errorf("%s %g: %v", name, bad, err)
		}
	}
	c := ppo.DefaultConfig()
	if low, high, ratio := allow(c, nil); low != c.KL.Min || high != c.KL.Max || ratio != c.Guard.Ratio {
		t.Error(low, high, ratio)
	}
	if low, high, ratio := allow(c, []Alarm{{Rule: RuleNegativeKL}, {Rule: RuleKL, NewLimit: &ten}, {Rule: RuleRatio}}); !math.IsInf(low, -1) || high != c.KL.Max || ratio != 0 {
		t.Error(low, high, ratio)
	}
	if l := limits(DefaultLimits(), []Alarm{{Rule: RuleKL, NewLimit: &ten}, {Rule: RuleLength}}); *l[RuleKL] != 10 || l[RuleLength] != nil || *l[RuleEntropy] != .1 {
		t.Error(l)
	}
}

func TestTimeline(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(1000+s), 0) }
	times := func(stages ...TimedStage) []TimedStage { // each ends as the next one begins
		for i := range stages[:len(stages)-1] {
			stages[i].EndedAt = &stages[i+1].BeganAt
		}
		return stages
	}
	end := at(170)
	former := times(TimedStage{Stage: StageSample, BeganAt: at(0)}, TimedStage{Stage: StageRank, BeganAt: at(10)}, TimedStage{Stage: StageReward, BeganAt: at(30)},
		TimedStage{Stage: StagePPO, BeganAt: at(60)}, TimedStage{Stage: StageEvaluate, BeganAt: at(160), EndedAt: &end, Broken: true})
	r := Round{Number: 4, Stage: StageReward, Progress: Progress{Done: 20, Total: 80}}
	own := times(TimedStage{Stage: StageSample, BeganAt: at(1000)}, TimedStage{Stage: StageRank, BeganAt: at(1007)}, TimedStage{Stage: StageReward, BeganAt: at(1020)})
	got := timeline(r, own, 3, former, at(1030))
	got = got[len(got)-6:] // without SFT
	if len(got) != 6 || got[0].Took != 7*time.Second || got[1].Took != 13*time.Second || got[0].Left != nil {
		t.Fatalf("%+v", got)
	}
	if s := got[2]; s.Took != 10*time.Second || s.Left == nil || *s.Left != 30*time.Second || s.Like != 0 {
		t.Errorf("the present stage: %+v", s)
	}
	if s := got[3]; s.Began != nil || s.Left == nil || *s.Left != 100*time.Second || s.Like != 3 {
		t.Errorf("a stage to come: %+v", s)
	}
	if s := got[4]; s.Left != nil {
		t.Errorf("what was paused tells nothing: %+v", s)
	}
	if s := got[5]; s.Left != nil {
		t.Errorf("what a person takes is not known: %+v", s)
	}
	now := at(1025)
	r.PausedAt = &now
	if s := timeline(r, own, 3, former, at(1030))[slices.Index(Stages, StageReward)]; s.Left != nil {
		t.Errorf("a paused round gets nowhere: %+v", s)
	}
}
