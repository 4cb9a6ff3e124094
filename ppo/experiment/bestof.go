package experiment

import (
	"context"
	"fmt"
	"sort"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// Best of n is measured on bestMost samples to each of bestPrompts prompts.
const (
	bestMost    = 64
	bestPrompts = 250
)

// bestOf is the best of n by a scorer: the means over prompts.
type bestOf struct {
	n           int
	proxy, gold estimate
}

// bestWeights are the chances that the i-th worst of m samples is the best of n that are drawn from them without
// replacement: C(i, n-1)/C(m, n) for i = 0 ... m-1. With them all m samples speak for every n (Nakano et al. 2021, app. I).
func bestWeights(m, n int) []float64 {
	w := make([]float64, m)
	w[m-1] = float64(n) / float64(m)
	for i := m - 1; i > 0; i-- { // C(i-1, n-1) = C(i, n-1) * (i-n+1)/i
		w[i-1] = w[i] * max(0, float64(i-n+1)) / float64(i)
	}
	return w
}

// bestOfN samples from SFT and lets the scorer choose.
func (l *lab) bestOfN(ctx context.Context, seed int, s *reward.Scorer, ns []int) ([]bestOf, error) {
	sft, err := l.SFT(ctx)
	if err != nil {
		return nil, err
	}
	draw := simulate.HeldOut(stream(forBestOf, seed))
	prompts := l.world.prompts(draw, bestPrompts)
	proxy, gold := make([][]float64, len(ns)), make([][]float64, len(ns))
	weights := make([][]float64, len(ns))
	for i, n := range ns {
		weights[i] = bestWeights(bestMost, n)
	}
	answers, err := l.answers.get(fmt.Sprint("best of n, ", seed), func() ([]answer, error) { return l.sample(ctx, sft, each(prompts, bestMost), draw) })
	if err != nil {
		return nil, err
	}
	scores, err := s.Score(ctx, seqsOf(answers))
	if err != nil {
		return nil, err
	}
	order := make([]int, bestMost)
	for p := range prompts {
		some, x := answers[p*bestMost:(p+1)*bestMost], scores[p*bestMost:(p+1)*bestMost]
		for i := range order {
			order[i] = i
		}
		sort.SliceStable(order, func(a, b int) bool { return x[order[a]] < x[order[b]] })
		for i := range ns {
			var sp, sg float64
			for j, at := range order {
				sp, sg = sp+weights[i][j]*x[at], sg+weights[i][j]*some[at].gold
			}
			proxy[i], gold[i] = append(proxy[i], sp), append(gold[i], sg)
		}
	}
	var out []bestOf
	for i, n := range ns {
		out = append(out, bestOf{n, meanOf(proxy[i]), meanOf(gold[i])})
	}
	return out, nil
}

var bestOfSpec = spec{
	name: "best-of-n", title: "A12: the best of n answers by reward is better by gold", fast: true,
	plots: []Plot{{Name: "best", Title: "Best of n", X: "KL = ln n - (n-1)/n, nats", Y: "points"}},
	run: func(ctx context.Context, l *lab, seed int, r *recorder) error {
		s, err := l.Reward(ctx, seed, l.recipe.Ranked, labeler{})
		if err != nil {
			return err
		}
		ns := []int{1, 2, 4, 8, 16, 32, 64}
		best, err := l.bestOfN(ctx, seed, s, ns)
		if err != nil {
			return err
		}
		at := map[int]bestOf{}
		for _, b := range best {
			at[b.n] = b
			r.point("best", "reward model", ppo.BestOfNKL(b.n), b.proxy.mean)
			r.point("best", "gold", ppo.BestOfNKL(b.n), b.gold.mean)
		}
		for i, n := range []int{1, 4, 16, 64} {
			r.show(fmt.Sprintf("KL, best of %d", n), ppo.BestOfNKL(n))
			r.rate(fmt.Sprintf("reward, best of %d", n), at[n].proxy, bound{})
			r.rate(fmt.Sprintf("gold, best of %d", n), at[n].gold, bound{})
			if i > 0 {
				r.check(fmt.Sprintf("rise of the reward from %d to %d", n/4, n), at[n].proxy.mean-at[n/4].proxy.mean, atLeast(1e-9))
			}
		}
		b := atLeast(0.9)
		if l.recipe.World != WorldToy {
			b = atLeast(0)
		}
		r.check("rise of gold from 1 to 16", at[16].gold.mean-at[1].gold.mean, b)
		return nil
	},
}
