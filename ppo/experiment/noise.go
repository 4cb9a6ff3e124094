package experiment

import (
	"context"
	"fmt"
)

var labelerNoise = spec{
	name: "labeler-noise", title: "Noisier labelers: a worse reward model, and a worse policy by gold",
	plots: []Plot{
		{Name: "temperature", Title: "Labelers' noise", X: "times the world's temperature", Y: "gold accuracy, or gold / 4", LogX: true},
		{Name: "flip", Title: "Rankings turned upside down", X: "share", Y: "gold accuracy, or gold / 4"},
	},
	demands: []demand{
		{what: "accuracy at half the noise over that at four times", mean: atLeast(0.02)},
		{what: "accuracy without flips over that with 40%", mean: atLeast(0.02)},
	},
	run: runLabelerNoise,
}

func runLabelerNoise(ctx context.Context, l *lab, seed int, r *recorder) error {
	held, err := l.heldOut(ctx)
	if err != nil {
		return err
	}
	measure := func(plot, what string, x float64, who labeler) (float64, error) {
		s, err := l.Reward(ctx, seed, l.recipe.Ranked, who)
		if err != nil {
			return 0, err
		}
		a, err := l.accuracy(ctx, s, held)
		if err != nil {
			return 0, err
		}
		o, err := l.optimise(ctx, "labeler-noise, "+what, l.recipe.ppo(l.world, seed), s, s)
		if err != nil {
			return 0, err
		}
		r.rate("gold accuracy, "+what, a.gold, bound{})
		r.show("gold of the policy, "+what, o.gold)
		r.point(plot, "gold accuracy of the reward model", x, a.gold.mean)
		r.point(plot, "gold of the policy / 4", x, o.gold/4)
		return a.gold.mean, nil
	}
	var noise, flips []float64
	for _, x := range []float64{0.5, 1, 2, 4} {
		who := labeler{noise: x}
		if x == 1 {
			who.noise = 0 // the reward model that others have too
		}
		a, err := measure("temperature", fmt.Sprintf("%g times the temperature", x), x, who)
		if err != nil {
			return err
		}
		noise = append(noise, a)
	}
	for _, x := range []float64{0, 0.1, 0.25, 0.4} {
		a, err := measure("flip", fmt.Sprintf("%g%% flipped", 100*x), x, labeler{flip: x})
		if err != nil {
			return err
		}
		flips = append(flips, a)
	}
	r.show("accuracy at half the noise over that at four times", noise[0]-noise[3])
	r.show("accuracy without flips over that with 40%", flips[0]-flips[3])
	return nil
}
