package loop

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/run"
)

// AddAlarm writes an alarm in the transaction of what raised it.
func (s *Store) AddAlarm(ctx context.Context, tx pgx.Tx, a Alarm) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	if a.Rule == "" {
		_, err = tx.Exec(ctx, `INSERT INTO alarms (id, round_id, kind, message, actor) VALUES ($1, nullif($2, '')::uuid, $3, $4, $5)`,
			id, a.RoundID, a.Kind, a.Message, a.Actor)
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO alarms (id, round_id, kind, message, actor, rule, run_id, metric, value, threshold, step)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		id, a.RoundID, a.Kind, a.Message, a.Actor, a.Rule, a.RunID, a.Metric, a.Value, a.Threshold, a.Step)
	return err
}

const alarmColumns = `id::text, coalesce(round_id::text, ''), kind, message, at, actor, rule, coalesce(run_id::text, ''), metric,
	coalesce(value, 0), coalesce(threshold, 0), coalesce(step, 0), answered_at, answered_by, reason, new_limit`

// Alarms returns the newest alarms first; of one round, or of all where roundID is empty.
func (s *Store) Alarms(ctx context.Context, roundID string, limit int) ([]Alarm, error) {
	return alarms(ctx, s.pool, `WHERE $1 = '' OR round_id::text = $1 ORDER BY at DESC, id DESC LIMIT $2`, roundID, limit)
}

func alarms(ctx context.Context, q querier, where string, args ...any) ([]Alarm, error) {
	rows, err := q.Query(ctx, `SELECT `+alarmColumns+` FROM alarms `+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Alarm])
}

// openAlarm is the alarm that keeps a run from going on, or ErrNotFound. Until the transaction ends nobody answers it.
func openAlarm(ctx context.Context, tx pgx.Tx, runID string) (Alarm, error) {
	list, err := alarms(ctx, tx, `WHERE run_id::text = $1 AND rule <> '' AND answered_at IS NULL FOR UPDATE`, runID)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Alarm{}, err
	}
	return list[0], nil
}

// answeredAlarms are the alarms of a run that a person let it go on after, the oldest first.
func (s *Store) answeredAlarms(ctx context.Context, runID string) ([]Alarm, error) {
	return alarms(ctx, s.pool, `WHERE run_id::text = $1 AND answered_at IS NOT NULL ORDER BY answered_at`, runID)
}

// limits are what a run is held to: those of the round, as people changed them on the way.
func limits(of Limits, answered []Alarm) Limits {
	out := Limits{}
	for name, limit := range of {
		out[name] = limit
	}
	for _, a := range answered {
		out[a.Rule] = a.NewLimit
	}
	return out
}

// halted pauses the round whose run an alarm stopped, in the transaction that pauses the run.
func (l *Loop) halted(ctx context.Context, tx pgx.Tx, v run.Run, cause *run.HaltError) error {
	var trip *Trip
	if v.RoundID == nil || !errors.As(cause, &trip) {
		return nil
	}
	r, err := l.lock(ctx, tx, *v.RoundID)
	if err != nil || r.Stage.Ended() {
		return err
	}
	if r.PausedAt == nil {
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
			return err
		}
		r.PausedAt = &now
	}
	a := Alarm{RoundID: r.ID, Kind: "alarm", Message: trip.Error(), Actor: "system", Rule: trip.Rule, RunID: v.ID,
		Metric: trip.Metric, Value: trip.Value, Threshold: trip.Threshold, Step: trip.Step}
	if err := l.AddAlarm(ctx, tx, a); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `SELECT webhook_emit('round.alarm', jsonb_build_object('round', $1::text, 'project', $2::text, 'number', $3::int, 'rule', $4::text, 'step', $5::int, 'message', $6::text))`,
		r.ID, r.ProjectID, r.Number, trip.Rule, trip.Step, a.Message); err != nil {
		return err
	}
	if err := audit(ctx, tx, "system", "round.alarm", r.ID, map[string]any{"number": r.Number, "rule": trip.Rule, "step": trip.Step, "message": a.Message}); err != nil {
		return err
	}
	return l.save(ctx, tx, r)
}

// ResumeAlarm goes on with a round that an alarm stopped, from its run's checkpoint. Why is asked for and kept; the rule has another limit
// for the rest of the round, or is off. ErrConflict where no alarm stopped it.
func (l *Loop) ResumeAlarm(ctx context.Context, id, actor, reason string, limit *float64) error {
	reason = strings.TrimSpace(reason)
	if reason == "" || len(reason) > maxReason {
		return &InvalidError{"reason", fmt.Sprintf("1 to %d bytes are wanted: why may the run go on?", maxReason)}
	}
	if err := labeling.CheckText("reason", reason); err != nil {
		return &InvalidError{"reason", "holds characters that cannot be stored"}
	}
	return again(func() error {
		return l.change(ctx, id, func(tx pgx.Tx, r *Round) error {
			a, err := openAlarm(ctx, tx, r.runID())
			if errors.Is(err, ErrNotFound) {
				return fmt.Errorf("%w: no alarm stopped round %d", ErrConflict, r.Number)
			}
			if err != nil {
				return err
			}
			if limit != nil {
				rule, _ := ruleOf(a.Rule)
				if err := rule.check("limit", *limit); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(ctx, `UPDATE alarms SET answered_at = now(), answered_by = $2, reason = $3, new_limit = $4 WHERE id = $1`,
				a.ID, actor, reason, limit); err != nil {
				return err
			}
			r.PausedAt = nil
			if err := l.goOn(ctx, tx, r, run.Paused); err != nil {
				return err
			}
			return audit(ctx, tx, actor, "round.alarm_resume", r.ID, map[string]any{"number": r.Number, "rule": a.Rule, "reason": reason, "limit": limit})
		})
	})
}
