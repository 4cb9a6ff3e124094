package labeling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// What a task is for. Rankings of any but work are out of snapshots, counts and agreement.
const (
	purposeWork    = "work"
	purposeGold    = "gold"    // its ranks are known
	purposeControl = "control" // a labeler's own former task, shown to that labeler again
)

// Stages of a gold task.
const (
	GoldStream   = "stream"   // hidden among a labeler's tasks
	GoldPractice = "practice" // shown with its explanation, before the test
	GoldTest     = "test"     // graded
	GoldRetired  = "retired"  // no longer shown
)

// Gold is a task whose answer is known.
type Gold struct {
	TaskID      string
	Stage       string
	Ranks       []int  // in the task's own order; canonical competition ranks
	Flagged     []bool // whether each answer should get a flag; nil: not asked
	Explanation string // why the ranks are as they are; shown in practice and after the test
	Seen        int    // labelers who ranked it
}

// MarkGold makes a task gold, or changes what is known of it. From then on its rankings measure labelers and are learned from
// no more; its open slots are closed, leases under way end as they would have.
func (s *Store) MarkGold(ctx context.Context, g Gold, actor string) error {
	if !isID(g.TaskID) {
		return fmt.Errorf("gold task %q: %w", g.TaskID, ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return markGold(ctx, tx, g, actor) })
	s.measuring.Clear()
	return wrap(err, "gold task %s", g.TaskID)
}

func markGold(ctx context.Context, tx pgx.Tx, g Gold, actor string) error {
	var project, purpose string
	var k int
	err := tx.QueryRow(ctx, `SELECT project_id, purpose, k FROM tasks WHERE id = $1 FOR NO KEY UPDATE`, g.TaskID).Scan(&project, &purpose, &k)
	if err != nil {
		return err
	}
	if purpose == purposeControl {
		return fmt.Errorf("%w: it is a control of a labeler", ErrConflict)
	}
	ranks, err := checkGold(g, k)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	b.Queue(`UPDATE tasks SET purpose = 'gold', need = need - open_slots, open_slots = 0 WHERE id = $1 AND purpose = 'work'`, g.TaskID)
	b.Queue(`INSERT INTO gold (task_id, project_id, stage, ranks, flagged, explanation) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (task_id) DO UPDATE SET stage = excluded.stage, ranks = excluded.ranks, flagged = excluded.flagged, explanation = excluded.explanation`,
		g.TaskID, project, g.Stage, ranks, g.Flagged, g.Explanation)
	b.Queue(`SELECT audit_append($1, 'labeling.gold', $2, $3)`, actor, g.TaskID, map[string]any{"stage": g.Stage, "ranks": ranks, "flagged": g.Flagged})
	return tx.SendBatch(ctx, b).Close()
}

// checkGold returns the canonical ranks.
func checkGold(g Gold, k int) ([]int, error) {
	switch g.Stage {
	case GoldStream, GoldPractice, GoldTest, GoldRetired:
	default:
		return nil, invalid("stage", "%q is none of stream, practice, test, retired", g.Stage)
	}
	if len(g.Ranks) != k {
		return nil, invalid("ranks", "%d given for %d answers", len(g.Ranks), k)
	}
	for i, r := range g.Ranks {
		if r < 1 || r > k {
			return nil, invalid("ranks", "rank %d of answer %d is not within 1..%d", r, i+1, k)
		}
	}
	ranks, err := Canonical(g.Ranks)
	if err != nil {
		return nil, err
	}
	if len(Pairs(ranks)) == 0 {
		return nil, invalid("ranks", "all answers are tied: nothing can be scored")
	}
	if g.Flagged != nil && len(g.Flagged) != k {
		return nil, invalid("flagged", "%d given for %d answers", len(g.Flagged), k)
	}
	if len(g.Explanation) > maxComment {
		return nil, invalid("explanation", "%d bytes, at most %d", len(g.Explanation), maxComment)
	}
	return ranks, CheckText("explanation", g.Explanation)
}

// GoldTasks lists a project's gold tasks of a stage ("" = all), oldest first.
func (s *Store) GoldTasks(ctx context.Context, projectID, stage string, limit int) ([]Gold, error) {
	rows, err := s.pool.Query(ctx, `SELECT g.task_id, g.stage, g.ranks, g.flagged, g.explanation, t.done
		FROM gold g JOIN tasks t ON t.id = g.task_id WHERE g.project_id = $1 AND ($2 = '' OR g.stage = $2) ORDER BY g.task_id LIMIT $3`,
		projectID, stage, limit)
	if err != nil {
		return nil, wrap(err, "gold tasks of project %s", projectID)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Gold])
	return list, wrap(err, "gold tasks of project %s", projectID)
}

// rates are how often a project measures its labelers, and how many tasks are open. They are asked for at every claim and
// change little in a second.
type rates struct {
	gold    float64 // 0 where there are no gold tasks
	control int
	open    int // tasks with an open slot, counted to OpenLimit
	read    time.Time
}

// ratesFor is how long rates are believed.
const ratesFor = time.Second

// rates reads a project's rates, at most once in ratesFor.
func (s *Store) rates(ctx context.Context, projectID string) (rates, error) {
	if known, ok := s.measuring.Load(projectID); ok && time.Since(known.(rates).read) < ratesFor {
		return known.(rates), nil
	}
	r := rates{read: time.Now()}
	err := s.pool.QueryRow(ctx, `SELECT CASE WHEN EXISTS (SELECT FROM gold g WHERE g.project_id = p.id AND g.stage = 'stream') THEN p.gold_rate ELSE 0 END,
		p.control_after, (SELECT count(*) FROM (SELECT FROM tasks WHERE project_id = p.id AND open LIMIT $2) t)
		FROM projects p WHERE p.id = $1`, projectID, OpenLimit).Scan(&r.gold, &r.control, &r.open)
	if err == nil {
		s.measuring.Store(projectID, r)
	}
	return r, err
}

// draw says what assignment id is to be, by the chance that belongs to the id: gold at the project's rate, a control one time
// in control_after, else work.
func (s *Store) draw(ctx context.Context, projectID, id string) (string, error) {
	r, err := s.rates(ctx, projectID)
	if err != nil {
		return "", err
	}
	rng := derive("special", id)
	gold, control := rng.Float64(), rng.Float64()
	switch {
	case gold < r.gold:
		return purposeGold, nil
	case r.control > 0 && control*float64(r.control) < 1:
		return purposeControl, nil
	}
	return purposeWork, nil
}

// takeSpecial serves a task that measures the labeler in place of the next one of the queue, and returns its assignment, ""
// where the draw was for work or there is none. It changes no slot of anybody.
func (s *Store) takeSpecial(ctx context.Context, projectID, labelerID, id, kind string) (string, error) {
	switch kind {
	case purposeGold:
		return s.takeGold(ctx, projectID, labelerID, id)
	case purposeControl:
		return s.takeControl(ctx, projectID, labelerID, id)
	}
	return "", nil
}

// takeGold serves a gold task that the labeler has not had. Each labeler meets them in an order of its own.
func (s *Store) takeGold(ctx context.Context, projectID, labelerID, id string) (taken string, err error) {
	err = s.pool.QueryRow(ctx, `
		WITH pick AS MATERIALIZED (
			SELECT t.id, t.k FROM gold g JOIN tasks t ON t.id = g.task_id
			WHERE g.project_id = $1 AND g.stage = 'stream' AND NOT t.hidden AND t.held = '' AND `+admitted+` AND `+unseen+`
			ORDER BY md5($2 || t.id::text) LIMIT 1 FOR NO KEY UPDATE OF t SKIP LOCKED
		), taken AS (`+insertLease+`
		), slot AS (
			UPDATE tasks t SET need = need + 1 FROM taken WHERE t.id = taken.task_id
		)
		SELECT id FROM taken`, projectID, labelerID, id, Order(id, MaxAnswers)).Scan(&taken)
	if errors.Is(err, pgx.ErrNoRows) || deadlocked(err) {
		return "", nil
	}
	return taken, err
}

// takeControl shows a labeler an own former task again: a copy of it, which only this labeler is ever served. It is the one
// ranked control_after tasks ago, or none where that is no longer to be shown or was repeated already.
func (s *Store) takeControl(ctx context.Context, projectID, labelerID, id string) (taken string, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		task, err := newID()
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			WITH former AS (
				SELECT a.id, a.task_id FROM projects p, LATERAL (
					SELECT a.id, a.task_id FROM assignments a WHERE a.project_id = p.id AND a.labeler_id = $2 AND a.ranking_id IS NOT NULL
					ORDER BY a.closed_at DESC OFFSET p.control_after LIMIT 1) a
				WHERE p.id = $1 AND p.control_after > 0 AND `+admitted+`
			)
			INSERT INTO tasks (id, project_id, prompt_id, k, need, open_slots, purpose, control_of)
			SELECT $3, t.project_id, t.prompt_id, t.k, 1, 0, 'control', f.id FROM former f JOIN tasks t ON t.id = f.task_id
			WHERE t.purpose = 'work' AND t.k >= 2 AND NOT t.hidden AND t.held = ''
			ON CONFLICT (control_of) WHERE control_of IS NOT NULL DO NOTHING`, projectID, labelerID, task)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(`INSERT INTO responses (id, prompt_id, task_id, position, text, raw, token_ids, tokenizer_digest, model_version, finish)
			SELECT gen_random_uuid(), r.prompt_id, t.id, r.position, r.text, r.raw, r.token_ids, r.tokenizer_digest, r.model_version, r.finish
			FROM tasks t JOIN assignments a ON a.id = t.control_of JOIN responses r ON r.task_id = a.task_id WHERE t.id = $1`, task)
		b.Queue(`WITH pick AS (SELECT id, k FROM tasks WHERE id = $5) `+insertLease, projectID, labelerID, id, Order(id, MaxAnswers), task)
		taken = id
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		taken = ""
	}
	return taken, err
}

// refusal says why nothing is served: no task is open, or the labeler has to qualify first. A quarantine looks like an empty
// queue to the one it concerns.
func (s *Store) refusal(ctx context.Context, projectID, labelerID string) error {
	var unqualified bool
	err := s.pool.QueryRow(ctx, `SELECT p.qualify AND l.qualified_at IS NULL AND l.quarantined_at IS NULL FROM projects p
		LEFT JOIN labelers l ON l.project_id = p.id AND l.labeler_id = $2 WHERE p.id = $1`, projectID, labelerID).Scan(&unqualified)
	switch {
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return err
	case unqualified:
		return ErrUnqualified
	}
	return ErrEmpty
}
