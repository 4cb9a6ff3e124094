package experiment

import (
	"context"

	"github.com/rankloop/rankloop/labeling/simulate"
)

// A second round (Ouyang et al. 2022, section 3.1: comparisons on the current policy's answers, a new reward model, a new
// policy), with a control that gets as many labels on SFT's answers instead.
var loopSpec = spec{
	name: "loop", title: "A13: ranking the current policy's answers mends the reward model where the policy is", fast: true,
	plots: []Plot{
		{Name: "accuracy", Title: "Accuracy on answers of policy 1", X: "labels: 0 = round 1, 1 = control, 2 = round 2", Y: "gold accuracy"},
	},
	demands: []demand{
		{what: "gain on policy 1's answers", share: 0.8},
		{what: "drop on SFT's answers", share: 0.8},
	},
	run: runLoop,
}

func runLoop(ctx context.Context, l *lab, seed int, r *recorder) error {
	first, err := l.Reward(ctx, seed, l.recipe.Ranked, labeler{})
	if err != nil {
		return err
	}
	cfg := l.recipe.ppo(l.world, seed)
	cfg.KL.Coef = betas[0]
	one, err := l.optimise(ctx, "policy 1", cfg, first, first)
	if err != nil {
		return err
	}
	seen, err := l.ranked(ctx, seed, l.recipe.Ranked, labeler{})
	if err != nil {
		return err
	}
	draw := stream(forRelabel, seed)
	relabel, err := l.rank(ctx, one.policy, l.world.prompts(draw, l.recipe.Relabel), draw, labeler{})
	if err != nil {
		return err
	}
	sft, err := l.SFT(ctx)
	if err != nil {
		return err
	}
	more, err := l.rank(ctx, sft, l.world.prompts(draw, l.recipe.Relabel), draw, labeler{})
	if err != nil {
		return err
	}
	second, err := l.learn(ctx, l.recipe.reward(seed), seen.join(relabel))
	if err != nil {
		return err
	}
	control, err := l.learn(ctx, l.recipe.reward(seed), seen.join(more))
	if err != nil {
		return err
	}
	probe := simulate.HeldOut(stream(forProbe, seed))
	onPolicy, err := l.rank(ctx, one.policy, l.world.prompts(probe, l.recipe.Held/2), probe, labeler{})
	if err != nil {
		return err
	}
	held, err := l.heldOut(ctx)
	if err != nil {
		return err
	}
	var on, off [3]accuracies
	for i, s := range []rewardModel{{scorer: first}, control, second} {
		if on[i], err = l.accuracy(ctx, s.scorer, onPolicy); err != nil {
			return err
		}
		if off[i], err = l.accuracy(ctx, s.scorer, held); err != nil {
			return err
		}
		r.point("accuracy", "policy 1's answers", float64(i), on[i].gold.mean)
		r.point("accuracy", "SFT's answers", float64(i), off[i].gold.mean)
	}
	b := [2]bound{atLeast(0.12), atMost(0.08)}
	if l.recipe.World != WorldToy {
		b = [2]bound{}
	}
	r.rate("accuracy on policy 1's answers, round 1", on[0].gold, bound{})
	r.rate("accuracy on policy 1's answers, control", on[1].gold, bound{})
	r.rate("accuracy on policy 1's answers, round 2", on[2].gold, bound{})
	r.check("gain on policy 1's answers", on[2].gold.mean-on[0].gold.mean, b[0])
	r.show("gain of the control", on[1].gold.mean-on[0].gold.mean)
	r.check("drop on SFT's answers", off[0].gold.mean-off[2].gold.mean, b[1])

	two, err := l.optimise(ctx, "policy 2", cfg, second.scorer, second.scorer)
	if err != nil {
		return err
	}
	same, err := l.optimise(ctx, "policy of the control", cfg, control.scorer, control.scorer)
	if err != nil {
		return err
	}
	answers, err := l.fresh(ctx, two.policy, seed, forPolicy)
	if err != nil {
		return err
	}
	for _, other := range []struct {
		what string
		o    outcome
	}{{"policy 1", one}, {"the control's policy", same}} {
		theirs, err := l.fresh(ctx, other.o.policy, seed, forSFT)
		if err != nil {
			return err
		}
		r.rate("win of policy 2 against "+other.what, win(answers, theirs), bound{})
	}
	r.show("gold of policy 1", one.gold)
	r.show("gold of the control's policy", same.gold)
	r.show("gold of policy 2", two.gold)
	r.note("Whether policy 2 is better than policy 1 is reported and not claimed: on the toy it depends on the seed.")
	return nil
}
