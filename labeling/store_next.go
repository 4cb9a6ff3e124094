package labeling

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
)

// ClaimBeside gives the labeler a task besides the assignments that its browser has open: one it holds otherwise (the
// oldest, with its draft: a tab that crashed loses nothing), else a new one. With none open it is Claim. Errors are those
// of ClaimNext.
func (s *Store) ClaimBeside(ctx context.Context, projectID, labelerID string, beside []string) (*Assignment, error) {
	if len(beside) == 0 {
		return s.Claim(ctx, projectID, labelerID)
	}
	if !isID(projectID) {
		return nil, wrap(ErrNotFound, "claim in project %q", projectID)
	}
	held, err := s.held(ctx, projectID, labelerID)
	if err != nil {
		return nil, wrap(err, "claim for %s", labelerID)
	}
	for _, id := range held {
		if slices.Contains(beside, id) {
			continue
		}
		a, err := s.Renew(ctx, id, labelerID)
		if err == nil || !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
			return a, err
		} // else it ended in this moment
	}
	return s.ClaimNext(ctx, projectID, labelerID)
}

// warnings are the flags and reasons for which the page asks before it shows a task.
var warnings = []string{FlagUnsafe, "harmful", "sexual", "violent", "denigrates"}

// Warning lists, of these, what other labelers said of a task's answers or as their reason to skip it; nil = nothing. A
// task that was reported is served only after a reviewer released it.
func (s *Store) Warning(ctx context.Context, taskID string) ([]string, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT DISTINCT w FROM (
			SELECT unnest(g.flags) FROM assignments a JOIN ratings g ON g.ranking_id = a.ranking_id WHERE a.task_id = $1
			UNION ALL
			SELECT a.skip_reason FROM assignments a WHERE a.task_id = $1 AND a.state = 'skipped'
		) said(w) WHERE w = ANY($2) ORDER BY w`, taskID, warnings)
	if err != nil {
		return nil, wrap(err, "warning of task %s", taskID)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return list, wrap(err, "warning of task %s", taskID)
}
