package account

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/rankloop/rankloop/migrations/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

const secret = "a long enough secret"

func setup(t *testing.T) (*Store, *pgxpool.Pool) {
	t.Helper()
	pool := pgtest.New(t)
	return NewStore(pool), pool
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newUser(t *testing.T, s *Store, name string, role Role) User {
	t.Helper()
	u, _, err := s.CreateUser(t.Context(), NewUser{Email: name + "@example.com", Role: role, Password: secret})
	must(t, err)
	return u
}

func TestCreateUser(t *testing.T) {
	s, pool := setup(t)
	ctx := t.Context()
	u, password, err := s.CreateUser(ctx, NewUser{Email: "  Ada@Example.COM ", Role: RoleOwner, Actor: "system"})
	must(t, err)
	if u.Email != "ada@example.com" || u.Name != "ada" || len(password) != 23 {
		t.Errorf("%+v %q", u, password)
	}
	if _, _, err := s.Login(ctx, "ADA@example.com", password, "ip", ""); err != nil {
		t.Errorf("the generated password does not sign in: %v", err)
	}
	var hash string
	must(t, pool.QueryRow(ctx, `SELECT password_hash FROM users`).Scan(&hash))
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(hash, password) {
		t.Errorf("stored as %s", hash)
	}
	if _, _, err := s.CreateUser(ctx, NewUser{Email: "ada@example.com", Role: RoleLabeler}); !errors.Is(err, ErrConflict) {
		t.Errorf("twice: %v", err)
	}
	same, none, err := s.EnsureUser(ctx, NewUser{Email: "ada@example.com", Role: RoleLabeler})
	if err != nil || same.ID != u.ID || none != "" || same.Role != RoleOwner {
		t.Errorf("ensure: %+v %q %v", same, none, err)
	}
	if _, p, err := s.EnsureUser(ctx, NewUser{Email: "new@example.com", Role: RoleLabeler}); err != nil || p == "" {
		t.Errorf("ensure of a new one: %q %v", p, err)
	}
	seen := map[string]bool{}
	for range 200 {
		seen[generatePassword()] = true
	}
	if len(seen) != 200 {
		t.Error("generated passwords repeat")
	}
	for _, p := range []string{"", "short", "elevenchars", strings.Repeat("x", 40), "password1234", "correct horse battery staple", strings.Repeat("é", 257), "ada@example.com", "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4"} {
		if err := checkPassword(p, "ada@example.com"); err == nil {
			t.Errorf("%q is good enough", p)
		}
	}
	for _, p := range []string{secret, strings.Repeat("长密码", 4), strings.Repeat("ab", 128)} {
		if err := checkPassword(p, "ada@example.com"); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
	if n, err := s.Users(ctx, RoleOwner); err != nil || len(n) != 1 {
		t.Errorf("%v %v", n, err)
	}
	for _, act := range []string{"user.create", "user.login"} {
		var n int
		must(t, pool.QueryRow(ctx, `SELECT count(*) FROM audit WHERE act = $1`, act).Scan(&n))
		if n == 0 {
			t.Errorf("no audit row of %s", act)
		}
	}
}

// TestLastAdmin: two admins cannot remove each other at the same moment.
func TestLastAdmin(t *testing.T) {
	s, pool := setup(t)
	ctx := t.Context()
	for round := range 10 {
		a := newUser(t, s, fmt.Sprintf("a%d", round), RoleAdmin)
		b := newUser(t, s, fmt.Sprintf("b%d", round), RoleOwner)
		_, err := pool.Exec(ctx, `UPDATE users SET disabled_at = now() WHERE id NOT IN ($1, $2)`, a.ID, b.ID)
		must(t, err)
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, id := range []string{a.ID, b.ID} {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if i == 0 {
					errs[i] = s.Disable(ctx, id, "system")
				} else {
					errs[i] = s.SetRole(ctx, id, RoleLabeler, "system")
				}
			}()
		}
		wg.Wait()
		left, err := s.Users(ctx, RoleAdmin, RoleOwner)
		must(t, err)
		left = slices.DeleteFunc(left, func(u User) bool { return u.DisabledAt != nil })
		if len(left) != 1 || (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("%d admins left, errors %v", len(left), errs)
		}
	}
}

// TestGuessing: a thousand guesses from many addresses at once: five are looked at.
func TestGuessing(t *testing.T) {
	s, _ := setup(t)
	newUser(t, s, "mina", RoleLabeler)
	var mu sync.Mutex
	looked, limited := 0, 0
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				_, _, err := s.Login(t.Context(), "mina@example.com", "not it, not it", fmt.Sprintf("10.0.%d.%d", i/250, i%250), "")
				var limit *LimitError
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, ErrBusy):
				case errors.Is(err, ErrDenied):
					looked++
				case errors.As(err, &limit) && limit.RetryAfter > 0 && limit.RetryAfter <= loginWindow:
					limited++
				default:
					t.Error(err)
				}
				return
			}
		}()
	}
	wg.Wait()
	if looked != loginPerAccount {
		t.Errorf("%d guesses were looked at, %d refused", looked, limited)
	}
	if _, _, err := s.Login(t.Context(), "mina@example.com", secret, "10.9.9.9", ""); err == nil {
		t.Error("the limit does not hold for the right password")
	}
}

// TestSameWork: an unknown address costs a hash as a known one does. Hashes are told by the memory that argon2id fills.
func TestSameWork(t *testing.T) {
	s, _ := setup(t)
	newUser(t, s, "mina", RoleLabeler)
	for _, email := range []string{"mina@example.com", "nobody@example.com"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, _, err := s.Login(t.Context(), email, "wrong wrong wrong", "10.1.1.1", ""); !errors.Is(err, ErrDenied) {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if used, hash := after.TotalAlloc-before.TotalAlloc, uint64(argonMemory<<10); used < hash || used >= 2*hash {
			t.Errorf("%s: %d bytes were used, a hash fills %d", email, used, hash)
		}
	}
}

func TestKeys(t *testing.T) {
	s, pool := setup(t)
	ctx := t.Context()
	c := newUser(t, s, "acme", RoleCustomer)
	k, whole, err := s.CreateKey(ctx, NewKey{CustomerID: c.ID, Name: "first"})
	must(t, err)
	if !strings.HasPrefix(whole, "rk_live_"+k.ID+"_") || len(whole) != 8+8+1+43 || k.RPM != DefaultRPM || k.TrainingOptIn || !k.Allows(ScopeCompletions) {
		t.Errorf("%s %+v", whole, k)
	}
	got, err := s.Authenticate(ctx, whole)
	if err != nil || got.ID != k.ID || got.CustomerID != c.ID {
		t.Errorf("%+v %v", got, err)
	}
	var n int
	must(t, pool.QueryRow(ctx, `SELECT count(*) FROM api_keys WHERE to_jsonb(api_keys)::text LIKE '%' || $1 || '%'`, whole[17:]).Scan(&n))
	if n != 0 {
		t.Error("the secret is stored")
	}
	other, otherWhole, err := s.CreateKey(ctx, NewKey{CustomerID: c.ID, Name: "second", Lifetime: time.Hour, RPM: 5, TrainingOptIn: true})
	must(t, err)
	for _, bad := range []string{"", "x", "rk_live_", whole[:len(whole)-1], whole + "0", strings.ToUpper(whole), "rk_live_" + k.ID + "_" + otherWhole[17:], "rk_test_" + whole[8:], "rk_live_" + strings.Repeat("0", 8) + whole[16:],
		whole[:20] + "\x00" + whole[21:], whole[:20] + "'" + whole[21:]} {
		if _, err := s.Authenticate(ctx, bad); !errors.Is(err, ErrDenied) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	_, err = pool.Exec(ctx, `UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $1`, other.ID)
	must(t, err)
	if _, err := s.Authenticate(ctx, otherWhole); !errors.Is(err, ErrDenied) {
		t.Errorf("expired: %v", err)
	}
	must(t, s.RevokeKey(ctx, k.ID, "system"))
	must(t, s.RevokeKey(ctx, k.ID, "system"))
	if _, err := s.Authenticate(ctx, whole); !errors.Is(err, ErrDenied) {
		t.Errorf("revoked: %v", err)
	}
	if err := s.RevokeKey(ctx, "zzzzzzzz", "system"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	third, thirdWhole, err := s.CreateKey(ctx, NewKey{CustomerID: c.ID, Name: "third"})
	must(t, err)
	must(t, s.Disable(ctx, c.ID, "system"))
	if _, err := s.Authenticate(ctx, thirdWhole); !errors.Is(err, ErrDenied) {
		t.Errorf("a disabled customer's key %s: %v", third.ID, err)
	}
	list, err := s.Keys(ctx, c.ID)
	if err != nil || len(list) != 3 {
		t.Errorf("%d keys, %v", len(list), err)
	}
	var bad *InvalidError
	for name, n := range map[string]NewKey{
		"no customer": {Name: "x"}, "a labeler": {CustomerID: newUser(t, s, "mina", RoleLabeler).ID, Name: "x"}, "disabled": {CustomerID: c.ID, Name: "x"},
		"no name": {CustomerID: c.ID}, "scope": {CustomerID: c.ID, Name: "x", Scopes: []string{"everything"}}, "rpm": {CustomerID: c.ID, Name: "x", RPM: -1},
	} {
		if _, _, err := s.CreateKey(ctx, n); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUsage: what joins a usage row is there with it or not at all.
func TestUsage(t *testing.T) {
	s, pool := setup(t)
	ctx := t.Context()
	c := newUser(t, s, "acme", RoleCustomer)
	k, _, err := s.CreateKey(ctx, NewKey{CustomerID: c.ID, Name: "first"})
	must(t, err)
	u := Usage{KeyID: k.ID, UserID: c.ID, Endpoint: "/v1/completions", ModelVersion: "v1", PromptTokens: 3, CompletionTokens: 5, Finish: "stop", Duration: time.Second}
	mark := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE users SET name = name || '!'`)
		return err
	}
	must(t, s.Record(ctx, u, mark))
	must(t, s.Record(ctx, u, nil))
	must(t, s.Record(ctx, Usage{UserID: c.ID, Endpoint: "/chat", ModelVersion: "v1", PromptTokens: 1, Finish: "stop"}, nil))
	if err := s.Record(ctx, u, func(ctx context.Context, tx pgx.Tx) error {
		if err := mark(ctx, tx); err != nil {
			return err
		}
		return errors.New("no")
	}); err == nil {
		t.Error("the error was lost")
	}
	if got, err := s.User(ctx, c.ID); err != nil || got.Name != "acme!" {
		t.Errorf("%+v %v", got, err)
	}
	days, err := s.UsageByDay(ctx, c.ID, time.Now().Add(-24*time.Hour))
	must(t, err)
	if len(days) != 2 || days[1].Requests != 2 || days[1].PromptTokens != 6 || days[1].CompletionTokens != 10 || days[0].KeyID != "" {
		t.Errorf("%+v", days)
	}
	if none, err := s.UsageByDay(ctx, "nobody", time.Time{}); err != nil || len(none) != 0 {
		t.Errorf("%v %v", none, err)
	}
	must(t, s.Sweep(ctx))
	var n int
	must(t, pool.QueryRow(ctx, `SELECT count(*) FROM usage`).Scan(&n))
	if n != 3 {
		t.Errorf("%d rows", n)
	}
}

// TestRehash: a hash of older parameters still signs in and is renewed.
func TestRehash(t *testing.T) {
	s, pool := setup(t)
	u := newUser(t, s, "mina", RoleLabeler)
	const old = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$" // of the secret, made below
	key := encodeOld(secret)
	_, err := pool.Exec(t.Context(), `UPDATE users SET password_hash = $2 WHERE id = $1`, u.ID, old+key)
	must(t, err)
	if _, _, err := s.Login(t.Context(), u.Email, secret, "ip", ""); err != nil {
		t.Fatal(err)
	}
	var hash string
	must(t, pool.QueryRow(t.Context(), `SELECT password_hash FROM users WHERE id = $1`, u.ID).Scan(&hash))
	if !strings.Contains(hash, "m=19456") {
		t.Errorf("not renewed: %s", hash)
	}
	if _, _, err := s.Login(t.Context(), u.Email, secret, "ip", ""); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "$", "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$", "$argon2id$v=19$m=64,t=0,p=1$c2FsdA$aGFzaA", "$argon2id$v=18$m=64,t=1,p=1$c2FsdA$aGFzaA", "$bcrypt$a$b$c$d", "$argon2id$v=19$x$!!$!!"} {
		if ok, _ := s.hasher.verify(secret, bad); ok {
			t.Errorf("%q verifies", bad)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("rk_live_12345678_" + strings.Repeat("a", 43))
	f.Fuzz(func(t *testing.T, s string) {
		if id, sec, ok := parseKey(s); ok && (keyPrefix+id+"_"+sec != s || !isBase62(id+sec)) {
			t.Errorf("%q is read as %q %q", s, id, sec)
		}
	})
}
