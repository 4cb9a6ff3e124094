package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
)

// Of the lists: requests of each page, and people whose rankings the dashboard tells of.
const (
	listRequests = 200
	listPeople   = 1000
	figureMoves  = 21
)

// lists is how long the admin's pages over all tasks take: first pages, deep ones, each filter, and the dashboard.
func (l *lab) lists(ctx context.Context) ([]bar, error) {
	rankings, err := l.addHistory(ctx)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if err := l.promote(ctx, 0, "analyst"); err != nil {
		return nil, err
	}
	store := labeling.NewStore(l.pool)
	// In full: sums that the server has by now are of before this past was made, which no act of people told of.
	if _, err := l.pool.Exec(ctx, `DELETE FROM labeling_sums`); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := store.RefreshDashboard(ctx, l.project.ID); err != nil {
		return nil, err
	}
	computed := time.Since(start)
	moved, err := l.moveFigures(ctx, store)
	if err != nil {
		return nil, err
	}
	deep, err := l.deepCursor(ctx)
	if err != nil {
		return nil, err
	}
	all := strconv.Itoa(l.Tasks) + " tasks"
	pages := []struct {
		name, path, note string
		most             float64
	}{
		{"list, first page", "tasks", all, 50},
		{"list, 1000th page", "tasks?before=" + deep, all, 50},
		{"list of done tasks", "tasks?state=done", all, 50},
		{"list of a state that no task is in", "tasks?state=hidden", "looks through as many as one page may", 50},
		{"list of a batch", "tasks?batch=round+7", all, 50},
		{"list of a customer", "tasks?customer=customer+7", all, 50},
		{"list of a labeler", "tasks?labeler=" + url.QueryEscape("reader 7"), all, 50},
		{"list by a rare word", "tasks?text=" + strconv.Itoa(l.Tasks/2), all, 50},
		{"dashboard", "", fmt.Sprintf("%d rankings of %d people, from the cache", rankings, listPeople), 100},
		{"dashboard, quality", "quality", "", 100},
	}
	out := []bar{atMost("figures of the dashboard computed", computed.Seconds(), "s", max(1, 5*float64(rankings)/1e6), fmt.Sprintf("%d rankings, by a job", rankings)),
		atMost("figures moved by one ranking", float64(moved.Microseconds())/1000, "ms", 50, fmt.Sprintf("median of %d", figureMoves))}
	for i, p := range pages {
		l.show.show("lists", i, len(pages), "pages")
		slow, err := l.slowest(ctx, l.sessions[0], l.base+"/admin/labeling/"+p.path)
		if p.path == "" {
			slow, err = l.slowest(ctx, l.sessions[0], l.base+"/admin/labeling")
		}
		if err != nil {
			return nil, err
		}
		out = append(out, atMost(p.name+", p99", float64(slow.Microseconds())/1000, "ms", p.most, p.note))
	}
	return out, nil
}

// moveFigures is how long figures take after one more ranking: the median of some.
func (l *lab) moveFigures(ctx context.Context, store *labeling.Store) (time.Duration, error) {
	times := make([]time.Duration, figureMoves)
	for i := range times {
		a, err := store.Claim(ctx, l.project.ID, "mover")
		if err != nil {
			return 0, err
		}
		in := labeling.SubmitInput{AssignmentID: a.ID, LabelerID: a.LabelerID, Ranks: []int{1, 2, 3, 4}, IdempotencyKey: a.ID, ActiveMS: 30_000, WallMS: 40_000}
		if _, err := store.Submit(ctx, in, nil); err != nil {
			return 0, err
		}
		start := time.Now()
		if err := store.RefreshDashboard(ctx, l.project.ID); err != nil {
			return 0, err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// slowest asks for a page over and over, signed in by a session, and returns the 99th percentile of the times.
func (l *lab) slowest(ctx context.Context, session, address string) (time.Duration, error) {
	var times []time.Duration
	for i := range listRequests + 10 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return 0, err
		}
		req.AddCookie(&http.Cookie{Name: "rl_session", Value: session})
		start := time.Now()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil {
			return 0, err
		}
		if res.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("%s answers %s", address, res.Status)
		}
		if i >= 10 { // warm
			times = append(times, time.Since(start))
		}
	}
	slices.Sort(times)
	return times[len(times)*99/100], nil
}

// deepCursor is where the 1000th page of 50 begins, or the last one.
func (l *lab) deepCursor(ctx context.Context) (string, error) {
	var id string
	err := l.pool.QueryRow(ctx, `SELECT id::text FROM (SELECT id FROM tasks WHERE project_id = $1 ORDER BY id DESC LIMIT $2) t ORDER BY id LIMIT 1`,
		l.project.ID, 999*50).Scan(&id)
	return id, err
}

// addHistory gives the tasks a past: two rankings of one in two by many people, a batch, a customer. It returns how many rankings there are. Tasks that have a past keep it.
func (l *lab) addHistory(ctx context.Context) (rankings int, err error) {
	if l.rankings > 0 {
		return l.rankings, nil
	}
	l.show.say("Making rankings, batches and customers")
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		for _, statement := range []string{
			`SET LOCAL session_replication_role = replica`, // foreign keys hold by construction
			`CREATE TEMP TABLE past ON COMMIT DROP AS SELECT t.id AS task, t.project_id, w.n, l, ` + idSQL + ` AS assignment, ` + idSQL + ` AS ranking
				FROM (SELECT id, project_id, row_number() OVER (ORDER BY id) AS n FROM tasks WHERE open_slots = need) t(id, project_id, n), generate_series(0, 1) l,
					LATERAL (SELECT (t.n + 500 * l) % ` + strconv.Itoa(listPeople) + ` AS n) w WHERE t.n % 2 = 0`,
			`INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline, ranking_id, claimed_at, closed_at)
				SELECT assignment, task, project_id, 'reader ' || n, 'submitted', now(), '{2,0,3,1}', 1, ranking, now(), now() FROM past`,
			`INSERT INTO rankings (id, project_id, task_id, assignment_id, labeler_id, revision, ranks, idempotency_key, request_hash, active_ms, wall_ms, guideline, surplus, created_at)
				SELECT ranking, project_id, task, assignment, 'reader ' || n, 1, (ARRAY['{1,2,3,4}', '{2,1,2,4}', '{4,3,2,1}'])[1 + (random() * 2)::int]::smallint[], ranking::text, sha256('x'),
					(10000 + random() * 60000)::int, 80000, 1, false, now() - random() * interval '60 days' FROM past`,
			`UPDATE tasks SET done = 2, open_slots = open_slots - 2 WHERE id IN (SELECT task FROM past)`,
			`INSERT INTO labelers (project_id, labeler_id, done, active_ms) SELECT project_id, labeler_id, count(*), sum(active_ms) FROM rankings WHERE labeler_id LIKE 'reader %' GROUP BY 1, 2`,
			`UPDATE tasks SET batch = 'round 7' WHERE id IN (SELECT task FROM past ORDER BY task LIMIT 2000)`,
			`UPDATE prompts SET customer_id = 'customer 7' WHERE id IN (SELECT prompt_id FROM tasks ORDER BY id LIMIT 200)`,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, `SELECT count(*) FROM past`).Scan(&rankings)
	})
	if err == nil {
		_, err = l.pool.Exec(ctx, `VACUUM ANALYZE`)
	}
	l.rankings = rankings
	return rankings, err
}
