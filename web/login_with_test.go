package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/oidc"
)

// through signs in by the provider: path begins it, the answer is that of the callback.
func (b *browser) through(p *testProvider, path string) answer {
	b.w.Helper()
	to := b.get(path).want(b.w, http.StatusFound).head.Get("Location")
	if !strings.HasPrefix(to, p.URL+"/authorize?") {
		b.w.Fatalf("led to %s", to)
	}
	return b.get(p.callback(to))
}

// makesAccounts lets everybody at example.com in.
func makesAccounts(c *oidc.Config) { c.Create, c.Domains = true, []string{"example.com"} }

func withProvider(p *testProvider, change ...func(*oidc.Config)) func(*Config, *Deps) {
	return func(_ *Config, d *Deps) { d.Providers = []*oidc.Provider{p.config(change...)} }
}

// TestSignInByProvider: an account is made, found again, linked by its password, linked by somebody who is signed in, and untied.
func TestSignInByProvider(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := newWorld(t, withProvider(p, makesAccounts, func(c *oidc.Config) {
		c.RoleClaim, c.RoleOfValue = "realm.groups", []oidc.Mapped{{Value: "leads", Role: "reviewer"}}
	}))
	ada := w.as("ada", account.RoleOwner)
	if page := w.anon().get("/login?next=/label/me").body; !strings.Contains(page, `href="/login/with/work?next=%2flabel%2fme"`) || !strings.Contains(page, "Sign in with Example Work") {
		t.Errorf("no button: %s", page)
	}
	nora := w.anon()
	if got := nora.through(p, "/login/with/work?next=/label/me").want(t, http.StatusSeeOther).head.Get("Location"); got != "/label/me" {
		t.Errorf("lands on %s", got)
	}
	u, err := w.accounts.UserByEmail(t.Context(), "nora@example.com")
	w.must(err)
	if u.Name != "Nora" || u.Role != account.RoleLabeler {
		t.Errorf("%+v", u)
	}
	w.anon().login("nora@example.com", "").want(t, http.StatusUnauthorized)
	if page := nora.get("/account").want(t, http.StatusOK).body; !strings.Contains(page, "No password") || !strings.Contains(page, "Example Work") {
		t.Error("the account page does not say how she signs in")
	}
	// The role follows the provider's claims; the address may change there, the subject stays.
	p.set(func(p *testProvider) {
		p.claims["realm"], p.claims["email"] = map[string]any{"groups": []any{"all", "leads"}}, "nora.new@example.com"
	})
	nora.through(p, "/login/with/work").want(t, http.StatusSeeOther)
	if u, err = w.accounts.User(t.Context(), u.ID); err != nil || u.Role != account.RoleReviewer {
		t.Errorf("%+v %v", u, err)
	}
	if n := w.count(`SELECT count(*) FROM users`); n != 2 {
		t.Errorf("%d users", n)
	}
	ids, err := w.accounts.Identities(t.Context(), u.ID)
	w.must(err)
	nora.form("/account/identities/"+ids[0].ID+"/remove").want(t, http.StatusConflict) // the only way in

	// Signing out here says that the session at the provider goes on.
	at := nora.form("/logout").want(t, http.StatusSeeOther).head.Get("Location")
	page := nora.get(at).want(t, http.StatusOK).body
	if end := `href="` + p.URL + "/end?client_id=rankloop&amp;post_logout_redirect_uri=" + url.QueryEscape(w.http.URL+"/login"); !strings.Contains(page, end) {
		t.Errorf("no way to sign out there: %s", page)
	}

	// An account that is there is not opened by the provider's word alone.
	mina := w.user("mina", account.RoleLabeler)
	p.set(func(p *testProvider) {
		p.claims = map[string]any{"sub": "s-2", "email": "mina@example.com", "email_verified": "true"}
	})
	b := w.anon()
	if got := b.through(p, "/login/with/work?next=/label/history").want(t, http.StatusSeeOther).head.Get("Location"); got != "/login/link" {
		t.Fatalf("led to %s", got)
	}
	b.get("/label").want(t, http.StatusFound)
	if page := b.get("/login/link").want(t, http.StatusOK).body; !strings.Contains(page, "mina@example.com") {
		t.Error("whose account?")
	}
	w.anon().get("/login/link").want(t, http.StatusNotFound)
	b.form("/login/link", "password", "wrong wrong wrong").want(t, http.StatusUnauthorized)
	if got := b.form("/login/link", "password", testPassword).want(t, http.StatusSeeOther).head.Get("Location"); got != "/label/history" {
		t.Errorf("lands on %s", got)
	}
	b.get("/label").want(t, http.StatusOK)
	b.form("/login/link", "password", testPassword).want(t, http.StatusNotFound) // once
	w.anon().through(p, "/login/with/work").want(t, http.StatusSeeOther)
	if n := w.count(`SELECT count(*) FROM sessions WHERE user_id = $1 AND provider = 'work'`, mina.ID); n != 2 {
		t.Errorf("%d sessions", n)
	}
	if u, err := w.accounts.User(t.Context(), mina.ID); err != nil || u.Role != account.RoleLabeler {
		t.Errorf("claims changed an account that they did not make: %+v %v", u, err)
	}
	ids, err = w.accounts.Identities(t.Context(), mina.ID)
	w.must(err)
	b.form("/account/identities/"+ids[0].ID+"/remove").want(t, http.StatusSeeOther)
	b.get("/label").want(t, http.StatusFound) // the session that it had opened

	// Somebody who is signed in links without a password; what is linked already stays where it is.
	p.set(func(p *testProvider) {
		p.claims = map[string]any{"sub": "s-3", "email": "ada.private@other.example", "email_verified": true}
	})
	if got := ada.through(p, "/account/link/work").want(t, http.StatusSeeOther).head.Get("Location"); got != "/account?done=linked" {
		t.Errorf("led to %s", got)
	}
	olga := w.as("olga", account.RoleLabeler)
	olga.through(p, "/account/link/work").want(t, http.StatusConflict)
	to := olga.get("/account/link/work").want(t, http.StatusFound).head.Get("Location")
	olga.form("/logout")
	olga.get(p.callback(to)).want(t, http.StatusBadRequest) // begun by somebody who has left
	for _, act := range []string{"user.join", "user.link", "user.unlink", "user.login"} {
		if w.count(`SELECT count(*) FROM audit WHERE act = $1`, act) == 0 {
			t.Errorf("no audit row of %s", act)
		}
	}
	for _, secret := range []string{testSecret, "an access token"} {
		if strings.Contains(w.logs.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

// TestSignInRefused: what a provider, or whoever comes in its name, gets wrong opens nothing.
func TestSignInRefused(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := newWorld(t, withProvider(p, makesAccounts))
	far := time.Now().Add(-2 * time.Hour).Unix()
	for _, c := range []struct {
		name, says string
		code       int
		change     func(p *testProvider)
	}{
		{"nonce", "does not prove who you are", http.StatusBadGateway, func(p *testProvider) { p.spoil = func(m map[string]any) { m["nonce"] = "another" } }},
		{"audience", "does not prove who you are", http.StatusBadGateway, func(p *testProvider) { p.spoil = func(m map[string]any) { m["aud"] = "another" } }},
		{"issuer", "does not prove who you are", http.StatusBadGateway, func(p *testProvider) { p.spoil = func(m map[string]any) { m["iss"] = "https://evil.example" } }},
		{"expired", "does not prove who you are", http.StatusBadGateway, func(p *testProvider) { p.spoil = func(m map[string]any) { m["exp"] = far } }},
		{"no subject", "does not prove who you are", http.StatusBadGateway, func(p *testProvider) { p.spoil = func(m map[string]any) { delete(m, "sub") } }},
		{"another key", "does not prove who you are", http.StatusBadGateway, func(p *testProvider) { p.forge = true }},
		{"unverified", "has not verified your e-mail address", http.StatusForbidden, func(p *testProvider) { p.claims["email_verified"] = false }},
		{"not said", "has not verified your e-mail address", http.StatusForbidden, func(p *testProvider) { delete(p.claims, "email_verified") }},
		{"no address", "has not verified your e-mail address", http.StatusForbidden, func(p *testProvider) { delete(p.claims, "email") }},
		{"domain", "There is no account for your address", http.StatusForbidden, func(p *testProvider) { p.claims["email"] = "nora@example.com.evil.example" }},
	} {
		p.set(func(p *testProvider) {
			p.claims = map[string]any{"sub": "s-1", "email": "nora@example.com", "email_verified": true}
			p.spoil, p.forge = nil, false
			c.change(p)
		})
		b := w.anon()
		got := b.through(p, "/login/with/work")
		if got.code != c.code || !strings.Contains(got.body, c.says) {
			t.Errorf("%s: %d %.2000s", c.name, got.code, got.body)
		}
		b.get("/label").want(t, http.StatusFound)
	}
	p.set(func(p *testProvider) { p.claims["email"], p.spoil, p.forge = "nora@example.com", nil, false })

	// A state counts once, in the browser that began, at the provider where it began.
	b := w.anon()
	over := func(name string, got answer) {
		if got.code != http.StatusBadRequest || !strings.Contains(got.body, "is over: it took too long") {
			t.Errorf("%s: %d %.500s", name, got.code, got.body)
		}
	}
	at := p.callback(b.get("/login/with/work").head.Get("Location"))
	over("another browser", w.anon().get(at))
	b.get(at).want(t, http.StatusSeeOther)
	if !strings.HasPrefix(b.get("/label").head.Get("Content-Type"), "text/html") {
		t.Error("not signed in")
	}
	fresh := w.anon()
	old := p.callback(fresh.get("/login/with/work").head.Get("Location"))
	fresh.get(old).want(t, http.StatusSeeOther)
	fresh.form("/logout")
	over("replayed", fresh.get(old))
	over("no state", fresh.get("/login/with/work/callback?code=x"))
	late := p.callback(fresh.get("/login/with/work").head.Get("Location"))
	_, err := w.pool.Exec(t.Context(), `UPDATE sign_ins SET created_at = now() - interval '11 minutes'`)
	w.must(err)
	over("late", fresh.get(late))
	declined, err := url.Parse(p.callback(fresh.get("/login/with/work").head.Get("Location")))
	w.must(err)
	if got := fresh.get(declined.Path + "?error=access_denied&state=" + declined.Query().Get("state")); got.code != http.StatusForbidden || !strings.Contains(got.body, "declined or cancelled") {
		t.Errorf("declined: %d", got.code)
	}
	fresh.get("/login/with/elsewhere").want(t, http.StatusNotFound)

	u, err := w.accounts.UserByEmail(t.Context(), "nora@example.com")
	w.must(err)
	ada := w.as("ada", account.RoleOwner)
	ada.form("/admin/people/"+u.ID+"/disable").want(t, http.StatusSeeOther)
	if got := w.anon().through(p, "/login/with/work"); got.code != http.StatusForbidden || !strings.Contains(got.body, "is disabled") {
		t.Errorf("disabled: %d", got.code)
	}
	if n := w.count(`SELECT count(*) FROM users`); n != 2 {
		t.Errorf("%d users", n)
	}
	// Nobody begins sign-ins without end.
	limited := false
	for range flowsPerMinute + 1 {
		limited = limited || w.anon().get("/login/with/work").code == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("no limit")
	}
}

// TestProviderDown: one that does not answer is said so, and keeps nobody from signing in by a password.
func TestProviderDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := newWorld(t, withProvider(p))
	p.Close()
	w.user("ada", account.RoleOwner)
	if got := w.anon().get("/login/with/work"); got.code != http.StatusBadGateway || !strings.Contains(got.body, "Example Work does not answer") || !strings.Contains(got.body, `id="password"`) {
		t.Errorf("%d %s", got.code, got.body)
	}
	w.anon().login("ada@example.com", testPassword).want(t, http.StatusSeeOther)

	// An address that only userinfo knows; and accounts are not made unless the settings say so.
	p = newProvider(t)
	p.set(func(p *testProvider) {
		p.claims = map[string]any{"sub": "s-9"}
		p.info = map[string]any{"sub": "s-9", "email": "ada@example.com", "email_verified": true}
	})
	w.server.Providers = []*oidc.Provider{p.config()}
	if got := w.anon().through(p, "/login/with/work").head.Get("Location"); got != "/login/link" {
		t.Errorf("led to %s", got)
	}
	p.set(func(p *testProvider) { p.info["email"] = "somebody@example.com" })
	w.anon().through(p, "/login/with/work").want(t, http.StatusForbidden)
	p.set(func(p *testProvider) { p.info["sub"] = "s-10" })
	w.anon().through(p, "/login/with/work").want(t, http.StatusBadGateway)
}

// TestProviderInBrowser: the journey on a phone: the button, the provider's page, and back; the list of sessions; out again.
func TestProviderInBrowser(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	w := newWorld(t, withProvider(p, makesAccounts))
	w.addTask(says("Tell a story about a fox."), demoAnswers...)
	b := w.open(360, 740, true)
	b.allow("request to " + p.URL)
	b.visit("/label")
	b.until(`location.pathname === "/login"`)
	b.fitsWidth()
	b.axe()
	b.shot("login")
	b.do(chromedp.Click(chromedp.CSS(`a[href^="/login/with/work"]`)))
	b.until(`document.title === "Example Work"`)
	b.do(chromedp.Click(chromedp.CSS("#yes")))
	b.until(`location.pathname === "/label"`)
	b.visit("/account/sessions")
	b.until(`document.querySelector("main td").textContent.includes("Chrome on") && document.querySelector("main td .tag.good")`)
	b.fitsWidth()
	b.axe()
	b.wholeShot("sessions")
	b.visit("/account")
	b.wholeShot("account")
	b.do(chromedp.Click(chromedp.CSS(`main form[action="/logout"] button`)))
	b.until(`location.pathname === "/login" && document.querySelector(".note.warn a")`)
	b.axe()
	b.shot("signed-out")
}
