package loop

import (
	"context"
	"errors"
	"time"
)

// clockAndFormer are the database's time, and the newest earlier round of the project that went all the way; the zero Round where there
// is none.
func (s *Store) clockAndFormer(ctx context.Context, r Round) (now time.Time, former Round, err error) {
	if err := s.pool.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
		return now, former, err
	}
	former, err = one(ctx, s.pool, `WHERE project_id = $1 AND number < $2 AND stage = 'done' ORDER BY number DESC LIMIT 1`, r.ProjectID, r.Number)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return now, former, err
}
