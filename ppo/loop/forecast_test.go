package loop

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/reward"
)

// smallFacts are those of a round on a model of a few thousand weights.
func smallFacts() Facts {
	shape := model.Config{Family: "gpt2", Vocab: 300, Context: 128, Layers: 1, Width: 16, Heads: 2, KVHeads: 2, Hidden: 64, NormEps: 1e-5, Tied: true, BOS: -1, EOS: 0}
	c := DefaultConfig()
	c.Prompts, c.Overlap, c.OverlapShare = 100, 3, 0.5
	return Facts{Config: c, Policy: shape, Reward: shape, Prompt: 20, Answer: 30, Demonstration: 50, Pool: 1000, HeldOut: 200, Groups: 150, Demonstrations: 64}
}

// perToken is a cost model of one number.
func perToken(_ model.Config, w model.Work) float64 {
	s := float64(w.Sequences*w.Tokens) * 1e-3
	if w.Train {
		s *= 3
	}
	return s
}

// TestPredict: a forecast is the cost model's before the first round, and from then on what the stages took, for their work.
func TestPredict(t *testing.T) {
	f := smallFacts()
	raw := Predict(f, nil, perToken)
	if len(raw.Stages) != 5 || raw.Episodes != f.Config.PPO.Iterations*f.Config.PPO.Rollouts || raw.People != 0 || raw.Memory <= 0 {
		t.Fatalf("%+v", raw)
	}
	for _, s := range raw.Stages {
		switch {
		case s.Stage == StageRank && (s.From != FromNowhere || s.Seconds != 0):
			t.Errorf("people before the first round: %+v", s)
		case s.Stage != StageRank && (s.From != FromCost || !(s.Seconds > 0) || s.Memory <= 0):
			t.Errorf("%+v", s)
		}
	}
	// PPO by hand: 24*192 episodes of 20+30 tokens are sampled, read three times, and learned twice.
	n := 24.0 * 192
	want := n*(20+29)*1e-3 + 3*n*50*1e-3 + 2*n*50*3e-3
	if at := slices.IndexFunc(raw.Stages, func(s StageForecast) bool { return s.Stage == StagePPO }); math.Abs(raw.Stages[at].Seconds-want) > 1e-6*want {
		t.Errorf("PPO takes %g s, want %g", raw.Stages[at].Seconds, want)
	}
	// A former round of half the prompts took twice the cost model's time in each stage, and its people a minute for a ranking.
	former := f
	former.Config.Prompts, former.Groups = 50, 50
	var past []Past
	for _, s := range []Stage{StageSample, StageReward, StagePPO, StageEvaluate} {
		past = append(past, Past{Facts: former, Stage: s, Seconds: 2 * former.Raw(s, perToken)})
	}
	past = append(past, Past{Facts: former, Stage: StageRank, Seconds: 60 * 100})
	for i, s := range Predict(f, past, perToken).Stages {
		switch {
		case s.Stage == StageRank:
			if s.From != FromPeople || s.Seconds != 60*200 {
				t.Errorf("people: %+v", s)
			}
		case s.From != FromRounds || math.Abs(s.Seconds/raw.Stages[i].Seconds-2) > 1e-9:
			t.Errorf("%+v, by the cost model %g", s, raw.Stages[i].Seconds)
		}
	}
	f.Config.Parts = []Stage{StageSFT}
	if got := Predict(f, past, perToken); len(got.Stages) != 1 || got.Stages[0].Stage != StageSFT || got.Stages[0].Seconds <= 0 || got.Episodes != 0 {
		t.Errorf("supervised training alone: %+v", got)
	}
}

// TestPredictSizes: after one round the time of another follows its steps, batch and prompts; after two of different sizes what does not grow
// with the work is told from what does, and is not scaled. What a former round of another size took is what is forecast for it.
func TestPredictSizes(t *testing.T) {
	sized := func(prompts, iterations, rollouts int) Facts {
		f := smallFacts()
		f.Config.Prompts, f.Config.PPO.Iterations, f.Config.PPO.Rollouts, f.Config.EvalPrompts, f.Groups = prompts, iterations, rollouts, prompts, prompts
		return f
	}
	stages := []Stage{StageSample, StageReward, StagePPO, StageEvaluate}
	took := func(f Facts, fixed, factor float64) (past []Past) {
		for _, s := range stages {
			past = append(past, Past{Facts: f, Stage: s, Seconds: fixed + factor*f.Raw(s, perToken)})
		}
		return past
	}
	seconds := func(f Facts, past []Past) map[Stage]float64 {
		out := map[Stage]float64{}
		for _, s := range Predict(f, past, perToken).Stages {
			out[s.Stage] = s.Seconds
		}
		return out
	}
	small, twice, large := sized(64, 4, 64), sized(64, 8, 64), sized(192, 10, 128)
	one := took(small, 0, 3)
	base := seconds(small, one)
	for s, x := range map[Stage]float64{StageSample: 1, StageReward: 1, StagePPO: 2, StageEvaluate: 1} {
		if got := seconds(twice, one)[s]; math.Abs(got-x*base[s]) > 1e-9*got {
			t.Errorf("with twice the iterations %s takes %g s, want %g times %g", s, got, x, base[s])
		}
	}
	for s, x := range map[Stage]float64{StageSample: 3, StageReward: 3, StagePPO: 5, StageEvaluate: 3} {
		if got := seconds(large, one)[s]; math.Abs(got-x*base[s]) > 0.02*got { // chunks are not always full
			t.Errorf("with more of all %s takes %g s, want %g times %g", s, got, x, base[s])
		}
	}
	middle := sized(128, 8, 64)
	two := append(took(small, 7, 3), took(middle, 7, 3)...)
	for _, s := range stages {
		if got, want := seconds(large, two)[s], 7+3*large.Raw(s, perToken); math.Abs(got-want) > 1e-9*want {
			t.Errorf("%s takes %g s, want %g: what is fixed was scaled", s, got, want)
		}
	}
	// Rounds of one size, and noise that would have a stage begin below nothing, leave the ratio.
	for name, past := range map[string][]Past{"of one size": append(took(small, 7, 3), took(small, 9, 3)...), "below nothing": append(took(small, 0, 2), took(middle, 0, 4)...)} {
		for _, s := range stages {
			var ratios []float64
			for _, p := range past {
				if p.Stage == s {
					ratios = append(ratios, p.Seconds/p.Facts.Raw(s, perToken))
				}
			}
			if got, want := seconds(large, past)[s], (ratios[0]+ratios[1])/2*large.Raw(s, perToken); math.Abs(got-want) > 1e-9*want {
				t.Errorf("%s: %s takes %g s, want %g", name, s, got, want)
			}
		}
	}
}

// TestRemaining: a stage's own pace tells what is left of it, the forecast what comes behind.
func TestRemaining(t *testing.T) {
	f := Forecast{Stages: []StageForecast{{Stage: StageSample, Seconds: 100, From: FromCost}, {Stage: StageReward, Seconds: 50, From: FromCost}, {Stage: StagePPO, Seconds: 200, From: FromRounds}}}
	for _, c := range []struct {
		name    string
		stage   Stage
		done    int
		elapsed float64
		want    float64
		known   bool
	}{
		{"at its beginning", StageReward, 0, 10, 40 + 200, true},
		{"late", StageReward, 1, 90, 0 + 200, true},
		{"by its pace", StageReward, 25, 30, 90 + 200, true},
		{"at the end", StagePPO, 100, 300, 0, true},
		{"in a stage that is not ahead", StageDecide, 0, 1, 0, false},
	} {
		got, known := remaining(Round{Stage: c.stage, Progress: Progress{Done: c.done, Total: 100}}, f, c.elapsed)
		if got != c.want || known != c.known {
			t.Errorf("%s: %g s, %v", c.name, got, known)
		}
	}
	f.Stages = slices.Insert(f.Stages, 1, StageForecast{Stage: StageRank, From: FromNowhere})
	if _, known := remaining(Round{Stage: StageSample}, f, 1); known {
		t.Error("nobody knows how long people take, and yet it is told")
	}
}

// TestGates: what each gate finds at its edge.
func TestGates(t *testing.T) {
	c := GateConfig{Agreement: 0.6, RewardAccuracy: 0.6, KL: 12}
	for name, open := range map[string]bool{
		"agreement, not known to be below": c.agreement(labeling.Agreement{Pairwise: 0.5, CI: [2]float64{0.39, 0.6}, Pairs: 90}) == "",
		"agreement below":                  c.agreement(labeling.Agreement{Pairwise: 0.5, CI: [2]float64{0.41, 0.59}, Pairs: 90}) != "",
		"agreement of nobody":              c.agreement(labeling.Agreement{}) == "",
		"accuracy, not known to be below":  c.accuracy(reward.Report{Accuracy: 0.5, Low: 0.4, High: 0.6, N: 90}) == "",
		"accuracy below":                   c.accuracy(reward.Report{Accuracy: 0.5, Low: 0.41, High: 0.59, N: 90}) != "",
		"KL at the limit":                  c.kl(12) == "",
		"KL above":                         strings.Contains(c.kl(12.1), "12.1 nats"),
		"no gate":                          GateConfig{}.kl(1e6) == "" && GateConfig{}.agreement(labeling.Agreement{Pairs: 9}) == "" && GateConfig{}.accuracy(reward.Report{N: 9}) == "",
	} {
		if !open {
			t.Errorf("%s", name)
		}
	}
	for field, c := range map[string]GateConfig{"gates.agreement": {Agreement: 1}, "gates.reward_accuracy": {RewardAccuracy: -0.1}, "gates.kl": {KL: math.NaN()}} {
		var wrong *InvalidError
		if err := c.validate(); !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestPath: parts make a path of known ways, and those that do not are refused.
func TestPath(t *testing.T) {
	for _, parts := range [][]Stage{nil, {StageSFT}, {StageRank}, {StageReward}, {StagePPO}, {StageSFT, StageRank}, {StageSFT, StageReward}, {StageSFT, StagePPO},
		{StageRank, StageReward}, {StageReward, StagePPO}, {StageSFT, StageRank, StageReward, StagePPO}, {StageSFT, StageReward, StagePPO}} {
		c := DefaultConfig()
		c.Parts = parts
		if err := c.Validate(); err != nil {
			t.Errorf("%v: %v", parts, err)
		}
		from := Stage("")
		for _, s := range c.Path() {
			if err := mayGo(from, s); err != nil {
				t.Errorf("%v: %v", parts, err)
			}
			from = s
		}
		if from != StageDone {
			t.Errorf("%v ends in %s", parts, from)
		}
	}
	for _, way := range []Transition{{"", StageRank}, {StageSample, StagePPO}, {StageRank, StagePPO}, {StageDone, StageSample}, {StageDecide, StageFailed}, {StagePPO, StageDone}} {
		if err := mayGo(way.From, way.To); !errors.Is(err, ErrConflict) {
			t.Errorf("%q to %q: %v", way.From, way.To, err)
		}
	}
	for field, spoil := range map[string]func(*Config){
		"parts":        func(c *Config) { c.Parts = []Stage{StageRank, StagePPO} },
		"snapshot":     func(c *Config) { c.Snapshot = "x" },
		"reward_model": func(c *Config) { c.RewardModel = "x" },
		"sft":          func(c *Config) { c.Parts, c.SFT.LR = []Stage{StageSFT}, 0 },
	} {
		c := DefaultConfig()
		spoil(&c)
		var wrong *InvalidError
		if err := c.Validate(); !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, parts := range [][]Stage{{"everything"}, {StageReward, StageRank}, {StagePPO, StagePPO}, {StageSample}} {
		c := DefaultConfig()
		c.Parts = parts
		if c.Validate() == nil {
			t.Errorf("%v is taken", parts)
		}
	}
}

// TestScheduleNext: the next times of a schedule stand at its hour in its zone, over the change to summer time too.
func TestScheduleNext(t *testing.T) {
	sc := Schedule{Cron: "30 3 * * *", TimeZone: "Europe/Berlin"}
	zone, err := time.LoadLocation(sc.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	next := sc.Next(time.Date(2026, 3, 27, 12, 0, 0, 0, zone), 5)
	if len(next) != 5 {
		t.Fatalf("%v", next)
	}
	for i, at := range next {
		if at = at.In(zone); at.Hour() != 3 || at.Minute() != 30 || at.Day() != 28+i && at.Day() != i-3 {
			t.Errorf("%d: %s", i, at)
		}
	}
	if n := (Schedule{Rankings: 5}).Next(time.Now(), 5); n != nil {
		t.Errorf("without a clock: %v", n)
	}
}

// TestPredictMemory: memory is what the models need until a stage was measured, and from then on what it took, for what the models of
// another round need; what was not measured tells nothing.
func TestPredictMemory(t *testing.T) {
	small, large := smallFacts(), smallFacts()
	large.Config.PPO.Minibatch, large.Config.PPO.Micro, large.Config.PPO.Chunk = 4*small.Config.PPO.Minibatch, 4*small.Config.PPO.Micro, 4*small.Config.PPO.Chunk
	needs, more := small.Memory(StagePPO), large.Memory(StagePPO)
	if more < 2*needs {
		t.Fatalf("the larger round needs %d bytes, the smaller %d: this test needs rounds of different sizes", more, needs)
	}
	ppoMemory := func(f Facts, past ...Past) int64 {
		out := Predict(f, past, perToken)
		at := slices.IndexFunc(out.Stages, func(s StageForecast) bool { return s.Stage == StagePPO })
		if out.Memory < out.Stages[at].Memory {
			t.Errorf("the peak %d is below a stage's %d", out.Memory, out.Stages[at].Memory)
		}
		return out.Stages[at].Memory
	}
	took := func(f Facts, bytes int64) Past { return Past{Facts: f, Stage: StagePPO, Seconds: 1, Memory: bytes} }
	for _, c := range []struct {
		name string
		past []Past
		want int64
	}{
		{"nothing is known", nil, more},
		{"it was not measured", []Past{took(small, 0)}, more},
		{"twice of what it needs", []Past{took(small, 2*needs)}, 2 * more},
		{"the middle of three", []Past{took(small, 9*needs), took(small, needs), took(small, 2*needs)}, 2 * more},
		{"a fixed part and twice of what it needs", []Past{took(small, 1000+2*needs), took(large, 1000+2*more)}, 1000 + 2*more},
	} {
		if got := ppoMemory(large, c.past...); math.Abs(float64(got-c.want)) > 1e-9*float64(c.want)+1 {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
}
