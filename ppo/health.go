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
	Check  string // what was looked at: "sampler", "reference", "kl", "rewards", "score"
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

// SetCanary gives the trainer pairs of sequences whose order is known, best the held-out rankings of the reward model. At
// the start of a run the scorer must put better above worse more often than not; where it clearly does not, its sign or its
// normalisation is wrong and the run stops before the first update. len(better) == len(worse).
func (t *Trainer) SetCanary(better, worse []model.Sequence) { t.better, t.worse = better, worse }

// checkStart runs before the first rollout of a run.
func (t *Trainer) checkStart(ctx context.Context) error {
	if err := t.checkReference(ctx); err != nil {
		return err
	}
	if len(t.better) == 0 || len(t.better) != len(t.worse) {
		return nil
	}
	better, err := t.scores(ctx, t.better)
	if err != nil {
		return err
	}
	worse, err := t.scores(ctx, t.worse)
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
func (t *Trainer) checkReference(ctx context.Context) error {
	prompts := make([][]int32, min(probes, t.prompts.Len()))
	for i := range prompts {
		prompts[i] = t.prompts.Prompt(uint64(i))
	}
	episodes, err := t.sample(ctx, t.reference, prompts, t.cfg.Seed^streamProbe)
	if err != nil {
		return err
	}
	seqs := make([]model.Sequence, len(episodes))
	for i, e := range episodes {
		seqs[i] = e.seq
	}
	worst := 0.0
	for i, row := range t.referenceLogprobs(seqs) {
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
func (t *Trainer) checkBatch(m map[string]float64) error {
	kl := m["kl"]
	for _, name := range []string{"score", "reward", "kl", "explained_variance"} {
		if math.IsNaN(m[name]) || math.IsInf(m[name], 0) {
			return fmt.Errorf("%w: %s", ErrNotFinite, name)
		}
	}
	if want := m["score"] - t.control.Coef()*kl; math.Abs(m["reward"]-want) > 1e-6*(1+math.Abs(want)) {
		return &HealthError{"rewards", m["reward"], fmt.Sprintf("rewards do not add up to score - coefficient*KL = %g", want)}
	}
	if t.iteration == 0 && t.same && math.Abs(kl) > startKL {
		return &HealthError{"reference", kl, "the policy is still its reference, the KL between them must be 0"}
	}
	if kl < t.cfg.KL.Min {
		return &HealthError{"kl", kl, fmt.Sprintf("KL per episode below %g: the samples are not the policy's", t.cfg.KL.Min)}
	}
	if t.cfg.KL.Max > 0 && kl > t.cfg.KL.Max {
		return &HealthError{"kl", kl, fmt.Sprintf("KL per episode above the limit of %g nats: the policy has left its reference", t.cfg.KL.Max)}
	}
	return nil
}

// checkStep looks at the losses of an optimizer step before it is taken.
func (t *Trainer) checkStep(u int, drift float64, losses ...float64) error {
	for _, l := range losses {
		if math.IsNaN(l) || math.IsInf(l, 0) {
			return fmt.Errorf("%w: loss of optimizer step %d", ErrNotFinite, u)
		}
	}
	if u == 0 && !(drift <= samplerDrift) {
		return &HealthError{"sampler", drift, "before the first update the trainer's log-probabilities differ from the sampler's"}
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

// Inject plants a bug, so that the experiment "faults" can show that the checks above see it.
func (t *Trainer) Inject(f Fault) { t.fault = f }

// shifted reads a row one token late, and the last one twice.
func shifted(row []float64) []float64 {
	if len(row) < 2 {
		return row
	}
	return append(append([]float64(nil), row[1:]...), row[len(row)-1])
}
