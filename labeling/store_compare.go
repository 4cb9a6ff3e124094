package labeling

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// AddComparison makes a project in which two models are compared, and its prompts, in the caller's transaction. It asks the
// pairwise question; its rankings are its own, so that no other project's snapshot holds them. Prompts that are there twice are
// taken once; sources[i] is the place in list of the i-th prompt returned. ErrConflict: the name is taken.
func (s *Store) AddComparison(ctx context.Context, tx pgx.Tx, p Project, list []NewPrompt) (made Project, prompts []Prompt, sources []int, err error) {
	p.Question, p.K, p.PromptCap = QuestionPairwise, 2, biggestCap
	if p, err = p.withDefaults(); err != nil {
		return p, nil, nil, err
	}
	if p.ID, err = insertProject(ctx, tx, p); err == nil && p.ID == "" {
		err = fmt.Errorf("%w: there is a project %q", ErrConflict, p.Name)
	}
	if err != nil {
		return p, nil, nil, wrap(err, "comparison %q", p.Name)
	}
	for i, n := range list {
		n.ProjectID, n.Split, n.Wanted = p.ID, Test, true
		prompt, created, err := s.AddPrompt(ctx, tx, n)
		if err != nil {
			return p, nil, nil, err
		}
		if created {
			prompts, sources = append(prompts, prompt), append(sources, i)
		}
	}
	return p, prompts, sources, nil
}

// CloseComparison takes a comparison's project from the labelers, or gives it back to them.
func (s *Store) CloseComparison(ctx context.Context, tx pgx.Tx, projectID string, closed bool) error {
	tag, err := tx.Exec(ctx, `UPDATE projects SET closed = $2 WHERE id = $1 AND comparison <> ''`, projectID, closed)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	return wrap(err, "close comparison in project %s", projectID)
}

// HeldOut draws n usable prompts of a split for an evaluation, in an order that the seed alone decides; of one category where that
// is not empty: a kind of prompt, a language or an origin (see Category).
func (s *Store) HeldOut(ctx context.Context, projectID, split, category string, n int, seed uint64) ([]Prompt, error) {
	if !isID(projectID) {
		return nil, fmt.Errorf("held-out prompts of project %q: %w", projectID, ErrNotFound)
	}
	for field, v := range map[string]string{"split": split, "category": category} {
		if err := CheckText(field, v); err != nil {
			return nil, err
		}
	}
	list, err := s.listPrompts(ctx, `SELECT `+promptColumns+` FROM prompts
		WHERE project_id = $1 AND usable AND split = $2 AND ($3 = '' OR $3 IN (kind, language, origin)) ORDER BY md5(id::text || $4), id LIMIT $5`,
		projectID, split, category, fmt.Sprint(seed), n)
	return list, wrap(err, "held-out prompts of project %s", projectID)
}

// Category is what a prompt is counted under where figures are split: its kind, else its language, else where it came from.
func (p Prompt) Category() string {
	switch {
	case p.Kind != "":
		return p.Kind
	case p.Language != "":
		return p.Language
	}
	return p.Origin
}

// AsNew is the prompt as it is added to another project: with its customer, so that consent and erasure reach the copy.
func (p Prompt) AsNew() NewPrompt {
	n := NewPrompt{Messages: p.Messages, Text: p.Text, TokenIDs: p.TokenIDs, TokenizerDigest: p.TokenizerDigest, Origin: p.Origin, Consent: p.Consent, Kind: p.Kind, Language: p.Language}
	if p.CustomerID != nil {
		n.CustomerID = *p.CustomerID
	}
	if p.APIKeyID != nil {
		n.APIKeyID = *p.APIKeyID
	}
	return n
}

// TasksOf reads the prompts and answers of tasks, as far as they are still there and may be shown, by task.
func (s *Store) TasksOf(ctx context.Context, ids []string) (map[string]RankedPrompt, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT t.id, t.prompt_id, p.text, p.messages, r.id, r.text, r.token_ids, r.tokenizer_digest, r.finish
		FROM tasks t JOIN prompts p ON p.id = t.prompt_id JOIN responses r ON r.task_id = t.id
		WHERE t.id = ANY($1::uuid[]) AND p.usable ORDER BY t.id, r.position`, ids)
	if err != nil {
		return nil, wrap(err, "tasks of a comparison")
	}
	out := map[string]RankedPrompt{}
	var p RankedPrompt
	var c RankedCompletion
	_, err = pgx.ForEachRow(rows, []any{&p.TaskID, &p.PromptID, &p.Prompt, &p.Messages, &c.ResponseID, &c.Text, &c.TokenIDs, &c.TokenizerDigest, &c.Finish}, func() error {
		have, ok := out[p.TaskID]
		if !ok {
			have = p
		}
		have.Completions = append(have.Completions, c)
		out[p.TaskID] = have
		p, c = RankedPrompt{}, RankedCompletion{}
		return nil
	})
	return out, wrap(err, "tasks of a comparison")
}

// ImportRankings reads rankings.jsonl that another room wrote into a project, as ImportFile does, and says by which import.
func (s *Store) ImportRankings(ctx context.Context, n NewImport, list []Record) (ImportRun, error) {
	n.Format = "rankings"
	file, err := rankingsFile(list)
	if err != nil {
		return ImportRun{}, err
	}
	run, err := s.StartImport(ctx, n, file, "")
	if err == nil {
		run, err = s.WorkImport(ctx, run, file)
	}
	if err == nil && run.State == "failed" {
		err = errors.New(run.Error)
	}
	return run, err
}
