package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Collect marks the versions whose weights nobody needs any more, and returns them, oldest first; their rows stay, so that lineages
// stay whole. Weights are kept of what serves, is a canary or waits for its promotion, of the last keep that served in each channel, of the last keep versions of each kind, of
// needed, of what these were made from directly, and of the base and supervised models that they descend from.
func (s *Store) Collect(ctx context.Context, tx pgx.Tx, keep int, needed []string) ([]Version, error) {
	if keep < 1 {
		return nil, &InvalidError{"keep", "at least 1 is wanted"}
	}
	// What is promoted meanwhile waits, and then finds what was marked.
	var now time.Time
	if err := tx.QueryRow(ctx, `SELECT now(), pg_advisory_xact_lock(hashtextextended('collect', 0))`).Scan(&now, nil); err != nil {
		return nil, fmt.Errorf("registry: collect: %w", err)
	}
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE kept (id) AS (
			SELECT version_id FROM serving WHERE live
			UNION SELECT version_id FROM canaries WHERE ended_at IS NULL
			UNION SELECT version_id FROM planned_promotions WHERE state = 'planned'
			UNION SELECT version_id FROM (SELECT version_id, row_number() OVER (PARTITION BY channel ORDER BY id DESC) AS n FROM serving) h WHERE n <= $1
			UNION SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY kind ORDER BY created_at DESC, id DESC) AS n FROM model_versions) l WHERE n <= $1
			UNION SELECT unnest($2::uuid[])
		), line (id) AS (
			SELECT id FROM kept UNION SELECT p.parent_id FROM line JOIN model_parents p ON p.version_id = line.id
		), useful (id) AS (
			SELECT id FROM kept
			UNION SELECT p.parent_id FROM kept JOIN model_parents p ON p.version_id = kept.id
			UNION SELECT a.id FROM line JOIN model_versions a ON a.id = line.id WHERE a.kind IN ('base', 'sft')
		), gone AS (
			UPDATE model_versions v SET weights_gone_at = now()
			WHERE v.weights_gone_at IS NULL AND v.digest NOT IN (SELECT u.digest FROM useful JOIN model_versions u ON u.id = useful.id)
			RETURNING v.id
		)
		SELECT `+columns+` FROM gone JOIN model_versions v ON v.id = gone.id ORDER BY v.created_at, v.id`, keep, needed)
	if err != nil {
		return nil, fmt.Errorf("registry: collect: %w", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("registry: collect: %w", err)
	}
	for i := range list { // the statement saw them as they were before
		list[i].GoneAt = &now
	}
	return list, nil
}

// Collected lists the digests of weights that no version needs any more.
func (s *Store) Collected(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT digest FROM model_versions GROUP BY digest HAVING bool_and(weights_gone_at IS NOT NULL) ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("registry: collected: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
