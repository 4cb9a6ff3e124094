package loop

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// StageCount is how many rounds of all projects are at a stage.
type StageCount struct {
	Stage   Stage
	Rounds  int
	Longest time.Duration // that one of them has been there; 0 for rounds that have ended
}

// Stages counts the rounds by stage.
func (s *Store) Stages(ctx context.Context) ([]StageCount, error) {
	rows, err := s.pool.Query(ctx, `SELECT stage, count(*), coalesce(max(extract(epoch FROM now() - stage_at)) FILTER (WHERE ended_at IS NULL), 0)::float8 FROM rounds GROUP BY stage ORDER BY stage`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c StageCount, err error) {
		var seconds float64
		err = row.Scan(&c.Stage, &c.Rounds, &seconds)
		c.Longest = time.Duration(seconds * float64(time.Second))
		return c, err
	})
}
