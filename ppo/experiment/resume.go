package experiment

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/train"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// stoppable is what the trainers have in common.
type stoppable interface {
	Step(ctx context.Context) (map[string]float64, error)
	Save(dir string) error
	Load(dir string) error
	Done() bool
	Progress() (step, total int)
}

var resume = spec{
	name: "resume", title: "A14: a run that is stopped and taken up again ends with the same weights, to the bit", run: runResume,
}

// runResume stops each kind of training three times. The trainer that goes on is a new one that has read the saved state and
// nothing else, as after kill -9; killed processes are in the tests of cmd/rankloop.
func runResume(ctx context.Context, l *lab, seed int, r *recorder) error {
	sft, err := l.SFT(ctx)
	if err != nil {
		return err
	}
	set, err := l.ranked(ctx, seed, 96, labeler{})
	if err != nil {
		return err
	}
	learned, err := l.learn(ctx, l.recipe.reward(seed), set)
	if err != nil {
		return err
	}
	var policy *ppo.Trainer
	for _, kind := range []struct {
		name  string
		fresh func() (stoppable, func() (string, error), error)
	}{
		{"SFT", func() (stoppable, func() (string, error), error) {
			m := sft.Clone()
			cfg := train.Config{Steps: 12, BatchTokens: 512, LR: 1e-3, Warmup: 2, Seed: uint64(seed)}
			t, err := train.NewTrainer(cfg, m, train.Sequences(l.world.demos(stream(forDemos, seed), 400)), nil)
			return t, func() (string, error) { return t.Model().Digest(), nil }, err
		}},
		{"reward model", func() (stoppable, func() (string, error), error) {
			t, err := reward.NewTrainer(l.recipe.reward(seed), sft, set.groups, nil, l.world.demos(stream(forReference, 0), 100))
			return t, func() (string, error) {
				s, err := t.Scorer()
				if err != nil {
					return "", err
				}
				return s.Digest(), nil
			}, err
		}},
		{"PPO", func() (stoppable, func() (string, error), error) {
			cfg := l.recipe.ppo(l.world, seed)
			cfg.Iterations, cfg.Rollouts, cfg.Chunk, cfg.Minibatch, cfg.EMA = 4, 64, 32, 32, 0.9
			cfg.KL.Target, cfg.KL.Horizon = 1, 200 // so that the coefficient is part of what must come back
			t, err := l.trainer(ctx, cfg, learned.scorer, learned.scorer, nil)
			policy = t
			return t, func() (string, error) { return t.Policy().Digest() + t.Value().Digest(), nil }, err
		}},
	} {
		if err := stopAndGo(ctx, kind.name, kind.fresh, r); err != nil {
			return err
		}
	}
	return refused(ctx, l, seed, sft, learned.scorer, policy, r)
}

// stopAndGo compares an undisturbed run with one that is stopped after a quarter, a half and three quarters.
func stopAndGo(ctx context.Context, name string, fresh func() (stoppable, func() (string, error), error), r *recorder) error {
	whole, digest, err := fresh()
	if err != nil {
		return err
	}
	for !whole.Done() {
		if _, err := whole.Step(ctx); err != nil {
			return err
		}
	}
	want, err := digest()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "rankloop-resume-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t, digest, err := fresh()
	if err != nil {
		return err
	}
	_, total := t.Progress()
	for i := 1; !t.Done(); i++ {
		if _, err := t.Step(ctx); err != nil {
			return err
		}
		if i != total/4 && i != total/2 && i != 3*total/4 {
			continue
		}
		if err := t.Save(dir); err != nil {
			return err
		}
		if t, digest, err = fresh(); err != nil {
			return err
		}
		if err := t.Load(dir); err != nil {
			return fmt.Errorf("%s, stopped after unit %d of %d: %w", name, i, total, err)
		}
	}
	got, err := digest()
	if err != nil {
		return err
	}
	r.check(name+": bits differ after three stops", boolean(got != want), equals(0))
	return nil
}

// refused saves a policy run and tries to take it up against another reference.
func refused(ctx context.Context, l *lab, seed int, sft *model.Transformer, s *reward.Scorer, t *ppo.Trainer, r *recorder) error {
	dir, err := os.MkdirTemp("", "rankloop-resume-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := t.Save(dir); err != nil {
		return err
	}
	base, err := l.Base(ctx)
	if err != nil {
		return err
	}
	cfg := l.recipe.ppo(l.world, seed)
	cfg.Iterations, cfg.Rollouts, cfg.Chunk, cfg.Minibatch, cfg.EMA = 4, 64, 32, 32, 0.9
	cfg.KL.Target, cfg.KL.Horizon = 1, 200
	mean, std := s.Norm()
	value, err := ppo.Critic(s.Model(), mean, std)
	if err != nil {
		return err
	}
	other, err := ppo.NewTrainer(cfg, sft, base, value, s, l.promptList(seed), l.world.eos(), nil)
	if err != nil {
		return err
	}
	err = other.Load(dir)
	r.check("PPO: another reference is taken", boolean(!errors.Is(err, ppo.ErrForeignState)), equals(0))
	return nil
}
