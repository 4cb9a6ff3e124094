package account

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestRoles is the table of what each role may, and whom it manages.
func TestRoles(t *testing.T) {
	type may struct{ labels, reviews, reads, admin, managesLabeler, managesAdmin bool }
	for role, want := range map[Role]may{
		RoleLabeler:  {labels: true},
		RoleReviewer: {labels: true, reviews: true},
		RoleAnalyst:  {reads: true},
		RoleCustomer: {},
		RoleAdmin:    {true, true, true, true, true, false},
		RoleOwner:    {true, true, true, true, true, true},
		"nobody":     {},
	} {
		got := may{role.Labels(), role.Reviews(), role.Reads(), role.Admin(), role.Manages(RoleLabeler), role.Manages(RoleAdmin)}
		if got != want {
			t.Errorf("%s: %+v, want %+v", role, got, want)
		}
		if role.Manages(RoleOwner) != want.managesAdmin || len(role.Managed()) != map[bool]int{true: 6}[want.managesAdmin]+map[bool]int{true: 4}[role == RoleAdmin] {
			t.Errorf("%s manages %v", role, role.Managed())
		}
	}
}

// TestLastOwner: with admins about, the last owner still stays.
func TestLastOwner(t *testing.T) {
	s, _ := setup(t)
	ctx := t.Context()
	owner, admin := newUser(t, s, "olga", RoleOwner), newUser(t, s, "adam", RoleAdmin)
	for name, err := range map[string]error{
		"demoted":  s.SetRole(ctx, owner.ID, RoleAdmin, "system"),
		"disabled": s.Disable(ctx, owner.ID, "system"),
	} {
		if !errors.Is(err, ErrConflict) {
			t.Errorf("the last owner was %s: %v", name, err)
		}
	}
	must(t, s.SetRole(ctx, owner.ID, RoleOwner, "system"))
	must(t, s.SetRole(ctx, admin.ID, RoleOwner, "system"))
	must(t, s.SetRole(ctx, owner.ID, RoleLabeler, "system"))
	if err := s.Disable(ctx, admin.ID, "system"); !errors.Is(err, ErrConflict) {
		t.Errorf("the one who is left went too: %v", err)
	}
}

func TestJoin(t *testing.T) {
	s, pool := setup(t)
	ctx := t.Context()
	owner := newUser(t, s, "olga", RoleOwner)
	project := newID()
	made, token, err := s.Invite(ctx, NewInvitation{Role: RoleLabeler, ProjectID: project, Note: " for Mina ", CreatedBy: owner})
	must(t, err)
	if made.State != InvitationOpen || made.Note != "for Mina" || made.MaxUses != 1 || len(token) != 43 || made.ExpiresAt.Sub(made.CreatedAt) != DefaultInvitation {
		t.Fatalf("%+v %q", made, token)
	}
	var stored int
	must(t, pool.QueryRow(ctx, `SELECT count(*) FROM invitations i, audit a WHERE to_jsonb(i)::text || to_jsonb(a)::text LIKE '%' || $1 || '%'`, token).Scan(&stored))
	if stored != 0 {
		t.Error("the token is stored")
	}
	if _, _, _, err := s.Join(ctx, token, NewUser{Email: "olga@example.com", Password: secret}, From{}); !errors.Is(err, ErrConflict) {
		t.Errorf("an address that is taken: %v", err)
	}
	var weak *InvalidError
	if _, _, _, err := s.Join(ctx, token, NewUser{Email: "mina@example.com", Password: "short"}, From{}); !errors.As(err, &weak) || weak.Field != "password" {
		t.Errorf("a weak password: %v", err)
	}
	session, u, got, err := s.Join(ctx, token, NewUser{Email: "Mina@example.com", Name: "Mina", Role: RoleOwner, Password: secret}, From{})
	must(t, err)
	if u.Role != RoleLabeler || u.Email != "mina@example.com" || got.ProjectID != project {
		t.Errorf("%+v %+v", u, got)
	}
	if back, err := s.Session(ctx, session); err != nil || back.ID != u.ID {
		t.Errorf("not signed in: %v", err)
	}
	if _, _, err := s.Login(ctx, u.Email, secret, "ip", ""); err != nil {
		t.Errorf("the password does not sign in: %v", err)
	}
	for name, err := range map[string]error{"used": second(s.Join(ctx, token, NewUser{Email: "b@example.com", Password: secret}, From{})),
		"unknown": second(s.Join(ctx, token[:42]+"_", NewUser{Email: "b@example.com", Password: secret}, From{})),
		"empty":   second(s.Join(ctx, "", NewUser{Email: "b@example.com", Password: secret}, From{}))} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, act := range []string{"user.invite", "user.join", "user.login"} {
		var n int
		must(t, pool.QueryRow(ctx, `SELECT count(*) FROM audit WHERE act = $1`, act).Scan(&n))
		if n == 0 {
			t.Errorf("no audit row of %s", act)
		}
	}
}

func second(_ string, _ User, _ Invitation, err error) error { return err }

// TestJoinStops: each way in which a link stops, and that of twenty at once as many get in as it has uses.
func TestJoinStops(t *testing.T) {
	s, pool := setup(t)
	ctx := t.Context()
	owner, admin := newUser(t, s, "olga", RoleOwner), newUser(t, s, "adam", RoleAdmin)
	link := func(by User, role Role, uses int) (Invitation, string) {
		t.Helper()
		i, token, err := s.Invite(ctx, NewInvitation{Role: role, MaxUses: uses, CreatedBy: by})
		must(t, err)
		return i, token
	}
	state := func(id string) InvitationState {
		t.Helper()
		list, err := s.Invitations(ctx)
		must(t, err)
		for _, i := range list {
			if i.ID == id {
				return i.State
			}
		}
		return ""
	}
	many, token := link(admin, RoleLabeler, 3)
	var wg sync.WaitGroup
	var mu sync.Mutex
	in := 0
	for n := range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				err := second(s.Join(ctx, token, NewUser{Email: fmt.Sprintf("l%d@example.com", n), Password: secret}, From{}))
				if errors.Is(err, ErrBusy) {
					continue
				}
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					in++
				} else if !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
				return
			}
		}()
	}
	wg.Wait()
	if in != 3 || state(many.ID) != InvitationUsed {
		t.Errorf("%d got in, state %s", in, state(many.ID))
	}

	revoked, revokedToken := link(admin, RoleReviewer, 5)
	must(t, s.RevokeInvitation(ctx, revoked.ID, admin))
	must(t, s.RevokeInvitation(ctx, revoked.ID, admin))
	expired, expiredToken := link(admin, RoleReviewer, 5)
	_, err := pool.Exec(ctx, `UPDATE invitations SET expires_at = now() - interval '1 second' WHERE id = $1`, expired.ID)
	must(t, err)
	chief, chiefToken := link(owner, RoleAdmin, 1)
	if err := s.RevokeInvitation(ctx, chief.ID, admin); !errors.Is(err, ErrDenied) {
		t.Errorf("an admin revokes what makes admins: %v", err)
	}
	withdrawn, withdrawnToken := link(admin, RoleAnalyst, 5)
	must(t, s.SetRole(ctx, admin.ID, RoleLabeler, "system"))
	for want, at := range map[InvitationState]struct {
		i     Invitation
		token string
	}{InvitationRevoked: {revoked, revokedToken}, InvitationExpired: {expired, expiredToken}, InvitationWithdrawn: {withdrawn, withdrawnToken}, InvitationOpen: {chief, chiefToken}} {
		_, err := s.Invitation(ctx, at.token)
		if got := state(at.i.ID); got != want || (err == nil) != (want == InvitationOpen) {
			t.Errorf("state %s, want %s; opening it: %v", got, want, err)
		}
	}

	var bad *InvalidError
	for name, n := range map[string]NewInvitation{
		"role": {Role: "god", CreatedBy: owner}, "above": {Role: RoleAdmin, CreatedBy: User{ID: admin.ID, Role: RoleAdmin}}, "analyst": {Role: RoleLabeler, CreatedBy: User{ID: admin.ID, Role: RoleAnalyst}},
		"life": {Role: RoleLabeler, Life: 91 * 24 * time.Hour, CreatedBy: owner}, "uses": {Role: RoleLabeler, MaxUses: 1001, CreatedBy: owner},
		"project": {Role: RoleLabeler, ProjectID: "x", CreatedBy: owner}, "note": {Role: RoleLabeler, Note: "a\u202eb", CreatedBy: owner},
	} {
		if _, _, err := s.Invite(ctx, n); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestJoinPassword: a link for a password works once, ends all sessions, and replaces the links before it.
func TestJoinPassword(t *testing.T) {
	s, _ := setup(t)
	ctx := t.Context()
	owner, admin, mina := newUser(t, s, "olga", RoleOwner), newUser(t, s, "adam", RoleAdmin), newUser(t, s, "mina", RoleLabeler)
	if _, _, err := s.InvitePassword(ctx, owner.ID, &admin); !errors.Is(err, ErrDenied) {
		t.Errorf("an admin makes a link for an owner: %v", err)
	}
	_, former, err := s.InvitePassword(ctx, mina.ID, &admin)
	must(t, err)
	_, token, err := s.InvitePassword(ctx, mina.ID, &admin)
	must(t, err)
	if _, err := s.Invitation(ctx, former); !errors.Is(err, ErrNotFound) {
		t.Errorf("the former link works: %v", err)
	}
	if err := second(s.Join(ctx, token, NewUser{Email: "x@example.com", Password: secret}, From{})); !errors.Is(err, ErrNotFound) {
		t.Errorf("a link for a password makes an account: %v", err)
	}
	old, _, err := s.Login(ctx, mina.Email, secret, "ip", "")
	must(t, err)
	const fresh = "another long enough one"
	session, u, err := s.JoinPassword(ctx, token, fresh, From{})
	must(t, err)
	if _, err := s.Session(ctx, old); !errors.Is(err, ErrDenied) {
		t.Errorf("the old session goes on: %v", err)
	}
	if got, err := s.Session(ctx, session); err != nil || got.ID != mina.ID || u.ID != mina.ID {
		t.Errorf("%+v %v", got, err)
	}
	if _, _, err := s.JoinPassword(ctx, token, fresh, From{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("used twice: %v", err)
	}
	if _, _, err := s.Login(ctx, mina.Email, fresh, "ip", ""); err != nil {
		t.Error(err)
	}
	_, token, err = s.InvitePassword(ctx, mina.ID, &admin)
	must(t, err)
	must(t, s.Disable(ctx, mina.ID, "system"))
	if _, _, err := s.JoinPassword(ctx, token, secret, From{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a disabled user sets a password: %v", err)
	}
}
