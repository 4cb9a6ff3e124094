package labeling

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Demonstration is an answer that a person wrote.
type Demonstration struct {
	ID        string
	Messages  []Message
	Response  string
	Origin    string // OriginImport or OriginLabeler
	LabelerID string
}

// AddDemonstrations adds answers that people wrote; one that is there already is passed over. It returns how many are new.
func (s *Store) AddDemonstrations(ctx context.Context, projectID string, list []Demonstration) (added int, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		for i, d := range list {
			if len(d.Messages) == 0 || d.Response == "" {
				return invalid(fmt.Sprintf("demonstrations[%d]", i), "a conversation and a response are wanted")
			}
			if err := checkMessages(d.Messages); err != nil {
				return fmt.Errorf("demonstration %d: %w", i, err)
			}
			if err := CheckText(fmt.Sprintf("demonstrations[%d].response", i), d.Response); err != nil {
				return err
			}
			id, err := newID()
			if err != nil {
				return err
			}
			hash, err := demonstrationHash(d.Messages, d.Response)
			if err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, `
				INSERT INTO demonstrations (id, project_id, hash, messages, response, origin, labeler_id)
				VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
				id, projectID, hash, d.Messages, d.Response, d.Origin, d.LabelerID)
			if err != nil {
				return fmt.Errorf("demonstration %d: %w", i, err)
			}
			added += int(tag.RowsAffected())
		}
		return nil
	})
	return added, err
}

// Demonstrations lists the project's demonstrations that were there at a time (zero: that there are), oldest first, at most limit. Those of
// tasks that are hidden or held back are left out, and those of prompts that may not be used or are kept for tests.
func (s *Store) Demonstrations(ctx context.Context, projectID string, until time.Time, limit int) ([]Demonstration, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT d.id, d.messages, d.response, d.origin, d.labeler_id FROM demonstrations d
		LEFT JOIN prompts p ON p.id = d.prompt_id
		LEFT JOIN assignments a ON a.id = d.assignment_id LEFT JOIN tasks t ON t.id = a.task_id
		WHERE d.project_id = $1 AND d.created_at <= $2 AND (p.id IS NULL OR p.usable AND p.split <> 'test') AND (t.id IS NULL OR NOT t.hidden AND t.held = '')
		ORDER BY d.id LIMIT $3`, projectID, moment(until), limit)
	if err != nil {
		return nil, fmt.Errorf("demonstrations of %s: %w", projectID, err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Demonstration, err error) {
		err = row.Scan(&d.ID, &d.Messages, &d.Response, &d.Origin, &d.LabelerID)
		return
	})
}

// moment is a time as Postgres compares it; zero is after all others.
func moment(t time.Time) pgtype.Timestamptz {
	if t.IsZero() {
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: t, Valid: true}
}

// demonstrationHash identifies a demonstration within its project.
func demonstrationHash(messages []Message, response string) ([]byte, error) {
	raw, err := json.Marshal(messages)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	h.Write(raw)
	h.Write([]byte{0})
	h.Write([]byte(response))
	return h.Sum(nil), nil
}
