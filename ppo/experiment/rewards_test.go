package experiment

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/reward"
)

// TestGrouping is A6: the loss of the trainer's first batch is the same loss computed pair by pair, each answer scored anew for
// each pair it is in; each answer goes through the model once; ties form no pair.
func TestGrouping(t *testing.T) {
	ctx, l := context.Background(), shared()
	sft, err := l.SFT(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range 3 {
		set, err := l.ranked(ctx, 3000+seed, 24, labeler{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range set.groups {
			ranks := set.groups[i].Rankings[0]
			for j := range ranks {
				ranks[j] = max(1, ranks[j]-i%3)
			}
		}
		cfg := l.recipe.reward(seed)
		cfg.Batch, cfg.Steps = len(set.groups), 1
		tr, err := reward.NewTrainer(cfg, sft, set.groups, nil, set.groups[0].Sequences)
		if err != nil {
			t.Fatal(err)
		}
		start := tr.Start(0)
		want, answers := 0.0, 0
		for _, g := range set.groups {
			ranks := g.Rankings[0]
			sum, n := 0.0, 0.0
			for i := range ranks {
				for j := range ranks {
					if ranks[i] < ranks[j] {
						x := start.Score([]model.Sequence{g.Sequences[i], g.Sequences[j]}, model.WantScore).Score
						sum += math.Log1p(math.Exp(float64(x[1]) - float64(x[0])))
						n++
					}
				}
			}
			want += sum / n / float64(len(set.groups))
			answers += len(ranks)
		}
		m, err := tr.Step(ctx)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "grouped loss", m["loss"], want, 1e-6)
		near(t, "answers that went through the model", m["answers"], float64(answers), 0)
	}
}

// TestNorm is A7: demonstrations score 0 on average, after saving and loading too, and PPO uses the same scores.
func TestNorm(t *testing.T) {
	ctx, l := context.Background(), shared()
	s, err := l.Reward(ctx, 0, 512, labeler{})
	if err != nil {
		t.Fatal(err)
	}
	x, err := s.Score(ctx, l.world.demos(stream(forReference, 0), 1000))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "mean reward of demonstrations", average(x), 0, 1e-3)
	mean, std := s.Norm()
	if math.Abs(mean) < 1e-3 {
		t.Errorf("their raw mean is %g: nothing to normalise", mean)
	}
	dir := filepath.Join(t.TempDir(), "reward")
	c := &checkpoint.Checkpoint{Model: s.Model(), Card: checkpoint.Card{Kind: "reward", RewardMean: mean, RewardStd: std}}
	if err := c.Save(dir, "F32"); err != nil {
		t.Fatal(err)
	}
	back, err := checkpoint.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	again := reward.NewScorer(back.Model, back.Card.RewardMean, back.Card.RewardStd)
	if again.Digest() != s.Digest() {
		t.Error("other weights or another zero after save and load")
	}
	cfg := l.recipe.ppo(l.world, 0)
	cfg.Iterations, cfg.Rollouts, cfg.Minibatch = 1, 4, 4
	tr, err := l.trainer(ctx, cfg, again, again, nil)
	if err != nil {
		t.Fatal(err)
	}
	for !tr.Done() {
		if _, err := tr.Step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	ended := 0
	for _, e := range tr.Samples() {
		x, err := s.Score(ctx, []model.Sequence{{IDs: append(append([]int32(nil), e.Prompt...), e.Response...), Start: len(e.Prompt)}})
		if err != nil {
			t.Fatal(err)
		}
		if e.Ended {
			ended++
			near(t, "score in PPO", e.Score, x[0], 1e-6)
		}
	}
	if ended == 0 {
		t.Error("no episode ended")
	}
}
