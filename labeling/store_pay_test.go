package labeling

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPay: revisions of a task count together against the cap, no more than the wall clock says, within the period.
func TestPay(t *testing.T) {
	b := setup(t)
	b.tasks(4, 3, 2, "")
	minutes := func(n int64) int64 { return n * 60_000 }
	submit := func(a *Assignment, active, wall int64) {
		t.Helper()
		in := best(a, newKey())
		in.ActiveMS, in.WallMS = active, wall
		_, err := b.store.Submit(b.ctx, in, nil)
		b.ok(err)
	}
	submit(b.claim("ann"), minutes(8), minutes(9))
	again, err := b.store.Reopen(b.ctx, b.project.ID, "ann")
	b.ok(err)
	again.Order[0], again.Order[1] = again.Order[1], again.Order[0]
	submit(again, minutes(9), minutes(10)) // 17 minutes for one task
	submit(b.claim("ann"), minutes(90), minutes(2))
	submit(b.claim("ann"), minutes(1), 0)
	submit(b.claim("bob"), minutes(3), minutes(4))
	b.sql(`INSERT INTO labelers (project_id, labeler_id, done) VALUES ($1, 'import:x', 1)`, b.project.ID)
	a := b.claim("import:x")
	submit(a, minutes(5), minutes(5))
	from := time.Now().Add(-time.Hour)
	q := PayQuery{ProjectID: b.project.ID, From: from, To: from.Add(2 * time.Hour), Cap: 15 * time.Minute}
	got, err := b.store.Pay(b.ctx, q)
	b.ok(err)
	want := []PayRow{{"ann", 3, 1, 20 * time.Minute, 18 * time.Minute, 1}, {"bob", 1, 0, 3 * time.Minute, 3 * time.Minute, 0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	exported, err := b.store.ExportPay(b.ctx, q, "user:x")
	b.ok(err)
	if !cmp.Equal(exported, got) || b.count(`SELECT count(*) FROM audit WHERE act = 'labeling.export_pay' AND actor = 'user:x'`) != 1 {
		t.Error("the export differs, or has no audit row")
	}
	// The period: what was done at its beginning is in it, what was done at its end is not.
	var at time.Time
	b.ok(b.pool.QueryRow(b.ctx, `SELECT created_at FROM rankings WHERE labeler_id = 'bob'`).Scan(&at))
	for name, c := range map[string]struct {
		from, to time.Time
		n        int
	}{"begins with it": {at, at.Add(time.Millisecond), 1}, "ends with it": {at.Add(-time.Millisecond), at, 0}} {
		list, err := b.store.Pay(b.ctx, PayQuery{b.project.ID, c.from, c.to, time.Minute})
		b.ok(err)
		n := 0
		for _, r := range list {
			if r.LabelerID == "bob" {
				n += r.Rankings
			}
		}
		if n != c.n {
			t.Errorf("a period that %s has %d of bob's rankings", name, n)
		}
	}
	for field, bad := range map[string]PayQuery{"to": {b.project.ID, at, at, time.Minute}, "cap": {b.project.ID, at, at.Add(time.Hour), 0}} {
		_, err := b.store.Pay(b.ctx, bad)
		b.invalid(err, field)
	}
	_, err = b.store.Pay(b.ctx, PayQuery{b.project.ID, at, at.AddDate(2, 0, 0), time.Minute})
	b.invalid(err, "to")
	_, err = b.store.Pay(b.ctx, PayQuery{"x", at, at.Add(1), time.Minute})
	b.is(err, ErrNotFound)
}
