package labeling

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// TaskDetail is all that is known of one task.
type TaskDetail struct {
	TaskRow
	ProjectID string
	Prompt    Prompt
	Sources   []PromptSource // who brought the prompt, oldest first
	Answers   []Response     // in the task's own order
	Work      []TaskWork     // by the time of the claim
}

// TaskWork is what one labeler did with a task.
type TaskWork struct {
	AssignmentID string
	LabelerID    string
	State        string
	SkipReason   string
	Surplus      bool
	Guideline    int
	Order        []int // Order[d] = position of the answer shown at d
	ClaimedAt    time.Time
	ClosedAt     *time.Time
	Revisions    []TaskRevision // oldest first
}

// TaskRevision is one submit. Ranks, Ratings and Flags are in the task's own order.
type TaskRevision struct {
	ID        string
	Revision  int
	Counts    bool // the newest, which stands
	Ranks     []int
	Ratings   []int // 0 = none
	Flags     [][]string
	Text      string // what the labeler wrote, where the question asks for it
	Comment   string
	ActiveMS  int64
	WallMS    int64
	CreatedAt time.Time
}

// maxTaskWork is how many labelers of one task a page shows.
const maxTaskWork = 200

// TaskDetail returns one task with its answers and all that was done with it.
func (s *Store) TaskDetail(ctx context.Context, id string) (TaskDetail, error) {
	var d TaskDetail
	if !isID(id) {
		return d, fmt.Errorf("task %q: %w", id, ErrNotFound)
	}
	err := s.pool.QueryRow(ctx, `
		SELECT t.id::text, t.project_id::text, t.prompt_id::text, `+taskStateOf+`, t.k, t.need, t.done, t.batch, t.held, t.created_at
		FROM tasks t WHERE t.id = $1`, id).
		Scan(&d.ID, &d.ProjectID, &d.Prompt.ID, &d.State, &d.K, &d.Need, &d.Done, &d.Batch, &d.Held, &d.CreatedAt)
	if err != nil {
		return d, wrap(err, "task %s", id)
	}
	if d.Prompt, err = s.Prompt(ctx, d.Prompt.ID); err != nil {
		return d, wrap(err, "task %s", id)
	}
	d.Split, d.Origin = d.Prompt.Split, d.Prompt.Origin
	if d.Prompt.CustomerID != nil {
		d.CustomerID = *d.Prompt.CustomerID
	}
	if d.Sources, err = s.PromptSources(ctx, d.Prompt.ID); err != nil {
		return d, err
	}
	if d.Answers, err = s.Responses(ctx, id); err != nil {
		return d, wrap(err, "task %s", id)
	}
	if d.Work, err = s.taskWork(ctx, id); err != nil {
		return d, wrap(err, "task %s", id)
	}
	return d, wrap(s.taskRevisions(ctx, &d), "task %s", id)
}

func (s *Store) taskWork(ctx context.Context, id string) ([]TaskWork, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id::text, labeler_id, state, skip_reason, surplus, guideline, display_order::int[], claimed_at, closed_at
		FROM assignments WHERE task_id = $1 ORDER BY claimed_at, id LIMIT $2`, id, maxTaskWork)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (w TaskWork, err error) {
		err = row.Scan(&w.AssignmentID, &w.LabelerID, &w.State, &w.SkipReason, &w.Surplus, &w.Guideline, &w.Order, &w.ClaimedAt, &w.ClosedAt)
		return
	})
}

// taskRevisions fills in the submits of the task's labelers with their ratings and flags.
func (s *Store) taskRevisions(ctx context.Context, d *TaskDetail) error {
	work := map[string]*TaskWork{}
	ids := make([]string, len(d.Work))
	for i := range d.Work {
		ids[i] = d.Work[i].AssignmentID
		work[ids[i]] = &d.Work[i]
	}
	rows, err := s.pool.Query(ctx, `
		SELECT r.assignment_id::text, r.id::text, r.revision, r.id = a.ranking_id, r.ranks::int[], r.text, r.comment, r.active_ms, r.wall_ms, r.created_at,
			ARRAY(SELECT coalesce((SELECT g.rating FROM ratings g WHERE g.ranking_id = r.id AND g.response_id = q.id), 0)::int FROM responses q WHERE q.task_id = r.task_id ORDER BY q.position),
			ARRAY(SELECT coalesce((SELECT array_to_string(g.flags, ',') FROM ratings g WHERE g.ranking_id = r.id AND g.response_id = q.id), '') FROM responses q WHERE q.task_id = r.task_id ORDER BY q.position)
		FROM rankings r JOIN assignments a ON a.id = r.assignment_id
		WHERE r.assignment_id = ANY($1) ORDER BY r.assignment_id, r.revision LIMIT 1000`, ids)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r struct {
		assignment string
		TaskRevision
	}, err error) {
		var flags []string
		err = row.Scan(&r.assignment, &r.ID, &r.Revision, &r.Counts, &r.Ranks, &r.Text, &r.Comment, &r.ActiveMS, &r.WallMS, &r.CreatedAt, &r.Ratings, &flags)
		for _, f := range flags {
			r.Flags = append(r.Flags, splitFlags(f))
		}
		return
	})
	for _, r := range list {
		w := work[r.assignment]
		w.Revisions = append(w.Revisions, r.TaskRevision)
	}
	return err
}
