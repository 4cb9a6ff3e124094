package experiment

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/ppo"
)

var sampler = spec{
	name: "sampler", title: "A2: the sampler's log-probabilities are the trainer's; KL to the reference starts at 0", run: runSampler,
}

// runSampler looks at the first minibatch of a run, which holds the whole rollout batch.
func runSampler(ctx context.Context, l *lab, seed int, r *recorder) error {
	sft, err := l.SFT(ctx)
	if err != nil {
		return err
	}
	answers, err := l.sample(ctx, sft, l.world.prompts(stream(forLook, seed), 512), stream(forLook, seed))
	if err != nil {
		return err
	}
	drift := 0.0
	for i, row := range sft.Forward(seqsOf(answers), model.WantLogprobs).Logprobs {
		for j, lp := range row {
			drift = math.Max(drift, math.Abs(float64(lp)-answers[i].logp[j]))
		}
	}
	r.check("largest |log pi of the sampler - of the trainer|", drift, atMost(1e-4))
	cfg := l.recipe.ppo(l.world, seed)
	cfg.Iterations, cfg.Minibatch = 1, cfg.Rollouts
	o, err := l.optimise(ctx, "sampler", cfg, goldScorer{l.world}, nil)
	if err != nil {
		return err
	}
	r.check("first ratio - 1", o.first["ratio_max"]-1, within(-1e-4, 1e-4))
	r.check("first clipfrac", o.first["clipfrac"], atMost(0))
	r.check("first policy loss", o.first["policy_loss"], within(-1e-4, 1e-4))
	r.check("KL to the reference at iteration 0", o.first["kl"], within(-1e-3, 1e-3))
	return nil
}

var faults = spec{
	name: "faults", title: "A15: known bugs stop the run", run: runFaults,
}

// runFaults plants known bugs one at a time and wants the run to be stopped by its own health checks.
func runFaults(ctx context.Context, l *lab, seed int, r *recorder) error {
	s, err := l.Reward(ctx, seed, l.recipe.Ranked, labeler{})
	if err != nil {
		return err
	}
	better, worse, err := l.canary(ctx, seed)
	if err != nil {
		return err
	}
	for _, fault := range []ppo.Fault{"", ppo.FaultKLSign, ppo.FaultPenalty, ppo.FaultOldLogprobs, ppo.FaultReference, ppo.FaultScoreSign} {
		cfg := l.recipe.ppo(l.world, seed)
		cfg.Iterations = 4
		t, err := l.trainer(ctx, cfg, s, s, nil)
		if err != nil {
			return err
		}
		t.SetCanary(better, worse)
		t.Inject(fault)
		for err == nil && !t.Done() {
			_, err = t.Step(ctx)
		}
		var h *ppo.HealthError
		seen := errors.As(err, &h)
		if err != nil && !seen {
			return err
		}
		if fault == "" {
			r.check("a sound run is stopped", boolean(seen), equals(0))
			continue
		}
		what := string(fault) + " unseen"
		if seen {
			what = fmt.Sprintf("%s seen by check %q at iteration %d", fault, h.Check, t.Iteration())
		}
		r.check(what, boolean(seen), equals(1))
	}
	return nil
}

// canary is a list of held-out pairs that labelers have ordered.
func (l *lab) canary(ctx context.Context, seed int) (better, worse []model.Sequence, err error) {
	sft, err := l.SFT(ctx)
	if err != nil {
		return nil, nil, err
	}
	set, err := l.rank(ctx, sft, l.world.prompts(stream(forCanary, seed), 100), stream(forCanary, seed), labeler{})
	for _, g := range set.groups {
		ranks := g.Rankings[0]
		for i := range ranks {
			for j := range ranks {
				if ranks[i] == 1 && ranks[j] == answersK {
					better, worse = append(better, g.Sequences[i]), append(worse, g.Sequences[j])
				}
			}
		}
	}
	return better, worse, err
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
