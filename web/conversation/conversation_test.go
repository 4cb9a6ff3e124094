package conversation

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/rankloop/rankloop/migrations/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func invalid(t *testing.T, err error, field string) {
	t.Helper()
	var e *InvalidError
	if !errors.As(err, &e) || e.Field != field {
		t.Errorf("error is %v, want one of the field %s", err, field)
	}
}

// TestTree: branches lie beside each other, sides alternate, and a turn of another conversation is none of this one.
func TestTree(t *testing.T) {
	ctx, s := t.Context(), NewStore(pgtest.New(t))
	c := must(s.Create(ctx, "ann", false, Settings{}))(t)
	seed := int64(7)
	with := Settings{Seed: &seed}
	q := must(s.Ask(ctx, "ann", c.ID, "", "one", with))(t)
	two := must(s.Answer(ctx, "ann", c.ID, []NewAnswer{
		{Turn: Turn{Parent: q.ID, Role: Assistant, Content: "a", CompletionID: "x", Choice: 0, Settings: with}, Tokens: []byte(`[["a",-1,[]]]`)},
		{Turn: Turn{Parent: q.ID, Role: Assistant, Content: "b", CompletionID: "x", Choice: 1}}}))(t)
	if got := must(s.Get(ctx, "ann", c.ID))(t); got.Leaf != two[0].ID || got.First != "one" || got.Settings.Seed == nil || *got.Settings.Seed != 7 {
		t.Errorf("%+v", got)
	}
	if b := must(s.Branch(ctx, "ann", c.ID, two[1].ID))(t); len(b) != 2 || b[0].ID != q.ID || b[1].Content != "b" || b[1].HasTokens {
		t.Errorf("%+v", b)
	}
	turn, in, others, err := s.Turn(ctx, "ann", two[0].ID)
	if err != nil || turn.Content != "a" || !turn.HasTokens || in.ID != c.ID || len(others) != 1 || others[0].Content != "b" {
		t.Errorf("%+v %+v %+v %v", turn, in, others, err)
	}
	other := must(s.Create(ctx, "ann", false, Settings{}))(t)
	for _, parent := range []string{"x", q.ID, c.ID} {
		_, err := s.Ask(ctx, "ann", c.ID, parent, "behind", Settings{})
		invalid(t, err, "parent")
	}
	_, err = s.Ask(ctx, "ann", other.ID, two[0].ID, "elsewhere", Settings{})
	invalid(t, err, "parent")
	_, err = s.Answer(ctx, "ann", c.ID, []NewAnswer{{Turn: Turn{Role: Assistant, Content: "to nothing"}}})
	invalid(t, err, "parent")
	_, err = s.Branch(ctx, "ann", other.ID, q.ID)
	invalid(t, err, "parent")
	for _, text := range []string{"", "\x00", "\xff"} {
		_, err := s.Ask(ctx, "ann", c.ID, "", text, Settings{})
		invalid(t, err, "content")
	}
	// Somebody else finds nothing of it.
	_, err = s.Ask(ctx, "bo", c.ID, "", "x", Settings{})
	if !errors.Is(err, ErrNotFound) || len(must(s.Turns(ctx, "bo", c.ID))(t)) != 0 {
		t.Errorf("bo: %v", err)
	}
	if err := s.Delete(ctx, "bo", c.ID); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := s.Delete(ctx, "ann", c.ID); err != nil {
		t.Error(err)
	}
}

// TestListPages: the list goes on behind any of its rows, and misses and repeats none.
func TestListPages(t *testing.T) {
	ctx, pool := t.Context(), pgtest.New(t)
	s := NewStore(pool)
	for range 7 {
		must(s.Create(ctx, "ann", false, Settings{}))(t)
	}
	if _, err := pool.Exec(ctx, `UPDATE conversations SET updated_at = '2026-01-01'`); err != nil { // all at once: the id decides
		t.Fatal(err)
	}
	seen, before := map[string]bool{}, ""
	for range 4 {
		list := must(s.List(ctx, "ann", "", before, 2))(t)
		for _, c := range list {
			if seen[c.ID] {
				t.Errorf("%s comes twice", c.ID)
			}
			seen[c.ID], before = true, c.ID
		}
	}
	if len(seen) != 7 {
		t.Errorf("%d of 7 came", len(seen))
	}
	_, err := s.List(ctx, "ann", "", "x", 2)
	invalid(t, err, "before")
}

// TestTrainingDecision: what follows from it happens in the same transaction, and only where it changed.
func TestTrainingDecision(t *testing.T) {
	ctx, s := t.Context(), NewStore(pgtest.New(t))
	c := must(s.Create(ctx, "ann", false, Settings{}))(t)
	yes, calls := true, 0
	after := func(_ context.Context, _ pgx.Tx, training bool) error {
		calls++
		if !training {
			t.Error("asked for the other decision")
		}
		return nil
	}
	for range 2 {
		if c = must(s.Update(ctx, "ann", c.ID, Change{Training: &yes}, after))(t); !c.Training {
			t.Error("not kept")
		}
	}
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
	no, broken := false, errors.New("broken")
	if _, err := s.Update(ctx, "ann", c.ID, Change{Training: &no}, func(context.Context, pgx.Tx, bool) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if !must(s.Get(ctx, "ann", c.ID))(t).Training {
		t.Error("half of it happened")
	}
	leaf := "01890a5d-ac96-774b-bcce-b302099a8057"
	_, err := s.Update(ctx, "ann", c.ID, Change{Leaf: &leaf}, nil)
	invalid(t, err, "leaf")
}
