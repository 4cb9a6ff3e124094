package experiment

import (
	"context"
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/ppo"
)

// runGradient compares the gradient of every objective with central differences in float64.
func runGradient(_ context.Context, _ *lab, r *recorder) error {
	for _, seed := range r.seeds {
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
			r.atMost(seed, "relative error of the "+o.name+"'s gradient", differenceError(o.f, now), 1e-6)
		}
		rewards := rows(1.5)
		ranks := make([][]int, len(rewards))
		for b := range rewards {
			for range rewards[b] {
				ranks[b] = append(ranks[b], 1+rng.IntN(4))
			}
		}
		r.atMost(seed, "relative error of the ranking loss's gradient", differenceError(func(x [][]float64) (float64, [][]float64) {
			return rankingLoss(x, ranks)
		}, rewards), 1e-6)
	}
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

func runPretrain(ctx context.Context, l *lab, r *recorder) error {
	base, err := l.Base(ctx)
	if err != nil {
		return err
	}
	held := crossEntropy(base, sequences(l.world.CorpusIDs(seedHeldOut, 4000), 0))
	nats, tokens := l.world.Entropy()
	r.show(all, "entropy of the source, nats per token", nats/tokens)
	r.show(all, "held-out loss, nats per token", held)
	r.within(all, "loss above the entropy", held-nats/tokens, -0.01, 0.05)
	return nil
}

func runSFT(ctx context.Context, l *lab, r *recorder) error {
	base, err := l.Base(ctx)
	if err != nil {
		return err
	}
	sft, err := l.SFT(ctx)
	if err != nil {
		return err
	}
	for _, seed := range r.seeds {
		topics := l.world.Topics(uint64(seed), 1000)
		before, err := l.sample(ctx, base, topics, uint64(seed))
		if err != nil {
			return err
		}
		after, err := l.sample(ctx, sft, topics, uint64(seed))
		if err != nil {
			return err
		}
		b, a := l.summarise(before), l.summarise(after)
		r.atMost(seed, "base answers on topic", b.onTopic, 0.20)
		r.atLeast(seed, "SFT answers on topic", a.onTopic, 0.97)
		r.atLeast(seed, "SFT answers that end", a.ended, 0.99)
		r.atMost(seed, "bad bigrams per SFT answer", a.badBigrams, 0.05)
		r.show(seed, "repeats per SFT answer", a.repeats)
		r.show(seed, "gold of base", b.gold)
		r.show(seed, "gold of SFT", a.gold)
	}
	return nil
}
