package labeling

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
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
			messages, err := json.Marshal(d.Messages)
			if err != nil {
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
				id, projectID, hash, messages, d.Response, d.Origin, d.LabelerID)
			if err != nil {
				return fmt.Errorf("demonstration %d: %w", i, err)
			}
			added += int(tag.RowsAffected())
		}
		return nil
	})
	return added, err
}

// demonstrationHash tells demonstrations of a project apart.
func demonstrationHash(messages []Message, response string) ([]byte, error) {
	text, err := json.Marshal(messages)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(append(append(text, 0), response...))
	return hash[:], nil
}

// Demonstrations lists the project's demonstrations, oldest first, at most limit.
func (s *Store) Demonstrations(ctx context.Context, projectID string, limit int) ([]Demonstration, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, messages, response, origin, labeler_id FROM demonstrations
		WHERE project_id = $1 ORDER BY id LIMIT $2`, projectID, limit)
	if err != nil {
		return nil, fmt.Errorf("demonstrations of %s: %w", projectID, err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Demonstration, err error) {
		err = row.Scan(&d.ID, &d.Messages, &d.Response, &d.Origin, &d.LabelerID)
		return
	})
}
