package experiment

import (
	"context"
	"fmt"
)

// The adaptive controller of the frontier. Calibrated on seeds 100 and 101: with Ziegler's horizon of 10,000 episodes the
// coefficient would not have moved within the run.
const (
	adaptiveTarget     = 3.0 // nats an answer
	adaptiveHorizon    = 500 // episodes
	adaptiveIterations = 40
)

// betas are the KL coefficients of the frontier.
var betas = []float64{0.05, 0.2, 0.5}

var klFrontier = spec{
	name: "kl-frontier", title: "A10: the KL coefficient sets the distance from SFT, and a target is kept", fast: true,
	plots: []Plot{
		{Name: "kl", Title: "Distance from SFT", X: "iteration", Y: "KL, nats an answer"},
		{Name: "frontier", Title: "Gold over distance, at the end", X: "KL, nats an answer", Y: "gold"},
		{Name: "coef", Title: "The adaptive coefficient", X: "iteration", Y: "KL coefficient"},
	},
	run: runKLFrontier,
}

func runKLFrontier(ctx context.Context, l *lab, seed int, r *recorder) error {
	s, err := l.Reward(ctx, seed, l.recipe.Ranked, labeler{})
	if err != nil {
		return err
	}
	last := 0.0
	for i, beta := range betas {
		cfg := l.recipe.ppo(l.world, seed)
		cfg.KL.Coef = beta
		o, err := l.optimise(ctx, fmt.Sprintf("KL coefficient %g", beta), cfg, s, s)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("coefficient %g", beta)
		for j, t := range o.trail {
			r.point("kl", line, float64(j), t.kl)
		}
		r.point("frontier", line, o.kl, o.gold)
		r.show(fmt.Sprintf("KL, coefficient %g", beta), o.kl)
		r.rate(fmt.Sprintf("win against SFT, coefficient %g", beta), o.win, bound{})
		r.show(fmt.Sprintf("gold, coefficient %g", beta), o.gold)
		if i > 0 {
			r.check(fmt.Sprintf("KL at %g over KL at %g", betas[i-1], beta), last-o.kl, atLeast(1e-9))
		}
		last = o.kl
	}
	cfg := l.recipe.ppo(l.world, seed)
	cfg.Iterations, cfg.KL.Target, cfg.KL.Horizon = adaptiveIterations, adaptiveTarget, adaptiveHorizon
	o, err := l.optimise(ctx, "adaptive KL", cfg, s, s)
	if err != nil {
		return err
	}
	var tail []float64
	for i, t := range o.trail {
		r.point("kl", fmt.Sprintf("target of %g", adaptiveTarget), float64(i), t.kl)
		r.point("coef", "coefficient", float64(i), t.coef)
		if i >= len(o.trail)-10 {
			tail = append(tail, t.kl)
		}
	}
	b := bound{}
	if l.recipe.World == WorldToy {
		b = within(0.7*adaptiveTarget, 1.3*adaptiveTarget)
	}
	r.check("KL with a target of 3, mean of the last 10 iterations", average(tail), b)
	return nil
}
