package labeling

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestSnapshot(t *testing.T) {
	b := setup(t)
	b.tasks(6, 3, 2, "one")
	b.tasks(4, 2, 1, "two")
	labelers := []string{"ann", "bob"}
	for _, l := range labelers {
		for {
			a, err := b.store.Claim(b.ctx, b.project.ID, l)
			if errors.Is(err, ErrEmpty) {
				break
			}
			b.ok(err)
			b.submit(a)
		}
	}
	take := func(f SnapshotFilter) (s Snapshot) {
		t.Helper()
		b.tx(func(tx pgx.Tx) (err error) {
			s, err = b.store.Snapshot(b.ctx, tx, b.project.ID, f)
			return err
		})
		return s
	}
	all, again, one := take(SnapshotFilter{Name: "all"}), take(SnapshotFilter{}), take(SnapshotFilter{Batches: []string{"one"}, Splits: []string{Train}})
	if all.N != 16 || all.Prompts != 10 || one.N != 12 || one.Prompts != 6 {
		t.Errorf("all %+v, batch one %+v", all, one)
	}
	if all.Hash != again.Hash || all.Hash == one.Hash || all.ID == again.ID || again.Name != "snapshot 2" {
		t.Errorf("hashes: all %s, again %s (%s), one %s", all.Hash, again.Hash, again.Name, one.Hash)
	}
	items, err := b.store.SnapshotItems(b.ctx, all.ID)
	b.ok(err)
	for _, p := range items {
		if len(p.Rankings) == 0 || p.Split != Train || p.Prompt == "" || p.Messages[0].Content != p.Prompt {
			t.Errorf("item %+v", p)
		}
		for i, c := range p.Completions {
			if c.Text != fmt.Sprint("answer ", i) || !slices.Equal(c.TokenIDs, []int32{int32(i), 7}) || c.TokenizerDigest != "toy" {
				t.Errorf("completion %d: %+v", i, c)
			}
		}
		for _, r := range p.Rankings {
			for i, rank := range r.Ranks {
				if rank != i+1 {
					t.Errorf("ranks %v", r.Ranks)
				}
			}
		}
	}
	if len(items) != 10 {
		t.Errorf("%d items, want 10", len(items))
	}
	of, err := b.store.SnapshotItems(b.ctx, one.ID)
	b.ok(err)
	if batch, err := b.store.BatchItems(b.ctx, b.project.ID, "one"); err != nil || len(batch) != 6 || !reflect.DeepEqual(batch, of) {
		t.Errorf("the batch holds %d items, its snapshot %d (%v)", len(batch), len(of), err)
	}
	if none, err := b.store.BatchItems(b.ctx, b.project.ID, "none"); err != nil || len(none) != 0 {
		t.Errorf("a batch without rankings: %d items, %v", len(none), err)
	}

	// Later work changes nothing in it: revisions are refused, consent and owners may change.
	more := b.tasks(1, 2, 1, "three")
	b.submit(b.claim("ann"))
	b.sql(`UPDATE prompts SET split = 'valid', customer_id = 'new owner'`)
	b.sql(`UPDATE tasks SET hidden = true`)
	same, err := b.store.SnapshotItems(b.ctx, all.ID)
	b.ok(err)
	if !reflect.DeepEqual(items, same) {
		t.Error("the snapshot's content changed")
	}
	b.sql(`UPDATE tasks SET hidden = false`)
	if s := take(SnapshotFilter{}); s.N != 17 || s.Hash == all.Hash {
		t.Errorf("with one more ranking: %+v", s)
	}
	_ = more
	b.tx(func(tx pgx.Tx) error {
		_, err := b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{Name: "all"})
		b.is(err, ErrConflict) // the name is taken, and the transaction goes on
		_, err = b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{Batches: []string{"none"}})
		b.is(err, ErrEmpty)
		_, err = b.store.Snapshot(b.ctx, tx, newKey(), SnapshotFilter{})
		b.is(err, ErrEmpty)
		return nil
	})
	list, err := b.store.Snapshots(b.ctx, b.project.ID, "", 10)
	b.ok(err)
	if len(list) != 4 || list[3] != all {
		t.Errorf("snapshots %+v", list)
	}
	page, err := b.store.Snapshots(b.ctx, b.project.ID, list[0].ID, 2)
	b.ok(err)
	if len(page) != 2 || page[0] != list[1] || page[1] != list[2] {
		t.Errorf("two before the newest %+v", page)
	}
	_, err = b.store.Snapshots(b.ctx, b.project.ID, "1; x", 2)
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		t.Errorf("before what is no id: %v", err)
	}

	// Content that was tampered with is refused.
	b.sql(`ALTER TABLE rankings DISABLE TRIGGER append_only`)
	b.sql(`UPDATE rankings SET ranks = '{3,2,1}' WHERE id = (SELECT ranking_id FROM snapshot_items WHERE snapshot_id = $1 ORDER BY position LIMIT 1)`, all.ID)
	if _, err = b.store.SnapshotItems(b.ctx, all.ID); err == nil || !strings.Contains(err.Error(), "hash") {
		t.Errorf("a changed ranking: %v", err)
	}
}

func TestAgreementOfBatch(t *testing.T) {
	b := setup(t)
	b.tasks(3, 3, 2, "r")
	rank := func(labeler string, ranks ...[]int) {
		for _, stored := range ranks {
			a := b.claim(labeler)
			in := best(a, newKey())
			for d, pos := range a.Order {
				in.Ranks[d] = stored[pos]
			}
			b.ok(second(b.store.Submit(b.ctx, in, nil)))
		}
	}
	rank("ann", []int{1, 2, 3}, []int{1, 1, 3}, []int{1, 2, 3})
	rank("bob", []int{1, 2, 3}, []int{1, 2, 3}, []int{2, 1, 3})
	a, err := b.store.Agreement(b.ctx, b.project.ID, "r")
	b.ok(err)
	// strict on both sides: 3 + 2 + 3 pairs, of which 3 + 2 + 2 agree; the tie is worth 1/2.
	if a.N != 6 || a.Tasks != 3 || a.Pairs != 8 || a.Pairwise != 7.0/8 || math.Abs(a.WithTies-7.5/9) > 1e-12 || !(a.CI[0] < a.Pairwise && a.Pairwise < a.CI[1]) || a.Alpha <= 0 || a.Alpha >= 1 {
		t.Errorf("%+v", a)
	}
	none, err := b.store.Agreement(b.ctx, b.project.ID, "no such batch")
	b.ok(err)
	if none != (Agreement{}) {
		t.Errorf("of nothing: %+v", none)
	}
}

func TestImportRankings(t *testing.T) {
	b := setup(t)
	file := `{"prompt":"Name a colour.","completions":["Red.","Blue.","Seven."],"ranks":[1,1,3],"labeler":"one","split":"valid"}
{"prompt":"Name a colour.","completions":["Red.","Blue.","Seven."],"ranks":[2,1,3],"labeler":"two"}
{"prompt":"Name a colour.","completions":["Red.","Blue.","Seven."],"ranks":[2,1,3],"labeler":"two"}
{"prompt":"Count.","completions":["1","2","3","4","5","6","7","8","9","10"],"ranks":[1,2,3,4,5,6,7,8,9,10]}
{"prompt":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},{"role":"user","content":"Bye"}],"completions":["Bye!","No"],"ranks":[1,2]}
`
	for round, want := range []ImportReport{{Format: "rankings", Read: 5, Imported: 3, Duplicates: 1, Rejected: 1}, {Format: "rankings", Read: 5, Duplicates: 4, Rejected: 1}} {
		got, err := b.store.ImportFile(b.ctx, NewImport{ProjectID: b.project.ID, Name: "file", Actor: "test"}, strings.NewReader(file))
		b.ok(err)
		if len(got.Reasons) != 1 || got.Reasons[0].Line != 4 {
			t.Errorf("reasons %v", got.Reasons)
		}
		if got.Reasons = nil; !reflect.DeepEqual(got, want) {
			t.Errorf("import %d: %+v, want %+v", round+1, got, want)
		}
	}
	b.sound()
	var snap Snapshot
	b.tx(func(tx pgx.Tx) (err error) {
		snap, err = b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{})
		return err
	})
	items, err := b.store.SnapshotItems(b.ctx, snap.ID)
	b.ok(err)
	if len(items) != 2 || len(items[0].Rankings) != 2 || items[0].Split != Valid || items[0].Rankings[1].LabelerID != "import:two" ||
		!slices.Equal(items[0].Rankings[1].Ranks, []int{2, 1, 3}) || len(items[1].Messages) != 3 {
		t.Errorf("imported %+v", items)
	}
	// Out and in again is the same.
	var lines strings.Builder
	w := NewRankingsWriter(&lines)
	for _, p := range items {
		for _, r := range p.Records() {
			b.ok(w.Write(r))
		}
	}
	back, err := ReadRankings(strings.NewReader(lines.String()))
	b.ok(err)
	for i, p := range GroupRecords(back) {
		if p.Split != items[i].Split || !reflect.DeepEqual(p.Messages, items[i].Messages) || len(p.Rankings) != len(items[i].Rankings) {
			t.Errorf("written and read: %+v", p)
		}
	}
	b.is(second(b.store.ImportFile(b.ctx, NewImport{ProjectID: newKey()}, strings.NewReader(file))), ErrNotFound)
	b.invalid(second(b.store.ImportFile(b.ctx, NewImport{ProjectID: b.project.ID, Reading: Reading{Format: "xls"}}, strings.NewReader(file))), "format")
}
