package labeling

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// together runs f(0..n-1) at once and waits.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// Sixteen connections of five labelers claim, submit, skip, release and lose 300 tasks
// with an overlap of three, until nobody finds anything.
func TestClaimsAtOnce(t *testing.T) {
	b := setup(t)
	const tasks, overlap, labelers = 300, 3, 5
	b.tasks(tasks, 4, overlap, "round")
	together(16, func(i int) {
		labeler := fmt.Sprintf("labeler %d", i%labelers)
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		for {
			claim := b.store.Claim
			if rng.IntN(2) == 0 {
				claim = b.store.ClaimNext
			}
			a, err := claim(b.ctx, b.project.ID, labeler)
			switch {
			case errors.Is(err, ErrEmpty):
				return
			case errors.Is(err, ErrTooManyLeases):
				continue
			case err != nil:
				t.Errorf("claim: %v", err)
				return
			}
			switch rng.IntN(20) {
			case 0:
				err = b.store.Release(b.ctx, a.ID, labeler)
			case 1:
				b.expire(a)
				_, err = b.store.Sweep(b.ctx)
			default:
				_, err = b.store.Submit(b.ctx, best(a, newKey()), nil)
			}
			// Another tab of this labeler may have been faster with the same assignment.
			if err != nil && !errors.Is(err, ErrConflict) {
				t.Errorf("%v", err)
				return
			}
		}
	})
	b.sound()
	for i := range overlap { // what the last ones gave back, up to all slots of one task
		for {
			a, err := b.store.Claim(b.ctx, b.project.ID, fmt.Sprint("late ", i))
			if errors.Is(err, ErrEmpty) {
				break
			}
			b.ok(err)
			b.submit(a)
		}
	}
	b.sound()
	c, err := b.store.BatchCounts(b.ctx, b.project.ID, "round")
	b.ok(err)
	if want := (BatchCounts{Tasks: tasks, Complete: tasks, Need: tasks * overlap, Done: tasks * overlap}); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

// The only labeler left is told "empty" when it is, and never because another one stands
// in the way: 12 labelers at once on 12 slots of one task.
func TestEmptyIsNotBusy(t *testing.T) {
	b := setup(t)
	const n = 12
	for round := range 20 {
		b.task(b.prompt(fmt.Sprint(round)), 2, n, "")
		var mu sync.Mutex
		got := 0
		together(n, func(i int) {
			a, err := b.store.Claim(b.ctx, b.project.ID, fmt.Sprint("labeler ", i))
			if err != nil {
				t.Errorf("round %d, labeler %d: %v", round, i, err)
				return
			}
			_, err = b.store.Submit(b.ctx, best(a, newKey()), nil)
			if err != nil {
				t.Errorf("round %d, labeler %d: %v", round, i, err)
			}
			mu.Lock()
			got++
			mu.Unlock()
		})
		if got != n {
			t.Fatalf("round %d: %d claims for %d slots", round, got, n)
		}
	}
	b.sound()
}

// A claim that waited for a task and then finds that the labeler's other tab has just
// taken it met a conflict, not an empty queue: it goes on to the next task.
func TestConflictIsNotEmpty(t *testing.T) {
	b := setup(t)
	tasks := b.tasks(2, 2, 2, "")
	tx, err := b.pool.Begin(b.ctx)
	b.ok(err)
	defer tx.Rollback(b.ctx)
	_, err = tx.Exec(b.ctx, `SELECT FROM tasks FOR NO KEY UPDATE`)
	b.ok(err)
	got := make(chan *Assignment)
	go func() {
		a, err := b.store.Claim(b.ctx, b.project.ID, "ann")
		if err != nil {
			t.Errorf("claim: %v", err)
		}
		got <- a
	}()
	for b.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 0 {
		time.Sleep(time.Millisecond)
	}
	_, err = tx.Exec(b.ctx, `INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline)
		VALUES ($1, $2, $3, 'ann', 'leased', now() + interval '1 hour', '{0,1}', 1)`, newKey(), tasks[0].ID, b.project.ID)
	b.ok(err)
	_, err = tx.Exec(b.ctx, `UPDATE tasks SET open_slots = 1 WHERE id = $1`, tasks[0].ID)
	b.ok(err)
	b.ok(tx.Commit(b.ctx))
	if a := <-got; a == nil || a.TaskID != tasks[1].ID {
		t.Errorf("claimed %+v, want the second task", a)
	}
	b.sound()
}

func TestTwoTabs(t *testing.T) {
	b := setup(t)
	b.tasks(40, 3, 2, "")
	// Tabs that fetch ahead get tasks of their own; the unique key holds the line.
	seen := map[string]int{}
	var mu sync.Mutex
	together(8, func(int) {
		a, err := b.store.ClaimNext(b.ctx, b.project.ID, "ann")
		if err != nil {
			t.Errorf("claim: %v", err)
			return
		}
		mu.Lock()
		seen[a.TaskID]++
		mu.Unlock()
	})
	if len(seen) != 8 {
		t.Errorf("8 tabs got %d tasks", len(seen))
	}
	// A page that opens again gets the oldest one back.
	first, again := b.claim("ann"), b.claim("ann")
	if first.ID != again.ID || seen[first.TaskID] != 1 {
		t.Errorf("claim after claim gave %s, then %s", first.TaskID, again.TaskID)
	}
	for range MaxLeases - 8 {
		_, err := b.store.ClaimNext(b.ctx, b.project.ID, "ann")
		b.ok(err)
	}
	_, err := b.store.ClaimNext(b.ctx, b.project.ID, "ann")
	b.is(err, ErrTooManyLeases)
	b.sound()
}

func TestLeaseRunsOut(t *testing.T) {
	b := setup(t)
	task := b.tasks(1, 3, 1, "")[0]
	a := b.claim("ann")
	if n, err := b.store.Sweep(b.ctx); n != 0 || err != nil {
		t.Fatalf("sweep of a live lease: %d, %v", n, err)
	}
	draft := Draft{Ranks: []int{2, 0, 1}, Comment: "not sure", Focus: 2}
	b.ok(b.store.SaveDraft(b.ctx, a.ID, "ann", draft))
	b.expire(a)
	_, err := b.store.Renew(b.ctx, a.ID, "ann") // not swept yet: life goes on
	b.ok(err)
	if n, _ := b.store.Sweep(b.ctx); n != 0 {
		t.Fatal("a renewed lease was swept")
	}
	b.expire(a)
	if n, _ := b.store.Sweep(b.ctx); n != 1 {
		t.Fatal("a dead lease was not swept")
	}
	_, err = b.store.Renew(b.ctx, a.ID, "ann")
	b.is(err, ErrConflict)
	b.ok(b.store.SaveDraft(b.ctx, a.ID, "ann", draft))

	// The same labeler gets it again, in the same order and with the draft.
	again := b.claim("ann")
	if again.ID != a.ID || !slices.Equal(again.Order, a.Order) || again.Draft == nil || again.Draft.Comment != "not sure" || !slices.Equal(again.Draft.Ranks, draft.Ranks) {
		t.Errorf("claimed again: %+v, draft %+v", again, again.Draft)
	}
	b.expire(a)
	b.store.Sweep(b.ctx)

	// Somebody else takes the slot and finishes; the late ranking is surplus, not lost.
	other := b.claim("bob")
	if other.TaskID != task.ID {
		t.Fatalf("bob got %s", other.TaskID)
	}
	b.submit(other)
	late := b.submit(a)
	if !late.Surplus {
		t.Error("a ranking beyond the need is not surplus")
	}
	b.sound()
	n, err := b.store.CountRankings(b.ctx, b.project.ID, "")
	b.ok(err)
	if n != 1 {
		t.Errorf("%d rankings count, want 1", n)
	}
	b.tx(func(tx pgx.Tx) error {
		snap, err := b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
		if snap.N != 1 {
			t.Errorf("snapshot holds %d rankings, want the one that is no surplus", snap.N)
		}
		return err
	})
}

func TestSubmitAfterExpiryTakesOpenSlot(t *testing.T) {
	b := setup(t)
	b.tasks(1, 3, 1, "")
	a := b.claim("ann")
	b.expire(a)
	b.store.Sweep(b.ctx)
	if r := b.submit(a); r.Surplus {
		t.Error("a late ranking is surplus while the slot is open")
	}
	_, err := b.store.Claim(b.ctx, b.project.ID, "bob")
	b.is(err, ErrEmpty)
	b.sound()
}

func TestSweepOfMany(t *testing.T) {
	b := setup(t)
	b.tasks(60, 2, 2, "")
	together(6, func(i int) {
		for range 16 {
			if _, err := b.store.ClaimNext(b.ctx, b.project.ID, fmt.Sprint("labeler ", i)); err != nil {
				t.Errorf("claim: %v", err)
			}
		}
	})
	b.sql(`UPDATE assignments SET lease_until = now() - interval '1 minute'`)
	var mu sync.Mutex
	total := 0
	together(4, func(int) {
		n, err := b.store.Sweep(b.ctx)
		if err != nil {
			t.Errorf("sweep: %v", err)
		}
		mu.Lock()
		total += n
		mu.Unlock()
	})
	n, err := b.store.Sweep(b.ctx) // what was locked by the others
	b.ok(err)
	if total += n; total != 96 {
		t.Errorf("%d leases swept, want 96", total)
	}
	b.sound()
}

func TestSkipAndRelease(t *testing.T) {
	b := setup(t)
	b.tasks(1, 3, 1, "")
	a := b.claim("ann")
	b.invalid(b.store.Skip(b.ctx, a.ID, "ann", "  "), "reason")
	b.ok(b.store.Release(b.ctx, a.ID, "ann"))
	b.ok(b.store.Release(b.ctx, a.ID, "ann")) // a page says goodbye twice
	again := b.claim("ann")
	if again.ID != a.ID {
		t.Errorf("released and claimed: %s, want %s", again.ID, a.ID)
	}
	renewed, err := b.store.Renew(b.ctx, a.ID, "ann")
	b.ok(err)
	for _, x := range []struct {
		until time.Time
		state string
	}{{again.LeaseUntil, Leased}, {renewed.LeaseUntil, Released}} { // a goodbye that comes late gives nothing back
		b.ok(b.store.ReleaseUntil(b.ctx, a.ID, "ann", x.until))
		if got, err := b.store.Assignment(b.ctx, a.ID, "ann"); err != nil || got.State != x.state {
			t.Errorf("%v %v, want %s", got, err, x.state)
		}
	}
	b.claim("ann")
	b.ok(b.store.Skip(b.ctx, a.ID, "ann", "not my field"))
	b.ok(b.store.Skip(b.ctx, a.ID, "ann", "not my field"))
	_, err = b.store.Claim(b.ctx, b.project.ID, "ann")
	b.is(err, ErrEmpty)
	_, err = b.store.Submit(b.ctx, best(a, "late"), nil)
	b.is(err, ErrConflict)
	b.is(b.store.SaveDraft(b.ctx, a.ID, "ann", Draft{}), ErrConflict)
	b.submit(b.claim("bob"))
	p, err := b.store.Progress(b.ctx, b.project.ID, "ann")
	b.ok(err)
	if p.Skipped != 1 || p.Done != 0 {
		t.Errorf("progress %+v", p)
	}
	b.sound()
}

// Foreign and impossible ids are not found, the same as absent ones.
func TestOthersWork(t *testing.T) {
	b := setup(t)
	b.tasks(1, 3, 1, "")
	a := b.claim("ann")
	for _, id := range []string{a.ID, newKey(), "", "x", "'; DROP TABLE tasks"} {
		for what, err := range map[string]error{
			"assignment": second(b.store.Assignment(b.ctx, id, "eve")),
			"renew":      second(b.store.Renew(b.ctx, id, "eve")),
			"draft":      b.store.SaveDraft(b.ctx, id, "eve", Draft{}),
			"release":    b.store.Release(b.ctx, id, "eve"),
			"skip":       b.store.Skip(b.ctx, id, "eve", "x"),
			"submit":     second(b.store.Submit(b.ctx, SubmitInput{AssignmentID: id, LabelerID: "eve", Ranks: []int{1, 2, 3}, IdempotencyKey: "k"}, nil)),
		} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%s of %q by another: %v", what, id, err)
			}
		}
	}
	for _, id := range []string{newKey(), "", "x"} {
		for what, err := range map[string]error{
			"project": second(b.store.Project(b.ctx, id)), "prompt": second(b.store.Prompt(b.ctx, id)), "task": second(b.store.Task(b.ctx, id)),
			"ranking": second(b.store.Ranking(b.ctx, id)), "snapshot": second(b.store.SnapshotByID(b.ctx, id)), "unhold": b.store.Unhold(b.ctx, id, "user:x"),
		} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%s %q: %v", what, id, err)
			}
		}
	}
	b.submit(a)
}

func second[T any](_ T, err error) error { return err }

// passed counts the tasks that the labeler's next claim would look at and pass over.
func (b *bench) passed(labeler string) int {
	b.Helper()
	b.sql(`ANALYZE tasks, assignments, labelers`)
	tx, err := b.pool.Begin(b.ctx)
	b.ok(err)
	defer tx.Rollback(b.ctx)
	id := newKey()
	var plan []map[string]any
	b.ok(tx.QueryRow(b.ctx, `EXPLAIN (ANALYZE, FORMAT JSON) `+claimSkipping, b.project.ID, labeler, id, Order(id, MaxAnswers)).Scan(&plan))
	var sum func(v any) float64
	sum = func(v any) float64 {
		n := 0.0
		switch v := v.(type) {
		case map[string]any:
			if r, ok := v["Rows Removed by Filter"].(float64); ok && v["Relation Name"] == "tasks" {
				n += r * v["Actual Loops"].(float64)
			}
			for _, w := range v {
				n += sum(w)
			}
		case []any:
			for _, w := range v {
				n += sum(w)
			}
		}
		return n
	}
	return int(sum(plan[0]["Plan"]))
}

// A labeler who has done everything so far does not read past it again.
func TestWatermark(t *testing.T) {
	b := setup(t)
	b.tasks(400, 2, 3, "")
	b.settings(func(q *QualitySettings) { q.ControlAfter = 0 })
	order := func(id string) int { return b.count(`SELECT position FROM tasks WHERE id = $1`, id) }
	last := 0
	for range 300 {
		a := b.claim("ann")
		if now := order(a.TaskID); now <= last {
			t.Fatalf("task at %d after %d", now, last)
		} else {
			last = now
		}
		b.submit(a)
	}
	if n := b.count(`SELECT position FROM labelers WHERE labeler_id = 'ann'`); n != last {
		t.Errorf("watermark %d, last claim %d", n, last)
	}
	if n := b.passed("ann"); n > 2 {
		t.Errorf("the next claim passes over %d tasks", n)
	}
	// A lower lane goes first, wherever the watermark is, and then the queue goes on.
	early := b.tasks(1, 2, 1, "urgent")[0]
	b.tx(func(tx pgx.Tx) error { return b.store.Prioritise(b.ctx, tx, early.ID, -1) })
	if a := b.claim("ann"); a.TaskID != early.ID {
		t.Error("a task in a lower lane was not served first")
	} else {
		b.submit(a)
	}
	done := 0
	for {
		a, err := b.store.Claim(b.ctx, b.project.ID, "ann")
		if errors.Is(err, ErrEmpty) {
			break
		}
		b.ok(err)
		b.submit(a)
		done++
	}
	if done != 100 {
		t.Errorf("%d tasks behind the urgent one, want 100", done)
	}
	// What opens again behind the watermark is found.
	a := b.claim("bob")
	b.sql(`UPDATE labelers SET lane = 5, position = 1e12 WHERE labeler_id = 'cid'`)
	b.ok(b.store.Release(b.ctx, a.ID, "bob"))
	b.sql(`INSERT INTO labelers (project_id, labeler_id, lane, position) VALUES ($1, 'cid', 5, 1000000000000)`, b.project.ID)
	b.claim("cid")
	b.sound()
}

func TestRiverSweeps(t *testing.T) {
	b := setup(t)
	b.tasks(1, 2, 1, "")
	a := b.claim("ann")
	b.expire(a)
	client := b.river(t)
	deadline := time.Now().Add(20 * time.Second)
	for b.count(`SELECT count(*) FROM assignments WHERE state = 'expired'`) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the periodic job swept nothing in 20 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.ok(client.Stop(b.ctx))
	b.sound()
}
