package labeling

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// ReportKinds are what a task can be reported for.
var ReportKinds = []string{FlagUnsafe, FlagPII, "other"}

// Report holds a task back because a labeler found something in it that must not go on: at once it is out of the queue and of
// snapshots, a lease on it ends, it is not served to the reporter again, and it stands in the reviewers' queue until they
// decide. text is required for the kind "other". The same report again changes nothing.
func (s *Store) Report(ctx context.Context, assignmentID, labelerID, kind, text string) error {
	if !slices.Contains(ReportKinds, kind) {
		return invalid("kind", "%q is none of unsafe, pii, other", kind)
	}
	if kind == "other" && Normalize(text) == "" || len(text) > 2000 {
		return invalid("text", "1 to 2000 bytes are wanted; none will do for unsafe and pii")
	}
	if err := CheckText("text", text); err != nil {
		return err
	}
	id, err := newID()
	if err != nil {
		return err
	}
	err = s.closeLease(ctx, assignmentID, labelerID, func(tx pgx.Tx, a lease) error {
		tag, err := tx.Exec(ctx, `INSERT INTO reports (id, project_id, task_id, assignment_id, labeler_id, kind, body) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (assignment_id, kind) DO NOTHING`, id, a.projectID, a.taskID, a.id, labelerID, kind, text)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		switch a.state {
		case Leased, Released, Expired:
			err = a.free(ctx, tx, Skipped, "reported as "+kind)
		case Reopened: // the ranking stands as it was
			err = a.free(ctx, tx, Submitted, "")
		}
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(`UPDATE tasks SET held = $2 WHERE id = $1 AND held = ''`, a.taskID, kind)
		if a.state == Leased || a.state == Released || a.state == Expired {
			b.Queue(`INSERT INTO labelers (project_id, labeler_id, skipped) VALUES ($1, $2, 1)
				ON CONFLICT (project_id, labeler_id) DO UPDATE SET skipped = labelers.skipped + 1`, a.projectID, labelerID)
		}
		b.Queue(`SELECT audit_append($1, 'labeling.report', $2, $3)`, actor(labelerID), a.taskID, map[string]any{"assignment": a.id, "kind": kind, "bytes": len(text)}) // the log outlives an erasure: no words of people
		return tx.SendBatch(ctx, b).Close()
	})
	return wrap(err, "report assignment %s", assignmentID)
}

// Case is a task that waits for a reviewer.
type Case struct {
	TaskID string
	Held   string  // why it is held back; "" where its rankings only disagree
	Tau    float64 // mean Kendall tau-b of its labelers; 1 where there are fewer than two rankings
	Since  time.Time
}

// Decisions of a reviewer.
const (
	DecideAccept  = "accept"  // these ranks are right: the other rankings of the task are put aside
	DecideGold    = "gold"    // these ranks become the known answer: the task measures labelers from now on
	DecideDrop    = "drop"    // the task is held back for good
	DecideRelease = "release" // there is nothing wrong with it
)

// disagreement is the mean tau below which a task goes to the reviewers, and how many of the newest tasks are looked at.
const (
	disagreement = 0.0
	lookBack     = 1000
)

// Cases lists what waits for a reviewer: held tasks, oldest first, then tasks whose labelers contradict each other more than
// they agree, the worst first. What was decided before is in only where it was reported again.
func (s *Store) Cases(ctx context.Context, projectID string, limit int) ([]Case, error) {
	if !isID(projectID) {
		return nil, fmt.Errorf("cases of project %q: %w", projectID, ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `
		SELECT id, held, coalesce((SELECT min(created_at) FROM reports r WHERE r.task_id = t.id), created_at) FROM tasks t
		WHERE project_id = $1 AND held NOT IN ('', 'dropped') ORDER BY 3, id LIMIT $2`, projectID, limit)
	if err != nil {
		return nil, wrap(err, "cases of project %s", projectID)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Case, err error) {
		c.Tau = 1
		err = row.Scan(&c.TaskID, &c.Held, &c.Since)
		return
	})
	if err != nil {
		return nil, wrap(err, "cases of project %s", projectID)
	}
	rows, err = s.pool.Query(ctx, `
		SELECT t.id, t.created_at, k.ranks FROM (
			SELECT id, created_at, k FROM tasks t WHERE project_id = $1 AND purpose = 'work' AND k >= 2 AND done >= 2 AND NOT hidden AND held = ''
				AND NOT EXISTS (SELECT FROM adjudications j WHERE j.task_id = t.id)
			ORDER BY id DESC LIMIT $2) t
		JOIN assignments a ON a.task_id = t.id AND a.ranking_id IS NOT NULL AND NOT a.surplus
		JOIN rankings k ON k.id = a.ranking_id AND cardinality(k.ranks) = t.k ORDER BY t.id`, projectID, lookBack)
	if err != nil {
		return nil, wrap(err, "cases of project %s", projectID)
	}
	var contested []Case
	var c Case
	var ranks []int
	var all [][]int
	close := func() {
		if tau, ok := meanTau(all); ok && tau < disagreement {
			c.Tau = tau
			contested = append(contested, c)
		}
		all = nil
	}
	var task string
	var since time.Time
	_, err = pgx.ForEachRow(rows, []any{&task, &since, &ranks}, func() error {
		if task != c.TaskID {
			close()
			c = Case{TaskID: task, Since: since}
		}
		all, ranks = append(all, ranks), nil
		return nil
	})
	close()
	slices.SortStableFunc(contested, func(a, b Case) int {
		switch {
		case a.Tau < b.Tau:
			return -1
		case a.Tau > b.Tau:
			return 1
		}
		return 0
	})
	list = append(list, contested...)
	return list[:min(limit, len(list))], wrap(err, "cases of project %s", projectID)
}

// meanTau is the mean tau-b over the pairs of rankings; ok is false where no pair has one.
func meanTau(rankings [][]int) (tau float64, ok bool) {
	n := 0
	for i, x := range rankings {
		for _, y := range rankings[:i] {
			if t, ok := Concordance(x, y).TauB(); ok {
				tau += t
				n++
			}
		}
	}
	if n == 0 {
		return 0, false
	}
	return tau / float64(n), true
}

// Opinion is one ranking of a task, as a reviewer sees it.
type Opinion struct {
	RankingID string
	LabelerID string
	Ranks     []int // in the task's own order
	Comment   string
	Surplus   bool
}

// Complaint is one report of a task.
type Complaint struct {
	LabelerID string
	Kind      string
	Text      string
	At        time.Time
}

// CaseFile is everything a reviewer needs to decide on a task.
type CaseFile struct {
	TaskID, ProjectID, Held, Purpose string
	Messages                         []Message
	Answers                          []string
	Opinions                         []Opinion
	Complaints                       []Complaint
}

// CaseFile opens a task of a project for review.
func (s *Store) CaseFile(ctx context.Context, projectID, taskID string) (CaseFile, error) {
	c := CaseFile{TaskID: taskID}
	if !isID(taskID) || !isID(projectID) {
		return c, fmt.Errorf("case %q: %w", taskID, ErrNotFound)
	}
	err := s.pool.QueryRow(ctx, `SELECT t.project_id, t.held, t.purpose, p.messages, ARRAY(SELECT text FROM responses r WHERE r.task_id = t.id ORDER BY position)
		FROM tasks t JOIN prompts p ON p.id = t.prompt_id WHERE t.id = $1 AND t.project_id = $2 AND NOT t.hidden`, taskID, projectID).
		Scan(&c.ProjectID, &c.Held, &c.Purpose, &c.Messages, &c.Answers)
	if err != nil {
		return c, wrap(err, "case %s", taskID)
	}
	rows, err := s.pool.Query(ctx, `SELECT k.id, k.labeler_id, k.ranks, k.comment, a.surplus FROM assignments a JOIN rankings k ON k.id = a.ranking_id
		WHERE a.task_id = $1 ORDER BY k.id`, taskID)
	if err == nil {
		c.Opinions, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Opinion])
	}
	if err == nil {
		if rows, err = s.pool.Query(ctx, `SELECT labeler_id, kind, body, created_at FROM reports WHERE task_id = $1 ORDER BY id`, taskID); err == nil {
			c.Complaints, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Complaint])
		}
	}
	return c, wrap(err, "case %s", taskID)
}

// Verdict is what a reviewer decides of a task. Ranks are wanted for accept and gold, in the task's own order.
type Verdict struct {
	ProjectID, TaskID string
	Decision          string
	Ranks             []int
	Note              string
}

// Decide carries out a reviewer's decision in one act. To accept ranks that a labeler gave keeps that ranking and puts the
// others aside, so that the task is learned from as decided; the task asks for no further ranking. Ranks of the reviewer's
// own are stored as the reviewer's ranking of the task. ErrConflict where a snapshot froze a ranking that would be put aside.
func (s *Store) Decide(ctx context.Context, v Verdict, reviewer string) error {
	if !isID(v.TaskID) || !isID(v.ProjectID) {
		return fmt.Errorf("decide task %q: %w", v.TaskID, ErrNotFound)
	}
	if len(v.Note) > maxComment {
		return invalid("note", "%d bytes, at most %d", len(v.Note), maxComment)
	}
	if err := CheckText("note", v.Note); err != nil {
		return err
	}
	id, err := newID()
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var k int
		var purpose string
		err := tx.QueryRow(ctx, `SELECT k, purpose FROM tasks WHERE id = $1 AND project_id = $2 AND NOT hidden FOR NO KEY UPDATE`, v.TaskID, v.ProjectID).Scan(&k, &purpose)
		if err != nil {
			return err
		}
		switch v.Decision {
		case DecideAccept:
			if purpose != purposeWork {
				return fmt.Errorf("%w: a %s task is not learned from", ErrConflict, purpose)
			}
			err = accept(ctx, tx, &v, k, reviewer)
		case DecideGold:
			err = markGold(ctx, tx, Gold{TaskID: v.TaskID, Stage: GoldStream, Ranks: v.Ranks, Explanation: v.Note}, "user:"+reviewer)
		case DecideDrop:
			_, err = tx.Exec(ctx, `UPDATE tasks SET held = 'dropped' WHERE id = $1`, v.TaskID)
		case DecideRelease:
		default:
			return invalid("decision", "%q is none of accept, gold, drop, release", v.Decision)
		}
		if err != nil {
			return err
		}
		if v.Decision != DecideDrop {
			if _, err := tx.Exec(ctx, `UPDATE tasks SET held = '', position = nextval('task_position') WHERE id = $1 AND held <> ''`, v.TaskID); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `INSERT INTO adjudications (id, project_id, task_id, actor, decision, ranks, note) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			id, v.ProjectID, v.TaskID, "user:"+reviewer, v.Decision, v.Ranks, v.Note); err != nil {
			return err
		}
		return audit(ctx, tx, "user:"+reviewer, "labeling.decide", v.TaskID, map[string]any{"decision": v.Decision, "ranks": v.Ranks, "note": v.Note})
	})
	if err == nil {
		s.measuring.Delete(v.ProjectID)
	}
	return wrap(err, "decide task %s", v.TaskID)
}

// accept leaves one ranking with v's ranks in the task, the labeler's who gave it or the reviewer's own, and puts the others
// aside. Leases under way end as surplus.
func accept(ctx context.Context, tx pgx.Tx, v *Verdict, k int, reviewer string) error {
	if len(v.Ranks) != k {
		return invalid("ranks", "%d given for %d answers", len(v.Ranks), k)
	}
	for i, r := range v.Ranks {
		if r < 1 || r > k {
			return invalid("ranks", "rank %d of answer %d is not within 1..%d", r, i+1, k)
		}
	}
	var err error
	if v.Ranks, err = Canonical(v.Ranks); err != nil {
		return err
	}
	var frozen bool
	var keep *string
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM assignments a JOIN snapshot_items i ON i.ranking_id = a.ranking_id WHERE a.task_id = $1),
		(SELECT a.id FROM assignments a JOIN rankings k ON k.id = a.ranking_id WHERE a.task_id = $1 AND k.ranks = $2 AND a.state IN ('submitted', 'reopened')
			ORDER BY a.surplus, a.id LIMIT 1)`, v.TaskID, v.Ranks).Scan(&frozen, &keep); err != nil {
		return err
	}
	if frozen {
		return fmt.Errorf("%w: a snapshot holds rankings of this task", ErrConflict)
	}
	if keep == nil {
		if keep, err = ownRanking(ctx, tx, v, k, reviewer); err != nil {
			return err
		}
	}
	// Leases lose their slot: what they bring later is surplus, because nothing is open then.
	b := &pgx.Batch{}
	b.Queue(`UPDATE assignments SET state = 'expired', closed_at = now() WHERE task_id = $1 AND state = 'leased'`, v.TaskID)
	b.Queue(`UPDATE assignments SET surplus = id <> $2, aside = false WHERE task_id = $1 AND ranking_id IS NOT NULL`, v.TaskID, *keep)
	b.Queue(`UPDATE tasks SET need = 1, done = 1, open_slots = 0 WHERE id = $1`, v.TaskID)
	return tx.SendBatch(ctx, b).Close()
}

// ownRanking stores the reviewer's ranks as a ranking of the task and returns its assignment.
func ownRanking(ctx context.Context, tx pgx.Tx, v *Verdict, k int, reviewer string) (*string, error) {
	a := lease{projectID: v.ProjectID, taskID: v.TaskID, state: Leased, purpose: purposeWork}
	id, err := newID()
	if err != nil {
		return nil, err
	}
	if a.id, err = newID(); err != nil {
		return nil, err
	}
	order := Order(a.id, k)
	err = tx.QueryRow(ctx, `
		INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline)
		SELECT $1, $2, p.id, $4, 'leased', now(), $5, p.guideline FROM projects p WHERE p.id = $3
		ON CONFLICT (task_id, labeler_id) DO UPDATE SET state = CASE WHEN assignments.ranking_id IS NULL THEN 'leased' ELSE 'reopened' END -- ranked before, otherwise: the next revision
		RETURNING id, guideline, state, ranking_id`, a.id, v.TaskID, v.ProjectID, reviewer, order).Scan(&a.id, &a.guideline, &a.state, &a.rankingID)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, `UPDATE tasks SET need = need + 1 WHERE id = $1`, v.TaskID); err != nil {
		return nil, err
	}
	in := SubmitInput{AssignmentID: a.id, LabelerID: reviewer, Comment: v.Note, IdempotencyKey: "review " + id}
	hash, err := in.hash()
	if err != nil {
		return nil, err
	}
	sheet := answerSheet{ranks: v.Ranks, ratings: make([]int, k), flags: make([][]string, k)}
	_, err = a.store(ctx, tx, id, in, hash, sheet)
	return &a.id, err
}
