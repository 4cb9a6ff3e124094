package account

import (
	"errors"
	"testing"
	"time"

	"github.com/rankloop/rankloop/migrations/pgtest"
)

// TestRememberedSessions: what is remembered is believed for its moment, and no longer than the next change in this process.
func TestRememberedSessions(t *testing.T) {
	ctx, pool := t.Context(), pgtest.New(t)
	now := time.Unix(1_000_000, 0)
	here, elsewhere := NewStore(pool), NewStore(pool)
	here.RememberSessions(time.Second)
	here.known.clock = func() time.Time { return now }
	u, password, err := here.CreateUser(ctx, NewUser{Email: "ann@example.com", Name: "Ann", Role: RoleLabeler})
	if err != nil {
		t.Fatal(err)
	}
	login := func() string {
		t.Helper()
		token, _, err := here.Login(ctx, u.Email, password, "127.0.0.1", "test")
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	is := func(what, token string, want error) {
		t.Helper()
		if got, err := here.Session(ctx, token); !errors.Is(err, want) || err == nil && got.ID != u.ID {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	token := login()
	is("first", token, nil)
	if _, err := elsewhere.Logout(ctx, token); err != nil {
		t.Fatal(err)
	}
	is("ended elsewhere, within the moment", token, nil)
	now = now.Add(time.Second)
	is("ended elsewhere, after it", token, ErrDenied)

	for name, end := range map[string]func(token string) error{
		"logout":   func(token string) error { _, err := here.Logout(ctx, token); return err },
		"revoke":   func(string) error { return here.RevokeSessions(ctx, u.ID, "", "test") },
		"role":     func(string) error { return here.SetRole(ctx, u.ID, RoleReviewer, "test") },
		"password": func(string) (err error) { password, err = here.SetPassword(ctx, u.ID, "", "test"); return err },
	} {
		token := login()
		is(name+" before", token, nil)
		if err := end(token); err != nil {
			t.Fatal(name, err)
		}
		is(name, token, ErrDenied)
	}
	token = login()
	is("language before", token, nil)
	if err := here.SetLanguage(ctx, u.ID, "zh-Hant", "test"); err != nil {
		t.Fatal(err)
	}
	if got, err := here.Session(ctx, token); err != nil || got.Language != "zh-Hant" {
		t.Errorf("the language of before is remembered: %+v %v", got, err)
	}

	// Read before a change, told after it: not remembered.
	session := [32]byte{1}
	_, _, turn := here.known.find(session)
	here.known.forget()
	here.known.remember(session, u, turn)
	if _, ok, _ := here.known.find(session); ok {
		t.Error("what was read before a change is remembered after it")
	}
}

// TestRememberedKeys: a key is believed for its moment, no longer than it lives, and no longer than the next change in this process.
func TestRememberedKeys(t *testing.T) {
	ctx, pool := t.Context(), pgtest.New(t)
	now := time.Now()
	here, elsewhere := NewStore(pool), NewStore(pool)
	here.RememberKeys(time.Second)
	here.keys.clock = func() time.Time { return now }
	c := newUser(t, here, "acme", RoleCustomer)
	make := func() (Key, string) {
		t.Helper()
		k, secret, err := here.CreateKey(ctx, NewKey{CustomerID: c.ID, Name: "k", Lifetime: time.Hour, Actor: "system"})
		must(t, err)
		return k, secret
	}
	is := func(what, secret string, want error) {
		t.Helper()
		if _, err := here.Authenticate(ctx, secret); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	k, secret := make()
	is("first", secret, nil)
	is("another secret", secret[:len(secret)-1]+"!", ErrDenied)
	must(t, elsewhere.RevokeKey(ctx, k.ID, "system"))
	is("revoked elsewhere, within the moment", secret, nil)
	now = now.Add(time.Second)
	is("revoked elsewhere, after it", secret, ErrDenied)

	k, secret = make()
	is("before", secret, nil)
	must(t, here.RevokeKey(ctx, k.ID, "system"))
	is("revoked here", secret, ErrDenied)

	k, secret = make()
	is("before", secret, nil)
	must(t, here.ChangeKey(ctx, k.ID, KeyChange{Name: "k", Scopes: []string{ScopeReward}, Limits: Limits{RPM: 7, TPM: 7}, Actor: "system"}))
	if got, err := here.Authenticate(ctx, secret); err != nil || got.RPM != 7 {
		t.Errorf("changed: %+v, %v", got, err)
	}
	must(t, here.SetTraining(ctx, c.ID, k.ID, true, "system", nil))
	if got, err := here.Authenticate(ctx, secret); err != nil || !got.TrainingOptIn {
		t.Errorf("consent: %+v, %v", got, err)
	}
	_, err := pool.Exec(ctx, `UPDATE api_keys SET expires_at = now() WHERE id = $1`, k.ID)
	must(t, err)
	here.forget()
	is("expired", secret, ErrDenied)
	_, secret = make()
	is("before", secret, nil)
	must(t, here.Disable(ctx, c.ID, "system"))
	is("its customer is disabled", secret, ErrDenied)
}
