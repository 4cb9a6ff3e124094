package loop

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// TimedStage is how long a round was in a stage.
type TimedStage struct {
	Stage   Stage
	BeganAt time.Time
	EndedAt *time.Time // nil while it is there
	Broken  bool       // paused, halted, tried again or cut off: its time tells nothing
	Memory  int64      // bytes that it took at its peak, beyond what the process held before; 0: not measured
}

// StageTimes are those of a round, in order.
func (s *Store) StageTimes(ctx context.Context, roundID string) ([]TimedStage, error) {
	rows, err := s.pool.Query(ctx, `SELECT stage, began_at, ended_at, broken, coalesce(memory_bytes, 0) FROM round_stages WHERE round_id = $1 ORDER BY began_at, ended_at NULLS LAST`, roundID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[TimedStage])
}

// timeStage notes that a round has come to a stage. One that it comes back to tells nothing of how long it takes.
func timeStage(ctx context.Context, tx pgx.Tx, id string, s Stage) error {
	_, err := tx.Exec(ctx, `INSERT INTO round_stages (round_id, stage) VALUES ($1, $2)
		ON CONFLICT (round_id, stage) DO UPDATE SET began_at = now(), ended_at = NULL, broken = true`, id, s)
	return err
}

// move checks the way from the stage that is written to that of r, notes the times, and tells the webhooks.
func (s *Store) move(ctx context.Context, tx pgx.Tx, r Round) error {
	var from Stage
	if err := tx.QueryRow(ctx, `SELECT stage FROM rounds WHERE id = $1 FOR UPDATE`, r.ID).Scan(&from); err != nil {
		return notFound(err)
	}
	if err := mayGo(from, r.Stage); err != nil {
		return err
	}
	over := from != r.Stage && !from.Ended() || r.Held != ""
	broke := r.Stage == StageFailed || r.Stage == StageCancelled
	if _, err := tx.Exec(ctx, `UPDATE round_stages SET ended_at = CASE WHEN $2 THEN coalesce(ended_at, now()) ELSE ended_at END, broken = broken OR $3
		WHERE round_id = $1 AND ended_at IS NULL`, r.ID, over, broke || r.PausedAt != nil); err != nil {
		return err
	}
	if from == r.Stage {
		return nil
	}
	switch r.Stage {
	case StageDone:
		return r.tell(ctx, tx, "round.finished", map[string]any{"stage": from, "policy": r.PolicyVersionID, "promoted": r.Promoted != nil && *r.Promoted})
	case StageFailed:
		return r.tell(ctx, tx, "round.failed", map[string]any{"stage": from, "error": r.Error})
	case StageCancelled:
		return r.tell(ctx, tx, "round.cancelled", map[string]any{"stage": from})
	}
	if err := timeStage(ctx, tx, r.ID, r.Stage); err != nil {
		return err
	}
	if from.Ended() {
		return r.tell(ctx, tx, "round.retried", map[string]any{"stage": r.Stage})
	}
	return r.tell(ctx, tx, "round.stage", map[string]any{"finished": from, "stage": r.Stage})
}
