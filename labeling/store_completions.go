package labeling

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// JoinPool takes an answered prompt of a customer who consents into the pool, in the caller's transaction, and keeps the
// answers so that feedback on them can follow. A prompt that the pool does not want (see AddPrompt: another begins alike, the
// customer has brought all that one may) is no error; it is kept for feedback all the same. Personal data is redacted first,
// from the answers too.
func (s *Store) JoinPool(ctx context.Context, tx pgx.Tx, a Answered) error {
	if err := a.check(); err != nil {
		return err
	}
	if !a.Prompt.Consent || a.Prompt.Origin != OriginAPI {
		return invalid("consent", "nothing is kept without the customer's consent")
	}
	n := a.Prompt
	n.CompletionID, n.EndUser, n.ModelVersion = a.CompletionID, a.EndUser, a.ModelVersion
	n, err := n.check()
	if err != nil {
		return err
	}
	p, _, err := s.AddPrompt(ctx, tx, n)
	if errors.Is(err, ErrCapped) || errors.Is(err, ErrAlike) {
		p, err = Prompt{}, nil
	}
	if err != nil {
		return err
	}
	if len(a.Answers) == 0 {
		return nil // nothing that feedback could be of
	}
	n, _, _ = n.redact()
	kept := make([]keptAnswer, len(a.Answers))
	for i, r := range a.Answers {
		kept[i] = keep(r)
	}
	id, err := newID()
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO kept_completions (id, project_id, completion_id, position, customer_id, api_key_id, end_user, prompt_id, messages, text, token_ids,
			tokenizer_digest, answers, model_version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (completion_id, position) DO NOTHING`,
		id, n.ProjectID, a.CompletionID, a.Position, n.CustomerID, n.APIKeyID, a.EndUser, orNull(p.ID), n.Messages, n.Text, n.TokenIDs,
		n.TokenizerDigest, kept, a.ModelVersion)
	return wrap(err, "keep completion %s", a.CompletionID)
}

// PromptSource is where a prompt came from: one row a request, or a file, or a labeler.
type PromptSource struct {
	Origin       string
	CustomerID   string // "" = none
	APIKeyID     string // "" = none
	EndUser      string // the customer's own user
	CompletionID string
	ModelVersion string // that answered
	Consent      bool
	CreatedAt    time.Time
}

// maxSources is how many sources of one prompt a page shows.
const maxSources = 50

// PromptSources lists where a prompt came from, oldest first, at most 50.
func (s *Store) PromptSources(ctx context.Context, promptID string) ([]PromptSource, error) {
	rows, err := s.pool.Query(ctx, `SELECT origin, customer_id, api_key_id, end_user, completion_id, model_version, consent, created_at
		FROM prompt_sources WHERE prompt_id = $1 ORDER BY created_at, completion_id LIMIT $2`, promptID, maxSources)
	if err != nil {
		return nil, wrap(err, "sources of prompt %s", promptID)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PromptSource])
	return list, wrap(err, "sources of prompt %s", promptID)
}

// keptCompletion is a row of kept_completions.
type keptCompletion struct {
	id, projectID, key, endUser, model string
	position                           int
	promptID                           *string
	prompt                             NewPrompt
	answers                            []keptAnswer
	withdrawn                          bool
}

func (k keptCompletion) responses() []NewResponse {
	list := make([]NewResponse, len(k.answers))
	for i, a := range k.answers {
		list[i] = a.response(k.model)
	}
	return list
}

// batch is that of the task that asks about it.
func (k keptCompletion) batch() string { return feedbackBatch + k.id }

// feedbackBatch begins the batch of every task that feedback asked for.
const feedbackBatch = "feedback:"

const keptSQL = `SELECT id, project_id, api_key_id, end_user, model_version, position, prompt_id, messages, text, token_ids, tokenizer_digest, answers,
	hidden_at IS NOT NULL FROM kept_completions `

func scanKept(row pgx.CollectableRow) (k keptCompletion, err error) {
	err = row.Scan(&k.id, &k.projectID, &k.key, &k.endUser, &k.model, &k.position, &k.promptID, &k.prompt.Messages, &k.prompt.Text, &k.prompt.TokenIDs,
		&k.prompt.TokenizerDigest, &k.answers, &k.withdrawn)
	return k, err
}

func collectKept(ctx context.Context, q querier, sql string, args ...any) ([]keptCompletion, error) {
	rows, err := q.Query(ctx, keptSQL+sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanKept)
}

// FeedbackAnswers are the answers that the task of a batch is to show, with the prompt that it asks about. ErrNotFound where
// the batch is none of feedback's, or its customer has withdrawn by now.
func (s *Store) FeedbackAnswers(ctx context.Context, batch string) (Prompt, []NewResponse, error) {
	id := batch[min(len(batch), len(feedbackBatch)):]
	if batch[:len(batch)-len(id)] != feedbackBatch || !isID(id) {
		return Prompt{}, nil, wrap(ErrNotFound, "batch %q", batch)
	}
	list, err := collectKept(ctx, s.pool, `WHERE id = $1 AND hidden_at IS NULL AND prompt_id IS NOT NULL`, id)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Prompt{}, nil, wrap(err, "batch %s", batch)
	}
	p, err := s.Prompt(ctx, *list[0].promptID)
	if err == nil && !p.Usable {
		err = wrap(ErrNotFound, "batch %s", batch)
	}
	return p, list[0].responses(), err
}

// hideCompletions hides what is kept of a customer's completions, or shows it again.
func (s *Store) hideCompletions(ctx context.Context, tx pgx.Tx, customerID, apiKeyID string, hide bool) error {
	_, err := tx.Exec(ctx, `UPDATE kept_completions SET hidden_at = CASE WHEN $3 THEN now() END
		WHERE customer_id = $1 AND ($2 = '' OR api_key_id = $2) AND (hidden_at IS NULL) = $3`, customerID, apiKeyID, hide)
	return err
}

// SweepCompletions deletes what was kept for feedback that did not come within FeedbackDays, at most limit.
func (s *Store) SweepCompletions(ctx context.Context, limit int) (n int, err error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM kept_completions WHERE id IN (
		SELECT k.id FROM kept_completions k WHERE k.created_at < now() - make_interval(days => $1)
			AND NOT EXISTS (SELECT FROM feedback f WHERE f.completion = k.id)
		ORDER BY k.created_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, FeedbackDays, limit)
	return int(tag.RowsAffected()), wrap(err, "sweep completions")
}
