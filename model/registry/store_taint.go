package registry

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Taint marks the versions that learned from one of the snapshots, and all that descend
// from them, in the caller's transaction, and returns them, oldest first. reason says why,
// such as "erasure <id>".
func (s *Store) Taint(ctx context.Context, tx pgx.Tx, snapshots []string, reason string) ([]Version, error) {
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE `+learned+`, marked AS (
			INSERT INTO model_taints (version_id, reason) SELECT id, $2 FROM line ON CONFLICT DO NOTHING
		)
		SELECT `+columns+` FROM line JOIN model_versions v ON v.id = line.id ORDER BY v.created_at, v.id`, snapshots, reason)
	if err != nil {
		return nil, fmt.Errorf("registry: taint: %w", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("registry: taint: %w", err)
	}
	return list, nil
}

// learned is the table line (id) of the versions that learned from one of the snapshots $1, and of all that descend from them.
const learned = `line (id) AS (
		SELECT id FROM model_versions WHERE snapshot = ANY($1)
		UNION
		SELECT p.version_id FROM line JOIN model_parents p ON p.parent_id = line.id
	)`

// Learned lists the versions that learned from one of the snapshots, and all that descend from them, oldest first.
func (s *Store) Learned(ctx context.Context, snapshots []string) ([]Version, error) {
	rows, err := s.pool.Query(ctx, `WITH RECURSIVE `+learned+`
		SELECT `+columns+` FROM line JOIN model_versions v ON v.id = line.id ORDER BY v.created_at, v.id`, snapshots)
	if err != nil {
		return nil, fmt.Errorf("registry: learned: %w", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("registry: learned: %w", err)
	}
	return list, nil
}

// Taints are the reasons why a version should be trained again; none for most.
func (s *Store) Taints(ctx context.Context, id string) ([]string, error) {
	if !isID(id) {
		return nil, fmt.Errorf("registry: taints of %q: %w", id, ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `SELECT reason FROM model_taints WHERE version_id = $1 ORDER BY at, reason`, id)
	if err != nil {
		return nil, fmt.Errorf("registry: taints of %s: %w", id, err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
