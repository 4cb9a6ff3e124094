package run

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Live is the newest run of a kind that is at work.
type Live struct {
	Kind        string
	Step, Total int
	Metrics     map[string]*float64 // of the last step that was committed; nil stands for a number that is not finite
}

// Live returns the runs that are at work, the newest of each kind.
func (s *Store) Live(ctx context.Context) ([]Live, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT DISTINCT ON (kind) kind, greatest(step, live_step), total,
			coalesce((SELECT metrics FROM run_metrics m WHERE m.run_id = r.id ORDER BY m.step DESC LIMIT 1), '{}')
		FROM runs r WHERE state = 'running' ORDER BY kind, created_at DESC`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Live])
}
