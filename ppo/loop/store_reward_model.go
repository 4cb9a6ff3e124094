package loop

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/registry"
)

// RewardChannel is where reward models are promoted to, for outside trainers.
const RewardChannel = "reward"

// RewardModel is the reward model that scores for outside trainers: the one that the latest promotion decided on. The promotion of a
// policy, a rollback too, brings the reward model that it was trained by; a reward model may also be promoted by itself. ErrNotFound where
// there is none.
func (l *Loop) RewardModel(ctx context.Context) (registry.Version, error) {
	v, err := l.Registry.Serving(ctx, RewardChannel)
	if !errors.Is(err, registry.ErrNotFound) {
		return v, err
	}
	// A policy that was promoted before reward models were has not brought its own yet.
	policy, err := l.Registry.Serving(ctx, Channel)
	if err == nil {
		v, err = l.rewardOf(ctx, policy.ID)
	}
	if errors.Is(err, registry.ErrNotFound) {
		err = fmt.Errorf("reward model: %w", ErrNotFound)
	}
	return v, err
}

// rewardOf is the reward model that a policy was trained by, the nearest among its ancestors. ErrNotFound where there is none, or its
// weights were removed.
func (l *Loop) rewardOf(ctx context.Context, policyID string) (registry.Version, error) {
	v, err := l.nearest(ctx, policyID, registry.Reward)
	if err == nil && v.GoneAt != nil { // an older one is not what it was trained by
		return registry.Version{}, ErrNotFound
	}
	return v, err
}

// promote lets a version serve where its kind does, and with a policy the reward model that it was trained by.
func (l *Loop) promote(ctx context.Context, tx pgx.Tx, v registry.Version, actor, reason string) error {
	channel, err := channelOf(v)
	if err != nil {
		return err
	}
	if channel == RewardChannel {
		return l.Registry.Promote(ctx, tx, channel, v.ID, actor, reason)
	}
	moved, err := l.moving(ctx, tx)
	if err == nil {
		err = l.Registry.Promote(ctx, tx, channel, v.ID, actor, reason)
	}
	if err == nil {
		err = moved(v.ID, reason)
	}
	if err != nil {
		return err
	}
	return l.bringReward(ctx, tx, v, actor)
}

// bringReward promotes the reward model of a policy; one that has none leaves the former.
func (l *Loop) bringReward(ctx context.Context, tx pgx.Tx, policy registry.Version, actor string) error {
	reward, err := l.rewardOf(ctx, policy.ID)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return l.Registry.Promote(ctx, tx, RewardChannel, reward.ID, actor, "comes with "+policy.Name)
}

// channelOf is where a version of that kind is promoted to.
func channelOf(v registry.Version) (string, error) {
	switch v.Kind {
	case registry.Policy, registry.SFT:
		return Channel, nil
	case registry.Reward:
		return RewardChannel, nil
	}
	return "", &InvalidError{"version", fmt.Sprintf("%s is a %s model; only a policy or a supervised model can answer, and only a reward model can score", v.Name, v.Kind)}
}

// version reads a version that a person named.
func (l *Loop) version(ctx context.Context, id string) (registry.Version, error) {
	v, err := l.Registry.Get(ctx, id)
	if errors.Is(err, registry.ErrNotFound) {
		err = ErrNotFound
	}
	return v, err
}

// nearest is the version of a kind that the fewest steps lead back to, ErrNotFound where there is none. It looks a few steps back before
// it looks at all: a thousand rounds have thousands of ancestors.
func (l *Loop) nearest(ctx context.Context, id, kind string) (registry.Version, error) {
	for depth := 4; ; depth *= 8 {
		line, err := l.Registry.Near(ctx, id, depth)
		if err != nil {
			return registry.Version{}, err
		}
		for _, a := range line {
			if a.Kind == kind {
				return a.Version, nil
			}
		}
		if line[len(line)-1].Depth < depth {
			return registry.Version{}, ErrNotFound
		}
	}
}
