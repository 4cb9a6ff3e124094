package labeling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// dashboardChunk is how many tasks one statement of a refresh reads: its time stays bounded however large the project is,
// and tables are not read through more often than need be.
const dashboardChunk = 200_000

// When figures are computed again: not while nothing was done, and not more than a twentieth of the time.
const (
	dashboardEvery = time.Minute
	dashboardRest  = 20
)

// Dashboard returns the figures that the job computed last; ErrNotFound where it has not yet.
func (s *Store) Dashboard(ctx context.Context, projectID string) (Dashboard, error) {
	var d Dashboard
	if !isID(projectID) {
		return d, fmt.Errorf("dashboard of project %q: %w", projectID, ErrNotFound)
	}
	var at time.Time
	var ms int64
	var raw []byte
	err := s.pool.QueryRow(ctx, `SELECT computed_at, took_ms, stats FROM labeling_stats WHERE project_id = $1`, projectID).Scan(&at, &ms, &raw)
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	d.ComputedAt, d.Took = at, time.Duration(ms)*time.Millisecond
	return d, wrap(err, "dashboard of project %s", projectID)
}

// RefreshDashboards computes the figures of every project in which something was done since, and which has rested.
func (s *Store) RefreshDashboards(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, `
		SELECT p.id::text FROM projects p LEFT JOIN labeling_stats s ON s.project_id = p.id
		WHERE s.project_id IS NULL
			OR s.computed_at < now() - make_interval(secs => $1::float8 * s.took_ms / 1000)
				AND s.seen IS DISTINCT FROM (`+workSeen+`)
		ORDER BY p.id`, dashboardRest)
	if err != nil {
		return wrap(err, "refresh dashboards")
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return wrap(err, "refresh dashboards")
	}
	var all error
	for _, id := range ids {
		all = errors.Join(all, s.RefreshDashboard(ctx, id))
	}
	return all
}

// workSeen grows with all that is done in project p: rankings and skips, and tasks that come or open again.
const workSeen = `SELECT coalesce(sum(l.done + l.skipped), 0) + (SELECT last_value FROM task_position) FROM labelers l WHERE l.project_id = p.id`

// RefreshDashboard computes a project's figures now.
func (s *Store) RefreshDashboard(ctx context.Context, projectID string) error {
	if !isID(projectID) {
		return fmt.Errorf("refresh dashboard of project %q: %w", projectID, ErrNotFound)
	}
	start := time.Now()
	var seen int64
	var d Dashboard
	err := s.pool.QueryRow(ctx, `SELECT (`+workSeen+`)::bigint FROM projects p WHERE p.id = $1`, projectID).Scan(&seen)
	if err == nil {
		err = s.countTasks(ctx, projectID, &d)
	}
	if err == nil {
		err = s.listLabelers(ctx, projectID, &d)
	}
	if err == nil {
		sums := newTally()
		err = s.eachCounted(ctx, projectID, dashboardChunk, sums.add)
		if err == nil {
			err = s.eachGold(ctx, projectID, sums)
		}
		if err == nil {
			sums.fill(&d)
		}
	}
	if err == nil {
		var raw []byte
		if raw, err = json.Marshal(d); err == nil {
			_, err = s.pool.Exec(ctx, `
				INSERT INTO labeling_stats (project_id, computed_at, took_ms, seen, stats) VALUES ($1, now(), $2, $3, $4)
				ON CONFLICT (project_id) DO UPDATE SET computed_at = excluded.computed_at, took_ms = excluded.took_ms, seen = excluded.seen, stats = excluded.stats`,
				projectID, time.Since(start).Milliseconds(), seen, raw)
		}
	}
	return wrap(err, "refresh dashboard of project %s", projectID)
}

// eachGold tallies the rankings of gold tasks against what is known of them.
func (s *Store) eachGold(ctx context.Context, projectID string, sums *tally) error {
	rows, err := s.pool.Query(ctx, `
		SELECT a.labeler_id, g.ranks::int[], r.ranks::int[] FROM gold g
		JOIN assignments a ON a.task_id = g.task_id AND a.ranking_id IS NOT NULL AND NOT a.surplus
		JOIN rankings r ON r.id = a.ranking_id AND cardinality(r.ranks) = cardinality(g.ranks)
		WHERE g.project_id = $1 ORDER BY g.task_id, a.labeler_id`, projectID)
	if err != nil {
		return err
	}
	var who string
	var known, ranks []int
	_, err = pgx.ForEachRow(rows, []any{&who, &known, &ranks}, func() error {
		hits, all := GoldScore(known, ranks)
		sums.labeler(who).gold.add(float64(hits), float64(all))
		known, ranks = nil, nil
		return nil
	})
	return err
}

func (s *Store) countTasks(ctx context.Context, projectID string, d *Dashboard) error {
	d.States = map[string]int{}
	rows, err := s.pool.Query(ctx, `
		SELECT `+taskStateOf+` AS state, count(*), sum(t.need)::bigint, sum(t.done)::bigint
		FROM tasks t WHERE t.project_id = $1 AND t.purpose = 'work' GROUP BY state`, projectID)
	if err != nil {
		return err
	}
	var state string
	var n, need, done int
	_, err = pgx.ForEachRow(rows, []any{&state, &n, &need, &done}, func() error {
		d.States[state] = n
		if state != TaskHidden && state != TaskHeld {
			d.Need, d.Done = d.Need+need, d.Done+done
		}
		return nil
	})
	return err
}

// listLabelers lists those with counters or assignments, who did most first.
func (s *Store) listLabelers(ctx context.Context, projectID string, d *Dashboard) error {
	rows, err := s.pool.Query(ctx, `
		SELECT l.labeler_id, l.done, l.skipped, l.active_ms::float8 / 3600000,
			coalesce((SELECT max(greatest(a.claimed_at, a.closed_at)) FROM assignments a WHERE a.project_id = l.project_id AND a.labeler_id = l.labeler_id), 'epoch')
		FROM labelers l WHERE l.project_id = $1
		ORDER BY l.done DESC, l.labeler_id LIMIT $2`, projectID, maxLabelerStats)
	if err != nil {
		return err
	}
	d.Labelers, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l LabelerStats, err error) {
		err = row.Scan(&l.LabelerID, &l.Done, &l.Skipped, &l.Hours, &l.LastSeen)
		return
	})
	return err
}

// eachCounted calls f for each task that has a ranking that counts, in the order of their ids, chunk tasks a statement.
func (s *Store) eachCounted(ctx context.Context, projectID string, chunk int, f func(countedTask)) error {
	after := "00000000-0000-0000-0000-000000000000"
	for {
		var next string
		err := s.pool.QueryRow(ctx, `
			SELECT id::text FROM (SELECT id FROM tasks WHERE project_id = $1 AND id > $2 ORDER BY id LIMIT $3) t ORDER BY id DESC LIMIT 1`,
			projectID, after, chunk).Scan(&next)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil {
			err = s.countedBetween(ctx, projectID, after, next, f)
		}
		if err != nil {
			return err
		}
		after = next
	}
}

func (s *Store) countedBetween(ctx context.Context, projectID, after, until string, f func(countedTask)) error {
	rows, err := s.pool.Query(ctx, `
		WITH t AS MATERIALIZED ( -- lengths once a task, not once a ranking
			SELECT id, k, ARRAY(SELECT length(q.text) FROM responses q WHERE q.task_id = tasks.id ORDER BY q.position) AS lengths
			FROM tasks WHERE project_id = $1 AND id > $2 AND id <= $3 AND purpose = 'work' AND done > 0 AND NOT hidden AND held = ''
		)
		SELECT t.id::text, t.lengths, a.labeler_id, r.ranks::int[], a.display_order::int[], r.active_ms, r.created_at
		FROM t
		JOIN assignments a ON a.task_id = t.id AND a.ranking_id IS NOT NULL AND NOT a.surplus
		JOIN rankings r ON r.id = a.ranking_id AND cardinality(r.ranks) = t.k AND t.k >= 2 -- one that ranks a text of its own compares with nobody's
		ORDER BY t.id, a.labeler_id`, pgx.QueryExecModeExec, projectID, after, until) // planned for this very chunk
	if err != nil {
		return err
	}
	var id, current string
	var task countedTask
	var lengths []int
	var r countedRanking
	_, err = pgx.ForEachRow(rows, []any{&id, &lengths, &r.labelerID, &r.ranks, &r.order, &r.activeMS, &r.at}, func() error {
		if id != current {
			f(task)
			current, task = id, countedTask{lengths: lengths}
		}
		task.rankings = append(task.rankings, r)
		r.ranks, r.order, lengths = nil, nil, nil // the next row must not write into what is kept
		return nil
	})
	if err == nil {
		f(task)
	}
	return err
}
