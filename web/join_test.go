package web

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	permission "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

var linkShown = regexp.MustCompile(`<code id="link">http://[^/]+(/join/[^<]+)</code>`)

// link makes an invitation through the form and returns its path.
func (b *browser) link(fields ...string) string {
	b.w.Helper()
	page := b.form("/admin/invitations", fields...).want(b.w, http.StatusOK).body
	m := linkShown.FindStringSubmatch(page)
	if m == nil {
		b.w.Fatalf("no link shown: %s", page)
	}
	return m[1]
}

// TestInvitation: from the form to the guideline, and what happens to links that do not work.
func TestInvitation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleAdmin)
	other, err := w.labeling.EnsureProject(t.Context(), labeling.Project{Name: "kind <answers>", Instructions: "Prefer **kind** answers."})
	w.must(err)
	path := ada.link("role", "labeler", "project", other.ID, "uses", "2", "days", "3", "note", "for <Mina>")
	page := ada.get("/admin/people").want(t, http.StatusOK).body
	if strings.Contains(page, path) {
		t.Error("the link is shown twice")
	}
	for _, want := range []string{"kind &lt;answers&gt;", "for &lt;Mina&gt;", "0 of 2"} {
		if !strings.Contains(page, want) {
			t.Errorf("the list lacks %s", want)
		}
	}
	mina := w.anon()
	if page := mina.get(path).want(t, http.StatusOK).body; !strings.Contains(page, "Join as labeler") {
		t.Error("the page does not say as what")
	}
	mina.form(path, "email", "mina@example.com", "name", "Mina", "password", "short").want(t, http.StatusBadRequest)
	mina.form(path, "email", "mina", "name", "Mina", "password", testPassword).want(t, http.StatusBadRequest)
	mina.form(path, "email", "ada@example.com", "password", testPassword).want(t, http.StatusConflict)
	got := mina.form(path, "email", "mina@example.com", "name", "Mina", "password", testPassword, "role", "owner").want(t, http.StatusSeeOther)
	at := got.head.Get("Location")
	if page := mina.get(at).want(t, http.StatusOK).body; at != "/label/guideline?project="+other.ID || !strings.Contains(page, "Prefer **kind** answers.") {
		t.Errorf("lands on %s", at)
	}
	mina.get("/admin/people").want(t, http.StatusForbidden)
	u, err := w.accounts.UserByEmail(t.Context(), "mina@example.com")
	w.must(err)
	if u.Role != account.RoleLabeler {
		t.Errorf("role %s", u.Role)
	}

	list, err := w.accounts.Invitations(t.Context())
	w.must(err)
	ada.form("/admin/invitations/"+list[0].ID+"/revoke").want(t, http.StatusSeeOther)
	ada.form("/admin/invitations/01890a5d-ac96-774b-bcce-b302099a8057/revoke").want(t, http.StatusNotFound)
	for name, p := range map[string]string{"revoked": path, "unknown": "/join/" + strings.Repeat("a", 43), "cut": path[:30]} {
		for _, got := range []answer{w.anon().get(p), w.anon().form(p, "email", "x@example.com", "password", testPassword)} {
			if got.code != http.StatusNotFound || !strings.Contains(got.body, "This link does not work") {
				t.Errorf("%s: %d", name, got.code)
			}
		}
	}
	for _, fields := range [][]string{{"role", "god"}, {"role", "labeler", "days", "91"}, {"role", "labeler", "days", "0"}, {"role", "labeler", "uses", "x"}, {"role", "labeler", "uses", "1001"},
		{"role", "labeler", "project", "x"}, {"role", "labeler", "project", u.ID}, {"role", "labeler", "note", strings.Repeat("n", 201)}, {}} {
		ada.form("/admin/invitations", fields...).want(t, http.StatusBadRequest)
	}

	// A link for a new password.
	m := linkShown.FindStringSubmatch(ada.form("/admin/people/"+u.ID+"/link").want(t, http.StatusOK).body)
	if m == nil {
		t.Fatal("no link for a password")
	}
	const fresh = "another long enough one"
	fresh1 := w.anon()
	fresh1.form(m[1], "password", fresh).want(t, http.StatusSeeOther)
	fresh1.get("/label").want(t, http.StatusOK)
	mina.get("/label").want(t, http.StatusFound)
	w.anon().form(m[1], "password", fresh).want(t, http.StatusNotFound)
	w.anon().login("mina@example.com", fresh).want(t, http.StatusSeeOther)
	if strings.Contains(w.logs.String(), m[1]) || strings.Contains(w.logs.String(), path) {
		t.Error("a link is in the log")
	}
}

// TestJoinLimit: one address cannot ask without end.
func TestJoinLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	limited := false
	for range joinsPerMinute + 5 {
		got := w.anon().get("/join/" + strings.Repeat("b", 43))
		if got.code == http.StatusTooManyRequests && got.head.Get("Retry-After") != "" {
			limited = true
		} else if got.code != http.StatusNotFound {
			t.Fatal(got.code)
		}
	}
	if !limited {
		t.Error("no limit")
	}
}

// TestJoinInBrowser: the admin copies the link, somebody joins on a phone and reads the guideline.
func TestJoinInBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	_, err := chromedp.Call(b.ctx, permission.SetPermission, permission.SetPermissionParams{Permission: &permission.PermissionDescriptor{Name: "clipboard-write"},
		Setting: permission.PermissionSettingGranted, BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID}) // one without a window has nobody to ask
	w.must(err)
	b.visit("/admin/people")
	b.do(chromedp.Click(chromedp.CSS(`form[action="/admin/invitations"] button`)))
	b.until(`document.getElementById("link") && !document.querySelector("[data-copy=link]").hidden`)
	b.do(chromedp.Click(chromedp.CSS(`[data-copy="link"]`)))
	b.until(`document.querySelector("[data-copy=link]").textContent === "Copied"`)
	b.named()
	b.shot("invited")
	link := eval[string](b, `document.getElementById("link").textContent`)

	phone := w.open(360, 740, true)
	phone.visit(strings.TrimPrefix(link, w.http.URL))
	phone.fitsWidth()
	phone.named()
	phone.axe()
	phone.shot("join")
	phone.do(chromedp.SendKeys(chromedp.CSS("#name"), "Mina"), chromedp.SendKeys(chromedp.CSS("#email"), "mina@example.com"), chromedp.SendKeys(chromedp.CSS("#password"), testPassword+"\n"))
	phone.until(`location.pathname === "/label/guideline" && document.querySelector("#guideline strong")`)
	phone.fitsWidth()
	phone.shot("guideline")
	phone.do(chromedp.Click(chromedp.CSS("#guideline + p a")))
	phone.until(`location.pathname === "/label"`)
}
