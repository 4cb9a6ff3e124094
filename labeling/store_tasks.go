package labeling

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// AddTask offers responses to a prompt to overlap labelers, as many as the project's
// question takes, in the caller's transaction. batch is the round it belongs to, "" for none; a prompt has at
// most one task in a batch: the second gets ErrConflict and leaves the transaction
// usable. A prompt that may not be used gets ErrNotFound.
func (s *Store) AddTask(ctx context.Context, tx pgx.Tx, promptID string, responses []NewResponse, overlap int, batch string) (Task, error) {
	t := Task{PromptID: promptID, Need: overlap, OpenSlots: overlap, Batch: batch}
	if len(responses) > MaxAnswers {
		return t, invalid("responses", "%d given, at most %d", len(responses), MaxAnswers)
	}
	if overlap < 1 {
		return t, invalid("overlap", "%d is below 1", overlap)
	}
	if err := CheckText("batch", batch); err != nil {
		return t, err
	}
	for i, r := range responses {
		field := fmt.Sprintf("responses[%d]", i)
		if err := checkTokens(field, r.TokenIDs, r.TokenizerDigest); err != nil {
			return t, err
		}
		if err := CheckText(field+".model_version", r.ModelVersion); err != nil {
			return t, err
		}
	}
	if !isID(promptID) {
		return t, fmt.Errorf("add task: prompt %q: %w", promptID, ErrNotFound)
	}
	t, err := s.addTask(ctx, tx, t, responses)
	return t, wrap(err, "add task for prompt %s", promptID)
}

func (s *Store) addTask(ctx context.Context, tx pgx.Tx, t Task, responses []NewResponse) (Task, error) {
	var asked string
	var messages []Message
	if err := tx.QueryRow(ctx, `SELECT p.project_id, j.question, CASE WHEN j.question = 'multiturn' THEN p.messages END FROM prompts p JOIN projects j ON j.id = p.project_id
		WHERE p.id = $1 AND p.usable FOR NO KEY UPDATE OF p`, t.PromptID).Scan(&t.ProjectID, &asked, &messages); err != nil {
		return t, err
	}
	q, err := questionNamed(asked)
	switch {
	case err != nil:
		return t, err
	case len(responses) < q.min || len(responses) > q.max:
		return t, invalid("responses", "%d given, %d to %d are wanted", len(responses), q.min, q.max)
	case q.prompt != nil:
		if err := q.prompt(messages); err != nil {
			return t, err
		}
	}
	if t.ID, err = newID(); err != nil {
		return t, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO tasks (id, project_id, prompt_id, k, need, open_slots, batch) VALUES ($1, $2, $3, $4, $5, $5, $6)
		ON CONFLICT (prompt_id, batch) WHERE batch <> '' DO NOTHING RETURNING created_at`,
		t.ID, t.ProjectID, t.PromptID, len(responses), t.Need, t.Batch).Scan(&t.CreatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, ErrConflict
	}
	if err != nil {
		return t, err
	}
	b := &pgx.Batch{}
	b.Queue(`UPDATE prompts SET tasks = tasks + 1 WHERE id = $1`, t.PromptID)
	for i, r := range responses {
		id, err := newID()
		if err != nil {
			return t, err
		}
		text, raw := Sanitize(r.Text)
		b.Queue(`INSERT INTO responses (id, prompt_id, task_id, position, text, raw, token_ids, tokenizer_digest, model_version, finish)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			id, t.PromptID, t.ID, i, text, raw, r.TokenIDs, r.TokenizerDigest, r.ModelVersion, r.Finish)
		t.ResponseIDs = append(t.ResponseIDs, id)
	}
	return t, tx.SendBatch(ctx, b).Close()
}

// OfferPrompts makes tasks of prompts that ask for nothing but a prompt: those of demonstration projects that have no
// task and no demonstration yet, at most limit. Prompts of the test split stay out: what people write is trained on. It
// returns how many it made.
func (s *Store) OfferPrompts(ctx context.Context, limit int) (n int, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT p.id, j.overlap FROM prompts p JOIN projects j ON j.id = p.project_id
			WHERE j.question = $1 AND p.tasks = 0 AND p.usable AND p.split <> 'test'
				AND NOT EXISTS (SELECT FROM demonstrations d WHERE d.prompt_id = p.id)
			ORDER BY p.id LIMIT $2 FOR NO KEY UPDATE OF p SKIP LOCKED`, QuestionDemonstration, limit)
		if err != nil {
			return err
		}
		type waiting struct {
			ID      string
			Overlap int
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[waiting])
		if err != nil {
			return err
		}
		for _, p := range list {
			if _, err := s.AddTask(ctx, tx, p.ID, nil, p.Overlap, ""); err != nil {
				return err
			}
		}
		n = len(list)
		return nil
	})
	return n, wrap(err, "offer prompts")
}

// Task returns a task by id.
func (s *Store) Task(ctx context.Context, id string) (Task, error) {
	var t Task
	if !isID(id) {
		return t, fmt.Errorf("task %q: %w", id, ErrNotFound)
	}
	err := s.pool.QueryRow(ctx, `
		SELECT id, project_id, prompt_id, ARRAY(SELECT r.id FROM responses r WHERE r.task_id = t.id ORDER BY r.position),
			need, open_slots, done, batch, created_at FROM tasks t WHERE id = $1`, id).
		Scan(&t.ID, &t.ProjectID, &t.PromptID, &t.ResponseIDs, &t.Need, &t.OpenSlots, &t.Done, &t.Batch, &t.CreatedAt)
	return t, wrap(err, "task %s", id)
}

// Responses lists a task's responses in its own order.
func (s *Store) Responses(ctx context.Context, taskID string) ([]Response, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, prompt_id, text, raw, token_ids, tokenizer_digest, model_version, finish
		FROM responses WHERE task_id = $1 ORDER BY position`, taskID)
	if err != nil {
		return nil, wrap(err, "responses of task %s", taskID)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Response, err error) {
		err = row.Scan(&r.ID, &r.PromptID, &r.Text, &r.Raw, &r.TokenIDs, &r.TokenizerDigest, &r.ModelVersion, &r.Finish)
		return
	})
	return list, wrap(err, "responses of task %s", taskID)
}

// Prioritise moves a task to another lane of the queue; lower lanes are served first,
// new tasks are in lane 0.
func (s *Store) Prioritise(ctx context.Context, tx pgx.Tx, taskID string, lane int) error {
	if !isID(taskID) {
		return fmt.Errorf("prioritise task %q: %w", taskID, ErrNotFound)
	}
	tag, err := tx.Exec(ctx, `UPDATE tasks SET lane = $2 WHERE id = $1`, taskID, lane)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	return wrap(err, "prioritise task %s", taskID)
}

// HeldTasks lists the tasks that a flag or report holds back, oldest first: the
// reviewers' queue. The value is the flag.
func (s *Store) HeldTasks(ctx context.Context, projectID string, limit int) (ids, flags []string, err error) {
	rows, err := s.pool.Query(ctx, `SELECT id, held FROM tasks WHERE project_id = $1 AND held <> '' ORDER BY id LIMIT $2`, projectID, limit)
	if err != nil {
		return nil, nil, wrap(err, "held tasks of project %s", projectID)
	}
	var id, held string
	_, err = pgx.ForEachRow(rows, []any{&id, &held}, func() error {
		ids, flags = append(ids, id), append(flags, held)
		return nil
	})
	return ids, flags, wrap(err, "held tasks of project %s", projectID)
}

// Unhold ends what a flag began: the task counts again, in the queue and in later
// snapshots. The flag itself stays with its ranking.
func (s *Store) Unhold(ctx context.Context, taskID, actor string) error {
	if !isID(taskID) {
		return fmt.Errorf("unhold task %q: %w", taskID, ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE tasks SET held = '', position = nextval('task_position') WHERE id = $1 AND held <> ''`, taskID)
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, actor, "labeling.unhold", taskID, nil)
	})
	return wrap(err, "unhold task %s", taskID)
}
