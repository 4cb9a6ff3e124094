package labeling

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestReport(t *testing.T) {
	b := setup(t)
	task := b.tasks(1, 3, 2, "r")[0]
	b.submit(b.claim("bob"))
	a := b.claim("ann")
	b.invalid(b.store.Report(b.ctx, a.ID, "ann", "rude", "x"), "kind")
	b.invalid(b.store.Report(b.ctx, a.ID, "ann", "other", " "), "text")
	b.is(b.store.Report(b.ctx, a.ID, "eve", "pii", ""), ErrNotFound)
	b.ok(b.store.Report(b.ctx, a.ID, "ann", "pii", "a phone number"))
	b.ok(b.store.Report(b.ctx, a.ID, "ann", "pii", "a phone number"))
	b.is(second(b.store.Claim(b.ctx, b.project.ID, "cid")), ErrEmpty) // held
	b.tx(func(tx pgx.Tx) error {
		_, err := b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
		b.is(err, ErrEmpty) // bob's ranking too
		return nil
	})
	list, err := b.store.Cases(b.ctx, b.project.ID, 10)
	b.ok(err)
	if len(list) != 1 || list[0].TaskID != task.ID || list[0].Held != "pii" {
		t.Fatalf("cases %+v", list)
	}
	f, err := b.store.CaseFile(b.ctx, b.project.ID, task.ID)
	b.ok(err)
	if len(f.Complaints) != 1 || f.Complaints[0].Text != "a phone number" || len(f.Opinions) != 1 || len(f.Answers) != 3 || len(f.Messages) != 1 {
		t.Errorf("file %+v", f)
	}
	b.sound()
	b.ok(b.store.Decide(b.ctx, Verdict{ProjectID: b.project.ID, TaskID: task.ID, Decision: DecideRelease}, "rita"))
	b.is(second(b.store.Claim(b.ctx, b.project.ID, "ann")), ErrEmpty) // never again to the reporter
	b.submit(b.claim("cid"))
	b.sound()
	if n := b.count(`SELECT count(*) FROM audit WHERE act IN ('labeling.report', 'labeling.decide')`); n != 2 {
		t.Errorf("%d audit rows", n)
	}
}

func TestDecide(t *testing.T) {
	b := setup(t)
	list := b.tasks(4, 3, 2, "r")
	for i, who := range []string{"ann", "bob"} { // who contradict each other
		for range 4 {
			a := b.claim(who)
			in := best(a, newKey())
			if i == 1 {
				for j, r := range in.Ranks {
					in.Ranks[j] = 4 - r
				}
			}
			second(b.store.Submit(b.ctx, in, nil))
		}
	}
	cases, err := b.store.Cases(b.ctx, b.project.ID, 10)
	b.ok(err)
	if len(cases) != 4 || cases[0].Tau != -1 {
		t.Fatalf("cases %+v", cases)
	}
	decide := func(task Task, decision string, ranks ...int) {
		b.Helper()
		b.ok(b.store.Decide(b.ctx, Verdict{ProjectID: b.project.ID, TaskID: task.ID, Decision: decision, Ranks: ranks, Note: "as the guideline says"}, "rita"))
		b.sound()
	}
	b.invalid(b.store.Decide(b.ctx, Verdict{ProjectID: b.project.ID, TaskID: list[0].ID, Decision: "x"}, "rita"), "decision")
	b.invalid(b.store.Decide(b.ctx, Verdict{ProjectID: b.project.ID, TaskID: list[0].ID, Decision: DecideAccept, Ranks: []int{1, 2}}, "rita"), "ranks")
	b.is(b.store.Decide(b.ctx, Verdict{ProjectID: newKey(), TaskID: list[0].ID, Decision: DecideDrop}, "rita"), ErrNotFound)
	decide(list[0], DecideAccept, 1, 2, 3) // ann's
	decide(list[1], DecideAccept, 2, 1, 3) // rita's own
	decide(list[2], DecideGold, 3, 2, 1)
	decide(list[3], DecideDrop)
	b.measures()
	b.tx(func(tx pgx.Tx) error {
		snap, err := b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
		b.ok(err)
		if snap.N != 2 {
			t.Errorf("snapshot of %d rankings, want the two that were accepted", snap.N)
		}
		return nil
	})
	var got []string
	rows, err := b.pool.Query(b.ctx, `SELECT k.labeler_id || k.ranks::text FROM snapshot_items i JOIN rankings k ON k.id = i.ranking_id ORDER BY 1`)
	b.ok(err)
	got, err = pgx.CollectRows(rows, pgx.RowTo[string])
	b.ok(err)
	if want := []string{"ann{1,2,3}", "rita{2,1,3}"}; !slices.Equal(got, want) {
		t.Errorf("snapshot holds %v, want %v", got, want)
	}
	b.is(b.store.Decide(b.ctx, Verdict{ProjectID: b.project.ID, TaskID: list[0].ID, Decision: DecideAccept, Ranks: []int{3, 2, 1}}, "rita"), ErrConflict)
	if cases, err := b.store.Cases(b.ctx, b.project.ID, 10); err != nil || len(cases) != 0 {
		t.Errorf("left %v %v", cases, err)
	}
	if n := b.count(`SELECT count(*) FROM gold WHERE task_id = $1 AND stage = 'stream'`, list[2].ID); n != 1 {
		t.Error("no gold task")
	}
	_ = fmt.Sprint
}
