package labeling

import (
	"context"
	"slices"
	"strings"
)

// parts are the kinds of subjects that are part of what a customer brought, with the column that names them here and in stored
// completions.
var parts = map[string]struct{ column, stored string }{
	"completion": {"completion_id", "id"}, "user": {"end_user", "end_user"}, "source": {"api_key_id", "key_id"},
}

// PartOf is part of what a customer brought: a completion by its id, all that came for one of the customer's own users ("user"),
// or all that came by one API key or conversation ("source").
func PartOf(kind, customerID, id string) Subject {
	return Subject{Kind: kind, ID: customerID + "/" + id}
}

// eraser is what deletes the subject's rows.
func (s Subject) eraser() (func(*eraser) error, error) {
	by, ok := parts[s.Kind]
	customer, id, whole := strings.Cut(s.ID, "/")
	switch {
	case ok && whole && customer != "" && id != "":
		return func(e *eraser) error {
			if s.Kind == "completion" {
				if err := e.said(customer, id); err != nil {
					return err
				}
			}
			if err := e.where("stored_completions", `customer_id || '/' || `+by.stored+` = $1`, s.ID); err != nil {
				return err
			}
			return e.part(by.column, customer, id)
		}, nil
	case s.Kind == "customer" && s.ID != "":
		return func(e *eraser) error { return e.customer(s.ID) }, nil
	case s.Kind == "labeler" && s.ID != "":
		return func(e *eraser) error { return e.person("labeler_id", s.ID) }, nil
	}
	return nil, invalid("subject", "customer:ID, labeler:ID, or completion:, user: or source: with CUSTOMER/ID is wanted")
}

// customer deletes all that names a customer, and what it said of answers.
func (e *eraser) customer(id string) error {
	kept, err := e.list(`SELECT id::text FROM kept_completions WHERE customer_id = $1 ORDER BY id`, id)
	if err != nil {
		return err
	}
	if err := e.completions(kept); err != nil {
		return err
	}
	if err := e.person("customer_id", id); err != nil {
		return err
	}
	return e.person("labeler_id", CustomerLabeler(id))
}

// part deletes what a customer brought under one value of a column. A prompt that it brought under another value too, with
// consent, stays.
func (e *eraser) part(column, customer, id string) error {
	kept, err := e.list(`SELECT id::text FROM kept_completions WHERE customer_id = $1 AND `+column+` = $2 ORDER BY id`, customer, id)
	if err != nil {
		return err
	}
	prompts, err := e.list(`SELECT p.id::text FROM prompts p WHERE p.customer_id = $1 AND p.origin = 'api'
		AND EXISTS (SELECT FROM prompt_sources s WHERE s.prompt_id = p.id AND s.customer_id = $1 AND s.`+column+` = $2)
		AND NOT EXISTS (SELECT FROM prompt_sources s WHERE s.prompt_id = p.id AND s.customer_id = $1 AND s.consent AND s.`+column+` <> $2) ORDER BY p.id`, customer, id)
	if err != nil {
		return err
	}
	if err := e.completions(kept); err != nil {
		return err
	}
	if _, err := e.tx.Exec(e.ctx, `UPDATE contributors c SET prompts = greatest(0, c.prompts - u.n)
		FROM (SELECT project_id, count(*) n FROM prompts WHERE id = ANY($2::uuid[]) GROUP BY project_id) u
		WHERE c.project_id = u.project_id AND c.customer_id = $1`, customer, prompts); err != nil {
		return err
	}
	if err := e.where("prompts", `id = ANY($1::uuid[])`, prompts); err != nil {
		return err
	}
	return e.where("prompt_sources", `customer_id || '/' || `+column+` = $1`, customer+"/"+id)
}

// completions deletes kept completions with what became of the feedback on them: tasks that show their answers, and
// demonstrations.
func (e *eraser) completions(kept []string) error {
	if len(kept) == 0 {
		return nil
	}
	batches := make([]string, len(kept))
	for i, id := range kept {
		batches[i] = feedbackBatch + id
	}
	tasks, err := e.list(`SELECT id::text FROM tasks WHERE batch = ANY($1) ORDER BY id`, batches)
	if err != nil {
		return err
	}
	written, err := e.list(`SELECT DISTINCT demonstration_id::text FROM feedback WHERE completion = ANY($1::uuid[]) AND demonstration_id IS NOT NULL ORDER BY 1`, kept)
	if err != nil {
		return err
	}
	if _, err := e.tx.Exec(e.ctx, `UPDATE prompts p SET tasks = p.tasks - u.n FROM (SELECT prompt_id, count(*) n FROM tasks WHERE id = ANY($1::uuid[]) GROUP BY prompt_id) u
		WHERE p.id = u.prompt_id`, tasks); err != nil {
		return err
	}
	for _, gone := range []struct {
		table string
		ids   []string
	}{{"tasks", tasks}, {"demonstrations", written}, {"kept_completions", kept}} {
		if err := e.where(gone.table, `id = ANY($1::uuid[])`, slices.Clip(gone.ids)); err != nil {
			return err
		}
	}
	return nil
}

// said deletes a completion from the conversation that it belongs to: the question, its answers, and what was said after them.
func (e *eraser) said(customer, completion string) error {
	turns, err := e.list(`SELECT DISTINCT coalesce(t.parent_id, t.id)::text FROM conversation_turns t JOIN conversations c ON c.id = t.conversation_id
		WHERE c.customer_id = $1 AND t.completion_id = $2 ORDER BY 1`, customer, completion)
	if err != nil || len(turns) == 0 {
		return err
	}
	if err := e.where("conversation_turns", `id = ANY($1::uuid[])`, turns); err != nil {
		return err
	}
	_, err = e.tx.Exec(e.ctx, `UPDATE conversations c SET leaf = (SELECT t.id FROM conversation_turns t WHERE t.conversation_id = c.id ORDER BY t.id DESC LIMIT 1)
		WHERE customer_id = $1 AND NOT EXISTS (SELECT FROM conversation_turns t WHERE t.id = c.leaf)`, customer)
	if err == nil {
		_, err = e.tx.Exec(e.ctx, `UPDATE conversations c SET share_hash = NULL, share_leaf = NULL, shared_at = NULL
			WHERE customer_id = $1 AND share_leaf IS NOT NULL AND NOT EXISTS (SELECT FROM conversation_turns t WHERE t.id = c.share_leaf)`, customer)
	}
	return err
}

// OwnerOf is the customer whose completion has that id. ErrNotFound: nothing is kept of it.
func (s *Store) OwnerOf(ctx context.Context, completion string) (customerID string, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT customer_id FROM stored_completions WHERE id = $1
		UNION ALL SELECT customer_id FROM kept_completions WHERE completion_id = $1
		UNION ALL SELECT customer_id FROM prompt_sources WHERE completion_id = $1 AND customer_id <> ''
		UNION ALL SELECT c.customer_id FROM conversation_turns t JOIN conversations c ON c.id = t.conversation_id WHERE t.completion_id = $1 LIMIT 1`, completion).Scan(&customerID)
	return customerID, wrap(err, "owner of completion %s", completion)
}
