package loop

import (
	"math"
	"slices"

	"github.com/rankloop/rankloop/model"
)

// Cost says how many seconds a piece of work takes on this machine, by a cost model and the machine's measured speed.
type Cost func(c model.Config, w model.Work) float64

// Facts are what the time and the memory of a round's stages follow from.
type Facts struct {
	Config         Config
	Policy, Reward model.Config // shapes
	Prompt         float64      // mean tokens of a prompt
	Answer         float64      // of a policy's answer
	Demonstration  float64      // of a demonstration, its prompt included
	Pool           int          // prompts that may be answered
	HeldOut        int          // prompts of the evaluation
	Groups         int          // prompts whose rankings the reward model learns from
	Demonstrations int
	Scored         bool // a reward model says what is worth ranking
	Moved          bool // the round starts from another policy than the supervised one
}

// job is a piece of work that a stage does so many times.
type job struct {
	shape model.Config
	work  model.Work
	times float64
}

func whole(x float64) int { return max(1, int(math.Round(x))) }

// generate is answering n prompts, so many at once.
func (f Facts) generate(n, batch int) []job {
	batch = max(1, min(n, batch))
	times := float64(n) / float64(batch)
	past := min(whole(f.Prompt+f.Answer/2), f.Policy.Context-1)
	return []job{
		{f.Policy, model.Work{Sequences: batch, Tokens: whole(f.Prompt), Heads: 1, Packed: true}, times},
		{f.Policy, model.Work{Sequences: batch, Tokens: 1, Past: past, Heads: 1, Packed: true}, times * max(1, f.Answer-1)},
	}
}

// read is scoring n whole sequences, or the log-probabilities of their answers.
func (f Facts) read(shape model.Config, n, heads int) job {
	const batch = 64
	b := max(1, min(n, batch))
	return job{shape, model.Work{Sequences: b, Tokens: min(whole(f.Prompt+f.Answer), shape.Context), Heads: heads, Packed: true}, float64(n) / float64(b)}
}

// jobs are the works of a stage that the machine does; none for what people do.
func (f Facts) jobs(s Stage) []job {
	c := f.Config
	answer := whole(f.Answer)
	switch s {
	case StageSFT:
		cfg := c.SFT.WithDefaults()
		n := whole(f.Demonstration)
		batch := max(1, cfg.BatchTokens/n)
		steps := float64(cfg.Steps)
		if steps == 0 {
			steps = float64(cfg.Epochs*f.Demonstrations) / float64(batch)
		}
		return []job{{f.Policy, model.Work{Sequences: batch, Tokens: min(n, f.Policy.Context), Heads: n, Train: true}, steps}}
	case StageSample:
		n := min(c.Prompts, f.Pool)
		all := f.generate(n*c.K, sampleChunk*c.K)
		if f.Scored {
			all = append(all, f.read(f.Reward, n*c.K, 0))
		}
		return all
	case StageReward:
		models := float64(max(c.Reward.Seeds, c.Reward.Members, 1))
		steps := float64(c.Reward.Steps)
		if steps == 0 {
			steps = float64(c.Reward.Epochs*f.Groups) / float64(c.Reward.Batch)
		}
		w := model.Work{Sequences: c.Reward.Batch * c.K, Tokens: min(whole(f.Prompt+f.Answer), f.Reward.Context), Train: true}
		return []job{{f.Reward, w, models * steps}}
	case StagePPO:
		return f.ppo(answer)
	case StageEvaluate:
		n := min(c.EvalPrompts, f.HeldOut) * c.EvalSamples
		policies := 2
		if f.Moved {
			policies = 3
		}
		var all []job
		for range policies {
			all = append(all, f.generate(n, evalChunk*c.EvalSamples)...)
			all = append(all, f.read(f.Reward, n, 0))
		}
		return append(all, f.read(f.Policy, 2*n, answer), f.read(f.Reward, f.Groups*c.K/8, 0))
	}
	return nil
}

// ppo are the works of all iterations: sampling, reference, reward, the critic's values, and the optimizer steps of both.
func (f Facts) ppo(answer int) []job {
	c := f.Config.PPO
	n := c.Iterations * c.Rollouts
	all := append(f.generate(n, c.Chunk), f.read(f.Policy, n, answer), f.read(f.Reward, n, 0))
	tokens := min(whole(f.Prompt+f.Answer), f.Policy.Context)
	steps := float64(c.Epochs*n) / float64(c.Minibatch)
	all = append(all, job{f.Policy, model.Work{Sequences: c.Minibatch, Tokens: tokens, Heads: answer, Train: true}, steps})
	if c.Critic != "shared" {
		all = append(all, f.read(f.Reward, n, 0), job{f.Reward, model.Work{Sequences: c.Minibatch, Tokens: tokens, Train: true}, steps})
	}
	return all
}

// Raw is what a stage takes by the cost model alone.
func (f Facts) Raw(s Stage, cost Cost) (seconds float64) {
	for _, j := range f.jobs(s) {
		if j.times > 0 {
			seconds += j.times * cost(j.shape, j.work)
		}
	}
	return seconds
}

// Memory is what a stage takes at its peak, in bytes: the models that it holds, and what passes through them.
func (f Facts) Memory(s Stage) int64 {
	c, length := f.Config, whole(f.Prompt)+f.Config.MaxTokens
	reading := func(shape model.Config, n int) int64 {
		return shape.Memory(model.MemoryPlan{Tokens: n * length, Longest: length}).Total()
	}
	training := func(shape model.Config, n, micro int) int64 {
		return shape.Memory(model.MemoryPlan{Tokens: min(n*length, max(micro, length)), Longest: length, Train: true}).Total()
	}
	switch s {
	case StageSFT:
		cfg := c.SFT.WithDefaults()
		return f.Policy.Memory(model.MemoryPlan{Tokens: min(cfg.MicroTokens, cfg.BatchTokens), Longest: f.Policy.Context, Train: true}).Total()
	case StageSample:
		return reading(f.Policy, sampleChunk*c.K) + reading(f.Reward, c.K)
	case StageReward:
		return training(f.Reward, c.Reward.Batch*c.K, c.Reward.MicroTokens) * int64(max(1, c.Reward.Members))
	case StagePPO:
		sum := training(f.Policy, c.PPO.Minibatch, c.PPO.Micro) + reading(f.Policy, c.PPO.Chunk) + reading(f.Policy, 1) + reading(f.Reward, c.PPO.Chunk)
		if c.PPO.Critic != "shared" {
			sum += training(f.Reward, c.PPO.Minibatch, c.PPO.Micro)
		}
		return sum
	case StageEvaluate:
		return 3*reading(f.Policy, evalChunk*c.EvalSamples) + reading(f.Reward, evalChunk)
	}
	return 0
}

// Past is a stage of a former round that went through undisturbed.
type Past struct {
	Facts   Facts
	Stage   Stage
	Seconds float64
	Memory  int64 // bytes at its peak; 0: not measured
}

// What a stage's time is known from.
const (
	FromCost    = "cost"    // the cost model and the machine's speed alone
	FromRounds  = "rounds"  // the cost model, corrected by what former rounds took
	FromPeople  = "people"  // how long people took in former rounds
	FromNowhere = "nowhere" // what people do, before the first round
)

// StageForecast is what a stage is expected to take.
type StageForecast struct {
	Stage   Stage   `json:"stage"`
	Seconds float64 `json:"seconds"`
	Memory  int64   `json:"memory_bytes"`
	From    string  `json:"from"`
}

// Forecast is what a round is expected to take.
type Forecast struct {
	Stages    []StageForecast `json:"stages"`
	Seconds   float64         `json:"seconds"`              // of the machine
	People    float64         `json:"people_seconds"`       // of the wait for rankings; 0: not known
	Memory    int64           `json:"memory_bytes"`         // at the peak
	Available int64           `json:"available_bytes"`      // that this machine may still give; 0: not known
	Episodes  int             `json:"episodes,omitempty"`   // that PPO learns from
	Fits      int             `json:"iterations,omitempty"` // of PPO, that the asked time leaves room for
}

// Predict is the forecast of a round from its facts and from former rounds.
func Predict(f Facts, past []Past, cost Cost) Forecast {
	var out Forecast
	for _, s := range f.Config.Path() {
		if s == StageDecide || s == StageDone {
			continue
		}
		st := StageForecast{Stage: s, Memory: f.Memory(s), From: FromCost}
		switch {
		case s == StageRank:
			st.From, st.Seconds = FromNowhere, 0
			if pace := paceOf(past); pace > 0 {
				st.From, st.Seconds = FromPeople, pace*rankingsOf(f)
			}
			out.People = st.Seconds
		default:
			st.Seconds = f.Raw(s, cost)
			if fixed, factor := timeLaw(s, past, cost); factor > 0 {
				st.From, st.Seconds = FromRounds, fixed+st.Seconds*factor
			}
			if fixed, factor := memoryLaw(s, past); factor > 0 {
				st.Memory = int64(fixed + float64(st.Memory)*factor)
			}
			out.Seconds += st.Seconds
		}
		out.Memory = max(out.Memory, st.Memory)
		out.Stages = append(out.Stages, st)
	}
	if f.Config.Has(StagePPO) {
		out.Episodes = f.Config.PPO.Iterations * f.Config.PPO.Rollouts
	}
	return out
}

// spread is how many times as large as the smallest the largest of the former rounds must have been, for what does not grow with the size to be told
// from what does.
const spread = 1.5

// timeLaw is how many seconds a stage takes that is so much work by the cost model.
func timeLaw(s Stage, past []Past, cost Cost) (fixed, factor float64) {
	return lawOf(s, past, func(p Past) (float64, float64) { return p.Facts.Raw(s, cost), p.Seconds })
}

// memoryLaw is how many bytes a stage takes for those that its models and what passes through them are.
func memoryLaw(s Stage, past []Past) (fixed, factor float64) {
	return lawOf(s, past, func(p Past) (float64, float64) { return float64(p.Facts.Memory(s)), float64(p.Memory) })
}

// lawOf is what a stage takes that is so large by what is known of it: fixed + factor * size. Where the former rounds were of different sizes it is
// the line through them; else, and where that would begin below nothing, fixed is 0 and the factor the median of theirs. Both are 0 where
// there is none.
func lawOf(s Stage, past []Past, of func(Past) (size, took float64)) (fixed, factor float64) {
	var sizes, took, ratios []float64
	for _, p := range past {
		if p.Stage != s {
			continue
		}
		if x, y := of(p); x > 0 && y > 0 {
			sizes, took, ratios = append(sizes, x), append(took, y), append(ratios, y/x)
		}
	}
	if len(sizes) > 1 && slices.Max(sizes) >= spread*slices.Min(sizes) {
		if fixed, factor = line(sizes, took); fixed >= 0 && factor > 0 {
			return fixed, factor
		}
	}
	return 0, middle(ratios)
}

// line is that of least squares, y = at + slope * x.
func line(x, y []float64) (at, slope float64) {
	n, mx, my, xx, xy := float64(len(x)), 0.0, 0.0, 0.0, 0.0
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	for i := range x {
		xx, xy = xx+(x[i]-mx)*(x[i]-mx), xy+(x[i]-mx)*(y[i]-my)
	}
	slope = xy / xx
	return my - slope*mx, slope
}

// rankingsOf is how many rankings a round waits for.
func rankingsOf(f Facts) float64 {
	c, n := f.Config, float64(min(f.Config.Prompts, f.Pool))
	return n * (1 + c.OverlapShare*float64(c.Overlap-1))
}

// paceOf is the seconds that people took for a ranking, the median of former rounds; 0 where there is none.
func paceOf(past []Past) float64 {
	var paces []float64
	for _, p := range past {
		if n := rankingsOf(p.Facts); p.Stage == StageRank && n > 0 {
			paces = append(paces, p.Seconds/n)
		}
	}
	return middle(paces)
}

func middle(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
