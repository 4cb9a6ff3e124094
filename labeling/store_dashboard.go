package labeling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

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

// RefreshDashboard computes a project's figures now, from the sums of those of its parts that changed.
func (s *Store) RefreshDashboard(ctx context.Context, projectID string) error {
	if !isID(projectID) {
		return fmt.Errorf("refresh dashboard of project %q: %w", projectID, ErrNotFound)
	}
	start := time.Now()
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var seen int64
		var d Dashboard
		if err := tx.QueryRow(ctx, `SELECT (`+workSeen+`)::bigint FROM projects p WHERE p.id = $1`, projectID).Scan(&seen); err != nil {
			return err
		}
		f, err := s.refreshFigures(ctx, tx, projectID)
		if err == nil {
			err = countTasks(ctx, tx, projectID, f, &d)
		}
		if err == nil {
			err = listLabelers(ctx, tx, projectID, &d)
		}
		if err != nil {
			return err
		}
		f.fill(&d)
		if err := goldShares(ctx, tx, projectID, &d); err != nil {
			return err
		}
		raw, err := json.Marshal(d)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO labeling_stats (project_id, computed_at, took_ms, seen, stats) VALUES ($1, now(), $2, $3, $4)
			ON CONFLICT (project_id) DO UPDATE SET computed_at = excluded.computed_at, took_ms = excluded.took_ms, seen = excluded.seen, stats = excluded.stats`,
			projectID, time.Since(start).Milliseconds(), seen, raw)
		return err
	})
	return wrap(err, "refresh dashboard of project %s", projectID)
}

// goldShares scores the rankings of gold tasks against what is known of them.
func goldShares(ctx context.Context, tx pgx.Tx, projectID string, d *Dashboard) error {
	rows, err := tx.Query(ctx, `
		SELECT a.labeler_id, g.ranks::int[], r.ranks::int[] FROM gold g
		JOIN assignments a ON a.task_id = g.task_id AND a.ranking_id IS NOT NULL AND NOT a.surplus
		JOIN rankings r ON r.id = a.ranking_id AND cardinality(r.ranks) = cardinality(g.ranks)
		WHERE g.project_id = $1`, projectID)
	if err != nil {
		return err
	}
	var sums map[string]*shareSum
	var who string
	var known, ranks []int
	_, err = pgx.ForEachRow(rows, []any{&who, &known, &ranks}, func() error {
		hits, all := GoldScore(known, ranks)
		part(&sums, who).add(int64(hits), int64(all))
		known, ranks = nil, nil
		return nil
	})
	for i := range d.Labelers {
		if s := sums[d.Labelers[i].LabelerID]; s != nil {
			d.Labelers[i].Gold = s.share()
		}
	}
	return err
}

// countTasks completes the states of tasks: what is not done has an open slot, or else a live lease.
func countTasks(ctx context.Context, tx pgx.Tx, projectID string, f *figures, d *Dashboard) error {
	var worked int64
	err := tx.QueryRow(ctx, `
		SELECT count(*) FROM tasks t WHERE t.id IN (SELECT a.task_id FROM assignments a WHERE a.project_id = $1 AND a.state IN ('leased', 'reopened'))
			AND t.purpose = 'work' AND `+taskStateOf+` = 'worked'`, projectID).Scan(&worked)
	if err != nil {
		return err
	}
	d.States = map[string]int{}
	for state, n := range map[string]int64{TaskOpen: f.Tasks - f.Complete - worked, TaskWorked: worked, TaskDone: f.Complete, TaskHeld: f.Held, TaskHidden: f.Hidden} {
		if n > 0 {
			d.States[state] = int(n)
		}
	}
	return nil
}

// listLabelers lists those with counters, who did most first. Somebody was last seen at the newest submit, or claim of work
// under way.
func listLabelers(ctx context.Context, tx pgx.Tx, projectID string, d *Dashboard) error {
	rows, err := tx.Query(ctx, `
		SELECT l.labeler_id, l.done, l.skipped, l.active_ms::float8 / 3600000, coalesce(greatest(
			(SELECT max(a.closed_at) FROM assignments a WHERE a.project_id = l.project_id AND a.labeler_id = l.labeler_id AND a.ranking_id IS NOT NULL),
			(SELECT max(a.claimed_at) FROM assignments a WHERE a.project_id = l.project_id AND a.labeler_id = l.labeler_id AND a.state IN ('leased', 'reopened'))), 'epoch')
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
