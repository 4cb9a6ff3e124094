package labeling

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// openStep is what Progress.Open is rounded up to in a project with gold tasks.
const openStep = 20

// openFew is how many open tasks are counted anew for everybody: with more, a count of the last second does.
const openFew = 100

// Progress is what a labeler has done in a project, and what is left to do for anyone.
func (s *Store) Progress(ctx context.Context, projectID, labelerID string) (Progress, error) {
	var p Progress
	err := s.pool.QueryRow(ctx, `SELECT done, skipped, active_ms FROM labelers WHERE project_id = $1 AND labeler_id = $2`, projectID, labelerID).
		Scan(&p.Done, &p.Skipped, &p.ActiveMS)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return p, wrap(err, "progress of %s", labelerID)
	}
	p.Open, err = s.Open(ctx, projectID)
	return p, wrap(err, "progress of %s", labelerID)
}

// Open counts the tasks of a project that have an open slot, to OpenLimit; many are counted once in a second.
func (s *Store) Open(ctx context.Context, projectID string) (int, error) {
	r, err := s.rates(ctx, projectID)
	n := r.open
	if err == nil && n < openFew {
		err = s.pool.QueryRow(ctx, `SELECT count(*) FROM (SELECT FROM tasks WHERE project_id = $1 AND open LIMIT $2) t`, projectID, OpenLimit).Scan(&n)
	}
	if r.gold > 0 { // a claim that leaves the count as it was would tell a gold task
		n = min(OpenLimit, (n+openStep-1)/openStep*openStep)
	}
	return n, wrap(err, "open tasks of project %s", projectID)
}

// CountRankings counts the rankings of a batch that count: one per labeler and task,
// without surplus, without hidden and held tasks, without those that measure labelers.
func (s *Store) CountRankings(ctx context.Context, projectID, batch string) (int, error) {
	c, err := s.BatchCounts(ctx, projectID, batch)
	return c.Done, err
}

// CountRankingsTx is CountRankings within a transaction, such as that of Submit's after.
func (s *Store) CountRankingsTx(ctx context.Context, tx pgx.Tx, projectID, batch string) (int, error) {
	c, err := s.BatchCountsTx(ctx, tx, projectID, batch)
	return c.Done, err
}

// BatchCounts are the counters of a batch, without hidden and held tasks and those that measure labelers.
func (s *Store) BatchCounts(ctx context.Context, projectID, batch string) (BatchCounts, error) {
	return batchCounts(ctx, s.pool, projectID, batch)
}

// BatchCountsTx is BatchCounts within a transaction.
func (s *Store) BatchCountsTx(ctx context.Context, tx pgx.Tx, projectID, batch string) (BatchCounts, error) {
	return batchCounts(ctx, tx, projectID, batch)
}

func batchCounts(ctx context.Context, q querier, projectID, batch string) (BatchCounts, error) {
	var c BatchCounts
	err := q.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE done = need), coalesce(sum(need), 0), coalesce(sum(done), 0), coalesce(sum(open_slots), 0)
		FROM tasks WHERE project_id = $1 AND batch = $2 AND purpose = 'work' AND NOT hidden AND held = ''`, projectID, batch).
		Scan(&c.Tasks, &c.Complete, &c.Need, &c.Done, &c.Open)
	c.Leased = c.Need - c.Done - c.Open
	return c, wrap(err, "counts of batch %q", batch)
}

// sweepLimit is how many tasks with leases that ran out one statement of a sweep looks at.
const sweepLimit = 10_000

// Sweep ends the leases that ran out: their slots open again behind every watermark,
// reopened rankings stand as they were, drafts stay. It returns how many it ended. What
// another transaction holds at this moment is left to the next sweep.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	total := 0
	for {
		due, ended, err := sweep(ctx, s.pool)
		if err != nil {
			return total, wrap(err, "sweep leases")
		}
		if total += ended; due < sweepLimit || ended == 0 {
			return total, nil
		}
	}
}

// sweep locks tasks first, as a claim does and whoever closes a lease, and assignments only of tasks that it has: one that
// held an assignment while another held its task was half of a deadlock.
func sweep(ctx context.Context, q querier) (due, ended int, err error) {
	err = q.QueryRow(ctx, `
		WITH due AS MATERIALIZED (
			SELECT DISTINCT task_id FROM assignments WHERE state IN ('leased', 'reopened') AND lease_until < now() LIMIT $1
		), mine AS MATERIALIZED (
			SELECT id FROM tasks WHERE id IN (SELECT task_id FROM due) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
		), closed AS (
			UPDATE assignments a SET state = CASE WHEN a.state = 'leased' THEN 'expired' ELSE 'submitted' END, closed_at = now()
			FROM mine WHERE a.task_id = mine.id AND a.state IN ('leased', 'reopened') AND a.lease_until < now()
			RETURNING a.task_id, a.state
		), freed AS (
			UPDATE tasks t SET open_slots = t.open_slots + CASE WHEN purpose = 'work' THEN f.n ELSE 0 END,
				need = need - CASE WHEN purpose = 'work' THEN 0 ELSE f.n END, position = nextval('task_position')
			FROM (SELECT task_id, count(*) AS n FROM closed WHERE state = 'expired' GROUP BY task_id) f WHERE t.id = f.task_id
		)
		SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM closed)`, sweepLimit).Scan(&due, &ended)
	return due, ended, err
}

// Material is what a project has to train on.
type Material struct {
	Prompts        map[string]int // usable ones, by split
	Ranked         int            // tasks that somebody has ranked
	Rankings       int
	Demonstrations int
}

// Material counts what a project has to train on. Demonstrations are counted as Demonstrations lists them.
func (s *Store) Material(ctx context.Context, projectID string) (Material, error) {
	m := Material{Prompts: map[string]int{}}
	rows, err := s.pool.Query(ctx, `SELECT split, count(*) FROM prompts WHERE project_id = $1 AND usable GROUP BY split`, projectID)
	if err != nil {
		return m, wrap(err, "material of project %s", projectID)
	}
	var split string
	var n int
	if _, err = pgx.ForEachRow(rows, []any{&split, &n}, func() error { m.Prompts[split] = n; return nil }); err != nil {
		return m, wrap(err, "material of project %s", projectID)
	}
	err = s.pool.QueryRow(ctx, `SELECT count(DISTINCT a.task_id), count(*) FROM assignments a WHERE a.project_id = $1 AND a.state = 'submitted' AND NOT a.aside`, projectID).
		Scan(&m.Ranked, &m.Rankings)
	if err == nil {
		err = s.pool.QueryRow(ctx, `SELECT count(*) FROM demonstrations d
			LEFT JOIN prompts p ON p.id = d.prompt_id
			LEFT JOIN assignments a ON a.id = d.assignment_id LEFT JOIN tasks t ON t.id = a.task_id
			WHERE d.project_id = $1 AND (p.id IS NULL OR p.usable AND p.split <> 'test') AND (t.id IS NULL OR NOT t.hidden AND t.held = '')`, projectID).
			Scan(&m.Demonstrations)
	}
	return m, wrap(err, "material of project %s", projectID)
}
