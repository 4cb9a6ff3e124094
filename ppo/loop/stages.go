package loop

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
)

// Kinds of the loop's runs. The words are River's job kinds and the runs table's.
const (
	KindSFT      = "round.sft"
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
	if r.Held != "" {
		return nil // Override goes on
	}
	before := r.Stage
	switch r.Stage {
	case StageSample: // the pool of prompts is answered
		if err := l.leave(ctx, tx, &r, ""); err != nil {
			return err
		}
	case StageRank:
		counts, err := l.Labeling.BatchCountsTx(ctx, tx, r.ProjectID, r.ID)
		if err != nil || counts.Done < counts.Need {
			return err
		}
		if err := l.ranked(ctx, tx, &r); err != nil {
			return err
		}
	}
	if r.Stage == before && r.Held == "" {
		return nil
	}
	return l.save(ctx, tx, r)
}

// ranked goes on with a round whose rankings are in.
func (l *Loop) ranked(ctx context.Context, tx pgx.Tx, r *Round) error {
	if r.Config.Gates.Agreement == 0 {
		return l.leave(ctx, tx, r, "")
	}
	a, err := l.Labeling.Agreement(ctx, r.ProjectID, r.ID)
	if err != nil {
		return err
	}
	return l.leave(ctx, tx, r, r.Config.Gates.agreement(a))
}

// startReward freezes the rankings and starts the reward run. All rankings of the project count, those of former rounds too:
// the reward model must stay right on what the policy used to say.
func (l *Loop) startReward(ctx context.Context, tx pgx.Tx, r *Round) error {
	if r.Config.Snapshot != "" {
		r.SnapshotID = r.Config.Snapshot
		return l.startRunOf(ctx, tx, r, StageReward, KindReward, &r.RewardRunID)
	}
	snapshot, err := l.Labeling.Snapshot(ctx, tx, r.ProjectID, labeling.SnapshotFilter{Name: fmt.Sprintf("round %d", r.Number), Splits: []string{labeling.Train, labeling.Valid}, Without: r.Config.Without})
	if err != nil {
		return fmt.Errorf("snapshot of round %d: %w", r.Number, err)
	}
	if snapshot.N == 0 {
		return fmt.Errorf("%w: there is no ranking to learn from", ErrConflict)
	}
	r.SnapshotID = snapshot.ID
	return l.startRunOf(ctx, tx, r, StageReward, KindReward, &r.RewardRunID)
}

// startRunOf enters a stage that is a run.
func (l *Loop) startRunOf(ctx context.Context, tx pgx.Tx, r *Round, s Stage, kind string, id *string) (err error) {
	r.Stage = s
	*id, err = l.startRun(ctx, tx, kind, *r)
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
