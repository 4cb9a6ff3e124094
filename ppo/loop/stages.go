package loop

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
)

// Kinds of the loop's runs. The words are River's job kinds and the runs table's.
const (
	KindReward   = "reward.train"
	KindPPO      = "ppo.train"
	KindEvaluate = "round.evaluate"
)

// runConfig is what a run of the loop stores: whose it is. All else stands in the round.
type runConfig struct {
	Round string `json:"round"`
}

// advance moves a round on if what its stage waits for has come, and does nothing otherwise. It is safe to call at any time
// and any number of times; each stage is entered once, under the round's row lock.
func (l *Loop) advance(ctx context.Context, tx pgx.Tx, id string) error {
	r, err := l.lock(ctx, tx, id)
	if err != nil {
		return err
	}
	if r.Stage.Ended() {
		return l.advanceProbe(ctx, tx, r)
	}
	if r.PausedAt != nil {
		return nil // Resume looks again
	}
	before := r.Stage
	switch r.Stage {
	case StageSample: // the pool of prompts is answered
		r.Stage = StageRank
		if _, err := l.Labeling.Arrange(ctx, tx, r.ProjectID, r.ID, r.InitVersionID, r.Config.Seed); err != nil {
			return err
		}
	case StageRank:
		counts, err := l.Labeling.BatchCountsTx(ctx, tx, r.ProjectID, r.ID)
		if err != nil || counts.Done < counts.Need {
			return err
		}
		if err := l.startReward(ctx, tx, &r); err != nil {
			return err
		}
	}
	if r.Stage == before {
		return nil
	}
	return l.save(ctx, tx, r)
}

// startReward freezes the rankings and starts the reward run. All rankings of the project count, those of former rounds too:
// the reward model must stay right on what the policy used to say.
func (l *Loop) startReward(ctx context.Context, tx pgx.Tx, r *Round) error {
	snapshot, err := l.Labeling.Snapshot(ctx, tx, r.ProjectID, labeling.SnapshotFilter{Name: fmt.Sprintf("round %d", r.Number), Splits: []string{labeling.Train, labeling.Valid}, Without: r.Config.Without})
	if err != nil {
		return fmt.Errorf("snapshot of round %d: %w", r.Number, err)
	}
	if snapshot.N == 0 {
		return fmt.Errorf("%w: there is no ranking to learn from", ErrConflict)
	}
	r.SnapshotID, r.Stage = snapshot.ID, StageReward
	r.RewardRunID, err = l.startRun(ctx, tx, KindReward, *r)
	return err
}

func (l *Loop) startPPO(ctx context.Context, tx pgx.Tx, r *Round) (err error) {
	r.Stage = StagePPO
	r.PPORunID, err = l.startRun(ctx, tx, KindPPO, *r)
	return err
}

func (l *Loop) startEvaluation(ctx context.Context, tx pgx.Tx, r *Round) (err error) {
	r.Stage = StageEvaluate
	r.EvaluateRunID, err = l.startRun(ctx, tx, KindEvaluate, *r)
	return err
}

// startRun starts a run of the round. While the Andon cord is pulled it is paused before its first step.
func (l *Loop) startRun(ctx context.Context, tx pgx.Tx, kind string, r Round) (string, error) {
	v, err := l.Runs.Create(ctx, tx, kind, runConfig{Round: r.ID}, &r.ID)
	if err == nil {
		err = l.haltIfPulled(ctx, tx, r.ProjectID, v.ID)
	}
	if err == nil && r.PausedAt != nil { // while the last one finished
		err = l.pauseRun(ctx, tx, v.ID)
	}
	if err != nil {
		return "", fmt.Errorf("start %s: %w", kind, err)
	}
	return v.ID, nil
}
