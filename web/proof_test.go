package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/account"
)

// TestProof: acts on keys, roles, promotions and what is kept of people want the password once more when it was last given too long ago; what was
// typed stands on the page that asks, a wrong password changes nothing, and a right one does the act and holds for those after it.
func TestProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, customer := w.as("ada", account.RoleOwner), w.as("acme", account.RoleCustomer)
	mina := w.user("mina", account.RoleLabeler)
	old := func() {
		_, err := w.pool.Exec(t.Context(), `UPDATE sessions SET proved_at = proved_at - interval '11 minutes'`)
		w.must(err)
	}
	role := func() string {
		u, err := w.accounts.User(t.Context(), mina.ID)
		w.must(err)
		return string(u.Role)
	}
	path := "/admin/people/" + mina.ID + "/role"
	b.form(path, "role", "reviewer").want(t, http.StatusSeeOther) // signed in a moment ago
	old()
	got := b.form(path, "role", "analyst", "note", `"<b>`).want(t, http.StatusForbidden)
	for _, has := range []string{`action="` + path + `"`, `name="role" value="analyst"`, `value="&#34;&lt;b&gt;"`, `name="proof" type="password"`} {
		if !strings.Contains(got.body, has) {
			t.Errorf("the page that asks lacks %s", has)
		}
	}
	b.form(path, "role", "analyst", "proof", "not it, not it").want(t, http.StatusBadRequest)
	if role() != "reviewer" {
		t.Errorf("changed to %s without the password", role())
	}
	b.form(path, "role", "analyst", "proof", testPassword).want(t, http.StatusSeeOther)
	if n := w.count(`SELECT count(*) FROM audit WHERE act = 'user.prove' AND actor = $1`, "user:"+w.id("ada")); role() != "analyst" || n != 1 {
		t.Errorf("%s, %d proofs in the log", role(), n)
	}
	b.form(path, "role", "labeler").want(t, http.StatusSeeOther)

	old()
	const some = "/01890a5d-ac96-774b-bcce-b302099a8057"
	for _, act := range []string{"/admin/keys", "/admin/keys/abcdefgh", "/admin/keys/abcdefgh/rotate", "/admin/keys/abcdefgh/revoke", "/admin/people", "/admin/people" + some + "/password", "/admin/people" + some + "/link",
		"/admin/people" + some + "/disable", "/admin/people" + some + "/enable", "/admin/invitations", "/admin/erase", "/admin/models" + some + "/promote", "/admin/models" + some + "/canary",
		"/admin/models" + some + "/plan", "/admin/rounds" + some + "/promote"} {
		if got := b.form(act).want(t, http.StatusForbidden); !strings.Contains(got.body, "Is it you?") {
			t.Errorf("%s does not ask", act)
		}
	}
	b.form("/admin/rollback", "reason", "it repeats itself").want(t, http.StatusConflict) // in need nobody is held up
	for _, act := range []string{"/account/keys", "/account/keys/abcdefgh/rotate", "/account/keys/abcdefgh/revoke"} {
		customer.form(act).want(t, http.StatusForbidden)
	}
	if got := customer.get("/account/export").want(t, http.StatusForbidden); !strings.Contains(got.body, `action="/account/export"`) {
		t.Error("the export does not ask")
	}
	if got := customer.form("/account/export", "proof", testPassword).want(t, http.StatusOK); !strings.Contains(got.body, `"kind":"account"`) {
		t.Errorf("%.200s", got.body)
	}

	// Who has no password signs in anew.
	_, err := w.pool.Exec(t.Context(), `UPDATE users SET password_hash = '' WHERE id = $1`, w.id("ada"))
	w.must(err)
	if got := b.form("/admin/keys").want(t, http.StatusForbidden); strings.Contains(got.body, `name="proof"`) || !strings.Contains(got.body, "Sign in once more") {
		t.Errorf("%.500s", got.body)
	}
}
