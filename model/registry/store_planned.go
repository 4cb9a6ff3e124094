package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const plannedColumns = `p.id::text, p.due_at, p.time_zone, p.actor, p.reason, p.state, p.ended_why, p.created_at, p.ended_at, ` + columns

func planned(ctx context.Context, q querier, where string, args ...any) ([]Planned, error) {
	rows, err := q.Query(ctx, `SELECT `+plannedColumns+` FROM planned_promotions p JOIN model_versions v ON v.id = p.version_id `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("registry: planned promotions: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Planned, err error) {
		err = row.Scan(append([]any{&p.ID, &p.DueAt, &p.TimeZone, &p.Actor, &p.Reason, &p.State, &p.EndedWhy, &p.CreatedAt, &p.EndedAt}, p.Version.fields()...)...)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("registry: planned promotions: %w", err)
	}
	return list, nil
}

// Plan keeps a promotion for its time. A version waits for one time only: ErrConflict.
func (s *Store) Plan(ctx context.Context, tx pgx.Tx, versionID string, at time.Time, zone, actor, reason string) (Planned, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Planned{}, err
	}
	var late bool
	if err := tx.QueryRow(ctx, `SELECT $1::timestamptz <= now()`, at).Scan(&late); err != nil {
		return Planned{}, err
	}
	if late {
		return Planned{}, &InvalidError{"at", "is past: give a time to come, or promote now"}
	}
	_, err = tx.Exec(ctx, `INSERT INTO planned_promotions (id, version_id, due_at, time_zone, actor, reason) VALUES ($1, $2, $3, $4, $5, $6)`, id, versionID, at, zone, actor, reason)
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "23505" {
		err = ErrConflict
	}
	if err == nil {
		_, err = tx.Exec(ctx, `SELECT audit_append($1, 'promotion.plan', $2, jsonb_build_object('at', $3::timestamptz, 'time_zone', $4::text, 'reason', $5::text))`, actor, versionID, at, zone, reason)
	}
	if err != nil {
		return Planned{}, fmt.Errorf("registry: plan the promotion of %s: %w", versionID, err)
	}
	list, err := planned(ctx, tx, `WHERE p.id = $1`, id)
	if err != nil {
		return Planned{}, err
	}
	return list[0], nil
}

// Planned lists the promotions that wait, the next first; versionID "" is of all.
func (s *Store) Planned(ctx context.Context, versionID string) ([]Planned, error) {
	return planned(ctx, s.pool, `WHERE p.state = 'planned' AND $1 IN ('', p.version_id::text) ORDER BY p.due_at`, versionID)
}

// Due takes the promotions whose time has come; nobody else has them until the transaction ends.
func (s *Store) Due(ctx context.Context, tx pgx.Tx) ([]Planned, error) {
	return planned(ctx, tx, `WHERE p.state = 'planned' AND p.due_at <= now() ORDER BY p.due_at FOR UPDATE OF p SKIP LOCKED`)
}

// EndPlanned says what became of a promotion that waited: done, cancelled or failed. ErrNotFound where it does not wait any more.
func (s *Store) EndPlanned(ctx context.Context, tx pgx.Tx, id, state, actor, why string) error {
	if !isID(id) {
		return fmt.Errorf("registry: planned promotion %q: %w", id, ErrNotFound)
	}
	var version string
	err := tx.QueryRow(ctx, `UPDATE planned_promotions SET state = $2, ended_why = $3, ended_at = now() WHERE id = $1 AND state = 'planned' RETURNING version_id::text`, id, state, why).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err == nil {
		_, err = tx.Exec(ctx, `SELECT audit_append($1, 'promotion.' || $2::text, $3, jsonb_build_object('reason', $4::text))`, actor, state, version, why)
	}
	if err != nil {
		return fmt.Errorf("registry: planned promotion %s: %w", id, err)
	}
	return nil
}
