package labeling

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The same submit sent twenty times at once is one row and one answer.
func TestSubmitTwentyTimes(t *testing.T) {
	b := setup(t)
	b.tasks(10, 4, 1, "")
	for range 10 {
		a := b.claim("ann")
		in := best(a, newKey())
		var called atomic.Int32
		ids := make([]string, 20)
		together(20, func(i int) {
			r, err := b.store.Submit(b.ctx, in, func(context.Context, pgx.Tx, string) error { called.Add(1); return nil })
			if err != nil {
				t.Errorf("replay %d: %v", i, err)
			}
			ids[i] = r.ID
		})
		if len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 1 {
			t.Errorf("replays got %v", ids)
		}
		if called.Load() != 1 {
			t.Errorf("after ran %d times", called.Load())
		}
	}
	if n := b.count(`SELECT count(*) FROM rankings`); n != 10 {
		t.Errorf("%d rankings, want 10", n)
	}
	b.sound()
}

func TestSubmitReplay(t *testing.T) {
	b := setup(t)
	b.tasks(2, 3, 1, "")
	a := b.claim("ann")
	in := best(a, "k1")
	first, err := b.store.Submit(b.ctx, in, nil)
	b.ok(err)
	other := in
	other.Ranks = []int{1, 1, 1}
	_, err = b.store.Submit(b.ctx, other, nil)
	b.is(err, ErrConflict) // same key, other body
	other.IdempotencyKey = "k2"
	_, err = b.store.Submit(b.ctx, other, nil)
	b.is(err, ErrConflict) // a second ranking from another tab
	in.IdempotencyKey = "k3"
	again, err := b.store.Submit(b.ctx, in, nil)
	b.ok(err) // the same ranking from another tab
	if again.ID != first.ID {
		t.Errorf("replay under another key gave %s, want %s", again.ID, first.ID)
	}
	next := b.claim("ann")
	in = best(next, "k1")
	_, err = b.store.Submit(b.ctx, in, nil)
	b.is(err, ErrConflict) // a key belongs to one submit
	// Another labeler may use the same key.
	b.ok(b.store.Release(b.ctx, next.ID, "ann"))
	_, err = b.store.Submit(b.ctx, best(b.claim("bob"), "k1"), nil)
	b.ok(err)
	b.sound()
}

func TestSubmitRefused(t *testing.T) {
	b := setup(t)
	b.tasks(1, 3, 1, "")
	a := b.claim("ann")
	for field, change := range map[string]func(*SubmitInput){
		"ranks":           func(in *SubmitInput) { in.Ranks = []int{1, 2} },
		"ratings":         func(in *SubmitInput) { in.Ratings = []int{1, 8, 0} },
		"flags":           func(in *SubmitInput) { in.Flags = [][]string{{"made up"}, nil, nil} },
		"comment":         func(in *SubmitInput) { in.Comment = "a\x00b" },
		"active_ms":       func(in *SubmitInput) { in.ActiveMS = -1 },
		"idempotency_key": func(in *SubmitInput) { in.IdempotencyKey = "" },
	} {
		in := best(a, newKey())
		change(&in)
		b.invalid(second(b.store.Submit(b.ctx, in, nil)), field)
	}
	for _, ranks := range [][]int{{0, 1, 2}, {1, 2, 4}, {-1, 1, 2}, nil} {
		in := best(a, newKey())
		in.Ranks = ranks
		b.invalid(second(b.store.Submit(b.ctx, in, nil)), "ranks")
	}
	// An error in after leaves nothing behind.
	broken := errors.New("broken")
	_, err := b.store.Submit(b.ctx, best(a, "k"), func(context.Context, pgx.Tx, string) error { return broken })
	b.is(err, broken)
	if n := b.count(`SELECT (SELECT count(*) FROM rankings) + (SELECT count(*) FROM comparisons) + (SELECT count(*) FROM audit)`); n != 0 {
		t.Errorf("%d rows are left of a submit that failed", n)
	}
	b.sound()
	if a := b.claim("ann"); a.State != Leased {
		t.Errorf("the assignment is %s", a.State)
	}
	for _, d := range []Draft{{Ranks: []int{1}}, {Ranks: []int{0, 0, 4}}, {Ratings: []int{8, 0, 0}}, {Flags: [][]string{{"x"}, nil, nil}}, {Focus: 3}, {Comment: "\xff"}} {
		var e *InvalidError
		if err := b.store.SaveDraft(b.ctx, a.ID, "ann", d); !errors.As(err, &e) {
			t.Errorf("draft %+v: %v", d, err)
		}
	}
}

func TestUndo(t *testing.T) {
	b := setup(t)
	b.tasks(2, 4, 1, "r")
	_, err := b.store.Reopen(b.ctx, b.project.ID, "ann")
	b.is(err, ErrNotFound)
	a := b.claim("ann")
	in := best(a, "k1")
	in.Ratings, in.Flags, in.Comment = []int{7, 6, 0, 1}, [][]string{nil, {"opinion"}, nil, nil}, "first thought"
	first, err := b.store.Submit(b.ctx, in, nil)
	b.ok(err)

	re, err := b.store.Reopen(b.ctx, b.project.ID, "ann")
	b.ok(err)
	if re.ID != a.ID || re.State != Reopened || re.Draft == nil {
		t.Fatalf("reopened %+v", re)
	}
	if d := re.Draft; !slices.Equal(d.Ranks, in.Ranks) || !slices.Equal(d.Ratings, in.Ratings) || d.Comment != in.Comment || fmt.Sprint(d.Flags) != fmt.Sprint(in.Flags) {
		t.Errorf("reopened with %+v, submitted %+v", d, in)
	}
	// The old ranking stands until the new one is in.
	n, err := b.store.CountRankings(b.ctx, b.project.ID, "r")
	b.ok(err)
	if n != 1 {
		t.Errorf("%d rankings count while one is reopened, want 1", n)
	}
	if c := b.claim("ann"); c.ID != a.ID {
		t.Error("a reload while editing does not bring the edit back")
	}
	b.sound()
	in.Ranks, in.IdempotencyKey = []int{1, 1, 3, 4}, "k2"
	r2, err := b.store.Submit(b.ctx, in, nil)
	b.ok(err)
	if r2.Revision != 2 || r2.ID == first.ID {
		t.Errorf("second revision %+v", r2)
	}
	old, err := b.store.Ranking(b.ctx, first.ID)
	b.ok(err)
	if old.Revision != 1 || !slices.Equal(old.Ranks, first.Ranks) {
		t.Errorf("the first revision is now %+v", old)
	}
	// A late retry of the first submit is still its replay.
	in.Ranks, in.IdempotencyKey = best(a, "").Ranks, "k1"
	replayed, err := b.store.Submit(b.ctx, in, nil)
	b.ok(err)
	if replayed.ID != first.ID {
		t.Errorf("replay of the first submit gave %s", replayed.ID)
	}
	// An edit that is never finished ends with its lease, and the ranking stands.
	_, err = b.store.Reopen(b.ctx, b.project.ID, "ann")
	b.ok(err)
	b.expire(a)
	if n, _ := b.store.Sweep(b.ctx); n != 1 {
		t.Error("the edit's lease was not swept")
	}
	now, err := b.store.Assignment(b.ctx, a.ID, "ann")
	b.ok(err)
	if now.State != Submitted {
		t.Errorf("after the edit's lease the assignment is %s", now.State)
	}
	b.sound()

	// Frozen by a snapshot: the error names it, on reopening and on submitting.
	_, err = b.store.Reopen(b.ctx, b.project.ID, "ann")
	b.ok(err)
	b.tx(func(tx pgx.Tx) error {
		_, err := b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{Name: "round 1"})
		return err
	})
	in.Ranks, in.IdempotencyKey = []int{2, 1, 3, 4}, "k4"
	_, err = b.store.Submit(b.ctx, in, nil)
	var frozen *FrozenError
	if !errors.As(err, &frozen) || frozen.Snapshot != "round 1" || frozen.Ranking != r2.ID || !errors.Is(err, ErrConflict) {
		t.Errorf("submit of an edit after the snapshot: %v", err)
	}
	b.ok(b.store.Release(b.ctx, a.ID, "ann"))
	_, err = b.store.Reopen(b.ctx, b.project.ID, "ann")
	if !errors.As(err, &frozen) || frozen.Snapshot != "round 1" {
		t.Errorf("reopen after the snapshot: %v", err)
	}
	b.sound()
}

// Flags for unsafe content and personal data, and reports by skipping, hold the task
// back until a reviewer releases it.
func TestFlagHolds(t *testing.T) {
	b := setup(t)
	tasks := b.tasks(3, 2, 2, "r")
	snapshot := func() int {
		n := 0
		b.tx(func(tx pgx.Tx) error {
			s, err := b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
			if errors.Is(err, ErrEmpty) {
				return nil
			}
			n = s.N
			return err
		})
		return n
	}
	a := b.claim("ann")
	in := best(a, "k")
	in.Flags = [][]string{nil, {FlagUnsafe}}
	_, err := b.store.Submit(b.ctx, in, nil)
	b.ok(err)
	if n := snapshot(); n != 0 {
		t.Errorf("a snapshot holds %d rankings of an unsafe task", n)
	}
	a = b.claim("ann")
	b.ok(b.store.Skip(b.ctx, a.ID, "ann", FlagPII))
	if c := b.claim("bob"); c.TaskID != tasks[2].ID {
		t.Error("a reported task was served")
	}
	ids, flags, err := b.store.HeldTasks(b.ctx, b.project.ID, 10)
	b.ok(err)
	if !slices.Equal(ids, []string{tasks[0].ID, tasks[1].ID}) || !slices.Equal(flags, []string{FlagUnsafe, FlagPII}) {
		t.Errorf("held: %v %v", ids, flags)
	}
	c, err := b.store.BatchCounts(b.ctx, b.project.ID, "r")
	b.ok(err)
	if c.Tasks != 1 {
		t.Errorf("%d tasks count, want the one that is not held", c.Tasks)
	}
	b.ok(b.store.Unhold(b.ctx, tasks[0].ID, "user:reviewer"))
	if n := snapshot(); n != 1 {
		t.Errorf("released, a snapshot holds %d rankings", n)
	}
	b.sound()
}

func TestAppendOnly(t *testing.T) {
	b := setup(t)
	b.tasks(1, 2, 1, "")
	b.submit(b.claim("ann"))
	b.tx(func(tx pgx.Tx) error { return second(b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})) })
	for _, statement := range []string{
		`UPDATE rankings SET ranks = '{2,1}'`, `DELETE FROM rankings`, `UPDATE comparisons SET winner_id = loser_id`, `DELETE FROM snapshot_items`,
		`UPDATE snapshots SET hash = repeat('0', 64)`, `UPDATE responses SET text = 'x'`, `DELETE FROM guidelines`,
	} {
		if _, err := b.pool.Exec(b.ctx, statement); err == nil {
			t.Errorf("%s went through", statement)
		}
	}
}

func TestGuidelineVersions(t *testing.T) {
	b := setup(t)
	b.tasks(2, 2, 1, "")
	a := b.claim("ann")
	p := b.project
	p.Instructions, p.Overlap = "Prefer the honest answer.", 2
	p, err := b.store.UpdateProject(b.ctx, p, "user:admin", nil)
	b.ok(err)
	if p.Guideline != 2 || p.Overlap != 2 {
		t.Errorf("updated %+v", p)
	}
	if r := b.submit(a); r.Guideline != 1 {
		t.Errorf("ranked under guideline %d, the labeler saw 1", r.Guideline)
	}
	a = b.claim("ann")
	if a.Guideline != 2 || a.Instructions != p.Instructions {
		t.Errorf("claimed under guideline %d: %s", a.Guideline, a.Instructions)
	}
	same, err := b.store.EnsureProject(b.ctx, Project{Name: p.Name, Instructions: "other", K: 9})
	b.ok(err)
	if !reflect.DeepEqual(same, p) {
		t.Errorf("ensure of a project that exists gave %+v, want %+v", same, p)
	}
	for field, bad := range map[string]Project{"name": {}, "k": {Name: "x", K: 10}, "overlap": {Name: "x", Overlap: -1},
		"valid_share": {Name: "x", ValidShare: 0.6, TestShare: 0.4}, "question": {Name: "x", Question: "essay"}} {
		b.invalid(second(b.store.EnsureProject(b.ctx, bad)), field)
	}
}
