package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

const (
	riverSchema = "river"
	// NotifyChannel is the Postgres channel told of every change of a run; the payload is the run's id.
	NotifyChannel = "run"
	maxErrorText  = 2000 // bytes of Run.Error
)

// Store reads and writes the tables runs and run_metrics, and inserts the jobs of slices.
type Store struct {
	pool  *pgxpool.Pool
	river *river.Client[pgx.Tx] // only inserts
}

// NewStore returns a Store on the pool.
func NewStore(pool *pgxpool.Pool) *Store {
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: riverSchema})
	if err != nil {
		panic(err) // of this fixed configuration
	}
	return &Store{pool: pool, river: client}
}

// columns of a Run, in the order of scan; r is runs.
const columns = `r.id::text, r.kind, r.state, r.config, r.round_id::text, r.epoch, r.step, r.live_step, r.total, r.state_file,
	r.error, r.restarts, r.created_at, r.started_at, r.heartbeat_at, r.finished_at`

func scan(row pgx.CollectableRow) (Run, error) {
	var r Run
	err := row.Scan(&r.ID, &r.Kind, &r.State, &r.Config, &r.RoundID, &r.Epoch, &r.Step, &r.LiveStep, &r.Total, &r.StateFile,
		&r.Error, &r.restarts, &r.CreatedAt, &r.StartedAt, &r.HeartbeatAt, &r.FinishedAt)
	return r, err
}

// Create adds a run and queues its first slice. config is stored as JSON and given to the kind's Factory.
func (s *Store) Create(ctx context.Context, tx pgx.Tx, kind string, config any, roundID *string) (Run, error) {
	if kind == "" {
		return Run{}, &InvalidError{"kind", "is empty"}
	}
	b, err := json.Marshal(config)
	if err != nil {
		return Run{}, &InvalidError{"config", err.Error()}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Run{}, err
	}
	r, err := one(ctx, tx, `INSERT INTO runs AS r (id, kind, config, round_id) VALUES ($1, $2, $3, $4) RETURNING `+columns,
		id.String(), kind, b, roundID)
	if err != nil {
		return Run{}, fmt.Errorf("run: create %s: %w", kind, err)
	}
	if err := errors.Join(s.insertSlice(ctx, tx, r), notify(ctx, tx, r.ID)); err != nil {
		return Run{}, fmt.Errorf("run: create %s: %w", kind, err)
	}
	return r, nil
}

// insertSlice queues the slice that begins at r's step. A slice that is queued already is not queued twice.
func (s *Store) insertSlice(ctx context.Context, tx pgx.Tx, r Run) error {
	_, err := s.river.InsertTx(ctx, tx, sliceArgs{RunID: r.ID, Epoch: r.Epoch, Step: r.Step, kind: r.Kind}, nil)
	return err
}

// Get returns the run of that id.
func (s *Store) Get(ctx context.Context, id string) (Run, error) {
	if !isID(id) {
		return Run{}, fmt.Errorf("run: %q: %w", id, ErrNotFound)
	}
	r, err := one(ctx, s.pool, `SELECT `+columns+` FROM runs r WHERE r.id = $1`, id)
	if err != nil {
		return Run{}, fmt.Errorf("run: %s: %w", id, err)
	}
	return r, nil
}

// Filter says which runs List returns; an empty field means any.
type Filter struct {
	Kind, State, RoundID string
	Limit                int // 0: 100
}

// List returns runs, newest first.
func (s *Store) List(ctx context.Context, f Filter) ([]Run, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	rows, err := s.pool.Query(ctx, `SELECT `+columns+` FROM runs r
		WHERE $1 IN ('', r.kind) AND $2 IN ('', r.state) AND ($3 = '' OR r.round_id::text = $3)
		ORDER BY r.created_at DESC, r.id DESC LIMIT $4`, f.Kind, f.State, f.RoundID, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("run: list: %w", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("run: list: %w", err)
	}
	return list, nil
}

// Metrics returns what the steps after sinceStep measured, in order.
func (s *Store) Metrics(ctx context.Context, id string, sinceStep int) ([]Point, error) {
	if !isID(id) {
		return nil, fmt.Errorf("run: metrics of %q: %w", id, ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `SELECT step, at, metrics FROM run_metrics WHERE run_id = $1 AND step > $2 ORDER BY step`, id, sinceStep)
	if err != nil {
		return nil, fmt.Errorf("run: metrics of %s: %w", id, err)
	}
	points, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Point])
	if err != nil {
		return nil, fmt.Errorf("run: metrics of %s: %w", id, err)
	}
	return points, nil
}

// Cancel ends the run. What works on it stops within seconds and can't write any more. The last state that was committed
// is kept for cancelledKept.
func (s *Store) Cancel(ctx context.Context, tx pgx.Tx, id string) error {
	_, err := s.change(ctx, tx, "cancel", id, `
		UPDATE runs AS r SET state = 'cancelled', epoch = epoch + 1, heartbeat_at = NULL, finished_at = now()
		WHERE id = $1 AND state IN ('queued', 'running', 'paused') RETURNING `+columns)
	return err
}

// Pause has the run stop after the step it is at, and keep what it has.
func (s *Store) Pause(ctx context.Context, tx pgx.Tx, id string) error {
	_, err := s.change(ctx, tx, "pause", id, `
		UPDATE runs AS r SET state = 'paused' WHERE id = $1 AND state IN ('queued', 'running') RETURNING `+columns)
	return err
}

// Resume goes on with a paused, failed or cancelled run at its last committed step. ErrConflict where the state of that step is gone.
func (s *Store) Resume(ctx context.Context, tx pgx.Tx, id string) error {
	r, err := s.change(ctx, tx, "resume", id, `
		UPDATE runs AS r SET state = 'queued', epoch = epoch + 1, live_step = step, heartbeat_at = NULL, restarts = 0, error = '', finished_at = NULL
		WHERE id = $1 AND (state IN ('paused', 'failed') OR state = 'cancelled' AND (step = 0 OR state_file <> '')) RETURNING `+columns)
	if err != nil {
		return err
	}
	if err := s.insertSlice(ctx, tx, r); err != nil {
		return fmt.Errorf("run: resume %s: %w", id, err)
	}
	return nil
}

// change runs an UPDATE of one run that fits only some states.
func (s *Store) change(ctx context.Context, tx pgx.Tx, act, id, sql string) (Run, error) {
	if !isID(id) {
		return Run{}, fmt.Errorf("run: %s %q: %w", act, id, ErrNotFound)
	}
	r, err := one(ctx, tx, sql, id)
	if err == nil {
		err = notify(ctx, tx, id)
	}
	if errors.Is(err, ErrNotFound) {
		var state string
		if tx.QueryRow(ctx, `SELECT state FROM runs WHERE id = $1`, id).Scan(&state) == nil {
			err = fmt.Errorf("it is %s: %w", state, ErrConflict)
		}
	}
	if err != nil {
		return Run{}, fmt.Errorf("run: %s %s: %w", act, id, err)
	}
	return r, nil
}

// Listen calls f with the id of every run that changed, and returns when ctx ends or the connection is lost. started is
// called once it hears: what changed before is not told.
func (s *Store) Listen(ctx context.Context, started func(), f func(id string)) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("run: listen: %w", err)
	}
	own := conn.Hijack() // a listening connection must not go back to the pool
	defer own.Close(context.WithoutCancel(ctx))
	if _, err := own.Exec(ctx, `LISTEN `+NotifyChannel); err != nil {
		return fmt.Errorf("run: listen: %w", err)
	}
	started()
	for {
		n, err := own.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("run: listen: %w", err)
		}
		f(n.Payload)
	}
}

func notify(ctx context.Context, tx pgx.Tx, id string) error {
	_, err := tx.Exec(ctx, `SELECT pg_notify($1, $2)`, NotifyChannel, id)
	return err
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// one runs a query for a single run.
func one(ctx context.Context, q querier, sql string, args ...any) (Run, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return Run{}, err
	}
	r, err := pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return r, err
}

func isID(s string) bool {
	_, err := uuid.Parse(s)
	return err == nil && len(s) == 36
}

// errorText is an error's text as Postgres takes it.
func errorText(err error) string {
	text := strings.ReplaceAll(strings.ToValidUTF8(err.Error(), "\uFFFD"), "\x00", "")
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + " ..."
	}
	return text
}
