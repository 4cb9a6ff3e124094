package labeling

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Submit stores finished work, whatever the question: one transaction with its
// comparisons, ratings, flags and demonstration, the closed lease, the task's counters, the audit row, and after (may be nil),
// which cmd sets to what other rooms do when a ranking is in.
//
// The same key with the same input returns the ranking that is there, without running
// after again; another input under the same key, or a second ranking of work that is
// submitted and not reopened, is ErrConflict. After the lease's end the ranking takes
// an open slot; with none open it is kept as surplus. After Reopen it is the next
// revision, unless a snapshot froze the last one (FrozenError).
//
// Two submits that complete a batch at the same moment do not see each other from
// within after; what waits for a full batch must also look again later.
func (s *Store) Submit(ctx context.Context, in SubmitInput, after func(ctx context.Context, tx pgx.Tx, projectID string) error) (Ranking, error) {
	if !isID(in.AssignmentID) {
		return Ranking{}, fmt.Errorf("submit assignment %q: %w", in.AssignmentID, ErrNotFound)
	}
	if in.IdempotencyKey == "" || len(in.IdempotencyKey) > 200 {
		return Ranking{}, invalid("idempotency_key", "1 to 200 bytes are wanted")
	}
	if err := CheckText("idempotency_key", in.IdempotencyKey); err != nil {
		return Ranking{}, err
	}
	var r Ranking
	err := retry(func() (err error) {
		r, err = s.submit(ctx, in, after)
		return err
	})
	if violates(err, "rankings_labeler_id_idempotency_key_key") {
		err = fmt.Errorf("%w: idempotency key used for another task", ErrConflict)
	}
	if err != nil {
		return Ranking{}, wrap(err, "submit assignment %s", in.AssignmentID)
	}
	return r, nil
}

// submit knows the lease from its claim, or reads it without a lock, and writes against what it knows: writing finds nothing to do
// where somebody changed it in between, and is tried again.
func (s *Store) submit(ctx context.Context, in SubmitInput, after func(context.Context, pgx.Tx, string) error) (r Ranking, err error) {
	hash, err := in.hash()
	if err != nil {
		return r, err
	}
	var id string
	a, ok := s.served.take(in.AssignmentID, in.LabelerID)
	if !ok {
		var known replay
		if a, known, err = s.lookUp(ctx, in); err == nil {
			id, err = known.of(a, hash)
		}
		if err != nil {
			return r, err
		}
		if id != "" {
			return readRanking(ctx, s.pool, id)
		}
	}
	sheet, err := a.parse(ctx, s.pool, in)
	if err != nil {
		return r, err
	}
	if a.state == Skipped {
		return r, fmt.Errorf("%w: it is skipped", ErrConflict)
	}
	if a.state == Reopened {
		if err := frozen(ctx, s.pool, *a.rankingID); err != nil {
			return r, err
		}
	}
	if id, err = newID(); err != nil {
		return r, err
	}
	if after == nil {
		return a.store(ctx, s.pool, id, in, hash, sheet) // a batch is a transaction
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
		if r, err = a.store(ctx, tx, id, in, hash, sheet); err == nil {
			err = after(ctx, tx, a.projectID)
		}
		return err
	})
	return r, err
}

// parse checks the work against its question.
func (a lease) parse(ctx context.Context, q querier, in SubmitInput) (answerSheet, error) {
	order := make([]int, len(a.order))
	for d, pos := range a.order {
		order[d] = int(pos)
	}
	asked, err := questionNamed(a.question)
	if err != nil {
		return answerSheet{}, err
	}
	var texts []string
	if in.Text != "" && len(order) > 0 { // only what was written is held against what was shown
		if texts, err = a.texts(ctx, q); err != nil {
			return answerSheet{}, err
		}
	}
	return asked.parse(in, order, texts)
}

// retry runs an act again that met a quarantine of its labeler. Where somebody quarantines and restores a labeler without a pause, many
// tries in a row may meet that.
func retry(act func() error) error {
	for try := 1; ; try++ {
		if err := act(); try == 25 || !errors.Is(err, errOvertaken) && !deadlocked(err) {
			return err
		}
	}
}

// texts are the task's answers in its own order.
func (a lease) texts(ctx context.Context, q querier) ([]string, error) {
	rows, err := q.Query(ctx, `SELECT text FROM responses WHERE task_id = $1 ORDER BY position`, a.taskID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// hash identifies the body of a submit: everything but the key.
func (in SubmitInput) hash() ([32]byte, error) {
	in.IdempotencyKey = ""
	b, err := json.Marshal(in)
	return sha256.Sum256(b), err
}

// replay is what is known of the idempotency key of a submit: the ranking that came under it, if any.
type replay struct {
	id, assignment *string
	hash           []byte
	standing       []byte // hash of the ranking that counts now, if any
}

// lookUp reads a lease and what came under the key of a submit.
func (s *Store) lookUp(ctx context.Context, in SubmitInput) (a lease, r replay, err error) {
	a.id = in.AssignmentID
	err = s.pool.QueryRow(ctx, `
		SELECT t.id, t.open_slots, t.purpose, a.project_id, p.question, a.state, a.ranking_id, a.display_order, a.surplus, a.guideline, l.quarantined_at IS NOT NULL, l.labeler_id IS NOT NULL,
			k.id, k.assignment_id, k.request_hash, now.request_hash
		FROM assignments a
		JOIN tasks t ON t.id = a.task_id
		JOIN projects p ON p.id = a.project_id
		LEFT JOIN labelers l ON l.project_id = a.project_id AND l.labeler_id = a.labeler_id
		LEFT JOIN rankings k ON k.labeler_id = a.labeler_id AND k.idempotency_key = $3
		LEFT JOIN rankings now ON now.id = a.ranking_id
		WHERE a.id = $1 AND a.labeler_id = $2`, in.AssignmentID, in.LabelerID, in.IdempotencyKey).
		Scan(&a.taskID, &a.openSlots, &a.purpose, &a.projectID, &a.question, &a.state, &a.rankingID, &a.order, &a.surplus, &a.guideline, &a.quarantined, &a.known,
			&r.id, &r.assignment, &r.hash, &r.standing)
	return a, r, err
}

// of returns the ranking that an earlier submit of the same body stored, "" if this is a new one.
func (r replay) of(a lease, hash [32]byte) (string, error) {
	switch {
	case r.id != nil && *r.assignment == a.id && string(r.hash) == string(hash[:]):
		return *r.id, nil
	case r.id != nil:
		return "", fmt.Errorf("%w: idempotency key used before with another body", ErrConflict)
	case a.state != Submitted:
		return "", nil
	case string(r.standing) == string(hash[:]): // under another key: the same body is the same act, another is too late
		return *a.rankingID, nil
	}
	return "", fmt.Errorf("%w: it is submitted; reopen it to change it", ErrConflict)
}

// frozen names the snapshot that holds a ranking, if any.
func frozen(ctx context.Context, q querier, rankingID string) error {
	var name string
	err := q.QueryRow(ctx, `SELECT s.name FROM snapshot_items i JOIN snapshots s ON s.id = i.snapshot_id
		WHERE i.ranking_id = $1 ORDER BY s.created_at, s.id LIMIT 1`, rankingID).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return &FrozenError{Ranking: rankingID, Snapshot: name}
}

// errOvertaken: the lease, its task's slots or the labeler's standing changed between the reading and the writing of a submit.
var errOvertaken = errors.New("overtaken by another act")

// counters are what a submit changes in the task's counters.
type counters struct {
	slots, done, need int
	first             int // the labeler has one ranking more
	surplus           bool
}

// counters says what a submit of this lease changes. A labeler in quarantine gives its slot back and is not counted; a task
// that measures labelers takes whatever comes.
func (a lease) counters() counters {
	c := counters{surplus: a.surplus}
	work := a.purpose == purposeWork
	switch a.state {
	case Leased: // its slot was taken by the claim
		c.first = 1
		switch {
		case !a.quarantined:
			c.done = 1
		case work:
			c.slots, c.surplus = -1, true
		default:
			c.need, c.surplus = -1, true
		}
	case Released, Expired:
		c.first = 1
		switch {
		case a.quarantined:
			c.surplus = true
		case !work:
			c.done, c.need = 1, 1
		case a.openSlots > 0:
			c.slots, c.done = 1, 1
		default:
			c.surplus = true
		}
	}
	return c
}

// batcher is what a pool and a transaction have in common for writing; the pool makes a transaction of a batch.
type batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// lockForStore guards the states of the task's assignments: what follows sees those that stand. And what follows has one plan for all values:
// while the tables grow faster than their statistics are taken, the planner believes that each ranking's own would be cheaper, and making
// one takes as long as the rest of the submit.
const lockForStore = `SELECT set_config('plan_cache_mode', 'force_generic_plan', true) FROM tasks WHERE id = $1 FOR NO KEY UPDATE`

// storeSQL writes the ranking $1 of the assignment $2 of task $24 and project $25, and all that every ranking moves, if the lease is
// still as it was known (state $4, revision $5, quarantine $6, slots $7); else it does nothing and returns no row. The labeler's row
// is the gate: a quarantine changes it, so that one of the two acts sees the other. The watermark goes to the place of the claim
// ($26, $27), if that is known and the queue was not begun anew since. The rows of all tables but the responses are found by what is
// given, in no join: a plan that is made once would keep walking through a table that was small then.
const storeSQL = `
	WITH gate AS (
		UPDATE labelers l SET done = l.done + $16, active_ms = l.active_ms + $13, last_assignment = $2,
			lane = CASE WHEN (l.lane, l.position) < ($26, $27) AND l.scanned_at <= a.claimed_at THEN $26 ELSE l.lane END,
			position = CASE WHEN (l.lane, l.position) < ($26, $27) AND l.scanned_at <= a.claimed_at THEN $27 ELSE l.position END
		FROM assignments a
		WHERE a.id = $2 AND a.state = $4 AND a.ranking_id IS NOT DISTINCT FROM $5 AND (NOT $7 OR (SELECT open_slots > 0 FROM tasks WHERE id = $24))
			AND l.project_id = $25 AND l.labeler_id = $3 AND (l.quarantined_at IS NOT NULL) = $6
		RETURNING a.guideline
	), stored AS (
		INSERT INTO rankings (id, project_id, task_id, assignment_id, labeler_id, revision, ranks, comment, idempotency_key, request_hash,
			active_ms, wall_ms, guideline, surplus, text, strength)
		SELECT $1, $25, $24, $2, $3, CASE WHEN $5::uuid IS NULL THEN 1 ELSE (SELECT count(*) + 1 FROM rankings WHERE assignment_id = $2) END,
			$9, $10, $11, $12, $13, $14, g.guideline, $8, $15, $17
		FROM gate g
		RETURNING revision, guideline, created_at
	), closed AS (
		UPDATE assignments a SET state = 'submitted', ranking_id = $1, surplus = $8, aside = $8 AND (aside OR $6), draft = NULL, closed_at = now()
		FROM gate WHERE a.id = $2
	), moved AS (
		UPDATE tasks t SET open_slots = open_slots - $18, done = done + $19, need = need + $20, held = CASE WHEN $21 <> '' AND held = '' THEN $21 ELSE held END
		FROM gate WHERE t.id = $24
		RETURNING t.batch, t.done = t.need AND $19 = 1 AS completed
	)
	SELECT s.revision, s.guideline, s.created_at, m.batch, ARRAY(SELECT id FROM responses WHERE task_id = $24 ORDER BY position),
		audit_append($22, 'labeling.submit', $1::text, $23),
		CASE WHEN EXISTS (SELECT FROM webhooks WHERE active) THEN labeling_tell($1, $24, $25, m.completed) END
	FROM stored s, moved m`

// store writes the ranking with all that belongs to it and moves the counters; errOvertaken where the lease is not what it was.
func (a lease) store(ctx context.Context, q batcher, id string, in SubmitInput, hash [32]byte, sheet answerSheet) (r Ranking, err error) {
	c := a.counters()
	b := &pgx.Batch{}
	b.Queue(lockForStore, a.taskID)
	if !a.known {
		b.Queue(`INSERT INTO labelers (project_id, labeler_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, a.projectID, in.LabelerID)
	}
	var lane *int16
	var position *int64
	if a.place != nil {
		lane, position = &a.place.lane, &a.place.position
	}
	r = Ranking{ID: id, TaskID: a.taskID, ProjectID: a.projectID, AssignmentID: a.id, LabelerID: in.LabelerID, Ranks: sheet.ranks, Surplus: c.surplus,
		Text: sheet.text, Strength: sheet.strength}
	b.Queue(storeSQL, id, a.id, in.LabelerID, a.state, a.rankingID, a.quarantined, c.slots > 0, c.surplus, sheet.ranks, in.Comment, in.IdempotencyKey, hash[:],
		in.ActiveMS, in.WallMS, sheet.text, c.first, sheet.strength, c.slots, c.done, c.need, sheet.hold, actor(in.LabelerID),
		map[string]any{"task": a.taskID, "ranks": sheet.ranks, "surplus": c.surplus, "hold": sheet.hold, "strength": sheet.strength},
		a.taskID, a.projectID, lane, position).
		QueryRow(func(row pgx.Row) error {
			err := row.Scan(&r.Revision, &r.Guideline, &r.CreatedAt, &r.Batch, &r.ResponseIDs, nil, nil)
			if errors.Is(err, pgx.ErrNoRows) {
				err = errOvertaken
			}
			return err
		})
	if err := a.queueExtras(b, id, in, sheet); err != nil {
		return r, err
	}
	if err := q.SendBatch(ctx, b).Close(); err != nil {
		return r, err
	}
	if len(r.Ranks) > len(r.ResponseIDs) {
		r.ResponseIDs = append(r.ResponseIDs, r.ID)
	}
	return r, nil
}

// queueExtras adds what only some rankings have. Where the ranking was not stored, neither is this.
func (a lease) queueExtras(b *pgx.Batch, id string, in SubmitInput, sheet answerSheet) error {
	if a.state == Reopened {
		b.Queue(`DELETE FROM demonstrations WHERE assignment_id = $1 AND EXISTS (SELECT FROM rankings WHERE id = $2)`, a.id, id)
	}
	if sheet.demonstration {
		demonstrationID, err := newID()
		if err != nil {
			return err
		}
		b.Queue(`INSERT INTO demonstrations (id, project_id, hash, messages, response, origin, labeler_id, assignment_id, prompt_id)
			SELECT $1, p.project_id, sha256(convert_to(p.messages::text, 'UTF8') || '\x00'::bytea || convert_to($2, 'UTF8')), p.messages, $2, 'labeler', $3, $4, p.id
			FROM rankings k JOIN tasks t ON t.id = k.task_id JOIN prompts p ON p.id = t.prompt_id WHERE k.id = $5`, demonstrationID, sheet.text, in.LabelerID, a.id, id)
	}
	for pos, rating := range sheet.ratings {
		if rating > 0 || len(sheet.flags[pos]) > 0 {
			b.Queue(`INSERT INTO ratings (ranking_id, response_id, rating, flags)
				SELECT k.id, r.id, nullif($3::int, 0), coalesce($4::text[], '{}') FROM rankings k JOIN responses r ON r.task_id = k.task_id AND r.position = $2 WHERE k.id = $1`,
				id, pos, rating, sheet.flags[pos])
		}
	}
	return nil
}

// Ranking returns a revision by id.
func (s *Store) Ranking(ctx context.Context, id string) (Ranking, error) {
	if !isID(id) {
		return Ranking{}, fmt.Errorf("ranking %q: %w", id, ErrNotFound)
	}
	r, err := readRanking(ctx, s.pool, id)
	return r, wrap(err, "ranking %s", id)
}

func readRanking(ctx context.Context, q querier, id string) (r Ranking, err error) {
	err = r.scan(q.QueryRow(ctx, rankingSQL, id))
	return r, err
}

const rankingSQL = `
	SELECT k.id, k.task_id, k.project_id, k.assignment_id, k.labeler_id, k.revision, k.ranks,
		ARRAY(SELECT r.id FROM responses r WHERE r.task_id = k.task_id ORDER BY r.position), k.surplus, k.guideline, t.batch, k.created_at,
		k.text, k.strength
	FROM rankings k JOIN tasks t ON t.id = k.task_id WHERE k.id = $1`

// scan reads a row of rankingSQL.
func (r *Ranking) scan(row pgx.Row) error {
	err := row.Scan(&r.ID, &r.TaskID, &r.ProjectID, &r.AssignmentID, &r.LabelerID, &r.Revision, &r.Ranks, &r.ResponseIDs, &r.Surplus, &r.Guideline,
		&r.Batch, &r.CreatedAt, &r.Text, &r.Strength)
	if len(r.Ranks) > len(r.ResponseIDs) {
		r.ResponseIDs = append(r.ResponseIDs, r.ID)
	}
	return err
}

// Comparisons lists the strict pairs of a ranking.
func (s *Store) Comparisons(ctx context.Context, rankingID string) ([]Comparison, error) {
	rows, err := s.pool.Query(ctx, `SELECT ranking_id, winner_id, loser_id FROM comparisons WHERE ranking_id = $1 ORDER BY winner_id, loser_id`, rankingID)
	if err != nil {
		return nil, wrap(err, "comparisons of ranking %s", rankingID)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Comparison])
	return list, wrap(err, "comparisons of ranking %s", rankingID)
}
