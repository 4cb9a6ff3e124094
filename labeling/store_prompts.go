package labeling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const promptColumns = `id, project_id, messages, text, token_ids, tokenizer_digest, origin, customer_id, api_key_id, consent, split, usable, created_at,
	kind, language`

func scanPrompt(row pgx.CollectableRow) (Prompt, error) {
	var p Prompt
	err := row.Scan(&p.ID, &p.ProjectID, &p.Messages, &p.Text, &p.TokenIDs, &p.TokenizerDigest, &p.Origin, &p.CustomerID, &p.APIKeyID,
		&p.Consent, &p.Split, &p.Usable, &p.CreatedAt, &p.Kind, &p.Language)
	return p, err
}

func collectPrompt(ctx context.Context, q querier, sql string, args ...any) (Prompt, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return Prompt{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanPrompt)
}

// check fills a prompt that came as text alone and refuses what cannot be stored as it is.
func (n NewPrompt) check() (NewPrompt, error) {
	if !isID(n.ProjectID) {
		return n, invalid("project", "%q is not a project's id", n.ProjectID)
	}
	if len(n.Messages) == 0 {
		n.Messages = []Message{{Role: "user", Content: n.Text}}
	}
	if n.Text == "" {
		n.Text = n.Messages[len(n.Messages)-1].Content
	}
	if err := checkMessages(n.Messages); err != nil {
		return n, err
	}
	if err := CheckText("text", n.Text); err != nil {
		return n, err
	}
	switch n.Origin {
	case OriginAPI, OriginImport, OriginLabeler:
	default:
		return n, invalid("origin", "%q is none of api, import, labeler", n.Origin)
	}
	switch n.Split {
	case "", Train, Valid, Test:
	default:
		return n, invalid("split", "%q is none of train, valid, test", n.Split)
	}
	if err := CheckLanguage(n.Language); err != nil {
		return n, err
	}
	if n.Kind != "" && !slices.Contains(PromptKinds, n.Kind) {
		return n, invalid("kind", "%q is none of %s", n.Kind, strings.Join(PromptKinds, ", "))
	}
	if n.Origin == OriginAPI && n.CustomerID == "" {
		return n, invalid("customer", "a prompt of the API has one")
	}
	for _, f := range []struct{ field, value string }{{"customer", n.CustomerID}, {"api_key", n.APIKeyID}, {"completion", n.CompletionID}, {"user", n.EndUser}, {"model_version", n.ModelVersion}} {
		if err := CheckText(f.field, f.value); err != nil {
			return n, err
		}
	}
	return n, checkTokens("token_ids", n.TokenIDs, n.TokenizerDigest)
}

func checkTokens(field string, ids []int32, digest string) error {
	if len(ids) > 0 && digest == "" {
		return invalid(field, "token ids mean nothing without the tokenizer's digest")
	}
	for i, id := range ids {
		if id < 0 {
			return invalid(field, "id %d at %d is negative", id, i)
		}
	}
	return CheckText(field+".tokenizer", digest)
}

func (n NewPrompt) usable() bool { return n.Consent || n.Origin != OriginAPI }

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// AddPrompt adds a prompt to the pool, in the caller's transaction. A text that the
// project has already is not added again: its source is noted and the prompt there is
// returned with created false. Such a prompt that may not be used (its customer did
// not consent, or withdrew) passes to a source that consents, unless that would move
// ranked text from one split to another. A customer that brought its full number gets
// ErrCapped, and one whose prompt begins as another of the project does (see
// PrefixRunes) ErrAlike; both leave the transaction usable.
//
// Personal data is redacted before anything else: what is stored, served, compared and
// learned from is the redacted text.
func (s *Store) AddPrompt(ctx context.Context, tx pgx.Tx, n NewPrompt) (p Prompt, created bool, err error) {
	if n, err = n.check(); err != nil {
		return p, false, err
	}
	n, finds, was := n.redact()
	p, created, err = s.addPrompt(ctx, tx, n)
	if err == nil && created && finds != nil {
		err = noteRedaction(ctx, tx, p, finds, was)
	}
	return p, created, wrap(err, "add prompt to project %s", n.ProjectID)
}

func (s *Store) addPrompt(ctx context.Context, tx pgx.Tx, n NewPrompt) (Prompt, bool, error) {
	hash := promptHash(n.Messages)
	const byHash = `SELECT ` + promptColumns + ` FROM prompts WHERE project_id = $1 AND hash = $2 FOR NO KEY UPDATE`
	p, err := collectPrompt(ctx, tx, byHash, n.ProjectID, hash[:])
	if err == nil {
		p, err = s.addSource(ctx, tx, p, n)
		return p, false, err
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return p, false, err
	}
	prefix := prefixHash(n.Messages)
	if n.Origin == OriginAPI && prefix != nil && !n.Wanted {
		var alike bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM prompts WHERE project_id = $1 AND prefix = $2)`, n.ProjectID, prefix).Scan(&alike); err != nil {
			return p, false, err
		}
		if alike {
			return p, false, ErrAlike
		}
	}
	split, err := s.admit(ctx, tx, n, hash)
	if err != nil {
		return p, false, err
	}
	id, err := newID()
	if err != nil {
		return p, false, err
	}
	p, err = collectPrompt(ctx, tx, `
		INSERT INTO prompts (id, project_id, hash, messages, text, token_ids, tokenizer_digest, origin, customer_id, api_key_id, consent, split,
			kind, language, prefix)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (project_id, hash) DO NOTHING RETURNING `+promptColumns,
		id, n.ProjectID, hash[:], n.Messages, n.Text, n.TokenIDs, n.TokenizerDigest, n.Origin, orNull(n.CustomerID), orNull(n.APIKeyID), n.Consent, split,
		n.Kind, n.Language, prefix)
	if errors.Is(err, pgx.ErrNoRows) { // someone else's transaction was first
		if _, err := tx.Exec(ctx, `UPDATE contributors SET prompts = prompts - 1 WHERE project_id = $1 AND customer_id = $2`,
			n.ProjectID, n.CustomerID); err != nil {
			return p, false, err
		}
		if p, err = collectPrompt(ctx, tx, byHash, n.ProjectID, hash[:]); err != nil {
			return p, false, err
		}
		p, err = s.addSource(ctx, tx, p, n)
		return p, false, err
	}
	if err != nil {
		return p, false, err
	}
	return p, true, noteSource(ctx, tx, p.ID, n)
}

func noteSource(ctx context.Context, tx pgx.Tx, promptID string, n NewPrompt) error {
	_, err := tx.Exec(ctx, `INSERT INTO prompt_sources (prompt_id, origin, customer_id, api_key_id, consent, completion_id, end_user, model_version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`, promptID, n.Origin, n.CustomerID, n.APIKeyID, n.Consent, n.CompletionID, n.EndUser, n.ModelVersion)
	return err
}

// addSource notes that n brought the text of p once more, and lets n take p over
// where p may not be used and n may. The caller holds p's row lock.
func (s *Store) addSource(ctx context.Context, tx pgx.Tx, p Prompt, n NewPrompt) (Prompt, error) {
	if err := noteSource(ctx, tx, p.ID, n); err != nil || p.Usable || !n.usable() {
		return p, err
	}
	split := p.Split
	if n.CustomerID != "" && (p.CustomerID == nil || *p.CustomerID != n.CustomerID) {
		var err error
		if split, err = s.admit(ctx, tx, n, [32]byte{}); err != nil {
			return p, err
		}
	}
	taken, err := collectPrompt(ctx, tx, `
		UPDATE prompts SET origin = $2, customer_id = $3, api_key_id = $4, consent = $5, split = $6, hidden_at = NULL
		WHERE id = $1 AND (tasks = 0 OR split = $6) RETURNING `+promptColumns,
		p.ID, n.Origin, orNull(n.CustomerID), orNull(n.APIKeyID), n.Consent, split)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil // ranked on one side already: it stays hidden
	}
	if err != nil {
		return p, err
	}
	_, err = tx.Exec(ctx, `UPDATE tasks SET hidden = false WHERE prompt_id = $1 AND hidden`, p.ID)
	return taken, err
}

// admit counts one more prompt for n's customer and returns the split it belongs to.
// A prompt without a customer stands alone: its own hash decides.
func (s *Store) admit(ctx context.Context, tx pgx.Tx, n NewPrompt, hash [32]byte) (string, error) {
	var valid, test float64
	var limit int
	if err := tx.QueryRow(ctx, `SELECT valid_share, test_share, prompt_cap FROM projects WHERE id = $1`, n.ProjectID).Scan(&valid, &test, &limit); err != nil {
		return "", err
	}
	if n.CustomerID == "" {
		if n.Split != "" {
			return n.Split, nil
		}
		return SplitByHash(fmt.Sprintf("%s %x", n.ProjectID, hash), valid, test), nil
	}
	for range 2 {
		var split string
		var count int
		err := tx.QueryRow(ctx, `SELECT split, prompts FROM contributors WHERE project_id = $1 AND customer_id = $2 FOR NO KEY UPDATE`,
			n.ProjectID, n.CustomerID).Scan(&split, &count)
		if err == nil {
			if n.Split != "" && n.Split != split {
				return "", invalid("split", "%s: the other prompts of this customer are in %s", n.Split, split)
			}
			if count >= limit {
				return "", ErrCapped
			}
			_, err = tx.Exec(ctx, `UPDATE contributors SET prompts = prompts + 1 WHERE project_id = $1 AND customer_id = $2`, n.ProjectID, n.CustomerID)
			return split, err
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return "", err
		}
		// A new customer: arrivals are counted one at a time, under the project's lock.
		if _, err := tx.Exec(ctx, `SELECT FROM projects WHERE id = $1 FOR NO KEY UPDATE`, n.ProjectID); err != nil {
			return "", err
		}
		var ordinal int
		if err := tx.QueryRow(ctx, `SELECT coalesce(max(ordinal) + 1, 0) FROM contributors WHERE project_id = $1`, n.ProjectID).Scan(&ordinal); err != nil {
			return "", err
		}
		if split = n.Split; split == "" {
			split = SplitByArrival(n.ProjectID, ordinal, valid, test)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO contributors (project_id, customer_id, ordinal, split, prompts)
			VALUES ($1, $2, $3, $4, 0) ON CONFLICT (project_id, customer_id) DO NOTHING`, n.ProjectID, n.CustomerID, ordinal, split); err != nil {
			return "", err
		}
	}
	return "", ErrConflict
}

// Prompt returns a prompt by id, usable or not.
func (s *Store) Prompt(ctx context.Context, id string) (Prompt, error) {
	if !isID(id) {
		return Prompt{}, fmt.Errorf("prompt %q: %w", id, ErrNotFound)
	}
	p, err := collectPrompt(ctx, s.pool, `SELECT `+promptColumns+` FROM prompts WHERE id = $1`, id)
	return p, wrap(err, "prompt %s", id)
}

func (s *Store) listPrompts(ctx context.Context, sql string, args ...any) ([]Prompt, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanPrompt)
}

// PromptsWithoutTask lists usable prompts that have never been offered for ranking,
// oldest first, at most limit.
func (s *Store) PromptsWithoutTask(ctx context.Context, projectID string, limit int) ([]Prompt, error) {
	list, err := s.listPrompts(ctx, `SELECT `+promptColumns+` FROM prompts
		WHERE project_id = $1 AND tasks = 0 AND usable ORDER BY id LIMIT $2`, projectID, limit)
	return list, wrap(err, "prompts without a task in project %s", projectID)
}

// UsablePrompts lists the prompts of a split that may be labeled and trained on and were there at a time (zero: that there are), oldest first,
// at most limit.
func (s *Store) UsablePrompts(ctx context.Context, projectID, split string, until time.Time, limit int) ([]Prompt, error) {
	list, err := s.listPrompts(ctx, `SELECT `+promptColumns+` FROM prompts
		WHERE project_id = $1 AND split = $2 AND usable AND created_at <= $3 ORDER BY id LIMIT $4`, projectID, split, moment(until), limit)
	return list, wrap(err, "usable prompts of project %s", projectID)
}

// HoldPrompts says which of the prompts there are, and keeps these from being erased until tx ends.
func (s *Store) HoldPrompts(ctx context.Context, tx pgx.Tx, ids []string) (map[string]bool, error) {
	rows, err := tx.Query(ctx, `SELECT id::text FROM prompts WHERE id = ANY($1::uuid[]) ORDER BY id FOR KEY SHARE`, ids)
	if err != nil {
		return nil, wrap(err, "hold prompts")
	}
	here, err := pgx.CollectRows(rows, pgx.RowTo[string])
	out := map[string]bool{}
	for _, id := range here {
		out[id] = true
	}
	return out, wrap(err, "hold prompts")
}

// PromptsForBatch lists usable prompts of the train and valid splits that have no task in the batch yet: those that were
// never ranked first, then those with the fewest tasks, at most limit. A multi-turn project leaves out single turns.
func (s *Store) PromptsForBatch(ctx context.Context, projectID, batch string, limit int) ([]Prompt, error) {
	list, err := s.listPrompts(ctx, `SELECT `+promptColumns+` FROM prompts p
		WHERE project_id = $1 AND usable AND split IN ('train', 'valid')
		  AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.prompt_id = p.id AND t.batch = $2)
		  AND (messages @> '[{"role": "assistant"}]' OR (SELECT question FROM projects WHERE id = $1) <> 'multiturn')
		ORDER BY tasks, id LIMIT $3`, projectID, batch, limit)
	return list, wrap(err, "prompts for batch %s", batch)
}

// SetConsent applies a customer's decision to the prompts it brought, with one API key
// or (apiKeyID "") with all, in all projects, and returns how many changed. Withdrawal
// takes them from the queue and from all later snapshots at once, and no feedback on them is taken; snapshots that exist
// stay as they are, because a run that trains on one must be able to continue.
// Consent given back brings back what had consent when it came.
func (s *Store) SetConsent(ctx context.Context, tx pgx.Tx, customerID, apiKeyID string, consent bool) (prompts int, err error) {
	rows, err := tx.Query(ctx, `
		UPDATE prompts SET hidden_at = CASE WHEN $3 THEN NULL ELSE now() END
		WHERE customer_id = $1 AND ($2 = '' OR api_key_id = $2) AND (hidden_at IS NOT NULL) = $3
		RETURNING id`, customerID, apiKeyID, consent)
	if err != nil {
		return 0, wrap(err, "consent of customer %s", customerID)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, wrap(err, "consent of customer %s", customerID)
	}
	if _, err = tx.Exec(ctx, `
		UPDATE tasks SET hidden = NOT $2 WHERE id IN (
			SELECT id FROM tasks WHERE prompt_id = ANY($1) AND hidden = $2 ORDER BY id FOR NO KEY UPDATE)`, ids, consent); err != nil {
		return 0, wrap(err, "consent of customer %s", customerID)
	}
	if err := s.hideCompletions(ctx, tx, customerID, apiKeyID, !consent); err != nil {
		return 0, wrap(err, "consent of customer %s", customerID)
	}
	err = audit(ctx, tx, "customer:"+customerID, "labeling.consent", customerID, map[string]any{"consent": consent, "key": apiKeyID, "prompts": len(ids)})
	return len(ids), wrap(err, "consent of customer %s", customerID)
}
