package loop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rankloop/rankloop/model/run"
)

// Cord is the Andon cord of a project, pulled (Ziegler et al. 2019, section 4.4): somebody who ranks saw something that must
// not be trained on. Until an admin releases it, no run of the project takes a step and no round starts.
type Cord struct {
	ID        string
	ProjectID string
	Reason    string
	Actor     string
	PulledAt  time.Time
}

const maxReason = 1000 // bytes

// Cord returns the pulled cord of a project, or ErrNotFound.
func (s *Store) Cord(ctx context.Context, projectID string) (Cord, error) {
	return cord(ctx, s.pool, projectID)
}

const cordColumns = `id::text, project_id::text, reason, actor, pulled_at`

// Cords are all that are pulled, of whichever project, the latest first.
func (s *Store) Cords(ctx context.Context) ([]Cord, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+cordColumns+` FROM cords WHERE released_at IS NULL ORDER BY id DESC`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Cord])
}

func cord(ctx context.Context, q querier, projectID string) (Cord, error) {
	rows, err := q.Query(ctx, `SELECT `+cordColumns+` FROM cords WHERE project_id::text = $1 AND released_at IS NULL`, projectID)
	if err != nil {
		return Cord{}, err
	}
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Cord])
	return c, notFound(err)
}

// lockCord lets one pull, release or start of a project's training go at a time.
func lockCord(ctx context.Context, tx pgx.Tx, projectID string) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('cord ' || $1, 0))`, projectID)
	return err
}

// PullCord stops the training of a project: its runs pause at their next step and keep what they have, what would start waits,
// and an alarm with the reason stands on the rounds page. ErrConflict where it is pulled already.
func (l *Loop) PullCord(ctx context.Context, projectID, actor, reason string) error {
	reason, err := checkReason(reason)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	return again(func() error {
		return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error { return l.pull(ctx, tx, id.String(), projectID, actor, reason) })
	})
}

// again repeats an act that met a run's last step head on: that one holds the run and wants the round.
func again(act func() error) error {
	for try := 1; ; try++ {
		var pe *pgconn.PgError
		if err := act(); try == 5 || !errors.As(err, &pe) || pe.Code != "40P01" {
			return err
		}
	}
}

func (l *Loop) pull(ctx context.Context, tx pgx.Tx, id, projectID, actor, reason string) error {
	if err := lockCord(ctx, tx, projectID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO cords (id, project_id, reason, actor) VALUES ($1, $2, $3, $4)`, id, projectID, reason, actor)
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "23505" {
		return fmt.Errorf("%w: the training is stopped already", ErrConflict)
	}
	if err != nil {
		return err
	}
	alarm := Alarm{Kind: "cord", Message: reason, Actor: actor}
	r, err := one(ctx, tx, `WHERE project_id = $1 AND stage NOT IN ('done', 'failed', 'cancelled') FOR UPDATE`, projectID)
	switch {
	case err == nil:
		alarm.RoundID = r.ID
		for _, run := range r.runs() {
			if err := l.halt(ctx, tx, projectID, run); err != nil {
				return err
			}
		}
	case !errors.Is(err, ErrNotFound):
		return err
	}
	if err := l.AddAlarm(ctx, tx, alarm); err != nil {
		return err
	}
	return audit(ctx, tx, actor, "round.cord", projectID, map[string]any{"reason": reason, "round": alarm.RoundID})
}

// halt pauses a run for the pulled cord, which remembers it; a run that is over is left as it is.
func (l *Loop) halt(ctx context.Context, tx pgx.Tx, projectID, runID string) error {
	if runID == "" {
		return nil
	}
	err := l.Runs.Pause(ctx, tx, runID)
	if errors.Is(err, run.ErrConflict) { // ended, or paused by a person
		return nil
	}
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE cords SET runs = runs || $2::uuid WHERE project_id = $1 AND released_at IS NULL`, projectID, runID)
	}
	if err == nil { // a stage that was halted tells nothing of how long it takes
		_, err = tx.Exec(ctx, `UPDATE round_stages s SET broken = true FROM runs v WHERE v.id = $1 AND s.round_id = v.round_id AND s.ended_at IS NULL`, runID)
	}
	return err
}

// haltIfPulled pauses a run that starts while the cord is pulled.
func (l *Loop) haltIfPulled(ctx context.Context, tx pgx.Tx, projectID, runID string) error {
	_, err := cord(ctx, tx, projectID)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return l.halt(ctx, tx, projectID, runID)
}

// ReleaseCord lets the training of a project go on where it stood. ErrNotFound where the cord is not pulled.
func (l *Loop) ReleaseCord(ctx context.Context, projectID, actor string) error {
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if err := lockCord(ctx, tx, projectID); err != nil {
			return err
		}
		var runs []string
		var reason string
		err := tx.QueryRow(ctx, `UPDATE cords SET released_at = now(), released_by = $2 WHERE project_id::text = $1 AND released_at IS NULL
			RETURNING runs::text[], reason`, projectID, actor).Scan(&runs, &reason)
		if err != nil {
			return notFound(err)
		}
		r, err := l.Open(ctx, tx, projectID)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if r.PausedAt != nil { // by a person, who goes on with it
			runs = nil
		}
		for _, id := range runs {
			if err := l.Runs.Resume(ctx, tx, id); err != nil && !errors.Is(err, run.ErrConflict) {
				return err
			}
		}
		return audit(ctx, tx, actor, "round.cord_release", projectID, map[string]any{"reason": reason, "runs": runs})
	})
}
