package labeling

import (
	"context"
	"errors"
	"slices"
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

// warnings are the flags and reasons for which the page asks before it shows a task (Assignment.Warning).
var warnings = []string{FlagUnsafe, "harmful", "sexual", "violent", "denigrates"}
