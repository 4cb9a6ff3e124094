package experiment

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/reward"
)

func runReward(ctx context.Context, l *lab, r *recorder) error {
	sft, err := l.SFT(ctx)
	if err != nil {
		return err
	}
	held, err := l.rank(ctx, sft, 900, 1000, honest)
	if err != nil {
		return err
	}
	twice := rand.New(rand.NewPCG(900, 22))
	agree, n := 0.0, 0.0
	for i, golds := range held.golds {
		other := l.world.RankIDs(twice, golds)
		for a := range golds {
			for b := range a {
				if (other[a] < other[b]) == (held.groups[i].Rankings[0][a] < held.groups[i].Rankings[0][b]) {
					agree++
				}
				n++
			}
		}
	}
	r.within(all, "agreement of two labelers", agree/n, 0.70, 0.735)
	var golds []float64
	for _, seed := range r.seeds {
		_, s, err := l.Reward(ctx, seed)
		if err != nil {
			return err
		}
		gold, noisy, ceiling, err := l.accuracies(ctx, s, held)
		if err != nil {
			return err
		}
		golds = append(golds, gold)
		r.atLeast(seed, "gold accuracy, 1,024 prompts", gold, 0.85)
		r.atLeast(seed, "noisy accuracy", noisy, 0.67)
		r.atMost(seed, "noisy accuracy over the ceiling", noisy-ceiling, 0.02)
	}
	r.atLeast(all, "mean gold accuracy", average(golds), 0.90)
	first := r.seeds[0]
	for _, c := range []struct {
		kind      labels
		what      string
		low, high float64
	}{{flipped, "gold accuracy, flipped labels", 0, 0.20}, {random, "noisy accuracy, random labels", 0.47, 0.53}} {
		gold, noisy, err := l.goldAccuracy(ctx, first, 1024, c.kind, held)
		if err != nil {
			return err
		}
		value := gold
		if c.kind == random {
			value = noisy
			r.show(first, "gold accuracy, random labels", gold)
		}
		r.within(first, c.what, value, c.low, c.high)
	}
	curve := map[int]float64{}
	for _, n := range []int{128, 512, 2048} {
		if curve[n], _, err = l.goldAccuracy(ctx, first, n, honest, held); err != nil {
			return err
		}
	}
	r.atMost(first, "gold accuracy, 128 prompts (more would be a leak)", curve[128], 0.75)
	r.atLeast(first, "gain from 128 to 512 prompts", curve[512]-curve[128], 0.001)
	r.show(first, "gold accuracy, 512 prompts", curve[512])
	r.atLeast(first, "gain from 512 to 2,048 prompts", curve[2048]-curve[512], 0)
	return nil
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

// runGrouping compares the trainer's loss of its first batch with the same loss computed pair by pair, each answer scored
// anew for each pair it is in.
func runGrouping(ctx context.Context, l *lab, r *recorder) error {
	sft, err := l.SFT(ctx)
	if err != nil {
		return err
	}
	for _, seed := range r.seeds {
		set, err := l.rank(ctx, sft, 3000+uint64(seed), 24, honest)
		if err != nil {
			return err
		}
		for i := range set.groups { // ties must not count
			ranks := set.groups[i].Rankings[0]
			for j := range ranks {
				ranks[j] = max(1, ranks[j]-i%3)
			}
		}
		cfg := rewardConfig(uint64(seed))
		cfg.Batch, cfg.Steps = len(set.groups), 1
		t, err := reward.NewTrainer(cfg, sft, set.groups, nil, set.groups[0].Sequences)
		if err != nil {
			return err
		}
		start := t.Start(0)
		want, sequences, answers := 0.0, 0, 0
		for _, g := range set.groups {
			ranks := g.Rankings[0]
			sum, n := 0.0, 0.0
			for i := range ranks {
				for j := range ranks {
					if ranks[i] < ranks[j] {
						x := start.Score([]model.Sequence{g.Sequences[i], g.Sequences[j]}, model.WantScore).Score
						sequences += 2
						sum += math.Log1p(math.Exp(float64(x[1]) - float64(x[0])))
						n++
					}
				}
			}
			want += sum / n / float64(len(set.groups))
			answers += len(ranks)
		}
		m, err := t.Step(ctx)
		if err != nil {
			return err
		}
		r.below(seed, "grouped loss - loss pair by pair", m["loss"]-want, 1e-6)
		r.show(seed, "forward passes, pair by pair", float64(sequences))
		r.add(seed, "forward passes, grouped", m["answers"], "= number of answers", m["answers"] == float64(answers))
	}
	return nil
}

// runNorm follows the normalisation from the demonstrations through a saved state into a scorer.
func runNorm(ctx context.Context, l *lab, r *recorder) error {
	demos := sequences(l.world.DemonstrationIDs(seedReference, 1000), 0)
	for _, seed := range r.seeds {
		t, s, err := l.Reward(ctx, seed)
		if err != nil {
			return err
		}
		mean, std, err := moments(ctx, s, demos)
		if err != nil {
			return err
		}
		raw, _ := s.Norm()
		r.below(seed, "mean reward of demonstrations", mean, 1e-3)
		r.show(seed, "their standard deviation", std)
		r.show(seed, "their raw mean", raw)
		again, err := l.reload(ctx, t)
		if err != nil {
			return err
		}
		same := again.Digest() == s.Digest()
		r.add(seed, "the same weights and zero after save and load", boolean(same), "= 1", same)
		diff, err := l.usedByPPO(ctx, seed, again)
		if err != nil {
			return err
		}
		r.below(seed, "score in PPO - normalised reward", diff, 1e-6)
	}
	return nil
}

// reload writes the reward model as a checkpoint and makes a scorer of what is read back.
func (l *lab) reload(_ context.Context, t *reward.Trainer) (*reward.Scorer, error) {
	m, err := t.Model()
	if err != nil {
		return nil, err
	}
	s, err := t.Scorer()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "rankloop-norm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	mean, std := s.Norm()
	c := &checkpoint.Checkpoint{Model: m, Card: checkpoint.Card{Kind: "reward", RewardMean: mean, RewardStd: std}}
	if err := c.Save(filepath.Join(dir, "reward"), "F32"); err != nil {
		return nil, err
	}
	back, err := checkpoint.Load(filepath.Join(dir, "reward"))
	if err != nil {
		return nil, err
	}
	return reward.NewScorer(back.Model, back.Card.RewardMean, back.Card.RewardStd), nil
}

// usedByPPO is the largest difference between the scores that PPO recorded and the scorer's.
func (l *lab) usedByPPO(ctx context.Context, seed int, s *reward.Scorer) (float64, error) {
	cfg := ppoConfig(uint64(seed))
	cfg.Iterations, cfg.Rollouts, cfg.Minibatch = 1, 4, 4
	t, err := l.trainer(cfg, s, s)
	if err != nil {
		return 0, err
	}
	for !t.Done() {
		if _, err := t.Step(ctx); err != nil {
			return 0, err
		}
	}
	worst := 0.0
	for _, e := range t.Samples() {
		x, err := s.Score(ctx, []model.Sequence{{IDs: append(append([]int32(nil), e.Prompt...), e.Response...), Start: len(e.Prompt)}})
		if err != nil {
			return 0, err
		}
		if e.Ended {
			worst = math.Max(worst, math.Abs(x[0]-e.Score))
		}
	}
	return worst, nil
}

func moments(ctx context.Context, s *reward.Scorer, seqs []model.Sequence) (mean, std float64, err error) {
	x, err := s.Score(ctx, seqs)
	if err != nil {
		return 0, 0, err
	}
	mean = average(x)
	for _, v := range x {
		std += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(std / float64(len(x))), nil
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
