package labeling

import "testing"

func TestPasses(t *testing.T) {
	q := QualitySettings{PassPairs: 0.75, PassFlags: 6.0 / 7}
	for _, c := range []struct {
		pairs, agreed, flags, hit int
		want                      bool
	}{{4, 3, 0, 0, true}, {4, 2, 0, 0, false}, {100, 75, 7, 6, true}, {100, 74, 7, 7, false}, {100, 100, 7, 5, false}, {0, 0, 7, 7, false}} {
		if got := q.Passes(c.pairs, c.agreed, c.flags, c.hit); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	pairs, agreed, flags, hit := Grade([]int{1, 2, 2}, []int{1, 1, 3}, []bool{true, false, false}, []bool{true, true, false})
	if pairs != 2 || agreed != 1 || flags != 3 || hit != 2 {
		t.Errorf("%d of %d pairs, %d of %d flags", agreed, pairs, hit, flags)
	}
}

func TestQualification(t *testing.T) {
	b := setup(t)
	work := b.tasks(1, 3, 1, "work")[0]
	items := b.tasks(10, 3, 1, "items")
	b.gold(GoldPractice, items[:2]...)
	b.gold(GoldTest, items[2:9]...)
	b.ok(b.store.MarkGold(b.ctx, Gold{TaskID: items[9].ID, Stage: GoldTest, Ranks: []int{1, 2, 3}, Flagged: []bool{false, false, true}}, "user:admin"))
	b.settings(func(q *QualitySettings) { q.Qualify = true; q.TestItems = 4 })
	b.is(second(b.store.Claim(b.ctx, b.project.ID, "ann")), ErrUnqualified)
	asked := map[int]map[string]bool{}
	answer := func(attempt int, right bool) (over bool) {
		b.Helper()
		it, err := b.store.NextItem(b.ctx, b.project.ID, "ann")
		b.ok(err)
		again, err := b.store.NextItem(b.ctx, b.project.ID, "ann")
		b.ok(err)
		if again.TaskID != it.TaskID || it.Practice != (attempt == 0) {
			t.Fatalf("asked %+v, then %+v", it, again)
		}
		if asked[attempt] == nil {
			asked[attempt] = map[string]bool{}
		}
		asked[attempt][it.TaskID] = true
		ranks, flags := make([]int, 3), make([]bool, 3)
		for d, pos := range it.Order {
			ranks[d], flags[d] = pos+1, pos == 2
			if !right {
				ranks[d] = 3 - pos
			}
			if it.Answers[d] != "answer "+string(rune('0'+pos)) {
				t.Errorf("shown %q at %d", it.Answers[d], d)
			}
		}
		b.invalid(third(b.store.AnswerItem(b.ctx, b.project.ID, "ann", it.TaskID, ranks[:2], nil)), "ranks")
		g, over, err := b.store.AnswerItem(b.ctx, b.project.ID, "ann", it.TaskID, ranks, flags)
		b.ok(err)
		if (g != nil) != it.Practice || g != nil && (g.Explanation != "by design" || g.Agreed != 3) {
			t.Errorf("feedback %+v", g)
		}
		b.is(third(b.store.AnswerItem(b.ctx, b.project.ID, "ann", it.TaskID, ranks, flags)), ErrConflict)
		return over
	}
	answer(0, true)
	answer(0, true)
	for i := range 4 {
		if over := answer(1, i < 2); over != (i == 3) {
			t.Errorf("item %d: over %v", i, over)
		}
	}
	q, err := b.store.Qualification(b.ctx, b.project.ID, "ann")
	b.ok(err)
	if q.Qualified || q.Passed || q.Open || q.RetryAt == nil || len(q.Items) != 4 || q.Items[0].Explanation == "" && q.Items[0].KnownFlags == nil {
		t.Fatalf("%+v", q)
	}
	b.is(second(b.store.NextItem(b.ctx, b.project.ID, "ann")), ErrEmpty) // too early
	b.sql(`UPDATE qualifications SET finished_at = now() - interval '25 hours'`)
	for range 4 {
		answer(2, true)
	}
	for id := range asked[2] {
		if asked[1][id] {
			t.Error("an item of the first attempt was asked again while others were left")
		}
	}
	if q, err = b.store.Qualification(b.ctx, b.project.ID, "ann"); err != nil || !q.Qualified || !q.Passed {
		t.Fatalf("%+v %v", q, err)
	}
	b.is(second(b.store.NextItem(b.ctx, b.project.ID, "ann")), ErrEmpty)
	if a := b.claim("ann"); a.TaskID != work.ID {
		t.Errorf("served %s", a.TaskID)
	}
	if n := b.count(`SELECT count(*) FROM audit WHERE act = 'labeling.qualify'`); n != 2 {
		t.Errorf("%d audit rows", n)
	}
	// Out of attempts.
	b.sql(`INSERT INTO qualifications (project_id, labeler_id, attempt, finished_at, passed) SELECT $1, 'bob', n, now() - interval '9 days', false FROM generate_series(1, 2) n`, b.project.ID)
	b.sql(`UPDATE gold SET stage = 'retired' WHERE stage = 'practice'`)
	b.is(second(b.store.NextItem(b.ctx, b.project.ID, "bob")), ErrEmpty)
	b.measures()
}

func third[A, B any](_ A, _ B, err error) error { return err }
