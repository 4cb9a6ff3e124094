package labeling

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Reopen is undo: it takes up the labeler's last submit of the project again and
// returns it with the submitted values as its draft. Until the next Submit the old
// ranking stands. A ranking in a snapshot gets a FrozenError that names it.
func (s *Store) Reopen(ctx context.Context, projectID, labelerID string) (*Assignment, error) {
	if !isID(projectID) {
		return nil, fmt.Errorf("reopen in project %q: %w", projectID, ErrNotFound)
	}
	var id *string
	err := s.pool.QueryRow(ctx, `SELECT last_assignment FROM labelers WHERE project_id = $1 AND labeler_id = $2`, projectID, labelerID).Scan(&id)
	if err == nil && id == nil {
		err = ErrNotFound
	}
	if err == nil {
		err = s.closeLease(ctx, *id, labelerID, func(tx pgx.Tx, a lease) error { return a.reopen(ctx, tx, labelerID) })
	}
	if err != nil {
		return nil, wrap(err, "reopen for %s", labelerID)
	}
	return s.Assignment(ctx, *id, labelerID)
}

// ReopenAssignment takes up any submitted work of this labeler again, as Reopen does the last.
func (s *Store) ReopenAssignment(ctx context.Context, assignmentID, labelerID string) (*Assignment, error) {
	err := s.closeLease(ctx, assignmentID, labelerID, func(tx pgx.Tx, a lease) error { return a.reopen(ctx, tx, labelerID) })
	if err != nil {
		return nil, wrap(err, "reopen assignment %s", assignmentID)
	}
	return s.Assignment(ctx, assignmentID, labelerID)
}

func (a lease) reopen(ctx context.Context, tx pgx.Tx, labelerID string) error {
	if a.state != Submitted {
		if a.state == Reopened {
			return nil
		}
		return fmt.Errorf("%w: it is %s", ErrConflict, a.state)
	}
	if err := frozen(ctx, tx, *a.rankingID); err != nil {
		return err
	}
	draft, err := a.values(ctx, tx)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	b.Queue(`UPDATE assignments a SET state = 'reopened', draft = $2, closed_at = NULL, lease_until = now() + make_interval(secs => p.lease_s)
		FROM projects p WHERE a.id = $1 AND p.id = a.project_id`, a.id, draft)
	b.Queue(`SELECT audit_append($1, 'labeling.reopen', $2, $3)`, actor(labelerID), *a.rankingID, map[string]any{"task": a.taskID})
	return tx.SendBatch(ctx, b).Close()
}

// values are the current ranking's values in the order shown.
func (a lease) values(ctx context.Context, tx pgx.Tx) (Draft, error) {
	k := len(a.order)
	d := Draft{Ranks: make([]int, k), Ratings: make([]int, k), Flags: make([][]string, k)}
	shown := make([]int, k) // by stored position
	for at, pos := range a.order {
		shown[pos] = at
	}
	var ranks []int
	if err := tx.QueryRow(ctx, `SELECT ranks, comment, text, strength FROM rankings WHERE id = $1`, *a.rankingID).
		Scan(&ranks, &d.Comment, &d.Text, &d.Strength); err != nil {
		return d, err
	}
	if a.question == QuestionEdit && d.Text == "" { // left as it was
		texts, err := a.texts(ctx, tx)
		if err != nil {
			return d, err
		}
		d.Text = texts[0]
	}
	for pos, r := range ranks[:k] {
		if k == 1 {
			r = 1 // an edited answer is second to its edit, and alone without it
		}
		d.Ranks[shown[pos]] = r
	}
	rows, err := tx.Query(ctx, `SELECT r.position, coalesce(g.rating, 0), g.flags FROM ratings g JOIN responses r ON r.id = g.response_id
		WHERE g.ranking_id = $1`, *a.rankingID)
	if err != nil {
		return d, err
	}
	var pos, rating int
	var flags []string
	_, err = pgx.ForEachRow(rows, []any{&pos, &rating, &flags}, func() error {
		d.Ratings[shown[pos]], d.Flags[shown[pos]] = rating, flags
		flags = nil
		return nil
	})
	return d, err
}
