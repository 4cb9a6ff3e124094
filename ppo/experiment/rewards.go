package experiment

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/reward"
)

// answersK is K: answers ranked together.
const answersK = 4

// labels says how simulated labelers rank.
type labels uint8

const (
	honest  labels = iota // Plackett-Luce on the gold score
	flipped               // the honest ranking upside down
	random                // by chance
)

// rankedSet is a set of ranked prompts with what the labelers never see.
type rankedSet struct {
	groups []reward.Group
	golds  [][]float64 // [prompt][K]
}

// rank samples K answers to each of n prompts from m and lets one labeler rank each.
func (l *lab) rank(ctx context.Context, m *model.Transformer, seed uint64, n int, kind labels) (rankedSet, error) {
	topics := l.world.Topics(seed, n)
	each := make([]int32, 0, n*answersK)
	for _, t := range topics {
		for range answersK {
			each = append(each, t)
		}
	}
	answers, err := l.sample(ctx, m, each, seed)
	if err != nil {
		return rankedSet{}, err
	}
	rng := rand.New(rand.NewPCG(seed, 21))
	var s rankedSet
	for i := range topics {
		g := reward.Group{}
		var golds []float64
		for _, a := range answers[i*answersK : (i+1)*answersK] {
			g.Sequences = append(g.Sequences, a.seq)
			golds = append(golds, a.gold)
		}
		ranks := l.world.RankIDs(rng, golds)
		switch kind {
		case flipped:
			for j := range ranks {
				ranks[j] = answersK + 1 - ranks[j]
			}
		case random:
			for j, p := range rng.Perm(answersK) {
				ranks[j] = 1 + p
			}
		}
		g.Rankings = [][]int{ranks}
		s.groups, s.golds = append(s.groups, g), append(s.golds, golds)
	}
	return s, nil
}

// rewardConfig is the recipe of every reward model here.
func rewardConfig(seed uint64) reward.Config {
	c := reward.DefaultConfig()
	c.Epochs, c.Batch, c.LR, c.Warmup, c.Seed = 4, 16, 1e-3, 10, seed
	return c
}

// train trains a reward model on ranked prompts; reference answers are 1,000 demonstrations.
func (l *lab) train(ctx context.Context, cfg reward.Config, start *model.Transformer, train []reward.Group) (*reward.Trainer, error) {
	reference := sequences(l.world.DemonstrationIDs(seedReference, 1000), 0)
	t, err := reward.NewTrainer(cfg, start, train, nil, reference)
	if err != nil {
		return nil, err
	}
	for !t.Done() {
		if _, err := t.Step(ctx); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// reward trains a reward model on n ranked prompts of the SFT policy.
func (l *lab) reward(ctx context.Context, seed, n int, kind labels) (*reward.Trainer, error) {
	sft, err := l.SFT(ctx)
	if err != nil {
		return nil, err
	}
	set, err := l.rank(ctx, sft, 1000+uint64(seed), n, kind)
	if err != nil {
		return nil, err
	}
	l.log(fmt.Sprintf("reward model, seed %d: %d ranked prompts", seed, n))
	return l.train(ctx, rewardConfig(uint64(seed)), sft, set.groups)
}

// Reward returns the reward model of a seed: 1,024 prompts, ranked honestly.
func (l *lab) Reward(ctx context.Context, seed int) (*reward.Trainer, *reward.Scorer, error) {
	t := l.rewards[seed]
	if t == nil {
		var err error
		if t, err = l.reward(ctx, seed, 1024, honest); err != nil {
			return nil, nil, err
		}
		l.rewards[seed] = t
	}
	s, err := t.Scorer()
	return t, s, err
}

// goldAccuracy trains a reward model and returns its accuracies on held-out answers.
func (l *lab) goldAccuracy(ctx context.Context, seed, n int, kind labels, held rankedSet) (gold, noisy float64, err error) {
	t, err := l.reward(ctx, seed, n, kind)
	if err != nil {
		return 0, 0, err
	}
	s, err := t.Scorer()
	if err != nil {
		return 0, 0, err
	}
	gold, noisy, _, err = l.accuracies(ctx, s, held)
	return gold, noisy, err
}

// accuracies of a scorer on a ranked set: against gold, and against the labelers.
func (l *lab) accuracies(ctx context.Context, s *reward.Scorer, set rankedSet) (gold, noisy, ceiling float64, err error) {
	var seqs []model.Sequence
	for _, g := range set.groups {
		seqs = append(seqs, g.Sequences...)
	}
	r, err := s.Score(ctx, seqs)
	if err != nil {
		return 0, 0, 0, err
	}
	var right, pairs, best, every float64
	for i, golds := range set.golds {
		x := r[i*answersK : (i+1)*answersK]
		for a := range golds {
			for b := range a {
				p := l.world.Prefers(golds[a], golds[b])
				best += math.Max(p, 1-p)
				every++
				if golds[a] == golds[b] {
					continue
				}
				pairs++
				switch {
				case x[a] == x[b]:
					right += 0.5
				case (x[a] > x[b]) == (golds[a] > golds[b]):
					right++
				}
			}
		}
	}
	report, err := reward.Evaluate(ctx, s, set.groups)
	return right / pairs, report.Accuracy, best / every, err
}
