package loop

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/robfig/cron/v3"
)

const scheduleColumns = `id::text, project_id::text, cron, enabled, config, last_at, next_at, created_by`

func scanSchedule(row pgx.CollectableRow) (Schedule, error) {
	var s Schedule
	var config []byte
	if err := row.Scan(&s.ID, &s.ProjectID, &s.Cron, &s.Enabled, &config, &s.LastAt, &s.NextAt, &s.CreatedBy); err != nil {
		return s, err
	}
	return s, json.Unmarshal(config, &s.Config)
}

// Schedules lists a project's schedules, the next to fire first.
func (s *Store) Schedules(ctx context.Context, projectID string) ([]Schedule, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+scheduleColumns+` FROM schedules WHERE project_id = $1 ORDER BY enabled DESC, next_at`, projectID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanSchedule)
}

// AddSchedule checks and adds a schedule. InvalidError names the field that is wrong.
func (s *Store) AddSchedule(ctx context.Context, sc Schedule) (Schedule, error) {
	spec, err := cron.ParseStandard(sc.Cron)
	if err != nil {
		return sc, &InvalidError{"cron", fmt.Sprintf("%v; five fields are wanted, for example \"0 3 * * *\" for 03:00 each day", err)}
	}
	if err := sc.Config.Validate(); err != nil {
		return sc, err
	}
	config, err := json.Marshal(sc.Config)
	if err != nil {
		return sc, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return sc, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
			return err
		}
		sc.ID, sc.Enabled, sc.NextAt = id.String(), true, spec.Next(now)
		if _, err := tx.Exec(ctx, `INSERT INTO schedules (id, project_id, cron, config, next_at, created_by) VALUES ($1, $2, $3, $4, $5, $6)`,
			id, sc.ProjectID, sc.Cron, config, sc.NextAt, sc.CreatedBy); err != nil {
			return err
		}
		return audit(ctx, tx, sc.CreatedBy, "schedule.add", sc.ID, map[string]any{"cron": sc.Cron})
	})
	return sc, err
}

// EnableSchedule switches a schedule on or off; a schedule that was off fires at its next time, not for the missed ones.
func (s *Store) EnableSchedule(ctx context.Context, id, actor string, on bool) error {
	if _, err := uuid.Parse(id); err != nil {
		return ErrNotFound
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var expr string
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT cron, now() FROM schedules WHERE id = $1 FOR UPDATE`, id).Scan(&expr, &now); err != nil {
			return notFound(err)
		}
		spec, err := cron.ParseStandard(expr)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE schedules SET enabled = $2, next_at = $3 WHERE id = $1`, id, on, spec.Next(now)); err != nil {
			return err
		}
		return audit(ctx, tx, actor, "schedule.enable", id, map[string]any{"enabled": on})
	})
}

// RemoveSchedule deletes a schedule.
func (s *Store) RemoveSchedule(ctx context.Context, id, actor string) error {
	if _, err := uuid.Parse(id); err != nil {
		return ErrNotFound
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM schedules WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		return audit(ctx, tx, actor, "schedule.remove", id, map[string]any{})
	})
}

// due takes the schedules whose time has come and moves each to its next time. Missed times count once.
func (s *Store) due(ctx context.Context, tx pgx.Tx) ([]Schedule, error) {
	rows, err := tx.Query(ctx, `SELECT `+scheduleColumns+` FROM schedules WHERE enabled AND next_at <= now() ORDER BY next_at FOR UPDATE SKIP LOCKED`)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanSchedule)
	if err != nil {
		return nil, err
	}
	var now time.Time
	if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
		return nil, err
	}
	for _, sc := range list {
		spec, err := cron.ParseStandard(sc.Cron)
		if err != nil {
			return nil, fmt.Errorf("schedule %s: %w", sc.ID, err)
		}
		if _, err := tx.Exec(ctx, `UPDATE schedules SET last_at = now(), next_at = $2 WHERE id = $1`, sc.ID, spec.Next(now)); err != nil {
			return nil, err
		}
	}
	return list, nil
}
