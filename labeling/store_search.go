package labeling

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// taskQuery is a list's statement in the making: fragments with bound values.
type taskQuery struct {
	args []any
}

// bind adds a value and returns its placeholder.
func (q *taskQuery) bind(v any) string {
	q.args = append(q.args, v)
	return fmt.Sprintf("$%d", len(q.args))
}

// driver is where a list's tasks come from: the filter that finds the fewest, by an index that ends in the task's id.
// It returns what a FROM can take as t, bounded to span tasks; the column by which that comes newest first; and the filters
// that are left to check.
func (f TaskFilter) driver(q *taskQuery, project string) (from, newest string, span int, rest TaskFilter) {
	older := func(column string) string {
		if f.Before == "" {
			return ""
		}
		return ` AND ` + column + ` < ` + q.bind(f.Before)
	}
	p := q.bind(project)
	newest = "t.id"
	tasks := func(where string) string {
		return `(SELECT t.* FROM tasks t WHERE t.project_id = ` + p + where + older("t.id") + ` ORDER BY t.id DESC LIMIT ` + q.bind(span) + `) t`
	}
	ids := func(list string) string {
		newest = "x.id" // the same, but the planner does not know
		return `(` + list + ` LIMIT ` + q.bind(span) + `) x CROSS JOIN LATERAL (SELECT * FROM tasks t WHERE t.id = x.id OFFSET 0) t`
	}
	rest, span = f, searchSpan
	if f.Text != "" {
		span = wordsSpan
	}
	switch {
	case f.LabelerID != "":
		rest.LabelerID = ""
		from = ids(`SELECT a.task_id AS id FROM assignments a WHERE a.labeler_id = ` + q.bind(f.LabelerID) + ` AND a.project_id = ` + p + older("a.task_id") + ` ORDER BY a.task_id DESC`)
	case f.Batch != "":
		rest.Batch = ""
		from = tasks(` AND t.batch = ` + q.bind(f.Batch))
	case f.CustomerID != "":
		rest.CustomerID = "" // at most Project.PromptCap prompts
		from = ids(`SELECT t.id FROM prompts c ` + tasksOf("c.id", p) + ` WHERE c.customer_id = ` + q.bind(f.CustomerID) + older("t.id") + ` ORDER BY t.id DESC`)
	case f.State == TaskHeld:
		from = tasks(` AND t.held <> ''`)
	case f.Text != "":
		rest.Text, span = "", searchSpan
		from = ids(`SELECT t.id FROM (SELECT w.id FROM prompts w WHERE w.project_id = ` + p + ` AND to_tsvector('simple', left(w.text, 2000)) @@ to_tsquery('simple', ` + q.bind(wordQuery(f.Text)) + `) LIMIT ` + q.bind(wordsFound) + `) w
			` + tasksOf("w.id", p) + ` WHERE true` + older("t.id") + ` ORDER BY t.id DESC`)
	default:
		from = tasks(``)
	}
	return from, newest, span, rest
}

// tasksOf looks the tasks of a prompt up one by one. The fence keeps the planner from reading the whole table instead,
// which it would for some thousands of prompts.
func tasksOf(prompt, project string) string {
	return `CROSS JOIN LATERAL (SELECT t.id FROM tasks t WHERE t.prompt_id = ` + prompt + ` AND t.project_id = ` + project + ` OFFSET 0) t`
}

// where checks the filters that the driver has left.
func (f TaskFilter) where(q *taskQuery) string {
	var b strings.Builder
	and := func(column, value string) {
		if value != "" {
			b.WriteString(` AND ` + column + ` = ` + q.bind(value))
		}
	}
	and(taskStateOf, f.State)
	and(`t.batch`, f.Batch)
	and(`p.split`, f.Split)
	and(`p.origin`, f.Origin)
	and(`p.customer_id`, f.CustomerID)
	if f.Text != "" {
		b.WriteString(` AND to_tsvector('simple', left(p.text, 2000)) @@ to_tsquery('simple', ` + q.bind(wordQuery(f.Text)) + `)`)
	}
	return b.String()
}

// Tasks lists a page of a project's tasks, newest first. It never counts, and looks through a bounded number of tasks
// however large the project is (TaskPage.Unfinished).
func (s *Store) Tasks(ctx context.Context, projectID string, f TaskFilter, limit int) (TaskPage, error) {
	var page TaskPage
	if !isID(projectID) {
		return page, fmt.Errorf("tasks of project %q: %w", projectID, ErrNotFound)
	}
	if err := f.check(); err != nil {
		return page, err
	}
	limit = max(1, min(limit, maxTaskPage))
	sql, args := taskListSQL(projectID, f, limit)
	// Planned for these very values: a plan for any would have to guess how many tasks a word or a batch finds.
	rows, err := s.pool.Query(ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		return page, wrap(err, "tasks of project %s", projectID)
	}
	page.Rows, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r TaskRow, err error) {
		err = row.Scan(&r.ID, &r.State, &r.K, &r.Need, &r.Done, &r.Batch, &r.Held, &r.Split, &r.Origin, &r.CustomerID, &r.Head, &r.CreatedAt)
		return
	})
	if err != nil {
		return page, wrap(err, "tasks of project %s", projectID)
	}
	if len(page.Rows) > limit {
		page.Rows = page.Rows[:limit]
		page.Next = page.Rows[limit-1].ID
		return page, nil
	}
	return page, wrap(s.farther(ctx, projectID, f, &page), "tasks of project %s", projectID)
}

// taskListSQL is the statement of a page: one row more than the limit tells that there is a next one. A control is a task
// shown to its labeler once more, and no task of its own to an admin.
func taskListSQL(projectID string, f TaskFilter, limit int) (string, []any) {
	var q taskQuery
	from, newest, _, rest := f.driver(&q, projectID)
	return `SELECT t.id::text, ` + taskStateOf + `, t.k, t.need, t.done, t.batch, t.held, p.split, p.origin, coalesce(p.customer_id, ''), left(p.text, 160), t.created_at
		FROM ` + from + `
		CROSS JOIN LATERAL (SELECT * FROM prompts p WHERE p.id = t.prompt_id OFFSET 0) p
		WHERE t.purpose <> 'control'` + rest.where(&q) + ` ORDER BY ` + newest + ` DESC LIMIT ` + q.bind(limit+1), q.args
}

// farther finds out whether a page that is not full has seen everything.
func (s *Store) farther(ctx context.Context, projectID string, f TaskFilter, page *TaskPage) error {
	var q taskQuery
	from, newest, span, _ := f.driver(&q, projectID)
	err := s.pool.QueryRow(ctx, `SELECT t.id::text FROM `+from+` ORDER BY `+newest+` DESC OFFSET `+q.bind(span-1)+` LIMIT 1`,
		append([]any{pgx.QueryExecModeExec}, q.args...)...).Scan(&page.Next)
	switch {
	case err == nil:
		page.Unfinished = true
	case errors.Is(err, pgx.ErrNoRows):
		err = nil
	}
	if err != nil || f.Text == "" {
		return err
	}
	return s.pool.QueryRow(ctx, `SELECT count(*) = $2 FROM (SELECT FROM prompts w WHERE w.project_id = $3 AND to_tsvector('simple', left(w.text, 2000)) @@ to_tsquery('simple', $1) LIMIT $2) w`,
		pgx.QueryExecModeExec, wordQuery(f.Text), wordsFound, projectID).Scan(&page.Common)
}
