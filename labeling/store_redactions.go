package labeling

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Redaction is what was taken out of a stored text.
type Redaction struct {
	ID        string
	ProjectID string
	Subject   string // prompt | response | demonstration
	SubjectID string
	Finds     []Find
	State     string // open | confirmed | undone
	Original  *string
	Text      string // as it is served
	CreatedAt time.Time
}

// noteRedaction keeps what was found in a prompt, and the prompt as it came, for review.
func noteRedaction(ctx context.Context, tx pgx.Tx, p Prompt, finds []Find, was original) error {
	id, err := newID()
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO redactions (id, project_id, subject, subject_id, finds, original) VALUES ($1, $2, 'prompt', $3, $4, $5)`,
		id, p.ProjectID, p.ID, finds, was)
	return err
}

// Redactions lists the prompts whose redaction waits for a reviewer, oldest first, at
// most limit, after the one with the id after ("" = from the beginning).
func (s *Store) Redactions(ctx context.Context, projectID, after string, limit int) ([]Redaction, error) {
	if after == "" {
		after = "00000000-0000-0000-0000-000000000000"
	}
	if !isID(after) {
		return nil, fmt.Errorf("redaction %q: %w", after, ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `SELECT r.id, r.project_id, r.subject, r.subject_id, r.finds, r.state, r.original ->> 'text', p.text, r.created_at
		FROM redactions r JOIN prompts p ON p.id = r.subject_id
		WHERE r.project_id = $1 AND r.state = 'open' AND r.id > $2 ORDER BY r.id LIMIT $3`, projectID, after, limit)
	if err != nil {
		return nil, wrap(err, "redactions of project %s", projectID)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Redaction])
	return list, wrap(err, "redactions of project %s", projectID)
}

// ConfirmRedaction lets the original go for good.
func (s *Store) ConfirmRedaction(ctx context.Context, id, actor string) error {
	return s.review(ctx, id, actor, "confirmed", func(pgx.Tx, string, original) error { return nil })
}

// UndoRedaction puts the original back. A prompt that has been offered for ranking stays
// as it was ranked, and one whose original the project has by now stays redacted
// (ErrConflict).
func (s *Store) UndoRedaction(ctx context.Context, id, actor string) error {
	return s.review(ctx, id, actor, "undone", func(tx pgx.Tx, promptID string, was original) error {
		hash := promptHash(was.Messages)
		tag, err := tx.Exec(ctx, `UPDATE prompts p SET messages = $2, text = $3, hash = $4, prefix = $5
			WHERE id = $1 AND tasks = 0 AND NOT EXISTS (SELECT 1 FROM prompts q WHERE q.project_id = p.project_id AND q.hash = $4 AND q.id <> p.id)`,
			promptID, was.Messages, was.Text, hash[:], prefixHash(was.Messages))
		if err == nil && tag.RowsAffected() == 0 {
			err = fmt.Errorf("%w: it has been offered for ranking, or its original is there as another prompt", ErrConflict)
		}
		return err
	})
}

func (s *Store) review(ctx context.Context, id, actor, state string, act func(tx pgx.Tx, promptID string, was original) error) error {
	if !isID(id) {
		return fmt.Errorf("redaction %q: %w", id, ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var prompt string
		var was original
		err := tx.QueryRow(ctx, `SELECT subject_id, original FROM redactions WHERE id = $1 AND state = 'open' AND subject = 'prompt' FOR UPDATE`, id).
			Scan(&prompt, &was)
		if err != nil {
			return err
		}
		if err := act(tx, prompt, was); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE redactions SET state = $2, original = NULL, reviewer = $3, reviewed_at = now() WHERE id = $1`, id, state, actor); err != nil {
			return err
		}
		return audit(ctx, tx, actor, "labeling.redaction_"+state, prompt, map[string]any{"redaction": id})
	})
	return wrap(err, "redaction %s", id)
}
