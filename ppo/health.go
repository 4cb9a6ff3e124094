package ppo

import (
	"context"
	"fmt"
	"math"

	"github.com/rankloop/rankloop/model"
)

// HealthError says that a run was stopped because its numbers cannot be those of a sound run. Nothing was learned from the
// batch that raised it.
type HealthError struct {
	Check  string // what was looked at: "sampler", "reference", "kl", "rewards", "score", "ratio"
	Value  float64
	Reason string
}

func (e *HealthError) Error() string {
	return fmt.Sprintf("ppo: health check %q: %s (measured %g)", e.Check, e.Reason, e.Value)
}

const (
	// samplerDrift bounds |log pi by the sampler - log pi by the trainer| before the first update of an iteration. Both
	// run the same kernels; what is allowed here is float32 noise.
	samplerDrift = 1e-4
	// startKL bounds the KL per episode at iteration 0 of a run whose policy is its reference.
	startKL = 1e-3
	// probes is the number of prompts that the reference is checked on.
	probes = 8
)

// checkStart runs before the first rollout of a run.
func (a *actor) checkStart(ctx context.Context) error {
	if err := a.checkReference(ctx); err != nil {
		return err
	}
	if len(a.better) == 0 || len(a.better) != len(a.worse) {
		return nil
	}
	better, err := a.scores(ctx, a.better)
	if err != nil {
		return err
	}
	worse, err := a.scores(ctx, a.worse)
	if err != nil {
		return err
	}
	wins := 0.0
	for i := range better {
		switch {
		case better[i] > worse[i]:
			wins++
		case better[i] == worse[i]:
			wins += 0.5
		}
	}
	n := float64(len(better))
	if share := wins / n; share < 0.5-1/math.Sqrt(n) { // two standard errors below chance
		return &HealthError{"score", share, fmt.Sprintf("of %d pairs whose order is known, the scorer puts the worse one first: is its sign flipped?", len(better))}
	}
	return nil
}

// checkReference lets the reference speak for itself: what it samples must have the log-probabilities that the trainer
// reads from it. A reference read one token off passes every test on rewards.
func (a *actor) checkReference(ctx context.Context) error {
	prompts := make([][]int32, min(probes, a.prompts.Len()))
	for i := range prompts {
		prompts[i] = a.prompts.Prompt(uint64(i))
	}
	episodes, err := a.sample(ctx, a.reference, prompts, a.how.seed^streamProbe)
	if err != nil {
		return err
	}
	seqs := make([]model.Sequence, len(episodes))
	for i, e := range episodes {
		seqs[i] = e.seq
	}
	worst := 0.0
	for i, row := range a.referenceLogprobs(seqs) {
		for j, x := range row {
			worst = math.Max(worst, math.Abs(x-episodes[i].logp[j]))
		}
	}
	if !(worst <= samplerDrift) {
		return &HealthError{"reference", worst, "the reference's log-probabilities of its own samples differ from those it sampled with"}
	}
	return nil
}

// checkBatch looks at a whole rollout batch before anything is learned from it.
func (t *Trainer) checkBatch(m map[string]float64, penalty float64) error {
	for _, name := range []string{"score", "reward", "kl", "explained_variance"} {
		if math.IsNaN(m[name]) || math.IsInf(m[name], 0) {
			return fmt.Errorf("%w: %s", ErrNotFinite, name)
		}
	}
	if want := m["score"] - t.control.Coef()*penalty; math.Abs(m["reward"]-want) > 1e-6*(1+math.Abs(want)) {
		return &HealthError{"rewards", m["reward"], fmt.Sprintf("rewards do not add up to score - coefficient*KL = %g", want)}
	}
	return t.checkKL(m["kl"], t.iteration, t.cfg.KL.Min, t.cfg.KL.Max)
}

// checkKL looks at the KL per episode of a rollout batch.
func (a *actor) checkKL(kl float64, iteration int, low, high float64) error {
	switch {
	case iteration == 0 && a.same && math.Abs(kl) > startKL:
		return &HealthError{"reference", kl, "the policy is still its reference, the KL between them must be 0"}
	case kl < low:
		return &HealthError{"kl", kl, fmt.Sprintf("KL per episode below %g: the samples are not the policy's", low)}
	case high > 0 && kl > high:
		return &HealthError{"kl", kl, fmt.Sprintf("KL per episode above the limit of %g nats: the policy has left its reference", high)}
	}
	return nil
}

// checkStep looks at an optimizer step before it is taken: u is its number within the iteration, ratio the mean of pi/pi_old.
func checkStep(u int, drift, ratio float64, guard GuardConfig, losses ...float64) error {
	for _, l := range losses {
		if math.IsNaN(l) || math.IsInf(l, 0) {
			return fmt.Errorf("%w: loss of optimizer step %d", ErrNotFinite, u)
		}
	}
	if u == 0 && !(drift <= samplerDrift) {
		return &HealthError{"sampler", drift, "before the first update the trainer's log-probabilities differ from the sampler's"}
	}
	if guard.Ratio > 0 && !(ratio <= guard.Ratio) {
		return &HealthError{"ratio", ratio, fmt.Sprintf("the mean ratio of optimizer step %d is above %g: the policy has run away from the one that sampled", u, guard.Ratio)}
	}
	return nil
}

// Fault is a known bug that Inject plants.
type Fault string

// Faults that have been seen in real systems; each leaves some of the usual curves looking well.
const (
	FaultKLSign      Fault = "kl-sign"      // log ref - log pi is taken for log pi - log ref
	FaultPenalty     Fault = "penalty"      // the penalty is added instead of taken off
	FaultOldLogprobs Fault = "old-logprobs" // the sampler's log-probabilities are one token off
	FaultReference   Fault = "reference"    // the reference's are
	FaultScoreSign   Fault = "score-sign"   // the policy minimises the reward
)

// shifted reads a row one token late, and the last one twice.
func shifted(row []float64) []float64 {
	if len(row) < 2 {
		return row
	}
	return append(append([]float64(nil), row[1:]...), row[len(row)-1])
}
