package labeling

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Subjects finds customers and labelers by their ids: those that are among ids, and those whose id holds the text, in the order of
// their ids. Nobody is found of whom no project has anything.
func (s *Store) Subjects(ctx context.Context, ids []string, text string, limit int) ([]Subject, error) {
	rows, err := s.pool.Query(ctx, `SELECT kind, id FROM (
			SELECT 'customer' AS kind, customer_id AS id FROM contributors
			UNION SELECT 'labeler', labeler_id FROM labelers
		) s WHERE id = ANY($1) OR position(lower($2) IN lower(id)) > 0 ORDER BY id, kind LIMIT $3`, append([]string{}, ids...), text, limit)
	if err != nil {
		return nil, wrap(err, "subjects")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Subject])
	return list, wrap(err, "subjects")
}
