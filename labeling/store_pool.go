package labeling

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const poolColumns = `
	id::text, project_id::text, messages, text, token_ids, tokenizer_digest, origin, customer_id, api_key_id,
	consent, split, usable, created_at`

func scanPoolPrompt(row pgx.CollectableRow) (Prompt, error) {
	var p Prompt
	var messages []byte
	if err := row.Scan(&p.ID, &p.ProjectID, &messages, &p.Text, &p.TokenIDs, &p.TokenizerDigest, &p.Origin, &p.CustomerID, &p.APIKeyID,
		&p.Consent, &p.Split, &p.Usable, &p.CreatedAt); err != nil {
		return p, err
	}
	return p, json.Unmarshal(messages, &p.Messages)
}

// UsablePrompts lists the prompts of a split that may be labeled and trained on, oldest first, at most limit.
func (s *Store) UsablePrompts(ctx context.Context, projectID, split string, limit int) ([]Prompt, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+poolColumns+` FROM prompts
		WHERE project_id = $1 AND split = $2 AND usable ORDER BY id LIMIT $3`, projectID, split, limit)
	if err != nil {
		return nil, fmt.Errorf("usable prompts of %s: %w", projectID, err)
	}
	return pgx.CollectRows(rows, scanPoolPrompt)
}

// PromptsForBatch lists usable prompts of the train and valid splits that have no task in the batch yet: those that were
// never ranked first, then those with the fewest tasks, at most limit.
func (s *Store) PromptsForBatch(ctx context.Context, projectID, batch string, limit int) ([]Prompt, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+poolColumns+` FROM prompts p
		WHERE project_id = $1 AND usable AND split IN ('train', 'valid')
		  AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.prompt_id = p.id AND t.batch = $2)
		ORDER BY tasks, id LIMIT $3`, projectID, batch, limit)
	if err != nil {
		return nil, fmt.Errorf("prompts for batch %s: %w", batch, err)
	}
	return pgx.CollectRows(rows, scanPoolPrompt)
}

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
				return &InvalidError{Field: fmt.Sprintf("demonstrations[%d]", i), Reason: "a conversation and a response are wanted"}
			}
			messages, err := json.Marshal(d.Messages)
			if err != nil {
				return err
			}
			id, err := uuid.NewV7()
			if err != nil {
				return err
			}
			h := sha256.New()
			h.Write(messages)
			h.Write([]byte{0})
			h.Write([]byte(d.Response))
			tag, err := tx.Exec(ctx, `
				INSERT INTO demonstrations (id, project_id, hash, messages, response, origin, labeler_id)
				VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
				id, projectID, h.Sum(nil), messages, d.Response, d.Origin, d.LabelerID)
			if err != nil {
				return fmt.Errorf("demonstration %d: %w", i, err)
			}
			added += int(tag.RowsAffected())
		}
		return nil
	})
	return added, err
}

// Demonstrations lists the project's demonstrations, oldest first, at most limit.
func (s *Store) Demonstrations(ctx context.Context, projectID string, limit int) ([]Demonstration, error) {
	rows, err := s.pool.Query(ctx, `SELECT id::text, messages, response, origin, labeler_id FROM demonstrations
		WHERE project_id = $1 ORDER BY id LIMIT $2`, projectID, limit)
	if err != nil {
		return nil, fmt.Errorf("demonstrations of %s: %w", projectID, err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Demonstration, err error) {
		var messages []byte
		if err = row.Scan(&d.ID, &messages, &d.Response, &d.Origin, &d.LabelerID); err == nil {
			err = json.Unmarshal(messages, &d.Messages)
		}
		return
	})
}
