package experiment

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// evalPrompts is the number of prompts of a win rate: its 95% interval is then at most 0.031 wide to each side.
const evalPrompts = 1000

// ppoConfig is the recipe of every PPO run here; the KL coefficient is set by each.
func ppoConfig(seed uint64) ppo.Config {
	c := ppo.DefaultConfig()
	c.Iterations, c.Rollouts, c.Minibatch, c.Epochs = 24, 192, 64, 1
	c.MaxTokens, c.Chunk, c.Seed = simulate.ToyMaxResponse, 192, seed
	c.LR, c.ValueLR = 1e-3, 1e-3
	c.KL.Coef = 0.2
	return c
}

// trainer makes a PPO trainer from SFT with scorer as the reward. critic is the reward model that the value model starts
// from; nil means a fresh head on SFT.
func (l *lab) trainer(cfg ppo.Config, scorer ppo.Scorer, critic *reward.Scorer) (*ppo.Trainer, error) {
	var value *model.Transformer
	if critic == nil {
		value = l.sft.Clone()
		value.AddHead(model.HeadValue, cfg.Seed)
		clear(value.Param("value.weight").Data) // as in lm-human-preferences: values start at 0
	} else {
		mean, std := critic.Norm()
		var err error
		if value, err = ppo.Critic(critic.Model(), mean, std); err != nil {
			return nil, err
		}
	}
	var prompts ppo.PromptList
	for _, topic := range l.world.Topics(5000+cfg.Seed, 2048) {
		prompts = append(prompts, l.world.PromptIDs(topic))
	}
	return ppo.NewTrainer(cfg, l.sft, l.sft, value, scorer, prompts, simulate.ToyEOS, nil)
}

// outcome is what a PPO run led to, measured on fresh prompts.
type outcome struct {
	summary
	win, half float64
	kl        float64
	first     map[string]float64 // first metrics of each name
}

// optimise runs PPO to its end and compares the policy with SFT.
func (l *lab) optimise(ctx context.Context, name string, t *ppo.Trainer, seed int) (outcome, error) {
	o := outcome{first: map[string]float64{}}
	for !t.Done() {
		m, err := t.Step(ctx)
		if err != nil {
			return o, err
		}
		for k, v := range m {
			if _, ok := o.first[k]; !ok {
				o.first[k] = v
			}
		}
		if _, ok := m["score"]; ok && t.Iteration()%8 == 0 {
			l.log(fmt.Sprintf("%s, seed %d, iteration %d: score %.2f, KL %.2f, length %.1f", name, seed, t.Iteration(), m["score"], m["kl"], m["length"]))
		}
	}
	topics := l.world.Topics(7000+uint64(seed), evalPrompts)
	after, err := l.sample(ctx, t.Policy(), topics, 7000+uint64(seed))
	if err != nil {
		return o, err
	}
	before, err := l.sample(ctx, l.sft, topics, 8000+uint64(seed))
	if err != nil {
		return o, err
	}
	o.summary = l.summarise(after)
	o.win, o.half = win(after, before)
	o.kl = kl(l.sft, after)
	return o, nil
}

// runSampler looks at the first minibatch of a run, which holds the whole rollout batch.
func runSampler(ctx context.Context, l *lab, r *recorder) error {
	sft, err := l.SFT(ctx)
	if err != nil {
		return err
	}
	for _, seed := range r.seeds {
		answers, err := l.sample(ctx, sft, l.world.Topics(uint64(seed), 512), uint64(seed))
		if err != nil {
			return err
		}
		seqs := make([]model.Sequence, len(answers))
		for i, a := range answers {
			seqs[i] = a.seq
		}
		drift := 0.0
		for i, row := range sft.Forward(seqs, model.WantLogprobs).Logprobs {
			for j, lp := range row {
				drift = math.Max(drift, math.Abs(float64(lp)-answers[i].logp[j]))
			}
		}
		r.atMost(seed, "largest |log pi of the sampler - of the trainer|", drift, 1e-4)
		cfg := ppoConfig(uint64(seed))
		cfg.Iterations, cfg.Minibatch = 1, cfg.Rollouts
		t, err := l.trainer(cfg, goldScorer{l.world}, nil)
		if err != nil {
			return err
		}
		o, err := l.optimise(ctx, "sampler", t, seed)
		if err != nil {
			return err
		}
		r.below(seed, "first ratio - 1", o.first["ratio_max"]-1, 1e-4)
		r.atMost(seed, "first clipfrac", o.first["clipfrac"], 0)
		r.below(seed, "first policy loss", o.first["policy_loss"], 1e-4)
		r.below(seed, "KL to the reference at iteration 0", o.first["kl"], 1e-3)
	}
	return nil
}

func runGold(ctx context.Context, l *lab, r *recorder) error {
	if _, err := l.SFT(ctx); err != nil {
		return err
	}
	for _, seed := range r.seeds {
		cfg := ppoConfig(uint64(seed))
		cfg.Iterations, cfg.KL.Coef, cfg.EOS.Missing = 25, 0.05, ppo.EOSKeep
		t, err := l.trainer(cfg, goldScorer{l.world}, nil)
		if err != nil {
			return err
		}
		o, err := l.optimise(ctx, "gold", t, seed)
		if err != nil {
			return err
		}
		r.atLeast(seed, "win against SFT", o.win, 0.90)
		r.atLeast(seed, "gold", o.gold, 2.5)
		r.within(seed, "KL", o.kl, 0, 15)
	}
	return nil
}

func runPPO(ctx context.Context, l *lab, r *recorder) error {
	if _, err := l.SFT(ctx); err != nil {
		return err
	}
	var wins []float64
	for _, seed := range r.seeds {
		_, s, err := l.Reward(ctx, seed)
		if err != nil {
			return err
		}
		t, err := l.trainer(ppoConfig(uint64(seed)), s, s)
		if err != nil {
			return err
		}
		o, err := l.optimise(ctx, "ppo", t, seed)
		if err != nil {
			return err
		}
		wins = append(wins, o.win)
		r.atLeast(seed, "win against SFT", o.win, 0.75)
		r.show(seed, "half width of its 95% interval", o.half)
		r.within(seed, "KL", o.kl, 0.5, 8)
		r.atLeast(seed, "answers that end", o.ended, 0.98)
		r.show(seed, "gold", o.gold)
		r.show(seed, "repeats per answer", o.repeats)
	}
	r.atLeast(all, "mean win against SFT", average(wins), 0.82)
	first := r.seeds[0]
	_, s, err := l.Reward(ctx, first)
	if err != nil {
		return err
	}
	cfg := ppoConfig(uint64(first))
	cfg.LR = 0
	null, err := l.trainer(cfg, s, s)
	if err != nil {
		return err
	}
	o, err := l.optimise(ctx, "null", null, first)
	if err != nil {
		return err
	}
	r.within(first, "win with a learning rate of 0", o.win, 0.47, 0.53)
	bad, err := l.trainer(ppoConfig(uint64(first)), negated{s}, s)
	if err != nil {
		return err
	}
	if o, err = l.optimise(ctx, "flipped", bad, first); err != nil {
		return err
	}
	r.atMost(first, "win with the reward flipped", o.win, 0.15)
	return nil
}

// runFaults plants known bugs one at a time and wants the run to be stopped by its own health checks.
func runFaults(ctx context.Context, l *lab, r *recorder) error {
	if _, err := l.SFT(ctx); err != nil {
		return err
	}
	for _, seed := range r.seeds {
		_, s, err := l.Reward(ctx, seed)
		if err != nil {
			return err
		}
		better, worse, err := l.canary(ctx, uint64(seed))
		if err != nil {
			return err
		}
		for _, fault := range []ppo.Fault{"", ppo.FaultKLSign, ppo.FaultPenalty, ppo.FaultOldLogprobs, ppo.FaultReference, ppo.FaultScoreSign} {
			cfg := ppoConfig(uint64(seed))
			cfg.Iterations = 4
			t, err := l.trainer(cfg, s, s)
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
				r.add(seed, "a sound run is stopped", boolean(seen), "= 0", !seen)
				continue
			}
			what := string(fault) + " unseen"
			if seen {
				what = fmt.Sprintf("%s seen by check %q at iteration %d", fault, h.Check, t.Iteration())
			}
			r.add(seed, what, boolean(seen), "= 1", seen)
		}
	}
	return nil
}

// canary is a list of held-out pairs that labelers have ordered.
func (l *lab) canary(ctx context.Context, seed uint64) (better, worse []model.Sequence, err error) {
	set, err := l.rank(ctx, l.sft, 9000+seed, 100, honest)
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

// goldScorer gives the gold score itself.
type goldScorer struct{ world *simulate.ToyWorld }

// Score implements ppo.Scorer.
func (g goldScorer) Score(_ context.Context, seqs []model.Sequence) ([]float64, error) {
	out := make([]float64, len(seqs))
	for i, s := range seqs {
		out[i] = g.world.GoldIDs(s.IDs[1], s.IDs[s.Start:])
	}
	return out, nil
}

// Digest implements ppo.Scorer.
func (goldScorer) Digest() string { return "toy gold" }

// negated is a scorer upside down.
type negated struct{ of ppo.Scorer }

// Score implements ppo.Scorer.
func (n negated) Score(ctx context.Context, seqs []model.Sequence) ([]float64, error) {
	out, err := n.of.Score(ctx, seqs)
	for i := range out {
		out[i] = -out[i]
	}
	return out, err
}

// Digest implements ppo.Scorer.
func (n negated) Digest() string { return "minus " + n.of.Digest() }
