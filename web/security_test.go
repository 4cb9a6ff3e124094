package web

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/account"
)

// allowed are the routes that need nobody to sign in. All others refuse.
var allowed = []string{"/login/with/:provider", "/login/with/:provider/callback", "/login/link", "/healthz", "/readyz", "/login", "/join/:token", "/look", "/static/*path"}

// concrete fills the parameters of a route with something that could be there.
func concrete(path string) string {
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	path = strings.NewReplacer(":id", id, ":page", "api", ":key", "abcdefgh", ":entry", "1", ":provider", "nobody", ":model", "default", ":token", strings.Repeat("a", 43)).Replace(path)
	return strings.ReplaceAll(path, "*path", "app.css")
}

// TestRouteWalk: every route that exists refuses somebody who has not signed in, but for those.
func TestRouteWalk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	routes := w.server.engine.Routes()
	if len(routes) < 50 {
		t.Fatalf("only %d routes: the walk walks nowhere", len(routes))
	}
	for _, r := range routes {
		rule, ok := w.server.rules[r.Method+" "+r.Path]
		if !ok || rule == denied {
			t.Errorf("%s %s has no rule", r.Method, r.Path)
		}
		open := slices.Contains(allowed, r.Path)
		if open != (rule == anyone) {
			t.Errorf("%s %s: rule %d, allow-list %v", r.Method, r.Path, rule, open)
		}
		got := w.anon().do(r.Method, concrete(r.Path), "", "")
		switch {
		case open:
		case got.code == http.StatusUnauthorized:
		case got.code == http.StatusFound && r.Method == get && strings.HasPrefix(got.head.Get("Location"), "/login"):
		default:
			t.Errorf("%s %s answers anonymous with %d", r.Method, r.Path, got.code)
		}
		if !open && (strings.Contains(got.body, "tiny-sft") || strings.Contains(got.body, "@example.com")) {
			t.Errorf("%s %s tells anonymous too much", r.Method, r.Path)
		}
	}
}

// TestPathTricks: no spelling of a path gets round the rules.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, p := range []string{"//admin", "/admin/", "/./admin", "/static/../admin", "/static/..%2fadmin", "/%61dmin", "/admin%2fkeys", "/admin;/keys", "/ADMIN",
		"/login/../admin", "/healthz/../admin/keys", "/v1//models", "/v1/models/", "/v1/%6dodels", "/static/%2e%2e/%2e%2e/go.mod", "/static//etc/passwd", "/admin%00", "/label/api/claim/"} {
		for _, method := range []string{get, post, put, http.MethodHead, http.MethodOptions, http.MethodDelete, "PROPFIND"} {
			got := w.anon().do(method, p, "", "")
			if got.code < 300 || got.code >= 500 || strings.Contains(got.body, "tiny-sft") {
				t.Errorf("%s %s: %d %.80s", method, p, got.code, got.body)
			}
		}
	}
}

// TestCrossSite: what a foreign page sends is refused on every route that changes anything, signed in or not.
func TestCrossSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("ada", account.RoleOwner)
	_, secret := w.key("acme")
	k := w.withKey(secret)
	for _, r := range w.server.engine.Routes() {
		if r.Method == get || r.Method == http.MethodHead {
			continue
		}
		who := b
		if w.server.rules[r.Method+" "+r.Path] == keys {
			who = k
		}
		for _, head := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
			if got := who.do(r.Method, concrete(r.Path), "application/x-www-form-urlencoded", "email=a&password=b", head[0], head[1]); got.code != http.StatusForbidden {
				t.Errorf("%s %s with %s: %s answers %d", r.Method, r.Path, head[0], head[1], got.code)
			}
		}
	}
	if n := w.count(`SELECT count(*) FROM sessions`); n != 1 {
		t.Errorf("%d sessions: a refused request did something", n)
	}
}

// TestAuthorization: the table of who may use what. The first row whose method and path fit a route decides; a route that
// no row covers is an error.
func TestAuthorization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	people := map[account.Role]*browser{}
	for _, r := range account.Roles {
		people[r] = w.as(string(r), r)
	}
	_, secret := w.key("acme")
	key := w.withKey(secret)
	all := account.Roles
	staff := []account.Role{account.RoleLabeler, account.RoleReviewer, account.RoleAdmin, account.RoleOwner}
	reviewers := []account.Role{account.RoleReviewer, account.RoleAdmin, account.RoleOwner}
	readers := []account.Role{account.RoleAnalyst, account.RoleAdmin, account.RoleOwner}
	chiefs := []account.Role{account.RoleAdmin, account.RoleOwner}
	const any = ""
	type rule struct {
		method, path string // a path that ends in * stands for all that begin so
		roles        []account.Role
		key          bool
	}
	table := []rule{
		{get, "/admin", readers, false}, {get, "/admin/engine", readers, false}, {get, "/admin/api/engine", readers, false}, {get, "/admin/rounds/:id", readers, false}, {get, "/admin/rounds/:id/samples", readers, false}, {get, "/admin/rounds/:id/curves.csv", readers, false}, {get, "/admin/api/rounds/*", readers, false},
		{get, "/admin/models*", readers, false}, {get, "/admin/snapshots/:id", readers, false}, {get, "/admin/lineage", readers, false}, {get, "/admin/compare*", readers, false}, {get, "/admin/api/compare/*", readers, false}, {get, "/admin/labeling/tasks/:id", append(slices.Clone(readers), account.RoleReviewer), false}, {get, "/admin/labeling*", readers, false}, {any, "/admin/held*", reviewers, false}, {any, "/review*", reviewers, false},
		{any, "/admin*", chiefs, false}, {any, "/label*", staff, false}, {any, "/chat*", all, false}, {any, "/account*", all, false}, {any, "/docs*", all, false},
		{any, "/v1*", nil, true}, {get, "/api/v1/health", chiefs, false}, {any, "/api/v1/openapi.json", all, true}, {any, "/api/v1*", nil, true},
		{any, "/healthz", all, true}, {any, "/readyz", all, true}, {any, "/static*", all, true}, {any, "/login*", all, true}, {any, "/dev/components", chiefs, false}, {any, "/join/:token", all, true}, {any, "/look", all, true}, {any, "/logout", all, false},
	}
	refused := func(code int) bool {
		return code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusFound
	}
	seen := 0
	for _, r := range w.server.engine.Routes() {
		if r.Path == "/logout" { // would end the sessions of the test; see TestSessionLife
			continue
		}
		i := slices.IndexFunc(table, func(row rule) bool {
			start, open := strings.CutSuffix(row.path, "*")
			return (row.method == any || row.method == r.Method) && (r.Path == row.path || open && strings.HasPrefix(r.Path, start))
		})
		if r.Path == "/" {
			continue // redirects everybody to a page of their own
		}
		if i < 0 {
			t.Errorf("%s %s: no row says who may", r.Method, r.Path)
			continue
		}
		row := table[i]
		check := func(who string, b *browser, may bool) {
			kind, body := "", ""
			if r.Method != get && r.Method != http.MethodHead {
				kind, body = "application/json", `{"nothing":1}`
			}
			if got := b.do(r.Method, concrete(r.Path), kind, body); refused(got.code) == may {
				t.Errorf("%s %s by %s answers %d, may = %v", r.Method, r.Path, who, got.code, may)
			}
			seen++
		}
		for role, b := range people {
			if r.Path == "/login" && r.Method == post {
				continue // takes the session away
			}
			check(string(role), b, slices.Contains(row.roles, role))
		}
		if r.Path != "/login" || r.Method != post {
			check("a key", key, row.key)
		}
	}
	if seen < 250 {
		t.Errorf("only %d cases", seen)
	}
	// An admin does not touch an owner, and does not become one.
	owner, err := w.accounts.UserByEmail(t.Context(), "owner@example.com")
	w.must(err)
	people[account.RoleAdmin].form("/admin/people/"+owner.ID+"/password").want(t, http.StatusForbidden)
	people[account.RoleAdmin].form("/admin/people/"+owner.ID+"/disable").want(t, http.StatusForbidden)
	adam := people[account.RoleAdmin]
	for _, role := range []string{"admin", "owner"} {
		adam.form("/admin/people", "email", "x@example.com", "role", role).want(t, http.StatusForbidden)
		adam.form("/admin/invitations", "role", role).want(t, http.StatusForbidden)
	}
	for _, act := range []string{"link", "enable", "role"} {
		adam.form("/admin/people/"+owner.ID+"/"+act, "role", "labeler").want(t, http.StatusForbidden)
	}
	labeler, err := w.accounts.UserByEmail(t.Context(), "labeler@example.com")
	w.must(err)
	adam.form("/admin/people/"+labeler.ID+"/role", "role", "admin").want(t, http.StatusForbidden)
	adam.form("/admin/people/"+labeler.ID+"/role", "role", "reviewer").want(t, http.StatusSeeOther)
	people[account.RoleOwner].form("/admin/people/"+labeler.ID+"/role", "role", "admin").want(t, http.StatusSeeOther)
	adam.form("/admin/people/"+labeler.ID+"/disable").want(t, http.StatusForbidden)
}

// TestHeaders: pages, JSON and errors carry the same protections.
func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("ada", account.RoleOwner)
	want := map[string]string{
		"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
	}
	for _, p := range []string{"/", "/login", "/admin", "/nothing", "/v1/models", "/label/api/claim", "/static/app.css", "/healthz", "/api/v1/openapi.json"} {
		got := b.get(p)
		for k, v := range want {
			if got.head.Get(k) != v {
				t.Errorf("%s: %s is %q", p, k, got.head.Get(k))
			}
		}
		if got.head.Get("X-Request-Id") == "" || got.head.Get("Access-Control-Allow-Origin") != "" || got.head.Get("Server") != "" {
			t.Errorf("%s: %v", p, got.head)
		}
		if !strings.HasPrefix(p, "/static") && got.head.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached: %s", p, got.head.Get("Cache-Control"))
		}
	}
	for _, part := range []string{"script-src 'self';", "style-src 'self';", "default-src 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("policy lacks %s", part)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Error("policy is unsafe")
	}
	secure := newWorld(t, func(c *Config, _ *Deps) { c.HTTPS = true })
	secure.user("ada", account.RoleOwner)
	got := secure.anon().login("ada@example.com", testPassword).want(t, http.StatusSeeOther)
	if got.head.Get("Strict-Transport-Security") == "" {
		t.Error("no HSTS over https")
	}
	cookie := got.head.Get("Set-Cookie")
	for _, part := range []string{"__Host-rl=", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("cookie lacks %s: %s", part, cookie)
		}
	}
	if strings.Contains(cookie, "Domain") {
		t.Errorf("cookie for a domain: %s", cookie)
	}
}

// TestSessionLife: a new id at sign-in, the old one dead, ended by sign-out, by a new password, by a new role.
func TestSessionLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.user("mina", account.RoleLabeler)
	b := w.anon()
	cookie := func(a answer) string {
		v, _, _ := strings.Cut(strings.TrimPrefix(a.head.Get("Set-Cookie"), "rl_session="), ";")
		return v
	}
	first := cookie(b.login("mina@example.com", testPassword).want(t, http.StatusSeeOther))
	second := cookie(b.login("mina@example.com", testPassword).want(t, http.StatusSeeOther))
	if first == "" || first == second {
		t.Fatalf("session not renewed at sign-in: %q %q", first, second)
	}
	with := func(token string) int { return w.anon().get("/label", "Cookie", "rl_session="+token).code }
	if with(first) != http.StatusFound || with(second) != http.StatusOK {
		t.Errorf("old %d, new %d", with(first), with(second))
	}
	if n := w.count(`SELECT count(*) FROM sessions WHERE encode(token_hash, 'escape') LIKE '%' || $1 || '%'`, second); n != 0 {
		t.Error("the token itself is stored")
	}
	for _, bad := range []string{"", "x", strings.Repeat("A", 43), second + "A", second[:42], strings.Repeat("é", 43)} {
		if with(bad) != http.StatusFound {
			t.Errorf("cookie %q is let in", bad)
		}
	}
	b.form("/logout").want(t, http.StatusSeeOther)
	if with(second) != http.StatusFound {
		t.Error("signed out, and still in")
	}
	for name, act := range map[string]func() error{
		"password": func() error { _, err := w.accounts.SetPassword(t.Context(), u.ID, testPassword, "system"); return err },
		"role":     func() error { return w.accounts.SetRole(t.Context(), u.ID, account.RoleReviewer, "system") },
		"disable":  func() error { return w.accounts.Disable(t.Context(), u.ID, "system") },
	} {
		w.must(w.accounts.Enable(t.Context(), u.ID, "system"))
		token := cookie(w.anon().login("mina@example.com", testPassword).want(t, http.StatusSeeOther))
		w.must(act())
		if with(token) != http.StatusFound {
			t.Errorf("session outlives a change of %s", name)
		}
	}
	w.must(w.accounts.Enable(t.Context(), u.ID, "system"))
	// Idle and absolute ends.
	for _, change := range []string{`last_seen_at = now() - interval '481 minutes'`, `created_at = now() - interval '1441 minutes'`} {
		token := cookie(w.anon().login("mina@example.com", testPassword).want(t, http.StatusSeeOther))
		if with(token) != http.StatusOK {
			t.Fatal("not signed in")
		}
		_, err := w.pool.Exec(t.Context(), `UPDATE sessions SET `+change)
		w.must(err)
		if with(token) != http.StatusFound {
			t.Errorf("session lives after %s", change)
		}
	}
}

// TestRedirects: next leads nowhere else.
func TestRedirects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	for next, want := range map[string]string{"/label": "/label", "//evil.example": "/admin", "https://evil.example": "/admin", `/\evil.example`: "/admin",
		"/\tevil": "/admin", "javascript:alert(1)": "/admin", "": "/admin", "/admin/models": "/admin/models", "/ é": "/admin"} {
		got := w.anon().form("/login", "email", "ada@example.com", "password", testPassword, "next", next)
		if loc := got.head.Get("Location"); got.code != http.StatusSeeOther || loc != want {
			t.Errorf("next %q leads to %d %q, want %q", next, got.code, loc, want)
		}
	}
}

// TestLoginLimits: failures are limited by account and by address, the answer is the same for an unknown address, and a
// success gives back what it took.
func TestLoginLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("mina", account.RoleLabeler)
	w.user("yuki", account.RoleLabeler)
	for range 25 { // successes are not limited
		w.anon().login("yuki@example.com", testPassword).want(t, http.StatusSeeOther)
	}
	wrong := w.anon().login("mina@example.com", "not the password").want(t, http.StatusUnauthorized)
	unknown := w.anon().login("nobody@example.com", "not the password").want(t, http.StatusUnauthorized)
	if strings.ReplaceAll(wrong.body, "mina", "nobody") != unknown.body {
		t.Error("an unknown address gets another answer")
	}
	for range 4 {
		w.anon().login("mina@example.com", "not the password").want(t, http.StatusUnauthorized)
	}
	got := w.anon().login("mina@example.com", testPassword).want(t, http.StatusTooManyRequests)
	if got.head.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	tries := 0
	for i := range 40 { // other accounts, one address
		if w.anon().login("nobody"+string(rune('a'+i%26))+string(rune('a'+i/26))+"@example.com", "x").code == http.StatusUnauthorized {
			tries++
		}
	}
	if tries > 20 {
		t.Errorf("%d tries from one address", tries)
	}
	// A spoofed header is no other address.
	if got := w.anon().do(post, "/login", "application/x-www-form-urlencoded", "email=x@example.com&password=y", "X-Forwarded-For", "10.1.2.3"); got.code != http.StatusTooManyRequests {
		t.Errorf("X-Forwarded-For is believed: %d", got.code)
	}
}
