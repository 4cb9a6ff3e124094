package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// load is what labelers saw in a span of time.
type load struct {
	claims, submits []time.Duration // of calls that were answered well
	failed          int
	took            time.Duration
}

// rate is rankings a second.
func (l load) rate() float64 { return float64(len(l.submits)) / l.took.Seconds() }

var errNothingLeft = errors.New("all tasks are ranked; use more --tasks")

// load lets n labelers claim and submit for so long. They begin spread over the mean time that they think.
func (l *lab) load(ctx context.Context, n int, think, span time.Duration) (load, error) {
	ctx, cancel := context.WithTimeout(ctx, think+span)
	defer cancel()
	begin := time.Now().Add(think) // of what counts
	parts, errs := make([]load, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		w := newWorker(l, i)
		all.Go(func() {
			if pauseFor(ctx, time.Duration(w.rng.Float64()*float64(think))) {
				parts[i], errs[i] = w.label(ctx, think, begin)
			}
			w.http.CloseIdleConnections()
		})
	}
	all.Wait()
	sum := load{took: time.Since(begin)}
	for i, p := range parts {
		if errs[i] != nil {
			return sum, errs[i]
		}
		sum.claims, sum.submits, sum.failed = append(sum.claims, p.claims...), append(sum.submits, p.submits...), sum.failed+p.failed
	}
	return sum, nil
}

// worker is one labeler on one connection.
type worker struct {
	lab    *lab
	cookie string
	http   *http.Client
	rng    *rand.Rand
}

func newWorker(l *lab, i int) *worker {
	w := &worker{lab: l, rng: rand.New(rand.NewPCG(1, uint64(i))),
		http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}}
	w.sitDown(i)
	return w
}

// sitDown makes it the i-th person.
func (w *worker) sitDown(i int) { w.cookie = "rl_session=" + w.lab.sessions[i%len(w.lab.sessions)] }

// label claims, thinks and submits until ctx ends; what is answered before begin is not counted.
func (w *worker) label(ctx context.Context, think time.Duration, begin time.Time) (load, error) {
	var sum load
	count := func(list *[]time.Duration, start time.Time) {
		if now := time.Now(); now.After(begin) {
			*list = append(*list, now.Sub(start))
		}
	}
	for ctx.Err() == nil {
		start := time.Now()
		code, body, err := w.post(ctx, "/label/api/claim", "", nil)
		switch {
		case ctx.Err() != nil:
			return sum, nil
		case err != nil || code != http.StatusOK && code != http.StatusNoContent:
			sum.failed++
			continue
		case code == http.StatusNoContent:
			return sum, errNothingLeft
		}
		count(&sum.claims, start)
		var a struct {
			Assignment string `json:"assignment"`
			Answers    []any  `json:"answers"`
		}
		if err := json.Unmarshal(body, &a); err != nil {
			return sum, fmt.Errorf("claim: %w", err)
		}
		if !pauseFor(ctx, time.Duration((0.5+w.rng.Float64())*float64(think))) {
			return sum, nil
		}
		start = time.Now()
		if code, _, err = w.submit(ctx, a.Assignment, len(a.Answers)); ctx.Err() != nil {
			return sum, nil
		}
		if err != nil || code != http.StatusOK {
			sum.failed++
			continue
		}
		count(&sum.submits, start)
	}
	return sum, nil
}

// submit ranks k answers by chance.
func (w *worker) submit(ctx context.Context, assignment string, k int) (int, []byte, error) {
	ranks := w.rng.Perm(k)
	for i := range ranks {
		ranks[i]++
	}
	return w.post(ctx, "/label/api/assignments/"+assignment+"/submit", "load-"+assignment,
		map[string]any{"ranks": ranks, "comment": "", "active_ms": 900, "wall_ms": 1000})
}

func (w *worker) post(ctx context.Context, path, key string, body any) (int, []byte, error) {
	b := []byte("{}")
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.lab.base+path, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Cookie", w.cookie)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := w.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	return res.StatusCode, out, err
}

// pauseFor waits; false means that ctx ended before.
func pauseFor(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// recounts are statements that count what must not be.
var recounts = []struct{ name, sql string }{
	{"tasks over their need", `SELECT count(*) FROM tasks WHERE done > need OR open_slots < 0 OR open_slots + done > need`},
	{"labelers who ranked a task twice", `SELECT count(*) FROM (SELECT FROM assignments GROUP BY task_id, labeler_id HAVING count(*) > 1) d`},
	{"counters that a recount denies", `SELECT count(*) FROM tasks t CROSS JOIN LATERAL (
		SELECT count(*) FILTER (WHERE a.state IN ('submitted', 'reopened') AND NOT a.surplus) AS done, count(*) FILTER (WHERE a.state = 'leased') AS leased
		FROM assignments a WHERE a.task_id = t.id) r WHERE t.done <> r.done OR t.open_slots <> t.need - r.done - r.leased`},
	{"acknowledged rankings that are lost", `SELECT count(*) FROM unnest($1::uuid[]) k(id) WHERE NOT EXISTS (SELECT FROM rankings r WHERE r.id = k.id)`},
	{"assignments that refer to what is not there", `SELECT count(*) FROM assignments a LEFT JOIN tasks t ON t.id = a.task_id LEFT JOIN rankings k ON k.id = a.ranking_id
		WHERE t.project_id IS DISTINCT FROM a.project_id OR a.ranking_id IS NOT NULL AND k.assignment_id IS DISTINCT FROM a.id`},
	{"submits stored twice", `SELECT count(*) FROM (SELECT FROM rankings GROUP BY assignment_id HAVING count(*) > 1) d`},
}

// claims makes claims while server and Postgres are killed, and recounts.
func (l *lab) claims(ctx context.Context) ([]bar, error) {
	working, stop := context.WithCancel(ctx)
	defer stop()
	crew := make([]*claimer, l.Connections)
	var all sync.WaitGroup
	errs := make([]error, l.Connections)
	for i := range crew { // every labeler works in two windows
		crew[i] = &claimer{worker: newWorker(l, i/2)}
		crew[i].rng = rand.New(rand.NewPCG(2, uint64(i)))
		all.Go(func() { errs[i] = crew[i].work(working) })
	}
	made := func() (n int) {
		for _, c := range crew {
			n += int(c.made.Load())
		}
		return n
	}
	killed, began := 0, time.Now()
	for made() < l.Claims && (l.Within == 0 || time.Since(began) < l.Within) && ctx.Err() == nil && !slices.ContainsFunc(crew, func(c *claimer) bool { return c.ended.Load() }) {
		if pauseFor(ctx, 50*time.Millisecond); made() >= (killed+1)*l.Claims/(l.Kills+1) {
			if killed++; killed%3 == 0 {
				l.postgres.Kill9()
			}
			l.kill()
			for l.pool.Ping(ctx) != nil && pauseFor(ctx, 50*time.Millisecond) { // a server does not start without its database
			}
			if err := l.start(ctx); err != nil {
				stop()
				all.Wait()
				return nil, err
			}
		}
		l.show.show("claims", min(made(), l.Claims), l.Claims, fmt.Sprintf("claims, %d kills", killed))
	}
	stop()
	all.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return nil, err
	}
	var acked []string
	for _, c := range crew {
		acked = append(acked, c.acked...)
	}
	total := made()
	bars := []bar{atLeast("claims under "+strconv.Itoa(killed)+" kills", float64(total), "", float64(l.Claims),
		fmt.Sprintf("%.0f/s with the restarts, %d submits acknowledged", float64(total)/time.Since(began).Seconds(), len(acked)))}
	for _, r := range recounts {
		var args []any
		if bytes.Contains([]byte(r.sql), []byte("$1")) {
			args = append(args, acked)
		}
		var n int
		if err := l.pool.QueryRow(ctx, r.sql, args...).Scan(&n); err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		bars = append(bars, atMost(r.name, float64(n), "", 0, ""))
	}
	return bars, nil
}
