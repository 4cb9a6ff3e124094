package loop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/model/train"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// maxAnew is how often a stage begins anew by itself, until a person tries it again.
const maxAnew = 3

// failed hears of a run that failed, and fails its round. Where what was done so far is of no use to what there is now, the stage begins
// anew instead: a run learns from what was there when it began, but what was erased or taken back meanwhile is no part of it any more.
func (l *Loop) failed(ctx context.Context, tx pgx.Tx, v run.Run, cause error) error {
	if v.RoundID == nil {
		return nil
	}
	if errors.Is(cause, train.ErrForeignState) || errors.Is(cause, reward.ErrForeignState) || errors.Is(cause, ppo.ErrForeignState) {
		if begun, err := l.beginAnew(ctx, tx, v, cause); begun || err != nil {
			return err
		}
	}
	return l.fail(ctx, tx, *v.RoundID, v.Kind+": "+cause.Error())
}

// beginAnew starts another run in the place of one; false where that happened too often, or the round does not wait for it.
func (l *Loop) beginAnew(ctx context.Context, tx pgx.Tx, v run.Run, cause error) (bool, error) {
	r, err := l.lock(ctx, tx, *v.RoundID)
	if err != nil {
		return false, err
	}
	id := r.runOf(v.Kind)
	if id == nil || *id != v.ID || r.Stage.Ended() {
		return false, nil
	}
	var times int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM audit WHERE subject = $1::text AND act = 'round.anew' AND detail ->> 'stage' = $2
		AND at > coalesce((SELECT max(at) FROM audit WHERE subject = $1::text AND act = 'round.retry'), '-infinity')`, r.ID, r.Stage).Scan(&times); err != nil || times >= maxAnew {
		return false, err
	}
	if *id, err = l.startRun(ctx, tx, v.Kind, r); err != nil {
		return false, err
	}
	if err := timeStage(ctx, tx, r.ID, r.Stage); err != nil {
		return false, err
	}
	message := fmt.Sprintf("%s began anew after step %d: what it learns from is not what it was (%v)", v.Kind, v.Step, cause)
	if err := l.AddAlarm(ctx, tx, Alarm{RoundID: r.ID, Kind: "run", Message: message, Actor: "system"}); err != nil {
		return false, err
	}
	if err := audit(ctx, tx, "system", "round.anew", r.ID, map[string]any{"number": r.Number, "stage": r.Stage, "run": v.ID, "step": v.Step}); err != nil {
		return false, err
	}
	return true, l.save(ctx, tx, r)
}

// began is when a run took its first step, or would have: what it learns from was there by then. A state of it is of that data.
func began(v run.Run) time.Time {
	if v.StartedAt == nil {
		return time.Time{}
	}
	return *v.StartedAt
}

// runOf is where a round writes down its run of a kind; nil for other kinds.
func (r *Round) runOf(kind string) *string {
	return map[string]*string{KindSFT: &r.SFTRunID, KindReward: &r.RewardRunID, KindPPO: &r.PPORunID, KindEvaluate: &r.EvaluateRunID}[kind]
}
