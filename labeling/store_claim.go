package labeling

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// unseen is true of a task t that the labeler $2 may be served: never held, or given
// back, or lost to its lease's end. A subquery, not a join: it is one index lookup per
// task looked at, whatever the planner believes about the tables' sizes.
const unseen = `coalesce((SELECT a.state IN ('released', 'expired') FROM assignments a WHERE a.task_id = t.id AND a.labeler_id = $2), true)`

// admitted is true where labeler $2 may be served in project $1: not in quarantine, and qualified where the project asks for
// it. It does not depend on the task, so it is looked up once a statement.
const admitted = `EXISTS (SELECT FROM projects p LEFT JOIN labelers l ON l.project_id = p.id AND l.labeler_id = $2
	WHERE p.id = $1 AND l.quarantined_at IS NULL AND (NOT p.qualify OR l.qualified_at IS NOT NULL))`

// insertLease gives the task that pick(id, k) found to labeler $2 of project $1 as assignment $3, whose order is cut from the
// permutation $4. One that the labeler gave back, or lost to its lease's end, keeps its id, its order and its draft.
const insertLease = `
		INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline)
		SELECT $3, k.id, $1, $2, 'leased', now() + make_interval(secs => p.lease_s),
			ARRAY(SELECT u.x FROM unnest($4::smallint[]) WITH ORDINALITY u(x, o) WHERE u.x < k.k ORDER BY u.o), p.guideline
		FROM pick k JOIN projects p ON p.id = $1
		ON CONFLICT (task_id, labeler_id) DO UPDATE SET state = 'leased', lease_until = excluded.lease_until,
			lease_epoch = assignments.lease_epoch + 1, guideline = excluded.guideline, claimed_at = now(), closed_at = NULL
		WHERE assignments.state IN ('released', 'expired')
		RETURNING id, task_id`

// claimSQL takes one task for labeler $2 of project $1 as assignment $3, whose order is
// cut from the permutation $4. Which task: the first in a lane above the watermark's,
// else the first behind the watermark, else the first of all. It returns how many rows
// were picked (0 or 1) and the assignment's id, null if the insert met a conflict.
//
// The pick is evaluated on the statement's snapshot: the same labeler's second tab may
// have inserted its assignment since. That is the conflict; the caller tries again.
func claimSQL(lock string) string {
	first := func(where string) string {
		return `(SELECT t.id FROM tasks t WHERE t.project_id = $1 AND t.open AND ` + where + ` AND ` + unseen +
			` ORDER BY t.lane, t.position LIMIT 1 FOR NO KEY UPDATE ` + lock + `)`
	}
	return `
	WITH me AS MATERIALIZED (
		SELECT lane, position FROM labelers
		WHERE project_id = $1 AND labeler_id = $2 AND scanned_at > now() - interval '10 minutes'
	), pick AS MATERIALIZED (
		SELECT t.id, t.k, t.lane, t.position FROM tasks t WHERE ` + admitted + ` AND t.id = coalesce(
			` + first(`t.lane < (SELECT lane FROM me)`) + `,
			` + first(`(t.lane, t.position) > ((SELECT lane FROM me), (SELECT position FROM me))`) + `,
			` + first(`true`) + `)
	), taken AS (` + insertLease + `
	), slot AS (
		UPDATE tasks t SET open_slots = open_slots - 1 FROM taken WHERE t.id = taken.task_id
	), mark AS (
		INSERT INTO labelers (project_id, labeler_id, lane, position)
		SELECT $1, $2, k.lane, k.position FROM pick k JOIN taken ON true
		ON CONFLICT (project_id, labeler_id) DO UPDATE SET lane = excluded.lane, position = excluded.position,
			scanned_at = CASE WHEN EXISTS (SELECT 1 FROM me WHERE (me.lane, me.position) < (excluded.lane, excluded.position))
				THEN labelers.scanned_at ELSE now() END
	)
	SELECT (SELECT count(*) FROM pick), (SELECT id FROM taken)`
}

var (
	claimSkipping = claimSQL("SKIP LOCKED")
	claimWaiting  = claimSQL("")
)

// maxLag is how far the watermark may stay behind the last claim. A submit moves it in the row that it changes anyway; only where
// one claim passes over more than so many places, after skips or tasks that others filled, does the claim move it itself.
const maxLag = 64

// claimBehind is the claim of a labeler at work: the first task behind the watermark, where no lane above has an open one and
// the labeler holds fewer than $5 leases. $4 are the orders of 1, 2, ... answers, one behind the other; $6 is as in assignmentSQL,
// whose columns it returns without another look. It inserts nothing and returns no row where it is not as simple as that; claimSQL
// knows what to do then. Most claims are of this kind.
var claimBehind = `
	WITH me AS MATERIALIZED (
		SELECT l.lane, l.position, l.done, p.lease_s, p.guideline, p.question, p.languages FROM labelers l JOIN projects p ON p.id = l.project_id
		WHERE l.project_id = $1 AND l.labeler_id = $2 AND l.scanned_at > now() - interval '10 minutes'
			AND l.quarantined_at IS NULL AND (NOT p.qualify OR l.qualified_at IS NOT NULL)
			AND (SELECT count(*) FROM assignments h WHERE h.project_id = $1 AND h.labeler_id = $2 AND h.state IN ('leased', 'reopened')) < $5
	), pick AS MATERIALIZED (
		SELECT t.id, t.k, t.prompt_id, t.lane, t.position FROM tasks t
		WHERE t.project_id = $1 AND t.open AND (t.lane, t.position) > ((SELECT lane FROM me), (SELECT position FROM me)) AND ` + unseen + `
			AND (SELECT u.lane FROM tasks u WHERE u.project_id = $1 AND u.open AND u.lane < (SELECT lane FROM me) ORDER BY u.lane, u.position LIMIT 1) IS NULL -- by the index, as EXISTS would not
		ORDER BY t.lane, t.position LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
	), taken AS (
		INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline)
		SELECT $3, k.id, $1, $2, 'leased', now() + make_interval(secs => m.lease_s), ($4::smallint[])[k.k * (k.k - 1) / 2 + 1 : k.k * (k.k + 1) / 2], m.guideline
		FROM pick k, me m
		ON CONFLICT DO NOTHING
		RETURNING id, task_id, project_id, labeler_id, state, lease_until, display_order, draft, claimed_at, guideline
	), slot AS (
		UPDATE tasks t SET open_slots = open_slots - 1 FROM taken WHERE t.id = taken.task_id
	), mark AS (
		UPDATE labelers l SET lane = k.lane, position = k.position FROM pick k, me m, taken
		WHERE l.project_id = $1 AND l.labeler_id = $2 AND (k.lane <> m.lane OR k.position > m.position + ` + strconv.Itoa(maxLag) + `)
	)
	SELECT ` + shown("$6") + `, j.done, k.lane, k.position
	FROM taken a, pick k, me j
	CROSS JOIN LATERAL (SELECT q.messages, q.language FROM prompts q WHERE q.id = k.prompt_id OFFSET 0) p`

// orders are the orders in which assignment id shows 1, 2, ... MaxAnswers answers, one behind the other.
func orders(id string) []int {
	var all []int
	whole := Order(id, MaxAnswers)
	for k := 1; k <= MaxAnswers; k++ {
		for _, x := range whole {
			if x < k {
				all = append(all, x)
			}
		}
	}
	return all
}

// maxClaimTries bounds the retries after conflicts; one is enough unless the labeler
// claims from many tabs at the same instant.
const maxClaimTries = 20

// Claim gives the labeler something to rank: the task it holds already (the oldest, with
// its draft, so that a reload loses nothing), else a new one. ErrEmpty means that no
// task has an open slot for this labeler, not that others were in the way.
func (s *Store) Claim(ctx context.Context, projectID, labelerID string) (*Assignment, error) {
	return s.claim(ctx, projectID, labelerID, true)
}

// ClaimNext always gives a further task, for a page that fetches ahead or a second tab.
// A labeler may hold MaxLeases at once; then it gets ErrTooManyLeases.
func (s *Store) ClaimNext(ctx context.Context, projectID, labelerID string) (*Assignment, error) {
	return s.claim(ctx, projectID, labelerID, false)
}

func (s *Store) claim(ctx context.Context, projectID, labelerID string, resume bool) (*Assignment, error) {
	if !isID(projectID) {
		return nil, fmt.Errorf("claim in project %q: %w", projectID, ErrNotFound)
	}
	id, err := newID()
	if err != nil {
		return nil, err
	}
	kind, err := s.draw(ctx, projectID, id)
	if err == nil && kind == purposeWork {
		below := MaxLeases
		if resume {
			below = 1
		}
		var a *Assignment
		if a, err = s.takeBelow(ctx, projectID, labelerID, id, below); a != nil {
			return a, nil
		}
	}
	if err != nil {
		return nil, wrap(err, "claim for %s", labelerID)
	}
	held, err := s.held(ctx, projectID, labelerID)
	if err == nil && len(held) > 0 && resume {
		var a *Assignment
		if a, err = s.Renew(ctx, held[0], labelerID); err == nil || !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
			return a, err
		}
		err = nil // it ended in this moment: take a new one
	}
	if err == nil && len(held) >= MaxLeases {
		err = ErrTooManyLeases
	}
	if err == nil {
		id, err = s.take(ctx, projectID, labelerID, id, kind)
	}
	if err != nil {
		return nil, wrap(err, "claim for %s", labelerID)
	}
	return s.Assignment(ctx, id, labelerID)
}

// held lists the live leases of a labeler, oldest first.
func (s *Store) held(ctx context.Context, projectID, labelerID string) ([]string, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT a.id FROM assignments a JOIN tasks t ON t.id = a.task_id
		WHERE a.project_id = $1 AND a.labeler_id = $2 AND a.state IN ('leased', 'reopened') AND NOT t.hidden AND t.held = ''
		ORDER BY a.state = 'leased', a.claimed_at, a.id`, projectID, labelerID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// takeBelow is the claim of a labeler at work, who holds fewer than so many leases: one way to the database. nil where it is
// not as simple as that: more are held, another tab was faster, or nothing is open behind the watermark.
func (s *Store) takeBelow(ctx context.Context, projectID, labelerID, id string, leases int) (*Assignment, error) {
	a := &Assignment{}
	var place place
	err := a.scan(s.pool.QueryRow(ctx, claimBehind, projectID, labelerID, id, orders(id), leases, warnings), &place.lane, &place.position)
	if errors.Is(err, pgx.ErrNoRows) || deadlocked(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.served.add(a, place)
	return a, nil
}

// take runs the claim until it has an assignment or knows that there is none. kind is what was drawn for id, the first
// assignment's.
func (s *Store) take(ctx context.Context, projectID, labelerID, id, kind string) (string, error) {
	sql := claimSkipping
	for range maxClaimTries {
		if special, err := s.takeSpecial(ctx, projectID, labelerID, id, kind); special != "" || err != nil {
			return special, err
		}
		var picked int
		var taken *string
		err := s.pool.QueryRow(ctx, sql, projectID, labelerID, id, Order(id, MaxAnswers)).Scan(&picked, &taken)
		switch {
		case deadlocked(err): // two waited for rows that had traded places in the queue
		case err != nil:
			return "", err
		case taken != nil:
			return *taken, nil
		case picked > 0: // a conflict, not an empty queue
		case sql == claimWaiting:
			return "", s.refusal(ctx, projectID, labelerID)
		default: // nothing, or only locked rows: wait for the locks to be sure
			sql = claimWaiting
		}
		if id, err = newID(); err == nil {
			kind, err = s.draw(ctx, projectID, id)
		}
		if err != nil {
			return "", err
		}
	}
	return "", ErrConflict
}

// Assignment returns an assignment of this labeler as the labeler sees it, in any
// state. One whose task is hidden by its customer is not found.
func (s *Store) Assignment(ctx context.Context, assignmentID, labelerID string) (*Assignment, error) {
	if !isID(assignmentID) {
		return nil, fmt.Errorf("assignment %q: %w", assignmentID, ErrNotFound)
	}
	a := &Assignment{}
	if err := a.scan(s.pool.QueryRow(ctx, assignmentSQL, assignmentID, labelerID, warnings)); err != nil {
		return nil, wrap(err, "assignment %s", assignmentID)
	}
	return a, nil
}

// shown are columns of an assignment a of project j, whose prompt is p, as its labeler sees it. flags are the flags and reasons
// that warn of a task (Assignment.Warning). What belongs to one row is looked up in a subquery: a join would be planned by what the
// tables hold at that time, and walk through one of them when they have grown.
func shown(flags string) string {
	return `a.id, a.task_id, a.project_id, a.labeler_id, a.state, a.lease_until, a.display_order, a.draft, a.claimed_at, a.guideline,
		p.messages, ARRAY(SELECT r.text FROM responses r WHERE r.task_id = a.task_id ORDER BY r.position),
		(SELECT g.body FROM guidelines g WHERE g.project_id = a.project_id AND g.version = a.guideline), j.question,
		CASE WHEN p.language = '' AND cardinality(j.languages) = 1 THEN j.languages[1] ELSE p.language END,
		coalesce((SELECT k.version < a.guideline FROM guideline_acks k WHERE k.project_id = a.project_id AND k.labeler_id = a.labeler_id), false),
		ARRAY(SELECT DISTINCT said.w FROM assignments o CROSS JOIN LATERAL (
				SELECT o.skip_reason WHERE o.state = 'skipped' UNION ALL SELECT unnest(f.flags) FROM ratings f WHERE f.ranking_id = o.ranking_id
			) said(w) WHERE o.task_id = a.task_id AND said.w = ANY(` + flags + `) ORDER BY said.w)`
}

// assignmentSQL reads assignment $1 of labeler $2; $3 is as in shown.
var assignmentSQL = `
	SELECT ` + shown("$3") + `, coalesce((SELECT l.done FROM labelers l WHERE l.project_id = a.project_id AND l.labeler_id = a.labeler_id), 0)
	FROM assignments a
	JOIN projects j ON j.id = a.project_id
	CROSS JOIN LATERAL (SELECT q.messages, q.language FROM prompts q
		WHERE q.id = (SELECT t.prompt_id FROM tasks t WHERE t.id = a.task_id AND NOT t.hidden) OFFSET 0) p
	WHERE a.id = $1 AND a.labeler_id = $2`

// scan reads a row of assignmentSQL, and what stands behind its columns into more.
func (a *Assignment) scan(row pgx.Row, more ...any) error {
	var texts []string
	var order []int16
	err := row.Scan(append([]any{&a.ID, &a.TaskID, &a.ProjectID, &a.LabelerID, &a.State, &a.LeaseUntil, &order, &a.Draft, &a.ClaimedAt, &a.Guideline,
		&a.Messages, &texts, &a.Instructions, &a.Question, &a.Language, &a.Unread, &a.Warning, &a.Done}, more...)...)
	if err != nil {
		return err
	}
	for d, pos := range order {
		a.Order = append(a.Order, int(pos))
		a.Answers = append(a.Answers, Answer{Key: key(d), Text: texts[pos]})
	}
	return nil
}

// Renew is the sign of life of a labeler at work: it starts the lease anew. A lease
// that was swept, or work that was closed, gets ErrConflict; the work may still be
// submitted.
func (s *Store) Renew(ctx context.Context, assignmentID, labelerID string) (*Assignment, error) {
	if !isID(assignmentID) {
		return nil, fmt.Errorf("renew assignment %q: %w", assignmentID, ErrNotFound)
	}
	tag, err := s.pool.Exec(ctx, `
		UPDATE assignments a SET lease_until = now() + make_interval(secs => p.lease_s) FROM projects p
		WHERE a.id = $1 AND a.labeler_id = $2 AND a.state IN ('leased', 'reopened') AND p.id = a.project_id`, assignmentID, labelerID)
	if err != nil {
		return nil, wrap(err, "renew assignment %s", assignmentID)
	}
	a, err := s.Assignment(ctx, assignmentID, labelerID)
	if err == nil && tag.RowsAffected() == 0 {
		return nil, fmt.Errorf("renew assignment %s: %w: it is %s", assignmentID, ErrConflict, a.State)
	}
	return a, err
}

// SaveDraft keeps unfinished work and renews the lease. Work whose lease was swept is
// kept too (it comes back with the task, or with a late submit); work that is
// submitted or skipped gets ErrConflict.
func (s *Store) SaveDraft(ctx context.Context, assignmentID, labelerID string, d Draft) error {
	if !isID(assignmentID) {
		return fmt.Errorf("draft of assignment %q: %w", assignmentID, ErrNotFound)
	}
	var k int
	var state, asked string
	err := s.pool.QueryRow(ctx, `SELECT cardinality(a.display_order), a.state, p.question FROM assignments a JOIN projects p ON p.id = a.project_id
		WHERE a.id = $1 AND a.labeler_id = $2`, assignmentID, labelerID).Scan(&k, &state, &asked)
	if err != nil {
		return wrap(err, "draft of assignment %s", assignmentID)
	}
	q, err := questionNamed(asked)
	if err == nil {
		err = q.draft(d, k)
	}
	if err != nil {
		return err
	}
	tag, err := s.pool.Exec(ctx, `
		UPDATE assignments a SET draft = $3,
			lease_until = CASE WHEN a.state IN ('leased', 'reopened') THEN now() + make_interval(secs => p.lease_s) ELSE a.lease_until END
		FROM projects p
		WHERE a.id = $1 AND a.labeler_id = $2 AND a.state IN ('leased', 'reopened', 'released', 'expired') AND p.id = a.project_id`,
		assignmentID, labelerID, d)
	if err == nil && tag.RowsAffected() == 0 {
		err = fmt.Errorf("%w: it is %s", ErrConflict, state)
	}
	return wrap(err, "draft of assignment %s", assignmentID)
}

// Release gives a task back: another may take it, and so may the same labeler later,
// with the draft. A reopened ranking stands again as it was. What is closed already
// stays so; that is no error, because a page says goodbye without knowing.
func (s *Store) Release(ctx context.Context, assignmentID, labelerID string) error {
	return s.ReleaseUntil(ctx, assignmentID, labelerID, time.Time{})
}

// ReleaseUntil is Release of a lease that ends at a time, and does nothing where it was renewed since: the goodbye of a page may come
// after the next page has taken up its task. Zero is any lease.
func (s *Store) ReleaseUntil(ctx context.Context, assignmentID, labelerID string, until time.Time) error {
	err := s.closeLease(ctx, assignmentID, labelerID, func(tx pgx.Tx, a lease) error {
		if !until.IsZero() {
			var same bool
			if err := tx.QueryRow(ctx, `SELECT lease_until = $2 FROM assignments WHERE id = $1 FOR NO KEY UPDATE`, a.id, until).Scan(&same); err != nil || !same {
				return err
			}
		}
		switch a.state {
		case Leased:
			return a.free(ctx, tx, Released, "")
		case Reopened:
			return a.free(ctx, tx, Submitted, "")
		}
		return nil
	})
	return wrap(err, "release assignment %s", assignmentID)
}

// Skip gives a task back for good: it is not served to this labeler again. The reason
// is required. The reasons "unsafe" and "pii" report the task: it is held back until a
// reviewer releases it (Unhold).
func (s *Store) Skip(ctx context.Context, assignmentID, labelerID, reason string) error {
	if Normalize(reason) == "" || len(reason) > 1000 {
		return invalid("reason", "1 to 1000 bytes are wanted")
	}
	if err := CheckText("reason", reason); err != nil {
		return err
	}
	err := s.closeLease(ctx, assignmentID, labelerID, func(tx pgx.Tx, a lease) error {
		switch a.state {
		case Skipped:
			return nil
		case Submitted, Reopened:
			return fmt.Errorf("%w: it is submitted", ErrConflict)
		}
		if err := a.free(ctx, tx, Skipped, reason); err != nil {
			return err
		}
		b := &pgx.Batch{}
		if holds(reason) {
			b.Queue(`UPDATE tasks SET held = $2 WHERE id = $1 AND held = ''`, a.taskID, reason)
		}
		b.Queue(`INSERT INTO labelers (project_id, labeler_id, skipped) VALUES ($1, $2, 1)
			ON CONFLICT (project_id, labeler_id) DO UPDATE SET skipped = labelers.skipped + 1`, a.projectID, labelerID)
		b.Queue(`SELECT audit_append($1, 'labeling.skip', $2, $3)`, actor(labelerID), assignmentID,
			map[string]any{"task": a.taskID, "holds": holds(reason), "bytes": len(reason)}) // the log outlives an erasure: no words of people
		return tx.SendBatch(ctx, b).Close()
	})
	return wrap(err, "skip assignment %s", assignmentID)
}
