package experiment

import (
	"context"
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

var gradient = spec{
	name: "gradient", title: "A1: objectives against central differences", pure: true, run: runGradient,
}

// runGradient compares the gradient of every objective with central differences in float64.
func runGradient(_ context.Context, _ *lab, seed int, r *recorder) error {
	rng := rand.New(rand.NewPCG(uint64(seed), 11))
	rows := func(scale float64) [][]float64 {
		out := make([][]float64, 6)
		for b := range out {
			out[b] = make([]float64, 1+rng.IntN(9))
		}
		for b := range out {
			for t := range out[b] {
				out[b][t] = scale * rng.NormFloat64()
			}
		}
		return out
	}
	old := rows(1)
	same := func(scale float64) [][]float64 {
		out := make([][]float64, len(old))
		for b := range old {
			out[b] = make([]float64, len(old[b]))
			for t := range old[b] {
				out[b][t] = old[b][t] + scale*rng.NormFloat64()
			}
		}
		return out
	}
	now, target := same(0.3), same(1)
	for _, o := range []struct {
		name string
		f    func(x [][]float64) (float64, [][]float64)
	}{
		{"policy loss", func(x [][]float64) (float64, [][]float64) {
			l, g, _ := ppo.PolicyLoss(x, old, target, 0.2)
			return l, g
		}},
		{"value loss", func(x [][]float64) (float64, [][]float64) {
			l, g, _ := ppo.ValueLoss(x, old, target, 0.2)
			return l, g
		}},
		{"pretraining loss", ppo.PtxLoss},
	} {
		r.check("relative error of the "+o.name+"'s gradient", differenceError(o.f, now), atMost(1e-6))
	}
	rewards := rows(1.5)
	ranks := make([][]int, len(rewards))
	for b := range rewards {
		for range rewards[b] {
			ranks[b] = append(ranks[b], 1+rng.IntN(4))
		}
	}
	r.check("relative error of the ranking loss's gradient", differenceError(func(x [][]float64) (float64, [][]float64) {
		return rankingLoss(x, ranks)
	}, rewards), atMost(1e-6))
	return nil
}

// differenceError is the largest error of f's gradient at x relative to the gradient's largest entry.
func differenceError(f func([][]float64) (float64, [][]float64), x [][]float64) float64 {
	const h = 1e-5
	_, grad := f(x)
	worst, scale := 0.0, 0.0
	for b := range x {
		for t := range x[b] {
			at := x[b][t]
			x[b][t] = at + h
			up, _ := f(x)
			x[b][t] = at - h
			down, _ := f(x)
			x[b][t] = at
			want := (up - down) / (2 * h)
			worst = math.Max(worst, math.Abs(grad[b][t]-want))
			scale = math.Max(scale, math.Abs(want))
		}
	}
	return worst / scale
}

// rankingLoss is the mean of the reward loss over rankings that decide a pair, for runGradient.
func rankingLoss(rewards [][]float64, ranks [][]int) (loss float64, grad [][]float64) {
	decided := 0.0
	for b := range rewards {
		l, g, pairs, _ := reward.RankingLoss(rewards[b], ranks[b])
		grad = append(grad, g)
		if pairs > 0 {
			loss += l
			decided++
		}
	}
	for b := range grad {
		for t := range grad[b] {
			grad[b][t] /= math.Max(1, decided)
		}
	}
	return loss / math.Max(1, decided), grad
}
