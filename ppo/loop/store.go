package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store keeps rounds, schedules and alarms. Methods that take a pgx.Tx are parts of a larger act.
type Store struct{ pool *pgxpool.Pool }

// NewStore returns a store on the pool.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

const roundColumns = `
	id::text, number, project_id::text, stage, config, actor, error,
	init_version_id::text, sft_version_id::text,
	coalesce(snapshot_id::text, ''), coalesce(sft_run_id::text, ''), coalesce(reward_run_id::text, ''), coalesce(ppo_run_id::text, ''),
	coalesce(evaluate_run_id::text, ''), coalesce(reward_version_id::text, ''), coalesce(policy_version_id::text, ''),
	promoted, probe, coalesce(probe_id::text, ''), coalesce(relabel_id::text, ''), report, started_at, stage_at, updated_at, ended_at, paused_at, broke_at,
	held, finding, overrides`

func scanRound(row pgx.CollectableRow) (Round, error) {
	var r Round
	var config, report, overrides []byte
	err := row.Scan(&r.ID, &r.Number, &r.ProjectID, &r.Stage, &config, &r.Actor, &r.Error,
		&r.InitVersionID, &r.SFTVersionID,
		&r.SnapshotID, &r.SFTRunID, &r.RewardRunID, &r.PPORunID,
		&r.EvaluateRunID, &r.RewardVersionID, &r.PolicyVersionID,
		&r.Promoted, &r.Probe, &r.ProbeID, &r.RelabelID, &report, &r.StartedAt, &r.StageAt, &r.UpdatedAt, &r.EndedAt, &r.PausedAt, &r.BrokeAt,
		&r.Held, &r.Finding, &overrides)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(config, &r.Config); err != nil {
		return r, fmt.Errorf("config of round %s: %w", r.ID, err)
	}
	if err := json.Unmarshal(overrides, &r.Overrides); err != nil {
		return r, fmt.Errorf("overrides of round %s: %w", r.ID, err)
	}
	if report != nil {
		r.Report = new(Report)
		if err := json.Unmarshal(report, r.Report); err != nil {
			return r, fmt.Errorf("report of round %s: %w", r.ID, err)
		}
	}
	return r, nil
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func one(ctx context.Context, q querier, where string, args ...any) (Round, error) {
	rows, err := q.Query(ctx, `SELECT `+roundColumns+` FROM rounds `+where, args...)
	if err != nil {
		return Round{}, err
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanRound)
	if errors.Is(err, pgx.ErrNoRows) {
		return Round{}, ErrNotFound
	}
	return r, err
}

// Get returns a round, or ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (Round, error) {
	if _, err := uuid.Parse(id); err != nil {
		return Round{}, ErrNotFound
	}
	return one(ctx, s.pool, `WHERE id = $1`, id)
}

// List returns the newest rounds of a project first, at most limit.
func (s *Store) List(ctx context.Context, projectID string, limit int) ([]Round, error) {
	return s.Before(ctx, projectID, math.MaxInt32, limit)
}

// Before returns the rounds of a project with lower numbers, the highest first, at most limit.
func (s *Store) Before(ctx context.Context, projectID string, number, limit int) ([]Round, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+roundColumns+` FROM rounds WHERE project_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3`, projectID, number, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanRound)
}

// Open returns the round of the project that has not ended, or ErrNotFound.
func (s *Store) Open(ctx context.Context, q querier, projectID string) (Round, error) {
	return one(ctx, q, `WHERE project_id = $1 AND stage NOT IN ('done', 'failed', 'cancelled')`, projectID)
}

// lock reads a round for change within the transaction.
func (s *Store) lock(ctx context.Context, tx pgx.Tx, id string) (Round, error) {
	return one(ctx, tx, `WHERE id = $1 FOR UPDATE`, id)
}

// insert adds a round as the project's next, in its first stage. ErrConflict when another one is open.
func (s *Store) insert(ctx context.Context, tx pgx.Tx, r Round, first Stage) (Round, error) {
	if err := mayGo("", first); err != nil {
		return r, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return r, err
	}
	config, err := json.Marshal(r.Config)
	if err != nil {
		return r, err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO rounds (id, project_id, number, stage, config, actor, init_version_id, sft_version_id, reward_version_id, snapshot_id)
		SELECT $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $7, nullif($8, '')::uuid, nullif($9, '')::uuid FROM rounds WHERE project_id = $2`,
		id, r.ProjectID, first, config, r.Actor, r.InitVersionID, r.SFTVersionID, r.RewardVersionID, r.SnapshotID)
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "23505" {
		return r, fmt.Errorf("%w: a round of this project is still open", ErrConflict)
	}
	if err != nil {
		return r, fmt.Errorf("insert round: %w", err)
	}
	if err := timeStage(ctx, tx, id.String(), first); err != nil {
		return r, err
	}
	return one(ctx, tx, `WHERE id = $1`, id)
}

// save writes what a stage may change and stamps the stage's time when it is a new one, which must be one that may follow.
func (s *Store) save(ctx context.Context, tx pgx.Tx, r Round) error {
	var report []byte
	if r.Report != nil {
		var err error
		if report, err = json.Marshal(r.Report); err != nil {
			return err
		}
	}
	overrides, err := json.Marshal(append([]Override{}, r.Overrides...))
	if err != nil {
		return err
	}
	if err := s.move(ctx, tx, r); err != nil {
		return fmt.Errorf("save round %s: %w", r.ID, err)
	}
	_, err = tx.Exec(ctx, `
		UPDATE rounds SET
			stage_at = CASE WHEN stage = $2 THEN stage_at ELSE now() END,
			ended_at = CASE WHEN $2 IN ('done', 'failed', 'cancelled') THEN coalesce(ended_at, now()) END,
			stage = $2, error = $3, snapshot_id = nullif($4, '')::uuid,
			reward_run_id = nullif($5, '')::uuid, ppo_run_id = nullif($6, '')::uuid, evaluate_run_id = nullif($7, '')::uuid,
			reward_version_id = nullif($8, '')::uuid, policy_version_id = nullif($9, '')::uuid,
			promoted = $10, report = $11, broke_at = $12, updated_at = now(),
			paused_at = CASE WHEN $2 NOT IN ('decide', 'done', 'failed', 'cancelled') THEN $13::timestamptz END,
			probe = $14, probe_id = nullif($15, '')::uuid, relabel_id = nullif($16, '')::uuid,
			sft_run_id = nullif($17, '')::uuid, held = $18, finding = $19, overrides = $20, init_version_id = $21, sft_version_id = $22
		WHERE id = $1`,
		r.ID, r.Stage, r.Error, r.SnapshotID, r.RewardRunID, r.PPORunID, r.EvaluateRunID,
		r.RewardVersionID, r.PolicyVersionID, r.Promoted, report, r.BrokeAt, r.PausedAt, r.Probe, r.ProbeID, r.RelabelID,
		r.SFTRunID, r.Held, r.Finding, overrides, r.InitVersionID, r.SFTVersionID)
	if err != nil {
		return fmt.Errorf("save round %s: %w", r.ID, err)
	}
	return nil
}

func audit(ctx context.Context, tx pgx.Tx, actor, act, subject string, detail any) error {
	b, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `SELECT audit_append($1, $2, $3, $4)`, actor, act, subject, b)
	return err
}

// since returns the seconds from the round's start by the database's clock.
func since(ctx context.Context, tx pgx.Tx, t time.Time) (s float64, err error) {
	err = tx.QueryRow(ctx, `SELECT extract(epoch FROM now() - $1::timestamptz)::float8`, t).Scan(&s)
	return
}

func notFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// awaitedBatch is a batch of tasks whose rankings a round waits for.
type awaitedBatch struct{ Round, Batch string }

// awaitedBatches are those of a project: its open round's own, and the probes of rounds that have ended.
func (s *Store) awaitedBatches(ctx context.Context, q querier, projectID string) ([]awaitedBatch, error) {
	rows, err := q.Query(ctx, `
		SELECT id::text, id::text FROM rounds WHERE project_id = $1 AND stage = 'rank'
		UNION ALL SELECT id::text, probe_id::text FROM rounds WHERE project_id = $1 AND probe = 'rank'`, projectID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[awaitedBatch])
}

// needed are the versions that open rounds and comparisons work with, and those that wait for their probe. What failed may be tried
// again.
func (s *Store) needed(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT DISTINCT v::text FROM rounds r, unnest(ARRAY[r.init_version_id, r.sft_version_id, r.reward_version_id, r.policy_version_id]) v
		WHERE (r.stage NOT IN ('done', 'cancelled') OR r.probe IN ('answer', 'rank', 'measure')) AND v IS NOT NULL
		UNION SELECT v::text FROM model_comparisons c, unnest(ARRAY[c.a_version_id, c.b_version_id, c.reward_version_id]) v WHERE c.stage IN ('sample', 'failed') AND v IS NOT NULL`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// waiting lists the rounds that wait for rankings.
func (s *Store) waiting(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT id::text FROM rounds WHERE stage = 'rank' OR probe = 'rank'`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
