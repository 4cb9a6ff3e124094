package loop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rankloop/rankloop/model/run"
)

// Pause stops an open round where it stands, until Resume: nothing is sampled and no run takes a step; what was done is kept, and
// people may go on ranking. ErrConflict where it has ended, is paused, or waits for a person anyway.
func (l *Loop) Pause(ctx context.Context, id, actor string) error {
	return again(func() error {
		return l.change(ctx, id, func(tx pgx.Tx, r *Round) error {
			switch {
			case r.Stage.Ended():
				return fmt.Errorf("%w: round %d has ended", ErrConflict, r.Number)
			case r.Held != "":
				return fmt.Errorf("%w: round %d is held by a gate and does nothing meanwhile", ErrConflict, r.Number)
			case r.Stage == StageDecide:
				return fmt.Errorf("%w: round %d waits for a decision and does nothing meanwhile", ErrConflict, r.Number)
			case r.PausedAt != nil:
				return fmt.Errorf("%w: round %d is paused", ErrConflict, r.Number)
			}
			var now time.Time
			if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
				return err
			}
			r.PausedAt = &now
			if err := l.pauseRun(ctx, tx, r.runID()); err != nil {
				return err
			}
			return audit(ctx, tx, actor, "round.pause", r.ID, map[string]any{"number": r.Number, "stage": r.Stage})
		})
	})
}

// Resume goes on with a paused round where it stood. While the Andon cord is pulled, its run still waits.
func (l *Loop) Resume(ctx context.Context, id, actor string) error {
	return again(func() error {
		return l.change(ctx, id, func(tx pgx.Tx, r *Round) error {
			if r.PausedAt == nil {
				return fmt.Errorf("%w: round %d is not paused", ErrConflict, r.Number)
			}
			switch a, err := openAlarm(ctx, tx, r.runID()); {
			case err == nil:
				return fmt.Errorf("%w: an alarm stopped round %d (%s): say why it may go on", ErrConflict, r.Number, a.Message)
			case !errors.Is(err, ErrNotFound):
				return err
			}
			r.PausedAt = nil
			if err := l.goOn(ctx, tx, r, run.Paused); err != nil {
				return err
			}
			return audit(ctx, tx, actor, "round.resume", r.ID, map[string]any{"number": r.Number, "stage": r.Stage})
		})
	})
}

// Retry goes on with a round that failed or was cancelled, at the stage where it broke off: a run from its last committed step.
// ErrConflict where it did neither, where another round of the project is open, or while the Andon cord is pulled.
func (l *Loop) Retry(ctx context.Context, id, actor string) error {
	err := again(func() error {
		return l.change(ctx, id, func(tx pgx.Tx, r *Round) error {
			if r.Stage != StageFailed && r.Stage != StageCancelled || r.BrokeAt == "" {
				return fmt.Errorf("%w: round %d has not broken off in a stage that can be tried again", ErrConflict, r.Number)
			}
			if err := l.mayTrain(ctx, tx, r.ProjectID); err != nil {
				return err
			}
			failed, from := r.Error, run.Failed
			if r.Stage == StageCancelled {
				from = run.Cancelled
			}
			r.Stage, r.BrokeAt, r.Error = r.BrokeAt, "", ""
			if err := l.goOn(ctx, tx, r, from); err != nil {
				return err
			}
			return audit(ctx, tx, actor, "round.retry", r.ID, map[string]any{"number": r.Number, "stage": r.Stage, "error": failed})
		})
	})
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "23505" {
		return fmt.Errorf("%w: another round of this project is open", ErrConflict)
	}
	return err
}

// mayTrain is ErrConflict while the Andon cord of the project is pulled; until the transaction ends it stays as it is.
func (l *Loop) mayTrain(ctx context.Context, tx pgx.Tx, projectID string) error {
	if err := lockCord(ctx, tx, projectID); err != nil {
		return err
	}
	c, err := cord(ctx, tx, projectID)
	if err == nil {
		return fmt.Errorf("%w: training was stopped by a labeler (%s); release it first", ErrConflict, c.Reason)
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// goOn sets to work again what the stage of a round does. Its run is resumed if it is in the state given.
func (l *Loop) goOn(ctx context.Context, tx pgx.Tx, r *Round, from string) error {
	if r.Held != "" || r.Stage == StageDecide {
		return nil // it waits for a person
	}
	switch r.Stage {
	case StageSample:
		return l.enter(ctx, tx, r, StageSample)
	case StageRank:
		return l.enqueue.insert(ctx, tx, advanceArgs{RoundID: r.ID})
	}
	v, err := l.Runs.Get(ctx, r.runID())
	if err != nil {
		return err
	}
	if v.State != from {
		return nil // it ended in this moment, and moves the round on by itself
	}
	if err := l.Runs.Resume(ctx, tx, v.ID); err != nil {
		return err
	}
	return l.haltIfPulled(ctx, tx, r.ProjectID, v.ID)
}

// pauseRun pauses a run; one that is over, or paused, is left as it is.
func (l *Loop) pauseRun(ctx context.Context, tx pgx.Tx, id string) error {
	if id == "" {
		return nil
	}
	if err := l.Runs.Pause(ctx, tx, id); !errors.Is(err, run.ErrConflict) {
		return err
	}
	return nil
}

// runID is the run that the stage of a round is about, "" for stages without one.
func (r Round) runID() string {
	switch r.Stage {
	case StageSFT:
		return r.SFTRunID
	case StageReward:
		return r.RewardRunID
	case StagePPO:
		return r.PPORunID
	case StageEvaluate:
		return r.EvaluateRunID
	}
	return ""
}
