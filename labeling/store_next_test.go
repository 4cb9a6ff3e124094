package labeling

import (
	"reflect"
	"testing"
)

// TestClaimBeside: a page gets a task that its browser does not have: first what the labeler holds otherwise, then a new one.
func TestClaimBeside(t *testing.T) {
	b := setup(t)
	b.tasks(4, 3, 2, "")
	beside := func(open ...string) *Assignment {
		t.Helper()
		a, err := b.store.ClaimBeside(b.ctx, b.project.ID, "ann", open)
		b.ok(err)
		return a
	}
	first := beside()
	if again := beside(); again.ID != first.ID {
		t.Errorf("with nothing open another task was given")
	}
	b.ok(b.store.SaveDraft(b.ctx, first.ID, "ann", Draft{Ranks: []int{1, 0, 0}}))
	second := beside(first.ID)
	if second.ID == first.ID {
		t.Fatal("the open task was given")
	}
	if got := beside(first.ID); got.ID != second.ID {
		t.Error("what is held otherwise was not given first")
	}
	third := beside(first.ID, second.ID)
	if got := beside(second.ID, third.ID); got.ID != first.ID || got.Draft == nil {
		t.Errorf("the task of a tab that crashed came back as %+v", got)
	}
	// What others hold, and what is over, is not given.
	bob := b.claim("bob")
	if got := beside(first.ID, second.ID, third.ID); got.ID == bob.ID || got.LabelerID != "ann" {
		t.Error("another labeler's assignment was given")
	}
	if _, err := b.store.ClaimBeside(b.ctx, b.project.ID, "ann", append(b.leases("ann"), bob.ID)); err == nil {
		t.Error("a fifth of four tasks was given")
	}
	_, err := b.store.ClaimBeside(b.ctx, "no id", "ann", []string{first.ID})
	b.is(err, ErrNotFound)
	b.sound()
}

// leases are the live assignments of a labeler.
func (b *bench) leases(labeler string) []string {
	b.Helper()
	ids, err := b.store.held(b.ctx, b.project.ID, labeler)
	b.ok(err)
	return ids
}

// TestWarning: what labelers flagged or skipped as unsafe warns the next ones; other flags do not.
func TestWarning(t *testing.T) {
	b := setup(t)
	b.tasks(1, 3, 3, "")
	held := b.claim("eve").ID
	want := func(kinds ...string) {
		t.Helper()
		a, err := b.store.Assignment(b.ctx, held, "eve")
		b.ok(err)
		got := a.Warning
		if len(got) != len(kinds) || len(kinds) > 0 && !reflect.DeepEqual(got, kinds) {
			t.Errorf("warning %v, want %v", got, kinds)
		}
	}
	want()
	in := best(b.claim("ann"), newKey())
	in.Flags = [][]string{{"sexual", "opinion"}, nil, {"violent"}}
	_, err := b.store.Submit(b.ctx, in, nil)
	b.ok(err)
	want("sexual", "violent")
	a := b.claim("bob")
	b.ok(b.store.Skip(b.ctx, a.ID, "bob", FlagUnsafe))
	want("sexual", "unsafe", "violent")
}
