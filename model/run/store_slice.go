package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

// begin claims the run for the slice of that job; errFenced where the job is left over from an earlier life, errBusy where
// another worker shows signs of life younger than deadAfter. A run that has no step yet starts only now.
func (s *Store) begin(ctx context.Context, a sliceArgs, deadAfter time.Duration) (Run, error) {
	return s.mine(ctx, func(tx pgx.Tx) (Run, error) {
		before, err := one(ctx, tx, `SELECT `+columns+` FROM runs r
			WHERE id = $1 AND epoch = $2 AND step = $3 AND state IN ('queued', 'running') FOR UPDATE`, a.RunID, a.Epoch, a.Step)
		if err != nil {
			return before, err
		}
		r, err := one(ctx, tx, `
			UPDATE runs AS r SET state = 'running', started_at = CASE WHEN step > 0 THEN coalesce(started_at, now()) ELSE now() END, heartbeat_at = now(), error = ''
			WHERE id = $1 AND coalesce(heartbeat_at < now() - $2::interval, true) RETURNING `+columns, a.RunID, deadAfter)
		if errors.Is(err, ErrNotFound) {
			err = errBusy
		}
		return r, err
	})
}

// heartbeat says that the slice is alive and writes what it measured; it returns the run's state.
func (s *Store) heartbeat(ctx context.Context, r Run, step, total int, points []Point) (state string, err error) {
	after, err := s.mine(ctx, func(tx pgx.Tx) (Run, error) {
		after, err := one(ctx, tx, `
			UPDATE runs AS r SET heartbeat_at = now(), live_step = $3, total = $4
			WHERE id = $1 AND epoch = $2 AND step = $5 AND state IN ('running', 'paused') RETURNING `+columns, r.ID, r.Epoch, step, total, r.Step)
		if err != nil {
			return after, err
		}
		return after, writeMetrics(ctx, tx, r.ID, points)
	})
	return after.State, err
}

// release gives the run back without a step done; its job stays and is tried again.
func (s *Store) release(ctx context.Context, r Run, trouble string) error {
	_, err := s.mine(ctx, func(tx pgx.Tx) (Run, error) {
		return one(ctx, tx, `
			UPDATE runs AS r SET heartbeat_at = NULL, live_step = step, error = $3, state = CASE state WHEN 'running' THEN 'queued' ELSE state END
			WHERE id = $1 AND epoch = $2 AND state IN ('running', 'paused') RETURNING `+columns, r.ID, r.Epoch, trouble)
	})
	if errors.Is(err, errFenced) {
		return nil
	}
	return err
}

// mine runs one change of a run that only the worker of its epoch may make, and tells the listeners.
func (s *Store) mine(ctx context.Context, change func(tx pgx.Tx) (Run, error)) (r Run, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if r, err = change(tx); err != nil {
			return err
		}
		return notify(ctx, tx, r.ID)
	})
	if errors.Is(err, ErrNotFound) {
		err = errFenced
	}
	return r, err
}

// advanceTx moves the run from the step where the slice began to the one it came to, and writes its metrics.
func (s *Store) advanceTx(ctx context.Context, tx pgx.Tx, from, to Run, points []Point, done bool) (Run, error) {
	r, err := one(ctx, tx, `
		UPDATE runs AS r SET step = $4, live_step = $4, total = $5, state_file = $6, heartbeat_at = NULL, restarts = 0,
			state = CASE WHEN $7 THEN 'done' ELSE state END, finished_at = CASE WHEN $7 THEN now() END
		WHERE id = $1 AND epoch = $2 AND step = $3 AND state IN ('running', 'paused') RETURNING `+columns,
		from.ID, from.Epoch, from.Step, to.Step, to.Total, to.StateFile, done)
	if errors.Is(err, ErrNotFound) {
		err = errFenced
	}
	if err != nil {
		return r, err
	}
	return r, errors.Join(writeMetrics(ctx, tx, r.ID, points), notify(ctx, tx, r.ID))
}

// failTx ends the run with an error.
func (s *Store) failTx(ctx context.Context, tx pgx.Tx, r Run, points []Point, cause error) (Run, error) {
	failed, err := one(ctx, tx, `
		UPDATE runs AS r SET state = 'failed', error = $3, heartbeat_at = NULL, finished_at = now()
		WHERE id = $1 AND epoch = $2 AND state IN ('queued', 'running', 'paused') RETURNING `+columns, r.ID, r.Epoch, errorText(cause))
	if errors.Is(err, ErrNotFound) {
		err = errFenced
	}
	if err != nil {
		return failed, err
	}
	return failed, errors.Join(writeMetrics(ctx, tx, r.ID, points), notify(ctx, tx, r.ID))
}

// haltTx pauses the run at its last committed step.
func (s *Store) haltTx(ctx context.Context, tx pgx.Tx, r Run, points []Point) (Run, error) {
	halted, err := one(ctx, tx, `
		UPDATE runs AS r SET state = 'paused', heartbeat_at = NULL, live_step = step
		WHERE id = $1 AND epoch = $2 AND state IN ('queued', 'running', 'paused') RETURNING `+columns, r.ID, r.Epoch)
	if errors.Is(err, ErrNotFound) {
		err = errFenced
	}
	if err != nil {
		return halted, err
	}
	return halted, errors.Join(writeMetrics(ctx, tx, r.ID, points), notify(ctx, tx, r.ID))
}

// writeMetrics adds the points that are not there yet: a step that is repeated after a crash measured the same before.
func writeMetrics(ctx context.Context, tx pgx.Tx, id string, points []Point) error {
	if len(points) == 0 {
		return nil
	}
	steps := make([]int, len(points))
	values := make([]string, len(points))
	for i, p := range points {
		b, err := json.Marshal(p.Metrics)
		if err != nil {
			return err
		}
		steps[i], values[i] = p.Step, string(b)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO run_metrics (run_id, step, metrics)
		SELECT $1, step, metrics::jsonb FROM unnest($2::int[], $3::text[]) AS p (step, metrics)
		ON CONFLICT (run_id, step) DO NOTHING`, id, steps, values)
	return err
}

// Reap restarts the runs whose slice died: those whose heartbeat is older than age, and those whose job is gone or was
// taken that long ago by a worker that never claimed the run. Called every 5 s by the job "run.reap"; a process that
// knows itself alone calls it with age 0 at its start.
func (s *Store) Reap(ctx context.Context, age time.Duration) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			WITH dead AS (
				SELECT r.id, r.heartbeat_at IS NOT NULL OR coalesce(job.stuck, false) AS restart
				FROM runs r LEFT JOIN LATERAL (
					SELECT bool_or(j.state = 'running' AND j.attempted_at < now() - $1::interval) AS stuck, count(*) AS n
					FROM `+riverSchema+`.river_job j
					WHERE j.kind = r.kind AND j.state IN ('available', 'pending', 'running', 'retryable', 'scheduled')
						AND j.args @> jsonb_build_object('run_id', r.id::text, 'epoch', r.epoch, 'step', r.step)
				) job ON true
				WHERE r.state IN ('queued', 'running') AND (r.heartbeat_at < now() - $1::interval
					OR r.heartbeat_at IS NULL AND (job.stuck OR job.n = 0))
				FOR UPDATE OF r SKIP LOCKED
			)
			UPDATE runs AS r SET state = 'queued', heartbeat_at = NULL, live_step = step,
				epoch = epoch + CASE WHEN restart THEN 1 ELSE 0 END, restarts = restarts + CASE WHEN restart THEN 1 ELSE 0 END
			FROM dead WHERE dead.id = r.id RETURNING `+columns, age)
		if err != nil {
			return err
		}
		dead, err := pgx.CollectRows(rows, scan)
		if err != nil {
			return err
		}
		for _, r := range dead {
			if err := errors.Join(s.insertSlice(ctx, tx, r), notify(ctx, tx, r.ID)); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `UPDATE runs SET heartbeat_at = NULL, live_step = step, epoch = epoch + 1
			WHERE state = 'paused' AND heartbeat_at < now() - $1::interval`, age)
		return err
	})
}

// Sweep removes state files under dir that no run needs: of runs that ended or are unknown, and leftovers of killed
// workers.
func (s *Store) Sweep(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, stateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, `UPDATE runs SET state_file = '' WHERE state = 'cancelled' AND state_file <> '' AND finished_at < now() - make_interval(secs => $1)`,
		cancelledKept.Seconds()); err != nil {
		return fmt.Errorf("run: sweep: %w", err)
	}
	for _, e := range entries {
		if !isID(e.Name()) {
			continue
		}
		r, err := s.Get(ctx, e.Name())
		if errors.Is(err, ErrNotFound) {
			r, err = Run{ID: e.Name()}, nil // its files all go
		}
		if err != nil {
			return err
		}
		if err := removeStates(dir, r, func(e fs.DirEntry) bool { return olderThan(e, sweepMinAge) }); err != nil {
			return err
		}
		os.Remove(runDir(dir, r.ID)) // if it is empty
	}
	return nil
}
