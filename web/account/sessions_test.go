package account

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestSessions: which there are, one ended, the others ended, and those of a changed password.
func TestSessions(t *testing.T) {
	s, pool := setup(t)
	ctx := t.Context()
	u, other := newUser(t, s, "mina", RoleLabeler), newUser(t, s, "olga", RoleLabeler)
	in := func(address, agent string) string {
		t.Helper()
		token, _, err := s.Login(ctx, u.Email, secret, address, agent)
		must(t, err)
		return token
	}
	here, there, third := in("10.0.0.1", "Firefox/1 Linux"), in("10.0.0.2", "Safari/1 iPhone"), in("10.0.0.3", "")
	_, err := pool.Exec(ctx, `UPDATE sessions SET last_seen_at = now() - interval '9 hours' WHERE address = '10.0.0.3'`)
	must(t, err)
	list, err := s.Sessions(ctx, u.ID, here)
	must(t, err)
	if len(list) != 2 || !list[0].Current || list[0].Address != "10.0.0.1" || list[0].UserAgent != "Firefox/1 Linux" || list[1].Current || list[1].Address != "10.0.0.2" {
		t.Fatalf("%+v", list)
	}
	if err := s.EndSession(ctx, other.ID, list[1].ID, "test"); !errors.Is(err, ErrNotFound) {
		t.Errorf("somebody else's session: %v", err)
	}
	must(t, s.EndSession(ctx, u.ID, list[1].ID, "test"))
	for token, want := range map[string]error{here: nil, there: ErrDenied, third: ErrDenied} {
		if _, err := s.Session(ctx, token); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	another := in("10.0.0.4", "")
	must(t, s.RevokeSessions(ctx, u.ID, here, "test"))
	if _, err := s.Session(ctx, another); !errors.Is(err, ErrDenied) {
		t.Errorf("the others go on: %v", err)
	}
	const fresh = "another long enough one"
	for _, c := range []struct {
		old, fresh string
		want       error
	}{{"wrong wrong wrong", fresh, ErrDenied}, {secret, secret, nil}, {secret, "short", nil}} {
		_, err := s.ChangePassword(ctx, u.ID, c.old, c.fresh, From{"ip", ""})
		var weak *InvalidError
		if c.want != nil && !errors.Is(err, c.want) || c.want == nil && !errors.As(err, &weak) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := s.Session(ctx, here); err != nil {
		t.Errorf("a change that failed ended the session: %v", err)
	}
	token, err := s.ChangePassword(ctx, u.ID, secret, fresh, From{"10.0.0.1", ""})
	must(t, err)
	if _, err := s.Session(ctx, here); !errors.Is(err, ErrDenied) {
		t.Errorf("the old session: %v", err)
	}
	if got, err := s.Session(ctx, token); err != nil || got.ID != u.ID {
		t.Errorf("the new one: %v", err)
	}
	for range loginPerAccount {
		if _, err := s.ChangePassword(ctx, u.ID, "wrong wrong wrong", secret, From{"ip2", ""}); !errors.Is(err, ErrDenied) {
			t.Fatal(err)
		}
	}
	var limit *LimitError
	if _, err := s.ChangePassword(ctx, u.ID, fresh, secret, From{"ip2", ""}); !errors.As(err, &limit) {
		t.Errorf("guesses of the old password are not counted: %v", err)
	}
}

// TestTwoOwners: two owners take each other's role at the same moment, and one owner is left; demoting and disabling alike.
func TestTwoOwners(t *testing.T) {
	s, pool := setup(t)
	ctx := t.Context()
	newUser(t, s, "admin", RoleAdmin)
	for round := range 4 {
		a, b := newUser(t, s, fmt.Sprintf("a%d", round), RoleOwner), newUser(t, s, fmt.Sprintf("b%d", round), RoleOwner)
		_, err := pool.Exec(ctx, `UPDATE users SET disabled_at = now() WHERE role = 'owner' AND id NOT IN ($1, $2)`, a.ID, b.ID)
		must(t, err)
		var wg sync.WaitGroup
		errs := make([]error, 2)
		wg.Go(func() { errs[0] = s.SetRole(ctx, a.ID, RoleAdmin, "user:"+b.ID) })
		wg.Go(func() { errs[1] = s.Disable(ctx, b.ID, "user:"+a.ID) })
		wg.Wait()
		var left int
		must(t, pool.QueryRow(ctx, `SELECT count(*) FROM users WHERE role = 'owner' AND disabled_at IS NULL`).Scan(&left))
		if left != 1 || (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("%d owners left, errors %v", left, errs)
		}
	}
}

// TestWaysIn: a user without a password keeps one identity, whoever removes them at once.
func TestWaysIn(t *testing.T) {
	s, _ := setup(t)
	ctx := t.Context()
	enter := func(subject string) Entrance {
		t.Helper()
		out, err := s.Enter(ctx, Entry{Identity: Identity{Issuer: "https://id.example.com", Subject: subject, Provider: "work", Email: subject + "@example.com"}, Role: RoleLabeler, Make: true})
		must(t, err)
		return out
	}
	for round := range 10 {
		u := enter(fmt.Sprintf("a%d", round)).User
		must(t, s.LinkIdentity(ctx, u.ID, Identity{Issuer: "https://other.example.com", Subject: u.ID, Provider: "other", Email: "x@example.com"}))
		list, err := s.Identities(ctx, u.ID)
		must(t, err)
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, identity := range list {
			wg.Go(func() { errs[i] = s.UnlinkIdentity(ctx, u.ID, identity.ID, "test") })
		}
		wg.Wait()
		list, err = s.Identities(ctx, u.ID)
		must(t, err)
		if len(list) != 1 || (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("%d left, errors %v", len(list), errs)
		}
	}
	// The only one who administers keeps the role, whatever claims say.
	_, err := s.Enter(ctx, Entry{Identity: Identity{Issuer: "i", Subject: "boss", Provider: "work", Email: "boss@example.com"}, Role: RoleAdmin, Mapped: true, Make: true})
	must(t, err)
	out, err := s.Enter(ctx, Entry{Identity: Identity{Issuer: "i", Subject: "boss", Provider: "work", Email: "boss@example.com"}, Role: RoleLabeler, Mapped: true, Make: true})
	if err != nil || out.User.Role != RoleAdmin || out.Token == "" {
		t.Errorf("%+v %v", out, err)
	}
}

// TestPasswordLink: the link of the command line works once and for an hour; the old one stops when another is made.
func TestPasswordLink(t *testing.T) {
	s, pool := setup(t)
	ctx := t.Context()
	u := newUser(t, s, "mina", RoleOwner)
	_, former, err := s.InvitePassword(ctx, u.ID, nil)
	must(t, err)
	i, token, err := s.InvitePassword(ctx, u.ID, nil)
	must(t, err)
	if life := i.ExpiresAt.Sub(i.CreatedAt); life != time.Hour || i.State != InvitationOpen || i.CreatedBy != "" {
		t.Errorf("%+v lives %s", i, life)
	}
	if _, err := s.Invitation(ctx, former); !errors.Is(err, ErrNotFound) {
		t.Errorf("the former link: %v", err)
	}
	_, err = pool.Exec(ctx, `UPDATE invitations SET expires_at = now() - interval '1 second' WHERE id = $1`, i.ID)
	must(t, err)
	if _, _, err := s.JoinPassword(ctx, token, "another long enough one", From{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("too late: %v", err)
	}
	newUser(t, s, "second", RoleOwner)
	must(t, s.Disable(ctx, u.ID, "test"))
	var invalid *InvalidError
	if _, _, err := s.InvitePassword(ctx, u.ID, nil); !errors.As(err, &invalid) {
		t.Errorf("a link for a disabled account: %v", err)
	}
}

// TestFindUsers: by parts of name and address, role and state, page after page.
func TestFindUsers(t *testing.T) {
	s, _ := setup(t)
	ctx := t.Context()
	for i := range 7 {
		newUser(t, s, fmt.Sprintf("lab%d", i), RoleLabeler)
	}
	olga, _, err := s.CreateUser(ctx, NewUser{Email: "olga@example.com", Name: "Ólga 50%_", Role: RoleReviewer, Password: secret})
	must(t, err)
	must(t, s.Disable(ctx, olga.ID, "test"))
	yes, no := true, false
	for name, c := range map[string]struct {
		f    UserFilter
		want int
	}{"all": {UserFilter{}, 8}, "address": {UserFilter{Text: "LAB"}, 7}, "name": {UserFilter{Text: "50%_"}, 1}, "no pattern": {UserFilter{Text: "l%b"}, 0}, "role": {UserFilter{Role: RoleReviewer}, 1},
		"disabled": {UserFilter{Disabled: &yes}, 1}, "active": {UserFilter{Disabled: &no}, 7}, "both": {UserFilter{Text: "olga", Disabled: &no}, 0}} {
		if list, err := s.FindUsers(ctx, c.f); err != nil || len(list) != c.want {
			t.Errorf("%s: %d, want %d (%v)", name, len(list), c.want, err)
		}
	}
	var seen []string
	for f := (UserFilter{Limit: 3}); ; {
		list, err := s.FindUsers(ctx, f)
		must(t, err)
		for _, u := range list {
			seen = append(seen, u.Email)
		}
		if len(list) < 3 {
			break
		}
		f.After = list[2].Email
	}
	if len(seen) != 8 || seen[0] != "lab0@example.com" || seen[7] != "olga@example.com" {
		t.Error(seen)
	}
	names, err := s.Addresses(ctx, []string{olga.ID, "nobody", newID()})
	if err != nil || len(names) != 1 || names[olga.ID] != olga.Email {
		t.Error(names, err)
	}
}
