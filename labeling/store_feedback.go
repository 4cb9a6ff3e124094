package labeling

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// AddFeedback stores what a customer says of a completion that was kept, with all that follows from it, in one transaction:
// the prompt becomes a task of the project's labelers, a preference a ranking by the customer, a correction a demonstration.
// Where the project's question needs more answers than the completion has, sample is called, which is to see to it that some
// are sampled and the task is made (FeedbackAnswers); it may be nil.
//
// The same feedback again, under the same idempotency key or with the same words, changes nothing and is returned as Replayed;
// other words under the same key are ErrConflict. A later preference or correction takes the place of an earlier one of the
// same completion (FrozenError where a snapshot holds the earlier preference). ErrNotFound: no such completion is kept of this
// customer, because it did not consent, withdrew, or FeedbackDays have passed.
func (s *Store) AddFeedback(ctx context.Context, n NewFeedback, sample func(ctx context.Context, tx pgx.Tx, batch string) error) (f Feedback, err error) {
	if n, err = n.check(); err != nil {
		return f, err
	}
	hash, err := n.hash()
	if err != nil {
		return f, err
	}
	if n.IdempotencyKey == "" {
		n.IdempotencyKey = "sha256 " + hex.EncodeToString(hash[:])
	}
	err = retry(func() error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
			f, err = s.addFeedback(ctx, tx, n, hash, sample)
			return err
		})
	})
	return f, wrap(err, "feedback on completion %s", n.CompletionID)
}

func (s *Store) addFeedback(ctx context.Context, tx pgx.Tx, n NewFeedback, hash [32]byte, sample func(context.Context, pgx.Tx, string) error) (Feedback, error) {
	kept, err := collectKept(ctx, tx, `WHERE completion_id = $1 AND customer_id = $2 ORDER BY position FOR UPDATE`, n.CompletionID, n.CustomerID)
	if err != nil {
		return Feedback{}, err
	}
	if len(kept) == 0 || kept[0].withdrawn {
		return Feedback{}, ErrNotFound
	}
	old, oldHash, err := s.oneFeedback(ctx, tx, n)
	if err == nil {
		if oldHash != hash {
			return Feedback{}, fmt.Errorf("%w: idempotency key used before with another body", ErrConflict)
		}
		old.Replayed = true
		return old, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return Feedback{}, err
	}
	k, at, err := choose(kept, n.Choice)
	if err != nil {
		return Feedback{}, err
	}
	if (n.Preferred || n.Tied) && len(k.answers) < 2 {
		return Feedback{}, invalid("preferred", "there was one answer, and none to compare it with")
	}
	if n.Correction == k.answers[at].Text && n.Correction != "" {
		return Feedback{}, invalid("correction", "it is the answer as it was")
	}
	g := gathering{store: s, ctx: ctx, tx: tx, in: n, kept: k, at: at, sample: sample}
	if g.f.ID, err = newID(); err != nil {
		return Feedback{}, err
	}
	return g.take(hash)
}

// choose finds the prompt and the answer that a choice of the request means.
func choose(kept []keptCompletion, choice int) (keptCompletion, int, error) {
	at := choice
	for _, k := range kept {
		if at < len(k.answers) {
			return k, at, nil
		}
		at -= len(k.answers)
	}
	return keptCompletion{}, 0, invalid("choice", "%d is not within 0..%d", choice, choice-at-1)
}

const feedbackSQL = `SELECT f.id, k.completion_id, f.customer_id, f.api_key_id, k.end_user, k.model_version, f.choice, coalesce(f.rating, 0), f.preferred, f.tied,
	f.correction, f.tags, f.comment, coalesce(k.prompt_id::text, ''),
	coalesce(f.task_id::text, (SELECT t.id::text FROM tasks t WHERE t.prompt_id = k.prompt_id AND t.batch = 'feedback:' || k.id), ''),
	coalesce(f.ranking_id::text, ''), coalesce(f.demonstration_id::text, ''), f.created_at
	FROM feedback f JOIN kept_completions k ON k.id = f.completion `

func (f *Feedback) fields() []any {
	return []any{&f.ID, &f.CompletionID, &f.CustomerID, &f.APIKeyID, &f.EndUser, &f.ModelVersion, &f.Choice, &f.Rating, &f.Preferred, &f.Tied,
		&f.Correction, &f.Tags, &f.Comment, &f.PromptID, &f.TaskID, &f.RankingID, &f.DemonstrationID, &f.CreatedAt}
}

// oneFeedback is what came under the idempotency key before.
func (s *Store) oneFeedback(ctx context.Context, tx pgx.Tx, n NewFeedback) (f Feedback, hash [32]byte, err error) {
	var id string
	var raw []byte
	if err = tx.QueryRow(ctx, `SELECT f.id, f.request_hash FROM feedback f JOIN kept_completions k ON k.id = f.completion
		WHERE k.completion_id = $1 AND f.idempotency_key = $2`, n.CompletionID, n.IdempotencyKey).Scan(&id, &raw); err != nil {
		return f, hash, err
	}
	err = tx.QueryRow(ctx, feedbackSQL+`WHERE f.id = $1`, id).Scan(f.fields()...)
	return f, [32]byte(raw), err
}

// gathering is one feedback on its way into the tables.
type gathering struct {
	store  *Store
	ctx    context.Context
	tx     pgx.Tx
	in     NewFeedback
	kept   keptCompletion
	at     int // the answer, among those to its prompt
	sample func(context.Context, pgx.Tx, string) error
	f      Feedback
}

func (g *gathering) take(hash [32]byte) (Feedback, error) {
	n := g.in
	correction, _ := Redact(n.Correction)
	comment, _ := Redact(n.Comment)
	g.f.CompletionID, g.f.CustomerID, g.f.APIKeyID, g.f.EndUser, g.f.ModelVersion = n.CompletionID, n.CustomerID, n.APIKeyID, g.kept.endUser, g.kept.model
	g.f.Choice, g.f.Rating, g.f.Preferred, g.f.Tied, g.f.Tags = n.Choice, n.Rating, n.Preferred, n.Tied, orEmpty(n.Tags)
	g.f.Correction, g.f.Comment = correction, comment
	prompt, err := g.prompt()
	if err != nil {
		return Feedback{}, err
	}
	if prompt.Usable {
		for _, step := range []func(Prompt) error{g.task, g.prefer, g.correct} {
			if err := step(prompt); err != nil {
				return Feedback{}, err
			}
		}
	}
	var rating *int
	if n.Rating != 0 {
		rating = &n.Rating
	}
	if err := g.tx.QueryRow(g.ctx, `
		INSERT INTO feedback (id, project_id, completion, customer_id, api_key_id, idempotency_key, request_hash, choice, rating, preferred, tied, correction, tags,
			comment, task_id, ranking_id, demonstration_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) RETURNING created_at`,
		g.f.ID, g.kept.projectID, g.kept.id, n.CustomerID, n.APIKeyID, n.IdempotencyKey, hash[:], n.Choice, rating, n.Preferred, n.Tied, correction, g.f.Tags,
		comment, orNull(g.f.TaskID), orNull(g.f.RankingID), orNull(g.f.DemonstrationID)).Scan(&g.f.CreatedAt); err != nil {
		return Feedback{}, err
	}
	return g.f, audit(g.ctx, g.tx, "customer:"+n.CustomerID, "labeling.feedback", g.f.ID, map[string]any{"completion": n.CompletionID, "prompt": g.f.PromptID,
		"task": g.f.TaskID, "ranking": g.f.RankingID, "demonstration": g.f.DemonstrationID})
}

// prompt is the pool's prompt of the completion. One that the pool passed over, because another begins alike, is taken now.
func (g *gathering) prompt() (Prompt, error) {
	if g.kept.promptID != nil {
		g.f.PromptID = *g.kept.promptID
		return collectPrompt(g.ctx, g.tx, `SELECT `+promptColumns+` FROM prompts WHERE id = $1 FOR NO KEY UPDATE`, g.f.PromptID)
	}
	n := g.kept.prompt
	n.ProjectID, n.Origin, n.CustomerID, n.APIKeyID, n.Consent, n.Wanted = g.kept.projectID, OriginAPI, g.in.CustomerID, g.kept.key, true, true
	n.CompletionID, n.EndUser, n.ModelVersion = g.in.CompletionID, g.kept.endUser, g.kept.model
	p, _, err := g.store.AddPrompt(g.ctx, g.tx, n)
	if errors.Is(err, ErrCapped) {
		return Prompt{}, nil // it is known what the customer thinks; the pool takes no more of it
	}
	if err != nil {
		return p, err
	}
	g.f.PromptID = p.ID
	_, err = g.tx.Exec(g.ctx, `UPDATE kept_completions SET prompt_id = $2 WHERE id = $1`, g.kept.id, p.ID)
	return p, err
}

// task asks the project's labelers about the prompt, with the very answers that the customer saw.
func (g *gathering) task(p Prompt) error {
	err := g.tx.QueryRow(g.ctx, `SELECT id FROM tasks WHERE prompt_id = $1 AND batch = $2`, p.ID, g.kept.batch()).Scan(&g.f.TaskID)
	if !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	var asked string
	var overlap int
	if err := g.tx.QueryRow(g.ctx, `SELECT question, overlap FROM projects WHERE id = $1`, p.ProjectID).Scan(&asked, &overlap); err != nil {
		return err
	}
	q, err := questionNamed(asked)
	if err != nil {
		return err
	}
	answers := g.shown(q.max)
	switch {
	case q.prompt != nil && q.prompt(p.Messages) != nil:
		return nil // the question makes no sense of such a conversation
	case len(answers) >= q.min:
	case g.sample == nil:
		return nil
	default:
		return g.sample(g.ctx, g.tx, g.kept.batch())
	}
	t, err := g.store.AddTask(g.ctx, g.tx, p.ID, answers, overlap, g.kept.batch())
	g.f.TaskID = t.ID
	return err
}

// shown are the answers that a task shows: that which the feedback is of, and others up to most.
func (g *gathering) shown(most int) []NewResponse {
	all := g.kept.responses()
	if len(all) <= most {
		return all
	}
	if most == 0 {
		return nil
	}
	list := []NewResponse{all[g.at]}
	for i, a := range all {
		if i != g.at && len(list) < most {
			list = append(list, a)
		}
	}
	return list
}

// prefer stores a preference as the customer's ranking of the task's answers; a later one is its next revision.
func (g *gathering) prefer(Prompt) error {
	if !g.in.Preferred && !g.in.Tied || g.f.TaskID == "" {
		return nil
	}
	answers, err := g.answersOfTask()
	if err != nil {
		return err
	}
	at := -1
	for i, a := range answers {
		if a.Text == g.kept.answers[g.at].Text {
			at = i
		}
	}
	if at < 0 || len(answers) < 2 {
		return nil // the task shows fewer than there were
	}
	r := ranked{labeler: CustomerLabeler(g.in.CustomerID)}
	if r.ranking, err = newID(); err != nil {
		return err
	}
	revision, guideline := 1, 0
	var standing *string
	err = g.tx.QueryRow(g.ctx, `SELECT a.id, a.ranking_id, a.guideline, (SELECT count(*) + 1 FROM rankings k WHERE k.assignment_id = a.id)
		FROM assignments a WHERE a.task_id = $1 AND a.labeler_id = $2`, g.f.TaskID, r.labeler).Scan(&r.assignment, &standing, &guideline, &revision)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		if r.assignment, guideline, err = g.assign(r, len(answers)); err != nil {
			return err
		}
	case err != nil:
		return err
	case standing != nil:
		if err := frozen(g.ctx, g.tx, *standing); err != nil {
			return err
		}
	}
	g.f.RankingID = r.ranking
	return g.rank(r, revision, guideline, g.in.ranks(answers, at))
}

func (g *gathering) answersOfTask() ([]NewResponse, error) {
	rows, err := g.tx.Query(g.ctx, `SELECT text FROM responses WHERE task_id = $1 ORDER BY position`, g.f.TaskID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (a NewResponse, err error) {
		return a, row.Scan(&a.Text)
	})
}

// assign gives the customer a place among those who rank the task, beside the labelers' slots.
func (g *gathering) assign(r ranked, k int) (id string, guideline int, err error) {
	if id, err = newID(); err != nil {
		return id, 0, err
	}
	if _, err = g.tx.Exec(g.ctx, `UPDATE tasks SET need = need + 1, done = done + 1 WHERE id = $1`, g.f.TaskID); err != nil {
		return id, 0, err
	}
	if _, err = g.tx.Exec(g.ctx, `INSERT INTO labelers (project_id, labeler_id, done) VALUES ($1, $2, 1)
		ON CONFLICT (project_id, labeler_id) DO UPDATE SET done = labelers.done + 1`, g.kept.projectID, r.labeler); err != nil {
		return id, 0, err
	}
	order := make([]int, k)
	for i := range order {
		order[i] = i
	}
	err = g.tx.QueryRow(g.ctx, `INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline, ranking_id, closed_at)
		SELECT $1, $2, p.id, $4, 'submitted', now(), $5, p.guideline, $6, now() FROM projects p WHERE p.id = $3 RETURNING guideline`,
		id, g.f.TaskID, g.kept.projectID, r.labeler, order, r.ranking).Scan(&guideline)
	return id, guideline, err
}

// rank writes the ranking, and lets it stand.
func (g *gathering) rank(r ranked, revision, guideline int, ranks []int) error {
	hash, err := g.in.hash()
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO rankings (id, project_id, task_id, assignment_id, labeler_id, revision, ranks, idempotency_key, request_hash, guideline, surplus)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, false)`,
		r.ranking, g.kept.projectID, g.f.TaskID, r.assignment, r.labeler, revision, ranks, "feedback "+g.f.ID, hash[:], guideline)
	b.Queue(`UPDATE assignments SET ranking_id = $2, closed_at = now() WHERE id = $1`, r.assignment, r.ranking)
	return g.tx.SendBatch(g.ctx, b).Close()
}

// correct makes a demonstration of a correction, in the place of an earlier one of the same answer.
func (g *gathering) correct(p Prompt) error {
	if g.f.Correction == "" {
		return nil
	}
	if _, err := g.tx.Exec(g.ctx, `DELETE FROM demonstrations WHERE id IN (
		SELECT demonstration_id FROM feedback WHERE completion = $1 AND customer_id = $2 AND choice = $3)`, g.kept.id, g.in.CustomerID, g.in.Choice); err != nil {
		return err
	}
	id, err := newID()
	if err != nil {
		return err
	}
	hash, err := demonstrationHash(p.Messages, g.f.Correction)
	if err != nil {
		return err
	}
	tag, err := g.tx.Exec(g.ctx, `
		INSERT INTO demonstrations (id, project_id, hash, messages, response, origin, labeler_id, prompt_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		id, p.ProjectID, hash, p.Messages, g.f.Correction, OriginCustomer, CustomerLabeler(g.in.CustomerID), p.ID)
	if tag.RowsAffected() == 1 {
		g.f.DemonstrationID = id
	}
	return err
}

// TakeBack forgets the ratings, tags and comments that a customer gave one choice of a completion, and returns how many there
// were. What it asked labelers stays asked; preferences and corrections stand until others take their place.
func (s *Store) TakeBack(ctx context.Context, customerID, completionID string, choice int) (n int, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM feedback f USING kept_completions k
			WHERE k.id = f.completion AND k.completion_id = $1 AND f.customer_id = $2 AND f.choice = $3
				AND NOT f.preferred AND NOT f.tied AND f.correction = ''`, completionID, customerID, choice)
		n = int(tag.RowsAffected())
		if err != nil || n == 0 {
			return err
		}
		return audit(ctx, tx, "customer:"+customerID, "labeling.feedback_taken_back", completionID, map[string]any{"choice": choice, "feedback": n})
	})
	return n, wrap(err, "take back feedback on completion %s", completionID)
}

// FeedbackFilter chooses feedback; empty fields match all.
type FeedbackFilter struct {
	ProjectID  string
	CustomerID string
	Rating     int    // 1, -1
	Kind       string // preference, correction, comment
	Before     string // id of the last one seen
	Limit      int    // 1 to 200; 0: 200
}

const maxFeedback = 200

// ListFeedback lists feedback whose customer has not withdrawn, newest first.
func (s *Store) ListFeedback(ctx context.Context, q FeedbackFilter) ([]Feedback, error) {
	where, args := []string{`k.hidden_at IS NULL`}, []any{}
	add := func(condition string, value any) {
		args = append(args, value)
		where = append(where, fmt.Sprintf(condition, len(args)))
	}
	if q.ProjectID != "" {
		add(`f.project_id = $%d`, q.ProjectID)
	}
	if q.CustomerID != "" {
		add(`f.customer_id = $%d`, q.CustomerID)
	}
	if q.Rating != 0 {
		add(`f.rating = $%d`, q.Rating)
	}
	switch q.Kind {
	case "":
	case "preference":
		where = append(where, `(f.preferred OR f.tied)`)
	case "correction":
		where = append(where, `f.correction <> ''`)
	case "comment":
		where = append(where, `(f.comment <> '' OR f.tags <> '{}')`)
	default:
		return nil, invalid("kind", "%q is none of preference, correction, comment", q.Kind)
	}
	if q.Before != "" {
		if !isID(q.Before) {
			return nil, invalid("before", "%q is not the id of a feedback", q.Before)
		}
		add(`f.id < $%d`, q.Before)
	}
	if q.Limit < 1 || q.Limit > maxFeedback {
		q.Limit = maxFeedback
	}
	args = append(args, q.Limit)
	rows, err := s.pool.Query(ctx, feedbackSQL+`WHERE `+strings.Join(where, ` AND `)+fmt.Sprintf(` ORDER BY f.id DESC LIMIT $%d`, len(args)), args...)
	if err != nil {
		return nil, wrap(err, "feedback")
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f Feedback, err error) {
		err = row.Scan(f.fields()...)
		return
	})
	return list, wrap(err, "feedback")
}
