package labeling

import (
	"context"
	"encoding/hex"
	"errors"
	"io"

	"github.com/jackc/pgx/v5"
)

// ImportRankings reads a preference file into a project: its prompts, its completions
// as responses, its rankings under labelers named "import:NAME". Each ranking is a
// transaction of its own, and what is there already is a duplicate, so an import that
// was cut off is simply run again. More than MaxAnswers completions are rejected.
func (s *Store) ImportRankings(ctx context.Context, projectID, format string, r io.Reader) (ImportReport, error) {
	if _, err := s.Project(ctx, projectID); err != nil {
		return ImportReport{}, err
	}
	return Import(r, Reading{Format: format}, func(rec Record) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.importRecord(ctx, tx, projectID, rec) })
	})
}

func (s *Store) importRecord(ctx context.Context, tx pgx.Tx, projectID string, rec Record) error {
	if len(rec.Completions) > MaxAnswers {
		return invalid("completions", "%d given, a task holds at most %d", len(rec.Completions), MaxAnswers)
	}
	p, _, err := s.AddPrompt(ctx, tx, NewPrompt{ProjectID: projectID, Messages: rec.conversation(), Text: rec.Prompt,
		TokenIDs: rec.PromptIDs, TokenizerDigest: rec.Tokenizer, Origin: OriginImport, Split: rec.Split})
	if err != nil {
		return err
	}
	if !p.Usable {
		return invalid("prompt", "its customer withdrew it")
	}
	// The same completions in another order would be another task; a file lists each
	// group in one order.
	a := lease{projectID: projectID, state: Leased}
	err = tx.QueryRow(ctx, `SELECT id FROM tasks t WHERE prompt_id = $1
		AND ARRAY(SELECT text FROM responses r WHERE r.task_id = t.id ORDER BY position) = $2 ORDER BY id LIMIT 1 FOR NO KEY UPDATE`,
		p.ID, rec.Completions).Scan(&a.taskID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		responses := make([]NewResponse, len(rec.Completions))
		for i, c := range rec.Completions {
			responses[i] = NewResponse{Text: c}
			if rec.CompletionIDs != nil {
				responses[i].TokenIDs, responses[i].TokenizerDigest = rec.CompletionIDs[i], rec.Tokenizer
			}
		}
		t, err := s.AddTask(ctx, tx, p.ID, responses, 1, "")
		if err != nil {
			return err
		}
		a.taskID = t.ID
		if _, err := tx.Exec(ctx, `UPDATE tasks SET open_slots = 0 WHERE id = $1`, t.ID); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if _, err := tx.Exec(ctx, `UPDATE tasks SET need = need + 1 WHERE id = $1`, a.taskID); err != nil {
			return err
		}
	}
	if a.id, err = newID(); err != nil {
		return err
	}
	labeler := imported + rec.Labeler
	order := make([]int, len(rec.Completions)) // nobody was shown another one
	for i := range order {
		order[i] = i
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline)
		SELECT $1, $2, p.id, $4, 'leased', now(), $5, p.guideline FROM projects p WHERE p.id = $3
		ON CONFLICT (task_id, labeler_id) DO NOTHING RETURNING guideline`, a.id, a.taskID, projectID, labeler, order).Scan(&a.guideline)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrConflict // this labeler's ranking is there; the transaction is given up
	}
	if err != nil {
		return err
	}
	id, err := newID()
	if err != nil {
		return err
	}
	hash := rec.identity()
	in := SubmitInput{LabelerID: labeler, IdempotencyKey: a.taskID + " " + hex.EncodeToString(hash[:])}
	return a.store(ctx, tx, id, in, hash, answerSheet{ranks: rec.Ranks, ratings: make([]int, len(order)), flags: make([][]string, len(order))})
}
