package experiment

import (
	"context"
	"fmt"

	"github.com/rankloop/rankloop/reward"
)

// Ensembles against over-optimisation (Coste et al. 2023): with a quarter of the rankings turned upside down, a policy is pushed
// against one reward model and against five that are combined. Lambda is not calibrated: at 1 a
// variance of 1 between the members costs a point, about a standard deviation of the reward.
const (
	ensembleFlip    = 0.25
	ensembleMembers = 5
	ensembleLambda  = 1.0
)

var ensemble = spec{
	name: "ensemble", title: "Ensembles of reward models under 25% label noise: mean, worst case and mean - lambda * variance against one model",
	plots: []Plot{
		{Name: "gold", Title: "Gold while a policy is pushed", X: "iteration", Y: "gold"},
		{Name: "kl", Title: "Distance from SFT", X: "iteration", Y: "KL, nats an answer"},
	},
	run: runEnsemble,
}

func runEnsemble(ctx context.Context, l *lab, seed int, r *recorder) error {
	sft, err := l.SFT(ctx)
	if err != nil {
		return err
	}
	set, err := l.ranked(ctx, seed, l.recipe.Ranked, labeler{flip: ensembleFlip})
	if err != nil {
		return err
	}
	held, err := l.heldOut(ctx)
	if err != nil {
		return err
	}
	single := 0.0
	for _, c := range []struct {
		name string
		how  reward.Combination
	}{
		{"one model", reward.Combination{}},
		{"mean", reward.Combination{Combine: reward.CombineMean}},
		{"worst case", reward.Combination{Combine: reward.CombineMin}},
		{"mean - lambda var", reward.Combination{Combine: reward.CombineUWO, Lambda: ensembleLambda}},
	} {
		cfg := l.recipe.reward(seed)
		if c.name != "one model" {
			cfg.Members, cfg.Combination = ensembleMembers, c.how
		}
		l.log(fmt.Sprintf("ensemble, seed %d: %s", seed, c.name))
		t, err := l.train(ctx, cfg, sft, set.groups)
		if err != nil {
			return err
		}
		s, err := t.Scorer()
		if err != nil {
			return err
		}
		a, err := l.accuracy(ctx, s, held)
		if err != nil {
			return err
		}
		best, err := l.bestOfN(ctx, seed, s, []int{1, 64})
		if err != nil {
			return err
		}
		p := l.recipe.ppo(l.world, seed)
		p.Iterations, p.Rollouts, p.Chunk, p.KL.Coef = l.recipe.Push, l.recipe.PushRollouts, l.recipe.PushRollouts, l.recipe.PushBeta
		o, err := l.optimise(ctx, "ensemble, "+c.name, p, s, s)
		if err != nil {
			return err
		}
		for i, t := range o.trail {
			r.point("gold", c.name, float64(i), t.gold)
			r.point("kl", c.name, float64(i), t.kl)
		}
		r.rate("gold accuracy, "+c.name, a.gold, bound{})
		r.rate("gold, best of 64 by "+c.name, best[1].gold, bound{})
		r.rate("win against SFT, "+c.name, o.win, bound{})
		r.show("KL at the end, "+c.name, o.kl)
		r.show("gold at the end, "+c.name, o.gold)
		if c.name == "one model" {
			single = o.gold
			continue
		}
		r.show("gold at the end over that of one model, "+c.name, o.gold-single)
	}
	return nil
}
