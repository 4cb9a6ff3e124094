package experiment

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// atKL is the distance from SFT, in nats an answer, at which algorithms are compared: best of 20 is as far.
const atKL = 2.0

var algorithms = spec{
	name: "algorithms", title: "PPO, GRPO, RLOO, rejection sampling, DPO and best of n at equal KL and from the same rankings",
	plots: []Plot{{Name: "gold", Title: "Gold over the distance from SFT", X: "KL, nats an answer", Y: "gold above SFT"}},
	run:   runAlgorithms,
	demands: []demand{ // over all seeds: on its way through a distance a single run's gold swings by some tenths
		{what: goldAbove(byPPO), mean: atLeast(0.3), toy: true}, {what: goldAbove(byGRPO), mean: atLeast(0.3), toy: true}, {what: goldAbove(byRLOO), mean: atLeast(0.3), toy: true},
		{what: goldAbove(byRejection), mean: atLeast(0.3), toy: true}, {what: goldAbove(byDPO), mean: atLeast(0.3), toy: true}, {what: goldAbove(byBestOfN), mean: atLeast(0.3), toy: true},
	},
}

// The algorithms by name.
const (
	byPPO       = "PPO"
	byGRPO      = "GRPO"
	byRLOO      = "RLOO"
	byRejection = "rejection sampling"
	byDPO       = "DPO"
	byBestOfN   = "best of n"
)

// goldAbove names the row of an algorithm.
func goldAbove(algorithm string) string {
	return fmt.Sprintf("gold above SFT at a KL of %g, %s", atKL, algorithm)
}

// runAlgorithms gives all of them the same ranked prompts: a reward model's where they need one, as pairs to DPO. A run goes
// through all distances from 0 on, so that the gold at one of them is read off its way there.
func runAlgorithms(ctx context.Context, l *lab, seed int, r *recorder) error {
	s, err := l.Reward(ctx, seed, l.recipe.Ranked, labeler{})
	if err != nil {
		return err
	}
	for _, a := range []struct {
		name string
		way  func() ([]step, error)
	}{
		{byPPO, func() ([]step, error) {
			cfg := l.recipe.ppo(l.world, seed)
			cfg.KL.Coef = betas[0]
			o, err := l.optimise(ctx, byPPO, cfg, s, s)
			return o.trail, err
		}},
		{byGRPO, func() ([]step, error) {
			cfg := ppo.DefaultGRPO()
			l.group(&cfg.GroupConfig, seed)
			return l.grouped(ctx, byGRPO, seed, s, func(sft *model.Transformer, w ppo.Scorer, p ppo.Prompts) (learner, error) {
				return ppo.NewGRPO(cfg, sft, sft, w, p, l.world.eos())
			})
		}},
		{byRLOO, func() ([]step, error) {
			cfg := ppo.DefaultRLOO()
			l.group(&cfg.GroupConfig, seed)
			cfg.Beta = betas[0]
			return l.grouped(ctx, byRLOO, seed, s, func(sft *model.Transformer, w ppo.Scorer, p ppo.Prompts) (learner, error) {
				return ppo.NewRLOO(cfg, sft, sft, w, p, l.world.eos())
			})
		}},
		{byRejection, func() ([]step, error) {
			cfg := ppo.DefaultRejection()
			l.group(&cfg.GroupConfig, seed)
			cfg.Minibatch = 16
			return l.grouped(ctx, byRejection, seed, s, func(sft *model.Transformer, w ppo.Scorer, p ppo.Prompts) (learner, error) {
				return ppo.NewRejection(cfg, sft, sft, w, p, l.world.eos())
			})
		}},
		{byDPO, func() ([]step, error) { return l.dpo(ctx, seed) }},
		{byBestOfN, func() ([]step, error) {
			best, err := l.bestOfN(ctx, seed, s, []int{1, 2, 4, 8, 16, 32, 64})
			var way []step
			for _, b := range best {
				way = append(way, step{kl: ppo.BestOfNKL(b.n), gold: b.gold.mean})
			}
			return way, err
		}},
	} {
		way, err := a.way()
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		if a.name != byBestOfN {
			way = smoothWay(way)
		}
		start := way[0].gold
		for _, x := range way {
			r.point("gold", a.name, x.kl, x.gold-start)
		}
		gold, reached := goldAt(way, atKL)
		r.check(fmt.Sprintf("%s comes to a KL of %g", a.name, atKL), boolean(reached), equals(1))
		r.show(goldAbove(a.name), gold-start)
	}
	return nil
}

// group sets what the algorithms with groups share: as many episodes as PPO has.
func (l *lab) group(c *ppo.GroupConfig, seed int) {
	c.Iterations, c.Samples, c.Prompts = l.recipe.Iterations, answersK, l.recipe.Rollouts/answersK
	c.Chunk, c.MaxTokens, c.LR, c.Seed = l.recipe.Rollouts, l.world.longest(), l.recipe.PolicyLR, uint64(seed)
}

// grouped runs an algorithm whose rollouts are scored and returns its way.
func (l *lab) grouped(ctx context.Context, name string, seed int, s *reward.Scorer, create func(sft *model.Transformer, w ppo.Scorer, p ppo.Prompts) (learner, error)) ([]step, error) {
	sft, err := l.SFT(ctx)
	if err != nil {
		return nil, err
	}
	w := &watched{Scorer: s, l: l}
	t, err := create(sft, w, l.promptList(seed))
	if err != nil {
		return nil, err
	}
	o, err := l.follow(ctx, name, t, w, seed, l.recipe.Rollouts)
	var h *ppo.HealthError
	if errors.As(err, &h) && len(o.trail) > 0 && o.trail[len(o.trail)-1].kl >= atKL { // rejection sampling has no penalty that holds it back later
		l.log(fmt.Sprintf("%s, seed %d, iteration %d: %v", name, seed, len(o.trail), h))
		err = nil
	}
	return o.trail, err
}

const (
	dpoLooks    = 12 // times that a DPO run is looked at
	dpoHalvings = 3  // of its beta, at most
)

// dpo trains on all pairs of the ranked prompts and measures the policy on the way. What holds a DPO run near SFT is its beta alone: where it
// does not come to the distance at which algorithms are compared, it is run again with half of it.
func (l *lab) dpo(ctx context.Context, seed int) (way []step, err error) {
	pairs, err := l.pairs(ctx, seed)
	if err != nil {
		return nil, err
	}
	cfg := ppo.DefaultDPO()
	cfg.Seed = uint64(seed)
	for range 1 + dpoHalvings {
		if way, err = l.dpoWith(ctx, cfg, pairs, seed); err != nil {
			return nil, err
		}
		if _, reached := goldAt(smoothWay(way), atKL); reached {
			break
		}
		cfg.Beta /= 2
	}
	return way, nil
}

// pairs are all that the ranked prompts hold.
func (l *lab) pairs(ctx context.Context, seed int) (pairs []ppo.Pair, err error) {
	set, err := l.ranked(ctx, seed, l.recipe.Ranked, labeler{})
	if err != nil {
		return nil, err
	}
	for _, g := range set.groups {
		ranks := g.Rankings[0]
		for i := range ranks {
			for j := range ranks {
				if ranks[i] < ranks[j] {
					pairs = append(pairs, ppo.Pair{Chosen: g.Sequences[i], Rejected: g.Sequences[j]})
				}
			}
		}
	}
	return pairs, nil
}

func (l *lab) dpoWith(ctx context.Context, cfg ppo.DPOConfig, pairs []ppo.Pair, seed int) ([]step, error) {
	sft, err := l.SFT(ctx)
	if err != nil {
		return nil, err
	}
	t, err := ppo.NewDPO(cfg, sft, sft, pairs, nil)
	if err != nil {
		return nil, err
	}
	before, err := l.ofSFT(ctx, seed)
	if err != nil {
		return nil, err
	}
	way := []step{{gold: l.describe(before).gold}}
	_, total := t.Progress()
	for !t.Done() {
		if _, err := t.Step(ctx); err != nil {
			return nil, err
		}
		done, _ := t.Progress()
		if done*dpoLooks/total == (done-1)*dpoLooks/total {
			continue
		}
		m := t.Policy()
		answers, err := l.fresh(ctx, m, seed, forPolicy)
		if err != nil {
			return nil, err
		}
		x := step{kl: kl(sft, answers), gold: l.describe(answers).gold}
		l.log(fmt.Sprintf("DPO with beta %g, seed %d, unit %d of %d: KL %.2f, gold %.2f", cfg.Beta, seed, done, total, x.kl, x.gold))
		way = append(way, x)
	}
	return way, nil
}

// smoothWay averages the steps of a way with their neighbours.
func smoothWay(way []step) []step {
	var kls, golds []float64
	for _, x := range way {
		kls, golds = append(kls, x.kl), append(golds, x.gold)
	}
	kls, golds = smooth(kls, 1), smooth(golds, 1)
	out := []step{way[0]}
	for i := 1; i < len(way); i++ {
		out = append(out, step{kl: kls[i], gold: golds[i]})
	}
	return out
}

// goldAt is the gold where a way first comes to a distance, between its steps. Where it never does, it is the gold of the step that
// came nearest.
func goldAt(way []step, distance float64) (gold float64, reached bool) {
	nearest := way[0]
	for i, x := range way {
		if x.kl >= distance {
			if i == 0 {
				return x.gold, true
			}
			a := way[i-1]
			return a.gold + (x.gold-a.gold)*(distance-a.kl)/(x.kl-a.kl), true
		}
		if math.Abs(x.kl-distance) < math.Abs(nearest.kl-distance) {
			nearest = x
		}
	}
	return nearest.gold, false
}
