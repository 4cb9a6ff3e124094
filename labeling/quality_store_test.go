package labeling

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// settings changes the project's settings.
func (b *bench) settings(change func(*QualitySettings)) {
	b.Helper()
	q, err := b.store.QualitySettings(b.ctx, b.project.ID)
	b.ok(err)
	change(&q)
	b.ok(b.store.SetQualitySettings(b.ctx, b.project.ID, q, "user:admin"))
}

// gold marks tasks as gold with ranks in the order of their answers.
func (b *bench) gold(stage string, tasks ...Task) {
	b.Helper()
	for _, t := range tasks {
		g := Gold{TaskID: t.ID, Stage: stage, Explanation: "by design"}
		for i := range t.ResponseIDs {
			g.Ranks = append(g.Ranks, i+1)
		}
		b.ok(b.store.MarkGold(b.ctx, g, "user:admin"))
	}
}

// measures checks what must hold of tasks that measure labelers.
func (b *bench) measures() {
	b.Helper()
	b.sound()
	for what, query := range map[string]string{
		"measuring tasks with open slots":       `SELECT count(*) FROM tasks WHERE purpose <> 'work' AND open_slots <> 0`,
		"controls of two labelers":              `SELECT count(*) FROM tasks t WHERE purpose = 'control' AND (SELECT count(*) FROM assignments a WHERE a.task_id = t.id) <> 1`,
		"controls of others' tasks":             `SELECT count(*) FROM tasks t JOIN assignments f ON f.id = t.control_of JOIN assignments a ON a.task_id = t.id WHERE a.labeler_id <> f.labeler_id`,
		"controls with other answers":           `SELECT count(*) FROM tasks t JOIN assignments f ON f.id = t.control_of WHERE ARRAY(SELECT text FROM responses WHERE task_id = t.id ORDER BY position) <> ARRAY(SELECT text FROM responses WHERE task_id = f.task_id ORDER BY position)`,
		"rankings aside that count":             `SELECT count(*) FROM assignments WHERE aside AND NOT surplus`,
		"live leases of labelers in quarantine": `SELECT count(*) FROM assignments a JOIN labelers l USING (project_id, labeler_id) WHERE a.state = 'reopened' AND l.quarantined_at IS NOT NULL`,
	} {
		if n := b.count(query); n != 0 {
			b.Errorf("%d %s", n, what)
		}
	}
}

func TestGoldInTheStream(t *testing.T) {
	b := setup(t)
	list := b.tasks(60, 4, 1, "round")
	b.gold(GoldStream, list[50:]...)
	b.settings(func(q *QualitySettings) { q.GoldRate = 0.3; q.ControlAfter = 0 })
	seen := map[string]int{}
	first := map[string]int{} // at which claim a gold task came
	for i := range 62 {
		a, err := b.store.Claim(b.ctx, b.project.ID, "ann")
		if errors.Is(err, ErrEmpty) {
			break
		}
		b.ok(err)
		seen[a.TaskID]++
		first[a.TaskID] = i
		b.submit(a)
	}
	golds := 0
	for _, g := range list[50:] {
		if seen[g.ID] > 1 {
			t.Errorf("gold task served %d times", seen[g.ID])
		}
		golds += seen[g.ID]
	}
	if golds < 5 || len(seen)-golds != 50 {
		t.Errorf("%d gold tasks among %d others", golds, len(seen)-golds)
	}
	b.measures()
	c, err := b.store.BatchCounts(b.ctx, b.project.ID, "round")
	b.ok(err)
	if want := (BatchCounts{Tasks: 50, Complete: 50, Need: 50, Done: 50}); c != want {
		t.Errorf("counts %+v, want %+v", c, want)
	}
	b.tx(func(tx pgx.Tx) error {
		snap, err := b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
		if snap.N != 50 {
			t.Errorf("snapshot of %d rankings, want the 50 that are work", snap.N)
		}
		return err
	})
	q, err := b.store.LabelerQuality(b.ctx, b.project.ID, "ann")
	b.ok(err)
	if q.Gold.Value != 1 || q.Gold.N != 6*golds {
		t.Errorf("gold score %+v of %d tasks", q.Gold, golds)
	}
	// Given back and lost, a gold task needs nobody, and comes again with its draft.
	for range 200 {
		a, err := b.store.Claim(b.ctx, b.project.ID, "bob")
		if errors.Is(err, ErrEmpty) {
			continue // the draw was not for gold, and all work is done
		}
		b.ok(err)
		b.ok(b.store.SaveDraft(b.ctx, a.ID, "bob", Draft{Comment: "later"}))
		b.expire(a)
		_, err = b.store.Sweep(b.ctx)
		b.ok(err)
		break
	}
	b.measures()
	if n := b.count(`SELECT count(*) FROM assignments a JOIN tasks t ON t.id = a.task_id WHERE a.labeler_id = 'bob' AND a.state = 'expired' AND t.purpose = 'gold'`); n != 1 {
		t.Fatalf("%d expired gold leases", n)
	}
	late, err := b.store.Submit(b.ctx, SubmitInput{AssignmentID: b.text(`SELECT id::text FROM assignments WHERE labeler_id = 'bob'`), LabelerID: "bob", Ranks: []int{1, 2, 3, 4}, IdempotencyKey: "late"}, nil)
	b.ok(err)
	if late.Surplus {
		t.Error("a late gold ranking is surplus")
	}
	b.measures()
}

func (b *bench) text(query string, args ...any) (s string) {
	b.Helper()
	b.ok(b.pool.QueryRow(b.ctx, query, args...).Scan(&s))
	return s
}

func TestMarkGoldChecks(t *testing.T) {
	b := setup(t)
	task := b.tasks(1, 3, 2, "")[0]
	for field, g := range map[string]Gold{
		"stage": {Stage: "x", Ranks: []int{1, 2, 3}}, "ranks": {Stage: GoldTest, Ranks: []int{1, 1, 1}},
		"flagged": {Stage: GoldTest, Ranks: []int{1, 2, 3}, Flagged: []bool{true}}, "explanation": {Stage: GoldTest, Ranks: []int{1, 2, 3}, Explanation: "\x00"},
	} {
		g.TaskID = task.ID
		b.invalid(b.store.MarkGold(b.ctx, g, "user:x"), field)
	}
	b.is(b.store.MarkGold(b.ctx, Gold{TaskID: newKey(), Stage: GoldTest, Ranks: []int{1, 2}}, "user:x"), ErrNotFound)
	a := b.claim("ann") // under way when the task becomes gold
	b.gold(GoldStream, task)
	b.submit(a)
	b.measures()
	if n := b.count(`SELECT count(*) FROM audit WHERE act = 'labeling.gold'`); n != 1 {
		t.Errorf("%d audit rows", n)
	}
	_, err := b.store.Claim(b.ctx, b.project.ID, "ann")
	b.is(err, ErrEmpty)
}

func TestControls(t *testing.T) {
	b := setup(t)
	b.tasks(300, 3, 1, "")
	b.settings(func(q *QualitySettings) { q.ControlAfter = 10 })
	controls := 0
	for {
		a, err := b.store.Claim(b.ctx, b.project.ID, "ann")
		if errors.Is(err, ErrEmpty) {
			break
		}
		b.ok(err)
		in := best(a, newKey())
		if b.count(`SELECT count(*) FROM tasks WHERE id = $1 AND purpose = 'control'`, a.TaskID) == 1 {
			if controls++; controls == 1 { // the first is ranked the other way round
				for i, r := range in.Ranks {
					in.Ranks[i] = 4 - r
				}
			}
		}
		_, err = b.store.Submit(b.ctx, in, nil)
		b.ok(err)
	}
	if controls < 12 || controls > 60 {
		t.Errorf("%d controls among 300 tasks at one in ten", controls)
	}
	b.measures()
	q, err := b.store.LabelerQuality(b.ctx, b.project.ID, "ann")
	b.ok(err)
	if want := 1 - 1/float64(controls); q.Self.N != 3*controls || q.Self.Value < want-1e-9 || q.Self.Value > want+1e-9 {
		t.Errorf("self-consistency %+v, want %.3f", q.Self, want)
	}
	n, err := b.store.CountRankings(b.ctx, b.project.ID, "")
	b.ok(err)
	if n != 300 {
		t.Errorf("%d rankings count, want 300", n)
	}
}

func TestQuarantine(t *testing.T) {
	b := setup(t)
	b.tasks(12, 3, 1, "r")
	for range 6 {
		b.submit(b.claim("bad"))
	}
	b.tx(func(tx pgx.Tx) error { // freezes the first six
		_, err := b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
		return err
	})
	for range 3 {
		b.submit(b.claim("bad"))
	}
	held, err := b.store.ClaimNext(b.ctx, b.project.ID, "bad")
	b.ok(err)
	again, err := b.store.Reopen(b.ctx, b.project.ID, "bad")
	b.ok(err)
	b.invalid(second(b.store.Quarantine(b.ctx, b.project.ID, "bad", " ", "user:x")), "reason")
	b.is(second(b.store.Quarantine(b.ctx, b.project.ID, "nobody", "x", "user:x")), ErrNotFound)
	b.is(second(b.store.ReleaseQuarantine(b.ctx, b.project.ID, "bad", "user:x")), ErrConflict)
	aside, err := b.store.Quarantine(b.ctx, b.project.ID, "bad", "ranks by length", "user:x")
	b.ok(err)
	if aside != 3 {
		t.Errorf("%d rankings put aside, want the 3 that no snapshot froze", aside)
	}
	b.is(second(b.store.Quarantine(b.ctx, b.project.ID, "bad", "again", "user:x")), ErrConflict)
	b.measures()
	c, err := b.store.BatchCounts(b.ctx, b.project.ID, "r")
	b.ok(err)
	if want := (BatchCounts{Tasks: 12, Complete: 6, Need: 12, Done: 6, Open: 6}); c != want {
		t.Errorf("counts %+v, want %+v", c, want)
	}
	b.is(second(b.store.Claim(b.ctx, b.project.ID, "bad")), ErrEmpty)
	// What was under way is kept, and does not count.
	for _, a := range []*Assignment{held, again} {
		r, err := b.store.Submit(b.ctx, best(a, newKey()), nil)
		if err == nil && b.count(`SELECT count(*) FROM assignments WHERE id = $1 AND surplus AND aside`, a.ID) != 1 {
			t.Errorf("ranking %+v of a labeler in quarantine counts", r)
		}
		if err != nil && !errors.Is(err, ErrConflict) {
			t.Error(err)
		}
	}
	b.measures()
	// Others fill two of the slots; then the labeler is let in again.
	for range 2 {
		b.submit(b.claim("good"))
	}
	back, err := b.store.ReleaseQuarantine(b.ctx, b.project.ID, "bad", "user:x")
	b.ok(err)
	if back != 4 { // the three put aside and the one that came in late; the others filled the rest
		t.Errorf("%d rankings count again, want 4", back)
	}
	b.measures()
	if n := b.count(`SELECT count(*) FROM assignments WHERE aside`); n != 0 {
		t.Errorf("%d still aside", n)
	}
	b.task(b.prompt("another"), 3, 1, "")
	b.claim("bad")
	if n := b.count(`SELECT count(*) FROM audit WHERE act IN ('labeling.quarantine', 'labeling.release_quarantine') AND subject = 'bad'`); n != 2 {
		t.Errorf("%d audit rows", n)
	}
}

// Labelers claim, submit, give back and lose tasks, with gold and controls in between, while an admin quarantines them and
// lets them in again: no task ever has more than it needs, and all counters equal a recount.
func TestQualityAtOnce(t *testing.T) {
	b := setup(t)
	const tasks, overlap, labelers = 150, 3, 6
	list := b.tasks(tasks+20, 4, overlap, "round")
	b.gold(GoldStream, list[tasks:]...)
	b.settings(func(q *QualitySettings) { q.GoldRate = 0.2; q.ControlAfter = 10 })
	stop := make(chan struct{})
	var admin sync.WaitGroup
	admin.Go(func() {
		rng := rand.New(rand.NewPCG(7, 7))
		for {
			select {
			case <-stop:
				return
			default:
			}
			who := fmt.Sprint("labeler ", rng.IntN(labelers))
			_, err := b.store.Quarantine(b.ctx, b.project.ID, who, "test", "user:x")
			if err == nil {
				_, err = b.store.ReleaseQuarantine(b.ctx, b.project.ID, who, "user:x")
			}
			if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
				t.Errorf("quarantine: %v", err)
			}
		}
	})
	together(12, func(i int) {
		labeler := fmt.Sprintf("labeler %d", i%labelers)
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		for range 80 {
			a, err := b.store.ClaimNext(b.ctx, b.project.ID, labeler)
			if errors.Is(err, ErrEmpty) || errors.Is(err, ErrTooManyLeases) {
				continue
			}
			if err != nil {
				t.Errorf("claim: %v", err)
				return
			}
			switch rng.IntN(12) {
			case 0:
				err = b.store.Release(b.ctx, a.ID, labeler)
			case 1:
				b.expire(a)
				_, err = b.store.Sweep(b.ctx)
			case 2:
				err = b.store.Skip(b.ctx, a.ID, labeler, "no")
			default:
				_, err = b.store.Submit(b.ctx, best(a, newKey()), nil)
			}
			if err != nil && !errors.Is(err, ErrConflict) {
				t.Errorf("%v", err)
				return
			}
		}
	})
	close(stop)
	admin.Wait()
	b.sql(`UPDATE assignments SET lease_until = now() - interval '1 minute' WHERE state = 'leased'`)
	_, err := b.store.Sweep(b.ctx)
	b.ok(err)
	b.measures()
	for i := range overlap {
		for {
			a, err := b.store.Claim(b.ctx, b.project.ID, fmt.Sprint("late ", i))
			if errors.Is(err, ErrEmpty) {
				break
			}
			b.ok(err)
			b.submit(a)
		}
	}
	b.measures()
	c, err := b.store.BatchCounts(b.ctx, b.project.ID, "round")
	b.ok(err)
	if want := (BatchCounts{Tasks: tasks, Complete: tasks, Need: tasks * overlap, Done: tasks * overlap}); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

// The rule on the real store: five honest labelers and one who reverses all, found and quarantined by the job's method.
func TestJudgeQuarantines(t *testing.T) {
	b := setup(t)
	b.tasks(120, 4, 3, "r")
	b.settings(func(q *QualitySettings) { q.Quarantine = QuarantineAutomatic })
	for round := range 40 {
		for i := range 6 {
			name := fmt.Sprint("labeler ", i)
			a, err := b.store.Claim(b.ctx, b.project.ID, name)
			if errors.Is(err, ErrEmpty) {
				continue
			}
			b.ok(err)
			in := best(a, newKey())
			rng := rand.New(rand.NewPCG(uint64(round), uint64(i)))
			if rng.IntN(3) == 0 { // two neighbours are taken for each other
				x := slices.Index(in.Ranks, 2)
				y := slices.Index(in.Ranks, 3)
				in.Ranks[x], in.Ranks[y] = 3, 2
			}
			if i == 5 {
				for j, r := range in.Ranks {
					in.Ranks[j] = 5 - r
				}
			}
			_, err = b.store.Submit(b.ctx, in, nil)
			b.ok(err)
		}
	}
	found, err := b.store.Judge(b.ctx, b.project.ID)
	b.ok(err)
	if len(found) != 1 || found[0].Labeler != "labeler 5" || found[0].Fault != "reversed" {
		t.Fatalf("found %+v", found)
	}
	b.measures()
	list, err := b.store.Labelers(b.ctx, b.project.ID)
	b.ok(err)
	for _, l := range list {
		if (l.Quarantined != nil) != (l.Labeler == "labeler 5") {
			t.Errorf("%s: quarantined %v, %s", l.Labeler, l.Quarantined, l.Why)
		}
	}
	if n := b.count(`SELECT count(*) FROM audit WHERE act = 'labeling.quarantine' AND actor = 'system:quality'`); n != 1 {
		t.Errorf("%d audit rows", n)
	}
	b.settings(func(q *QualitySettings) { q.Quarantine = QuarantineOff })
	if found, err := b.store.Judge(b.ctx, b.project.ID); err != nil || found != nil {
		t.Errorf("judged while off: %v %v", found, err)
	}
}
