package labeling

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	err := retry(func() error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
			r, err = submit(ctx, tx, in, after)
			return err
		})
	})
	if violates(err, "rankings_labeler_id_idempotency_key_key") {
		err = fmt.Errorf("%w: idempotency key used for another task", ErrConflict)
	}
	if err != nil {
		return Ranking{}, wrap(err, "submit assignment %s", in.AssignmentID)
	}
	return r, nil
}

func submit(ctx context.Context, tx pgx.Tx, in SubmitInput, after func(context.Context, pgx.Tx, string) error) (r Ranking, err error) {
	b := &pgx.Batch{}
	locked, known := queueLease(b, in.AssignmentID, in.LabelerID), queueReplay(b, in)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return r, err
	}
	a := *locked
	hash, err := in.hash()
	if err != nil {
		return r, err
	}
	id, err := known.of(ctx, tx, a, hash)
	if err != nil {
		return r, err
	}
	if id != "" {
		return readRanking(ctx, tx, id)
	}
	order := make([]int, len(a.order))
	for d, pos := range a.order {
		order[d] = int(pos)
	}
	q, err := questionNamed(a.question)
	if err != nil {
		return r, err
	}
	var texts []string
	if in.Text != "" && len(order) > 0 { // only what was written is held against what was shown
		if texts, err = a.texts(ctx, tx); err != nil {
			return r, err
		}
	}
	sheet, err := q.parse(in, order, texts)
	if err != nil {
		return r, err
	}
	if a.state == Skipped {
		return r, fmt.Errorf("%w: it is skipped", ErrConflict)
	}
	if a.state == Reopened {
		if err := frozen(ctx, tx, *a.rankingID); err != nil {
			return r, err
		}
	}
	if id, err = newID(); err != nil {
		return r, err
	}
	if r, err = a.store(ctx, tx, id, in, hash, sheet); err != nil {
		return r, err
	}
	if after != nil {
		return r, after(ctx, tx, a.projectID)
	}
	return r, nil
}

// retry runs an act again that met a quarantine of its labeler; one follows the other, so a few tries are plenty.
func retry(act func() error) error {
	for try := 1; ; try++ {
		if err := act(); try == 5 || !errors.Is(err, errOvertaken) && !deadlocked(err) {
			return err
		}
	}
}

// texts are the task's answers in its own order.
func (a lease) texts(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT text FROM responses WHERE task_id = $1 ORDER BY position`, a.taskID)
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
	id, assignment string
	hash           []byte
}

// queueReplay adds the look for the key to a batch, behind the statement that locks the task: under that lock the same key
// sent twenty times at once takes its turn.
func queueReplay(b *pgx.Batch, in SubmitInput) *replay {
	r := &replay{}
	b.Queue(`SELECT id, assignment_id, request_hash FROM rankings WHERE labeler_id = $1 AND idempotency_key = $2`, in.LabelerID, in.IdempotencyKey).
		QueryRow(func(row pgx.Row) error {
			err := row.Scan(&r.id, &r.assignment, &r.hash)
			if errors.Is(err, pgx.ErrNoRows) {
				err = nil
			}
			return err
		})
	return r
}

// of returns the ranking that an earlier submit of the same body stored, "" if this is a new one.
func (r *replay) of(ctx context.Context, tx pgx.Tx, a lease, hash [32]byte) (string, error) {
	switch {
	case r.id != "" && r.assignment == a.id && string(r.hash) == string(hash[:]):
		return r.id, nil
	case r.id != "":
		return "", fmt.Errorf("%w: idempotency key used before with another body", ErrConflict)
	case a.state != Submitted:
		return "", nil
	}
	// Submitted under another key: the same body is the same act, another is too late.
	var known []byte
	if err := tx.QueryRow(ctx, `SELECT request_hash FROM rankings WHERE id = $1`, *a.rankingID).Scan(&known); err != nil {
		return "", err
	}
	if string(known) == string(hash[:]) {
		return *a.rankingID, nil
	}
	return "", fmt.Errorf("%w: it is submitted; reopen it to change it", ErrConflict)
}

// frozen names the snapshot that holds a ranking, if any.
func frozen(ctx context.Context, tx pgx.Tx, rankingID string) error {
	var name string
	err := tx.QueryRow(ctx, `SELECT s.name FROM snapshot_items i JOIN snapshots s ON s.id = i.snapshot_id
		WHERE i.ranking_id = $1 ORDER BY s.created_at, s.id LIMIT 1`, rankingID).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return &FrozenError{Ranking: rankingID, Snapshot: name}
}

// errOvertaken: the labeler went into quarantine, or out of it, in the middle of a submit.
var errOvertaken = errors.New("overtaken by a quarantine")

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

// store writes the ranking with all that belongs to it and moves the counters.
func (a lease) store(ctx context.Context, tx pgx.Tx, id string, in SubmitInput, hash [32]byte, sheet answerSheet) (r Ranking, err error) {
	c := a.counters()
	a.surplus = c.surplus
	b := &pgx.Batch{}
	b.Queue(`
		INSERT INTO rankings (id, project_id, task_id, assignment_id, labeler_id, revision, ranks, comment, idempotency_key, request_hash,
			active_ms, wall_ms, guideline, surplus, text, strength)
		VALUES ($1, $2, $3, $4, $5, (SELECT count(*) + 1 FROM rankings WHERE assignment_id = $4), $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		id, a.projectID, a.taskID, a.id, in.LabelerID, sheet.ranks, in.Comment, in.IdempotencyKey, hash[:], in.ActiveMS, in.WallMS, a.guideline, a.surplus,
		sheet.text, sheet.strength)
	var winners, losers []int
	for _, p := range Pairs(sheet.ranks) {
		winners, losers = append(winners, p[0]), append(losers, p[1])
	}
	if len(winners) > 0 {
		b.Queue(`
			INSERT INTO comparisons (ranking_id, winner_id, loser_id)
			SELECT $1, CASE WHEN u.winner = $5 THEN $1 ELSE w.id END, CASE WHEN u.loser = $5 THEN $1 ELSE l.id END
			FROM unnest($3::int[], $4::int[]) u(winner, loser)
			LEFT JOIN responses w ON w.task_id = $2 AND w.position = u.winner
			LEFT JOIN responses l ON l.task_id = $2 AND l.position = u.loser`, id, a.taskID, winners, losers, len(sheet.ratings))
	}
	if a.state == Reopened {
		b.Queue(`DELETE FROM demonstrations WHERE assignment_id = $1`, a.id)
	}
	if sheet.demonstration {
		demonstrationID, err := newID()
		if err != nil {
			return r, err
		}
		b.Queue(`INSERT INTO demonstrations (id, project_id, hash, messages, response, origin, labeler_id, assignment_id, prompt_id)
			SELECT $1, p.project_id, sha256(convert_to(p.messages::text, 'UTF8') || '\x00'::bytea || convert_to($2, 'UTF8')), p.messages, $2, 'labeler', $3, $4, p.id
			FROM tasks t JOIN prompts p ON p.id = t.prompt_id WHERE t.id = $5`, demonstrationID, sheet.text, in.LabelerID, a.id, a.taskID)
	}
	for pos, rating := range sheet.ratings {
		if rating > 0 || len(sheet.flags[pos]) > 0 {
			b.Queue(`INSERT INTO ratings (ranking_id, response_id, rating, flags)
				SELECT $1, id, nullif($4::int, 0), coalesce($5::text[], '{}') FROM responses WHERE task_id = $2 AND position = $3`,
				id, a.taskID, pos, rating, sheet.flags[pos])
		}
	}
	b.Queue(`UPDATE assignments SET state = 'submitted', ranking_id = $2, surplus = $3, aside = $3 AND (aside OR $4), draft = NULL, closed_at = now() WHERE id = $1`,
		a.id, id, a.surplus, a.quarantined)
	b.Queue(`UPDATE tasks SET open_slots = open_slots - $2, done = done + $3, need = need + $4, held = CASE WHEN $5 <> '' AND held = '' THEN $5 ELSE held END
		WHERE id = $1`, a.taskID, c.slots, c.done, c.need, sheet.hold)
	b.Queue(`INSERT INTO labelers (project_id, labeler_id, done, active_ms, last_assignment) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (project_id, labeler_id) DO UPDATE SET done = labelers.done + excluded.done,
			active_ms = labelers.active_ms + excluded.active_ms, last_assignment = excluded.last_assignment
		WHERE (labelers.quarantined_at IS NOT NULL) = $6`,
		a.projectID, in.LabelerID, c.first, in.ActiveMS, a.id, a.quarantined).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 { // quarantined, or released from it, since the lease was read
			return errOvertaken
		}
		return nil
	})
	b.Queue(`SELECT audit_append($1, 'labeling.submit', $2, $3)`, actor(in.LabelerID), id,
		map[string]any{"task": a.taskID, "ranks": sheet.ranks, "surplus": a.surplus, "hold": sheet.hold, "strength": sheet.strength})
	b.Queue(`SELECT webhook_emit('ranking.submitted', jsonb_build_object('ranking', $1::text, 'task', $2::text, 'project', $3::text))`, id, a.taskID, a.projectID)
	b.Queue(`SELECT webhook_emit('task.completed', jsonb_build_object('task', $1::text, 'project', $2::text)) FROM tasks WHERE id = $1::uuid AND done = need AND $3 = 1`,
		a.taskID, a.projectID, c.done)
	b.Queue(rankingSQL, id).QueryRow(r.scan)
	return r, tx.SendBatch(ctx, b).Close()
}

// Reopen is undo: it takes up the labeler's last submit of the project again and
// returns it with the submitted values as its draft. Until the next Submit the old
// ranking stands. A ranking in a snapshot gets a FrozenError that names it.
func (s *Store) Reopen(ctx context.Context, projectID, labelerID string) (*Assignment, error) {
	if !isID(projectID) {
		return nil, fmt.Errorf("reopen in project %q: %w", projectID, ErrNotFound)
	}
	var id *string
	err := s.pool.QueryRow(ctx, `SELECT last_assignment FROM labelers WHERE project_id = $1 AND labeler_id = $2`, projectID, labelerID).Scan(&id)
	if err == nil && id == nil {
		err = ErrNotFound
	}
	if err == nil {
		err = s.closeLease(ctx, *id, labelerID, func(tx pgx.Tx, a lease) error { return a.reopen(ctx, tx, labelerID) })
	}
	if err != nil {
		return nil, wrap(err, "reopen for %s", labelerID)
	}
	return s.Assignment(ctx, *id, labelerID)
}

// ReopenAssignment takes up any submitted work of this labeler again, as Reopen does the last.
func (s *Store) ReopenAssignment(ctx context.Context, assignmentID, labelerID string) (*Assignment, error) {
	err := s.closeLease(ctx, assignmentID, labelerID, func(tx pgx.Tx, a lease) error { return a.reopen(ctx, tx, labelerID) })
	if err != nil {
		return nil, wrap(err, "reopen assignment %s", assignmentID)
	}
	return s.Assignment(ctx, assignmentID, labelerID)
}

func (a lease) reopen(ctx context.Context, tx pgx.Tx, labelerID string) error {
	if a.state != Submitted {
		if a.state == Reopened {
			return nil
		}
		return fmt.Errorf("%w: it is %s", ErrConflict, a.state)
	}
	if err := frozen(ctx, tx, *a.rankingID); err != nil {
		return err
	}
	draft, err := a.values(ctx, tx)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	b.Queue(`UPDATE assignments a SET state = 'reopened', draft = $2, closed_at = NULL, lease_until = now() + make_interval(secs => p.lease_s)
		FROM projects p WHERE a.id = $1 AND p.id = a.project_id`, a.id, draft)
	b.Queue(`SELECT audit_append($1, 'labeling.reopen', $2, $3)`, actor(labelerID), *a.rankingID, map[string]any{"task": a.taskID})
	return tx.SendBatch(ctx, b).Close()
}

// values are the current ranking's values in the order shown.
func (a lease) values(ctx context.Context, tx pgx.Tx) (Draft, error) {
	k := len(a.order)
	d := Draft{Ranks: make([]int, k), Ratings: make([]int, k), Flags: make([][]string, k)}
	shown := make([]int, k) // by stored position
	for at, pos := range a.order {
		shown[pos] = at
	}
	var ranks []int
	if err := tx.QueryRow(ctx, `SELECT ranks, comment, text, strength FROM rankings WHERE id = $1`, *a.rankingID).
		Scan(&ranks, &d.Comment, &d.Text, &d.Strength); err != nil {
		return d, err
	}
	if a.question == QuestionEdit && d.Text == "" { // left as it was
		texts, err := a.texts(ctx, tx)
		if err != nil {
			return d, err
		}
		d.Text = texts[0]
	}
	for pos, r := range ranks[:k] {
		if k == 1 {
			r = 1 // an edited answer is second to its edit, and alone without it
		}
		d.Ranks[shown[pos]] = r
	}
	rows, err := tx.Query(ctx, `SELECT r.position, coalesce(g.rating, 0), g.flags FROM ratings g JOIN responses r ON r.id = g.response_id
		WHERE g.ranking_id = $1`, *a.rankingID)
	if err != nil {
		return d, err
	}
	var pos, rating int
	var flags []string
	_, err = pgx.ForEachRow(rows, []any{&pos, &rating, &flags}, func() error {
		d.Ratings[shown[pos]], d.Flags[shown[pos]] = rating, flags
		flags = nil
		return nil
	})
	return d, err
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
