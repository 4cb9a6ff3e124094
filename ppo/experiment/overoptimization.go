package experiment

import (
	"context"
	"fmt"
	"math"

	"github.com/rankloop/rankloop/ppo"
)

// Over-optimisation (Gao, Schulman and Hilton 2022): a weak reward model is maximised for longer than it is worth.
//
// The weak model (Weak prompts, WeakBatch a step), the KL coefficient (PushBeta) and the length of the run (Push) were calibrated
// on seeds 100 to 103, where gold fell by 1.4 to 2.6 from its peak. With 512 prompts, 16 a step, some seeds learn next to
// nothing: their steps are too few. With a coefficient of 0.05, gold has not turned after 40 iterations. A first choice (16 a
// step, 0.02, 40 iterations), made on two seeds only, had not held on seeds 0 to 4. The bounds are those of the acceptance test.
var overoptimization = spec{
	name: "overoptimization", title: "A11: pushed against a weak reward model, the reward rises while gold falls", fast: true,
	plots: []Plot{
		{Name: "rl", Title: "PPO against a weak reward model", X: "sqrt(KL)", Y: "points above SFT"},
		{Name: "bon", Title: "Best of n by the same reward model", X: "sqrt(KL)", Y: "points above SFT"},
		{Name: "repeats", Title: "What the reward model cannot see", X: "iteration", Y: "repeats per answer"},
	},
	demands: []demand{
		{what: "reward at the end over that at gold's peak", share: 0.6},
		{what: "gold at its peak over that at the end", share: 0.6},
		{what: "repeats at the end over those of SFT", share: 0.6},
	},
	run: runOveroptimization,
}

// smoothed is half the window of iterations over which a run's curves are averaged before their peak is looked for.
const smoothed = 2

func runOveroptimization(ctx context.Context, l *lab, seed int, r *recorder) error {
	s, err := l.weak(ctx, seed)
	if err != nil {
		return err
	}
	held, err := l.heldOut(ctx)
	if err != nil {
		return err
	}
	a, err := l.accuracy(ctx, s, held)
	if err != nil {
		return err
	}
	r.rate("gold accuracy of the weak reward model", a.gold, bound{})
	cfg := l.recipe.ppo(l.world, seed)
	cfg.Iterations, cfg.Rollouts, cfg.Chunk, cfg.KL.Coef = l.recipe.Push, l.recipe.PushRollouts, l.recipe.PushRollouts, l.recipe.PushBeta
	limit := cfg.KL.Max // at which an ordinary run is stopped: here it is counted instead
	cfg.KL.Max = 0
	o, err := l.optimise(ctx, "overoptimization", cfg, s, s)
	if err != nil {
		return err
	}
	var d, kls, proxy, gold, repeats []float64
	beyond := 0.0
	for i, t := range o.trail {
		if t.kl > limit {
			beyond++
		}
		kls, proxy, gold, repeats = append(kls, t.kl), append(proxy, t.proxy), append(gold, t.gold), append(repeats, t.repeats)
		r.point("repeats", "repeats", float64(i), t.repeats)
	}
	kls, proxy, gold = smooth(kls, smoothed), smooth(proxy, smoothed), smooth(gold, smoothed)
	proxy0, gold0 := o.trail[0].proxy, o.trail[0].gold // the first rollouts are SFT's
	peak, end := 0, len(gold)-1
	for i, g := range gold {
		d = append(d, math.Sqrt(max(0, kls[i])))
		r.point("rl", "reward model", d[i], proxy[i]-proxy0)
		r.point("rl", "gold", d[i], g-gold0)
		if g > gold[peak] {
			peak = i
		}
	}
	b := [3]bound{atLeast(1e-9), atLeast(0.4), atLeast(3)}
	if l.recipe.World != WorldToy {
		b = [3]bound{}
	}
	r.check("reward at the end over that at gold's peak", proxy[end]-proxy[peak], b[0])
	r.check("gold at its peak over that at the end", gold[peak]-gold[end], b[1])
	r.check("repeats at the end over those of SFT", average(repeats[len(repeats)-5:])/math.Max(repeats[0], 1e-3), b[2])
	r.show("iterations beyond the KL that stops a run", beyond)
	r.show("KL at gold's peak", kls[peak])
	r.show("KL at the end", kls[end])
	r.rate("win against SFT at the end", o.win, bound{})
	fit(r, "rl", "R_RL = d(a - b ln d)", d, gold, gold0, true)

	best, err := l.bestOfN(ctx, seed, s, []int{1, 2, 4, 8, 16, 32, 64})
	if err != nil {
		return err
	}
	var bd, bg []float64
	for _, x := range best {
		bd, bg = append(bd, math.Sqrt(ppo.BestOfNKL(x.n))), append(bg, x.gold.mean)
		r.point("bon", "reward model", bd[len(bd)-1], x.proxy.mean-best[0].proxy.mean)
		r.point("bon", "gold", bd[len(bd)-1], x.gold.mean-best[0].gold.mean)
	}
	fit(r, "bon", "R_bon = d(a - b d)", bd, bg, best[0].gold.mean, false)
	return nil
}

// fit fits one of the two forms to gold over its start, shows its numbers and draws it.
func fit(r *recorder, plot, name string, d, gold []float64, start float64, rl bool) {
	above := make([]float64, len(gold))
	top := 0.0
	for i, g := range gold {
		above[i] = g - start
		top = max(top, d[i])
	}
	c := fitCurve(d, above, rl)
	r.show("a of "+name, c.a)
	r.show("b of "+name, c.b)
	r.show("explained variance of "+name, c.r2)
	for i := range 21 {
		x := top * float64(i) / 20
		r.point(plot, fmt.Sprintf("fit of %s", name), x, c.at(x))
	}
}
