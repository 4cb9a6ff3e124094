package account

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// TestNote: usage that nobody waits for is recorded in the order in which it came, at the latest when somebody asks for it; a bad row costs
// the others nothing, nor does a database that is away for a while.
func TestNote(t *testing.T) {
	plain, pool := setup(t)
	ctx := t.Context()
	c := newUser(t, plain, "acme", RoleCustomer)
	k, _, err := plain.CreateKey(ctx, NewKey{CustomerID: c.ID, Name: "first"})
	must(t, err)
	var away atomic.Bool
	config := pool.Config()
	config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		if away.Load() {
			return errors.New("nobody is there")
		}
		return nil
	}
	other, err := pgxpool.NewWithConfig(ctx, config)
	must(t, err)
	defer other.Close()
	s := NewStore(other)
	var lost atomic.Int32
	s.GatherUsage(time.Hour, func(error) { lost.Add(1) }) // what is recorded is recorded because somebody asks
	u := Usage{KeyID: k.ID, UserID: c.ID, Endpoint: "/v1/completions", ModelVersion: "v1", PromptTokens: 3, CompletionTokens: 5, Finish: "stop"}
	rows := func() (n int) {
		must(t, pool.QueryRow(ctx, `SELECT count(*) FROM usage`).Scan(&n))
		return n
	}
	must(t, s.Flush(ctx)) // of nothing
	for range 3 {
		must(t, s.Note(ctx, u))
	}
	if n := rows(); n != 0 {
		t.Fatalf("%d rows of a batch that gathers yet", n)
	}
	days, err := s.Usage(ctx, UsageFilter{KeyID: k.ID})
	must(t, err)
	if len(days) != 1 || days[0].Requests != 3 || rows() != 3 {
		t.Fatalf("%+v, %d rows", days, rows())
	}

	bad := u
	bad.CachedTokens = bad.PromptTokens + 1
	for _, u := range []Usage{u, bad, u} {
		must(t, s.Note(ctx, u))
	}
	must(t, s.Record(ctx, u, nil)) // who waits for a row does not wait for a batch
	if n := rows(); n != 6 || lost.Load() != 1 {
		t.Errorf("%d rows, want 6; %d were lost, want the one that is wrong", n, lost.Load())
	}

	away.Store(true)
	other.Reset()
	for range 3 {
		must(t, s.Note(ctx, u))
	}
	if err := s.Flush(ctx); err == nil {
		t.Error("a database that was away took usage")
	}
	if err := s.Record(ctx, u, nil); err == nil {
		t.Error("a database that was away recorded usage")
	}
	away.Store(false)
	must(t, s.Flush(ctx))
	if n := rows(); n != 9 || lost.Load() != 1 {
		t.Errorf("%d rows, want 9; %d were lost", n, lost.Load())
	}

	for range ledgerRoom + 1 {
		must(t, s.Note(ctx, u))
	}
	if n := rows(); n != 9+ledgerRoom+1 { // the last one found no room and waited
		t.Errorf("%d rows", n)
	}
}

// TestNoteAtOnce: without GatherUsage what is noted is recorded.
func TestNoteAtOnce(t *testing.T) {
	s, pool := setup(t)
	c := newUser(t, s, "acme", RoleCustomer)
	must(t, s.Note(t.Context(), Usage{UserID: c.ID, Endpoint: "/chat", ModelVersion: "v1", PromptTokens: 1, Finish: "stop"}))
	var n int
	must(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM usage`).Scan(&n))
	if n != 1 {
		t.Errorf("%d rows", n)
	}
}
