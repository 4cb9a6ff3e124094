package loop

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Parts are the stages that a round may be made of, in the order in which it goes through them. StageRank brings StageSample with it,
// StagePPO what judges its policy.
var Parts = []Stage{StageSFT, StageRank, StageReward, StagePPO}

// with are the stages that a part stands for.
var with = map[Stage][]Stage{StageSFT: {StageSFT}, StageRank: {StageSample, StageRank}, StageReward: {StageReward}, StagePPO: {StagePPO, StageEvaluate, StageDecide}}

// Transition is one way from a stage to another: what a round may do, and nothing else. From is empty where it begins.
type Transition struct{ From, To Stage }

// Transitions is the state machine of a round. Every change of a stage is looked up here, in its transaction.
var Transitions = transitions()

func transitions() (all []Transition) {
	for _, t := range []struct {
		from Stage
		to   []Stage
	}{
		{"", []Stage{StageSFT, StageSample, StageReward, StagePPO}}, // where its first part begins
		{StageSFT, []Stage{StageSample, StageReward, StagePPO, StageDone}},
		{StageSample, []Stage{StageRank}},
		{StageRank, []Stage{StageReward, StageDone}},
		{StageReward, []Stage{StagePPO, StageDone}},
		{StagePPO, []Stage{StageEvaluate}},
		{StageEvaluate, []Stage{StageDecide, StageDone}},
		{StageDecide, []Stage{StageDone}},
	} {
		for _, to := range t.to {
			all = append(all, Transition{t.from, to})
		}
	}
	for _, s := range Stages[:slices.Index(Stages, StageDecide)] {
		all = append(all, Transition{s, StageFailed}, Transition{s, StageCancelled}, Transition{StageFailed, s}, Transition{StageCancelled, s})
	}
	return append(all, Transition{StageDecide, StageCancelled}, Transition{StageCancelled, StageDecide})
}

// mayGo is ErrConflict for a way that is none.
func mayGo(from, to Stage) error {
	if from == to || slices.Contains(Transitions, Transition{from, to}) {
		return nil
	}
	return fmt.Errorf("%w: a round does not go from %q to %q", ErrConflict, from, to)
}

// parts are those of the configuration, in order.
func (c Config) parts() []Stage {
	switch {
	case len(c.Parts) > 0:
		return c.Parts
	case c.Retrain:
		return []Stage{StageReward, StagePPO}
	}
	return []Stage{StageRank, StageReward, StagePPO}
}

// Has says whether a part is gone through.
func (c Config) Has(part Stage) bool { return slices.Contains(c.parts(), part) }

// Path is the way of a round with this configuration that goes well.
func (c Config) Path() (path []Stage) {
	for _, p := range c.parts() {
		path = append(path, with[p]...)
	}
	return append(path, StageDone)
}

// checkParts wants them known, in order, and without a gap that leaves rankings unused.
func (c Config) checkParts() error {
	last := -1
	for _, p := range c.Parts {
		at := slices.Index(Parts, p)
		switch {
		case at < 0:
			return &InvalidError{"parts", fmt.Sprintf("%q is none of %s, %s, %s, %s", p, StageSFT, StageRank, StageReward, StagePPO)}
		case at <= last:
			return &InvalidError{"parts", fmt.Sprintf("%q stands twice, or behind what comes later", p)}
		}
		last = at
	}
	switch {
	case c.Retrain && (c.Has(StageRank) || !c.Has(StageReward)):
		return &InvalidError{"parts", "to learn again from the rankings that are there, reward is wanted and rank is not"}
	case c.Has(StageRank) && c.Has(StagePPO) && !c.Has(StageReward):
		return &InvalidError{"parts", "PPO after ranking needs a reward model that learns the rankings: add reward, or leave out rank"}
	case c.Snapshot != "" && (c.Has(StageRank) || !c.Has(StageReward)):
		return &InvalidError{"snapshot", "is for a reward model that learns from rankings of before: it goes with reward, without rank"}
	case c.RewardModel != "" && (c.Has(StageReward) || !c.Has(StagePPO)):
		return &InvalidError{"reward_model", "is for PPO by a reward model of before: it goes with ppo, without reward"}
	}
	return nil
}

// enter sets a round to work on a stage.
func (l *Loop) enter(ctx context.Context, tx pgx.Tx, r *Round, s Stage) error {
	switch s {
	case StageSFT:
		return l.startRunOf(ctx, tx, r, s, KindSFT, &r.SFTRunID)
	case StageSample:
		slow, err := l.slow(ctx, tx)
		if err != nil {
			return err
		}
		r.Stage = s
		return l.enqueue.insert(ctx, tx, sampleArgs{RoundID: r.ID, Slow: slow})
	case StageRank:
		r.Stage = s
		_, err := l.Labeling.Arrange(ctx, tx, r.ProjectID, r.ID, r.InitVersionID, r.Config.Seed)
		return err
	case StageReward:
		return l.startReward(ctx, tx, r)
	case StagePPO:
		return l.startRunOf(ctx, tx, r, s, KindPPO, &r.PPORunID)
	case StageEvaluate:
		return l.startRunOf(ctx, tx, r, s, KindEvaluate, &r.EvaluateRunID)
	}
	r.Stage = s // done, of a round that makes no policy by PPO: a person promotes what it made
	return nil
}

// leave goes on to the stage behind the one that is done, unless its gate holds the round there. finding is what the gate says of it; empty
// where it is open.
func (l *Loop) leave(ctx context.Context, tx pgx.Tx, r *Round, finding string) error {
	if finding != "" {
		return l.hold(ctx, tx, r, finding)
	}
	path := r.Config.Path()
	at := slices.Index(path, r.Stage)
	if at < 0 || at+1 >= len(path) {
		return fmt.Errorf("%w: nothing follows stage %s of round %d", ErrConflict, r.Stage, r.Number)
	}
	return l.enter(ctx, tx, r, path[at+1])
}
