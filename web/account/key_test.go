package account

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestRotate: of many rotations at once one succeeds; the old key works for the overlap and never longer than it would have.
func TestRotate(t *testing.T) {
	s, pool := setup(t)
	ctx := t.Context()
	c := newUser(t, s, "acme", RoleCustomer)
	k, whole, err := s.CreateKey(ctx, NewKey{CustomerID: c.ID, Name: "first", Scopes: []string{ScopeReward, ScopeCompletions}, RPM: 3, TPM: 4, DailyTokens: 5, TrainingOptIn: true, Lifetime: 10 * 24 * time.Hour})
	must(t, err)
	if k.Scopes[0] != ScopeCompletions || len(k.Scopes) != 2 {
		t.Errorf("scopes %v", k.Scopes)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var fresh []Key
	var wholes []string
	for range 8 {
		wg.Go(func() {
			n, secret, err := s.RotateKey(ctx, k.ID, time.Hour, "system")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				fresh, wholes = append(fresh, n), append(wholes, secret)
			} else if !errors.Is(err, ErrConflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(fresh) != 1 {
		t.Fatalf("%d keys took its place", len(fresh))
	}
	n := fresh[0]
	if n.ID == k.ID || n.Name != k.Name || n.Limits != k.Limits || !n.TrainingOptIn || len(n.Scopes) != 2 || n.ExpiresAt.Sub(n.CreatedAt).Round(time.Hour) != 10*24*time.Hour {
		t.Errorf("%+v of %+v", n, k)
	}
	for _, key := range []string{whole, wholes[0]} {
		if _, err := s.Authenticate(ctx, key); err != nil {
			t.Errorf("during the overlap: %v", err)
		}
	}
	old, err := s.Key(ctx, k.ID)
	must(t, err)
	if left := old.ExpiresAt.Sub(n.CreatedAt); left <= 0 || left > time.Hour || old.State(n.CreatedAt) != KeyEnding || old.State(n.CreatedAt.Add(2*time.Hour)) != KeyExpired {
		t.Errorf("the old key works on for %v: %+v", left, old)
	}
	// One that ends sooner than the overlap ends as it would have.
	short, _, err := s.CreateKey(ctx, NewKey{CustomerID: c.ID, Name: "short", Lifetime: time.Minute})
	must(t, err)
	_, _, err = s.RotateKey(ctx, short.ID, MaxOverlap, "system")
	must(t, err)
	if after, err := s.Key(ctx, short.ID); err != nil || !after.ExpiresAt.Equal(*short.ExpiresAt) {
		t.Errorf("the overlap made a key live until %v, before %v (%v)", after.ExpiresAt, short.ExpiresAt, err)
	}
	_, err = pool.Exec(ctx, `UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $1`, k.ID)
	must(t, err)
	if _, err := s.Authenticate(ctx, whole); !errors.Is(err, ErrDenied) {
		t.Errorf("after the overlap: %v", err)
	}
	var bad *InvalidError
	if _, _, err := s.RotateKey(ctx, n.ID, MaxOverlap+1, "system"); !errors.As(err, &bad) {
		t.Error(err)
	}
	if _, _, err := s.RotateKey(ctx, "zzzzzzzz", 0, "system"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	must(t, s.RevokeKey(ctx, n.ID, "system"))
	if _, _, err := s.RotateKey(ctx, n.ID, 0, "system"); !errors.Is(err, ErrConflict) {
		t.Errorf("a revoked key: %v", err)
	}
}

func TestChangeKey(t *testing.T) {
	s, _ := setup(t)
	ctx := t.Context()
	c := newUser(t, s, "acme", RoleCustomer)
	k, whole, err := s.CreateKey(ctx, NewKey{CustomerID: c.ID, Name: "first"})
	must(t, err)
	if k.TPM != DefaultTPM || k.DailyTokens != 0 || k.State(k.CreatedAt) != KeyLive {
		t.Errorf("%+v", k)
	}
	good := KeyChange{Name: " new ", Scopes: []string{ScopeFeedback}, Limits: Limits{1, 2, 3}, TrainingOptIn: true, Actor: "system"}
	must(t, s.ChangeKey(ctx, k.ID, good))
	got, err := s.Authenticate(ctx, whole)
	if err != nil || got.Name != "new" || got.Limits != good.Limits || !got.TrainingOptIn || got.Allows(ScopeCompletions) || !got.Allows(ScopeFeedback) {
		t.Errorf("%+v %v", got, err)
	}
	var bad *InvalidError
	for what, change := range map[string]func(*KeyChange){"name": func(c *KeyChange) { c.Name = "" }, "scopes": func(c *KeyChange) { c.Scopes = nil }, "a scope": func(c *KeyChange) { c.Scopes = []string{"x"} },
		"rpm": func(c *KeyChange) { c.RPM = 0 }, "tpm": func(c *KeyChange) { c.TPM = 100_000_001 }, "quota": func(c *KeyChange) { c.DailyTokens = -1 }} {
		x := good
		change(&x)
		if err := s.ChangeKey(ctx, k.ID, x); !errors.As(err, &bad) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.ChangeKey(ctx, "zzzzzzzz", good); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	must(t, s.RevokeKey(ctx, k.ID, "system"))
	if err := s.ChangeKey(ctx, k.ID, good); !errors.Is(err, ErrConflict) {
		t.Errorf("a revoked key: %v", err)
	}
	if got, err := s.Key(ctx, k.ID); err != nil || got.State(k.CreatedAt) != KeyRevoked {
		t.Errorf("%+v %v", got, err)
	}
}

// TestUsedToday: what is recorded counts towards the day, whoever records at the same time.
func TestUsedToday(t *testing.T) {
	s, pool := setup(t)
	ctx := t.Context()
	c := newUser(t, s, "acme", RoleCustomer)
	k, _, err := s.CreateKey(ctx, NewKey{CustomerID: c.ID, Name: "first"})
	must(t, err)
	if n, left, err := s.UsedToday(ctx, k.ID); n != 0 || left <= 0 || left > 24*time.Hour || err != nil {
		t.Errorf("%d %v %v", n, left, err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := s.Record(ctx, Usage{KeyID: k.ID, UserID: c.ID, Endpoint: "/v1/completions", ModelVersion: "v", PromptTokens: 5, CachedTokens: 2, CompletionTokens: 3, Finish: "stop"}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.sumDays(t, k.ID); n != 160 {
		t.Errorf("%d tokens", n)
	}
	_, err = pool.Exec(ctx, `UPDATE key_days SET day = day - 2`)
	must(t, err)
	if n, _, err := s.UsedToday(ctx, k.ID); n != 0 || err != nil {
		t.Errorf("the day after: %d %v", n, err)
	}
	days, err := s.Usage(ctx, UsageFilter{KeyID: k.ID, Since: time.Now().AddDate(0, 0, -2)})
	must(t, err)
	cached := int64(0)
	for _, d := range days {
		cached += d.CachedTokens
	}
	if cached != 40 {
		t.Errorf("%d cached tokens: %+v", cached, days)
	}
	if none, err := s.Usage(ctx, UsageFilter{KeyID: "zzzzzzzz"}); err != nil || len(none) != 0 {
		t.Errorf("%v %v", none, err)
	}
}

// sumDays is what a key has used in all days: a test may run past midnight.
func (s *Store) sumDays(t *testing.T, id string) (n int64) {
	t.Helper()
	must(t, s.pool.QueryRow(t.Context(), `SELECT coalesce(sum(tokens), 0) FROM key_days WHERE key_id = $1`, id).Scan(&n))
	return n
}

// TestRecordTogether: usage that is to be recorded while a transaction is under way shares the next one; a row that is refused does not
// take others with it; and the sums are those of the rows.
func TestRecordTogether(t *testing.T) {
	s, _ := setup(t)
	ctx := t.Context()
	c := newUser(t, s, "acme", RoleCustomer)
	var keys []Key
	for i := range 3 {
		k, _, err := s.CreateKey(ctx, NewKey{CustomerID: c.ID, Name: fmt.Sprint("key ", i), Actor: "system"})
		must(t, err)
		keys = append(keys, k)
	}
	usage := func(i int) Usage {
		return Usage{KeyID: keys[i%3].ID, UserID: c.ID, Endpoint: "/v1/completions", ModelVersion: "v", PromptTokens: i, CompletionTokens: 1, Finish: "stop"}
	}
	must(t, s.Record(ctx, usage(0), nil))
	tx, err := s.pool.Begin(ctx)
	must(t, err)
	_, err = tx.Exec(ctx, `UPDATE key_days SET tokens = tokens WHERE key_id = $1`, keys[0].ID) // what holds up the next one
	must(t, err)
	const n = 60
	errs := make(chan error, n)
	begin := func(i int) {
		go func() {
			u := usage(i)
			if i == 30 {
				u.CachedTokens = u.PromptTokens + 1 // more than there were
			}
			errs <- s.Record(ctx, u, nil)
		}()
	}
	waiting := func() int {
		s.ledger.mu.Lock()
		defer s.ledger.mu.Unlock()
		return len(s.ledger.waiting)
	}
	begin(3)
	for held := false; !held; { // the first is at the lock
		must(t, s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&held))
	}
	for i := range n {
		if i != 3 {
			begin(i)
		}
	}
	for waiting() < n-1 {
		time.Sleep(time.Millisecond)
	}
	must(t, tx.Rollback(ctx))
	failed := 0
	for range n {
		if <-errs != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d failed, want the one that is wrong", failed)
	}
	var rows, days, sum int64
	must(t, s.pool.QueryRow(ctx, `SELECT count(*), sum(prompt_tokens + completion_tokens), (SELECT sum(tokens) FROM key_days) FROM usage`).Scan(&rows, &sum, &days))
	if rows != n || sum != days {
		t.Errorf("%d rows with %d tokens, the days have %d", rows, sum, days)
	}
	tx, err = s.pool.Begin(ctx)
	must(t, err)
	_, err = tx.Exec(ctx, `UPDATE key_days SET tokens = tokens`)
	must(t, err)
	begin(6)
	for held := false; !held; {
		must(t, s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&held))
	}
	for range 40 {
		begin(9)
	}
	for waiting() < 40 {
		time.Sleep(time.Millisecond)
	}
	must(t, tx.Rollback(ctx))
	for range 41 {
		must(t, <-errs)
	}
	var together int // rows of the largest transaction
	must(t, s.pool.QueryRow(ctx, `SELECT max(n) FROM (SELECT count(*) AS n FROM usage GROUP BY xmin::text) x`).Scan(&together))
	if together != 40 {
		t.Errorf("%d rows of the largest transaction, want 40", together)
	}
}
