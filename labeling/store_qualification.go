package labeling

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

// Qualification is where a labeler stands on the way into a project: practice items with explained answers, then a test on
// items whose answers are known, graded by the pairs ordered alike and by the answers flagged as they should be.
type Qualification struct {
	Required  bool // the project serves only those who passed
	Qualified bool
	Practice  int // practice items not answered yet
	Attempt   int // the newest, from 1; 0: none
	Attempts  int // at most
	Open      bool
	Passed    bool       // the newest attempt
	RetryAt   *time.Time // when another attempt may begin; nil: now, or never (Attempt = Attempts)
	PassPairs float64
	PassFlags float64
	Items     []GradedItem // of the newest attempt, once it is over
}

// GradedItem is one answered item with what was known of it.
type GradedItem struct {
	TaskID      string
	Prompt      string
	Answers     []string // in the task's own order, as all below
	Ranks       []int    // given
	Known       []int
	Flagged     []bool // given; nil: not asked
	KnownFlags  []bool
	Pairs       int // strict pairs of the known ranks
	Agreed      int // of these, ordered alike
	Flags       int // answers asked about
	FlagsHit    int
	Explanation string
}

// QualifyItem is what a labeler is asked next.
type QualifyItem struct {
	TaskID   string
	Practice bool
	Position int // from 0
	Of       int // items of the practice or of the attempt
	AskFlags bool
	Messages []Message
	Answers  []string // in the order shown
	Order    []int    // Order[d] = place in the task's own order of the answer shown at d
}

// Grade counts the pairs and flags of an item. flagged and known flags may be nil: nothing is asked then.
func Grade(known, ranks []int, knownFlags, flagged []bool) (pairs, agreed, flags, hit int) {
	agreed, pairs = GoldScore(known, ranks)
	for i, want := range knownFlags {
		flags++
		if i < len(flagged) && flagged[i] == want {
			hit++
		}
	}
	return pairs, agreed, flags, hit
}

// Passes says whether an attempt is good enough. What was not asked for is not missed; no pairs at all do not pass.
func (q QualitySettings) Passes(pairs, agreed, flags, hit int) bool {
	const slack = 1e-9
	return pairs > 0 && float64(agreed) >= q.PassPairs*float64(pairs)-slack && float64(hit) >= q.PassFlags*float64(flags)-slack
}

// Qualification says where a labeler stands.
func (s *Store) Qualification(ctx context.Context, projectID, labelerID string) (Qualification, error) {
	q, _, err := s.qualification(ctx, s.pool, projectID, labelerID)
	if err == nil && q.Attempt > 0 && !q.Open {
		q.Items, err = s.graded(ctx, projectID, labelerID, q.Attempt)
	}
	return q, wrap(err, "qualification of %s", labelerID)
}

func (s *Store) qualification(ctx context.Context, db querier, projectID, labelerID string) (Qualification, QualitySettings, error) {
	var q Qualification
	settings, err := s.QualitySettings(ctx, projectID)
	if err != nil {
		return q, settings, err
	}
	q.Required, q.Attempts, q.PassPairs, q.PassFlags = settings.Qualify, settings.Attempts, settings.PassPairs, settings.PassFlags
	var finished *time.Time
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM labelers WHERE project_id = $1 AND labeler_id = $2 AND qualified_at IS NOT NULL),
		(SELECT count(*) FROM gold g WHERE g.project_id = $1 AND g.stage = 'practice' AND NOT EXISTS (SELECT FROM qualification_answers a
			WHERE a.project_id = $1 AND a.labeler_id = $2 AND a.attempt = 0 AND a.task_id = g.task_id))`, projectID, labelerID).Scan(&q.Qualified, &q.Practice)
	if err != nil {
		return q, settings, err
	}
	var again, now time.Time
	err = db.QueryRow(ctx, `SELECT attempt, finished_at, coalesce(passed, false), coalesce(finished_at, started_at) + make_interval(hours => $3), now()
		FROM qualifications WHERE project_id = $1 AND labeler_id = $2 ORDER BY attempt DESC LIMIT 1`, projectID, labelerID, settings.RetryHours).
		Scan(&q.Attempt, &finished, &q.Passed, &again, &now)
	if errors.Is(err, pgx.ErrNoRows) {
		return q, settings, nil
	}
	q.Open = finished == nil
	if !q.Open && !q.Passed && q.Attempt < q.Attempts && again.After(now) {
		q.RetryAt = &again
	}
	return q, settings, err
}

func (s *Store) graded(ctx context.Context, projectID, labelerID string, attempt int) ([]GradedItem, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT a.task_id, p.text, ARRAY(SELECT text FROM responses r WHERE r.task_id = a.task_id ORDER BY position), a.ranks, g.ranks, a.flagged, g.flagged,
			a.pairs, a.agreed, a.flags, a.flags_hit, g.explanation
		FROM qualification_answers a JOIN gold g ON g.task_id = a.task_id JOIN tasks t ON t.id = a.task_id JOIN prompts p ON p.id = t.prompt_id
		WHERE a.project_id = $1 AND a.labeler_id = $2 AND a.attempt = $3 AND a.answered_at IS NOT NULL AND NOT t.hidden ORDER BY a.position`,
		projectID, labelerID, attempt)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[GradedItem])
}

// NextItem is what the labeler is asked next: a practice item while there are any, then the open attempt's next one; an
// attempt begins with the first call that may begin one, on items of no earlier attempt as far as there are enough. ErrEmpty
// where nothing is left to do: passed, out of attempts, or too early (see Qualification); or the project has no test items.
func (s *Store) NextItem(ctx context.Context, projectID, labelerID string) (QualifyItem, error) {
	var item QualifyItem
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// One call of a labeler at a time: two tabs begin one attempt.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('qualify ' || $1 || $2, 0))`, projectID, labelerID); err != nil {
			return err
		}
		q, settings, err := s.qualification(ctx, tx, projectID, labelerID)
		if err != nil {
			return err
		}
		switch {
		case q.Practice > 0:
			item.Practice = true
			err = tx.QueryRow(ctx, `SELECT g.task_id, g.flagged IS NOT NULL, count(*) FILTER (WHERE a.task_id IS NOT NULL) OVER (), count(*) OVER ()
				FROM gold g LEFT JOIN qualification_answers a ON a.project_id = $1 AND a.labeler_id = $2 AND a.attempt = 0 AND a.task_id = g.task_id
				WHERE g.project_id = $1 AND g.stage = 'practice' ORDER BY a.task_id IS NOT NULL, g.task_id LIMIT 1`, projectID, labelerID).
				Scan(&item.TaskID, &item.AskFlags, &item.Position, &item.Of)
		case q.Open:
		case q.Qualified || q.Passed || q.Attempt >= q.Attempts || q.RetryAt != nil:
			return ErrEmpty
		default:
			q.Attempt++
			err = begin(ctx, tx, projectID, labelerID, q.Attempt, settings.TestItems)
		}
		if err == nil && !item.Practice {
			err = tx.QueryRow(ctx, `SELECT a.task_id, g.flagged IS NOT NULL, a.position, (SELECT count(*) FROM qualification_answers b
					WHERE b.project_id = $1 AND b.labeler_id = $2 AND b.attempt = $3)
				FROM qualification_answers a JOIN gold g ON g.task_id = a.task_id
				WHERE a.project_id = $1 AND a.labeler_id = $2 AND a.attempt = $3 AND a.answered_at IS NULL ORDER BY a.position LIMIT 1`,
				projectID, labelerID, q.Attempt).Scan(&item.TaskID, &item.AskFlags, &item.Position, &item.Of)
		}
		if err != nil {
			return err
		}
		var texts []string
		err = tx.QueryRow(ctx, `SELECT p.messages, ARRAY(SELECT text FROM responses r WHERE r.task_id = t.id ORDER BY position)
			FROM tasks t JOIN prompts p ON p.id = t.prompt_id WHERE t.id = $1`, item.TaskID).Scan(&item.Messages, &texts)
		item.Order = itemOrder(labelerID, item.TaskID, len(texts))
		for _, pos := range item.Order {
			item.Answers = append(item.Answers, texts[pos])
		}
		return err
	})
	return item, wrap(err, "next item of %s", labelerID)
}

// itemOrder is the order in which a labeler is shown an item.
func itemOrder(labelerID, taskID string, k int) []int { return Order(labelerID+" "+taskID, k) }

// begin draws an attempt's items: those of no earlier attempt first, each labeler's in an order of its own.
func begin(ctx context.Context, tx pgx.Tx, projectID, labelerID string, attempt, items int) error {
	tag, err := tx.Exec(ctx, `
		INSERT INTO qualification_answers (project_id, labeler_id, attempt, task_id, position)
		SELECT $1, $2, $3, x.task_id, row_number() OVER (ORDER BY x.used, x.draw) - 1 FROM (
			SELECT g.task_id, md5($2 || g.task_id::text) AS draw, (SELECT count(*) FROM qualification_answers a
				WHERE a.project_id = $1 AND a.labeler_id = $2 AND a.attempt > 0 AND a.task_id = g.task_id) AS used
			FROM gold g JOIN tasks t ON t.id = g.task_id WHERE g.project_id = $1 AND g.stage = 'test' AND NOT t.hidden AND t.held = ''
			ORDER BY 3, 2 LIMIT $4) x`, projectID, labelerID, attempt, items)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrEmpty
	}
	if err == nil {
		_, err = tx.Exec(ctx, `INSERT INTO qualifications (project_id, labeler_id, attempt) VALUES ($1, $2, $3)`, projectID, labelerID, attempt)
	}
	return err
}

// AnswerItem stores and grades the answer to an item, ranks and flags in the order shown. For a practice item it returns the
// known answer and its explanation; for one of the test nothing but whether the attempt is over: what was right is shown then
// (Qualification). An item that was answered, or is not asked, is ErrConflict.
func (s *Store) AnswerItem(ctx context.Context, projectID, labelerID, taskID string, ranks []int, flagged []bool) (item *GradedItem, over bool, err error) {
	if !isID(taskID) || !isID(projectID) {
		return nil, false, fmt.Errorf("item %q: %w", taskID, ErrNotFound)
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('qualify ' || $1 || $2, 0))`, projectID, labelerID); err != nil {
			return err
		}
		q, settings, err := s.qualification(ctx, tx, projectID, labelerID)
		if err != nil {
			return err
		}
		g := GradedItem{TaskID: taskID}
		var stage string
		err = tx.QueryRow(ctx, `SELECT g.stage, g.ranks, g.flagged, g.explanation, p.text, ARRAY(SELECT text FROM responses r WHERE r.task_id = t.id ORDER BY position)
			FROM gold g JOIN tasks t ON t.id = g.task_id JOIN prompts p ON p.id = t.prompt_id WHERE g.task_id = $1 AND g.project_id = $2`, taskID, projectID).
			Scan(&stage, &g.Known, &g.KnownFlags, &g.Explanation, &g.Prompt, &g.Answers)
		if err != nil {
			return err
		}
		if err := g.take(itemOrder(labelerID, taskID, len(g.Known)), ranks, flagged); err != nil {
			return err
		}
		attempt := q.Attempt
		if stage == GoldPractice {
			attempt = 0
		} else if !q.Open {
			return fmt.Errorf("%w: no attempt is open", ErrConflict)
		}
		var tag interface{ RowsAffected() int64 }
		if attempt == 0 {
			tag, err = tx.Exec(ctx, `INSERT INTO qualification_answers (project_id, labeler_id, attempt, task_id, position, ranks, flagged, pairs, agreed, flags, flags_hit, answered_at)
				VALUES ($1, $2, 0, $3, 0, $4, $5, $6, $7, $8, $9, now()) ON CONFLICT DO NOTHING`,
				projectID, labelerID, taskID, g.Ranks, g.Flagged, g.Pairs, g.Agreed, g.Flags, g.FlagsHit)
		} else {
			tag, err = tx.Exec(ctx, `UPDATE qualification_answers SET ranks = $5, flagged = $6, pairs = $7, agreed = $8, flags = $9, flags_hit = $10, answered_at = now()
				WHERE project_id = $1 AND labeler_id = $2 AND attempt = $3 AND task_id = $4 AND answered_at IS NULL`,
				projectID, labelerID, attempt, taskID, g.Ranks, g.Flagged, g.Pairs, g.Agreed, g.Flags, g.FlagsHit)
		}
		if err == nil && tag.RowsAffected() == 0 {
			err = fmt.Errorf("%w: it was answered, or is not asked", ErrConflict)
		}
		if err != nil {
			return err
		}
		if attempt == 0 {
			item = &g
			return nil
		}
		over, err = finish(ctx, tx, projectID, labelerID, attempt, settings)
		return err
	})
	return item, over, wrap(err, "item %s", taskID)
}

// take checks an answer in the order shown and grades it in the task's own.
func (g *GradedItem) take(order, ranks []int, flagged []bool) error {
	k := len(order)
	if len(ranks) != k {
		return invalid("ranks", "%d given for %d answers", len(ranks), k)
	}
	if flagged != nil && len(flagged) != k {
		return invalid("flagged", "%d given for %d answers", len(flagged), k)
	}
	for i, r := range ranks {
		if r < 1 || r > k {
			return invalid("ranks", "rank %d of answer %d is not within 1..%d", r, i+1, k)
		}
	}
	canonical, err := Canonical(ranks)
	if err != nil {
		return err
	}
	g.Ranks = make([]int, k)
	if g.KnownFlags != nil {
		g.Flagged = make([]bool, k)
	}
	for d, pos := range order {
		g.Ranks[pos] = canonical[d]
		if g.Flagged != nil && flagged != nil {
			g.Flagged[pos] = flagged[d]
		}
	}
	g.Pairs, g.Agreed, g.Flags, g.FlagsHit = Grade(g.Known, g.Ranks, g.KnownFlags, g.Flagged)
	return nil
}

// finish closes an attempt whose items are all answered, and lets the labeler in where it passes.
func finish(ctx context.Context, tx pgx.Tx, projectID, labelerID string, attempt int, settings QualitySettings) (bool, error) {
	var open, pairs, agreed, flags, hit int
	err := tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE answered_at IS NULL), sum(pairs), sum(agreed), sum(flags), sum(flags_hit)
		FROM qualification_answers WHERE project_id = $1 AND labeler_id = $2 AND attempt = $3`, projectID, labelerID, attempt).
		Scan(&open, &pairs, &agreed, &flags, &hit)
	if err != nil || open > 0 {
		return false, err
	}
	passed := settings.Passes(pairs, agreed, flags, hit)
	b := &pgx.Batch{}
	b.Queue(`UPDATE qualifications SET finished_at = now(), passed = $4 WHERE project_id = $1 AND labeler_id = $2 AND attempt = $3`, projectID, labelerID, attempt, passed)
	if passed {
		b.Queue(`INSERT INTO labelers (project_id, labeler_id, qualified_at) VALUES ($1, $2, now())
			ON CONFLICT (project_id, labeler_id) DO UPDATE SET qualified_at = now()`, projectID, labelerID)
	}
	share := func(n, of int) float64 { return math.Round(1000*float64(n)/float64(max(1, of))) / 1000 }
	b.Queue(`SELECT audit_append($1, 'labeling.qualify', $2, $3)`, actor(labelerID), projectID,
		map[string]any{"attempt": attempt, "passed": passed, "pairs": share(agreed, pairs), "flags": share(hit, flags)})
	return true, tx.SendBatch(ctx, b).Close()
}
