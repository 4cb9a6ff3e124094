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

// Taint is why a version should be trained again.
type Taint struct {
	Reason  string // such as "erasure <id>"
	RoundID string // the round of the first version of its line that is marked so; "": none made it
}

// Taints are the reasons why a version should be trained again; none for most.
func (s *Store) Taints(ctx context.Context, id string) ([]Taint, error) {
	if !isID(id) {
		return nil, fmt.Errorf("registry: taints of %q: %w", id, ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `
		WITH RECURSIVE line (id) AS (
			SELECT $1::uuid
			UNION
			SELECT p.parent_id FROM line JOIN model_parents p ON p.version_id = line.id
		)
		SELECT t.reason, coalesce((SELECT v.round_id::text FROM line JOIN model_taints o ON o.version_id = line.id AND o.reason = t.reason
			JOIN model_versions v ON v.id = line.id WHERE v.round_id IS NOT NULL ORDER BY v.created_at, v.id LIMIT 1), '')
		FROM model_taints t WHERE t.version_id = $1 ORDER BY t.at, t.reason`, id)
	if err != nil {
		return nil, fmt.Errorf("registry: taints of %s: %w", id, err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Taint])
}

// Tainted tells which of the versions should be trained again.
func (s *Store) Tainted(ctx context.Context, ids []string) (map[string]bool, error) {
	rows, err := s.pool.Query(ctx, `SELECT DISTINCT version_id::text FROM model_taints WHERE version_id = ANY($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("registry: tainted: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	out := make(map[string]bool, len(list))
	for _, id := range list {
		out[id] = true
	}
	return out, err
}
