package web

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/audit"
)

// TestAudit: search by all there is, the detail of a change, and the files.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleOwner)
	mina := w.user("mina", account.RoleLabeler)
	ada.form("/admin/people/"+mina.ID+"/role", "role", "reviewer").want(t, http.StatusSeeOther)
	_, err := w.pool.Exec(t.Context(), `SELECT audit_append('=cmd', 'x.y', '', '{"note": "a rare word"}')`)
	w.must(err)
	rows := func(query string) int {
		t.Helper()
		return strings.Count(ada.get("/admin/audit?"+query).want(t, http.StatusOK).body, `href="/admin/audit/entry/`)
	}
	tomorrow := time.Now().UTC().Add(24 * time.Hour).Format("2006-01-02T15:04")
	for query, want := range map[string]int{"act=user.role": 1, "act=user.role&actor=ada@example.com": 1, "act=user.role&actor=mina@example.com": 0, "subject=mina@example.com&act=user.role": 1,
		"q=rare": 1, "q=rar": 0, "q=a+rar*": 1, "q=rare&act=user.": 0, "from=" + tomorrow: 0, "to=" + tomorrow + "&act=user.role": 1, "act=user.role&from=2026-01-01": 1} {
		if got := rows(query); got != want {
			t.Errorf("%s: %d rows, want %d", query, got, want)
		}
	}
	for _, query := range []string{"actor=nobody@example.com", "from=yesterday", "to=99999-01-01", "before=x"} {
		if got := ada.get("/admin/audit?" + query); got.code != http.StatusBadRequest || !strings.Contains(got.body, `class="alert"`) {
			t.Errorf("%s: %d", query, got.code)
		}
	}
	page := ada.get("/admin/audit?act=user.role").body
	m := regexp.MustCompile(`/admin/audit/entry/\d+`).FindString(page)
	page = ada.get(m).want(t, http.StatusOK).body
	for _, want := range []string{"Before", "After", ">labeler<", ">reviewer<", "changed", "ada@example.com"} {
		if !strings.Contains(page, want) {
			t.Errorf("the entry lacks %s", want)
		}
	}
	ada.get("/admin/audit/entry/999999").want(t, http.StatusNotFound)
	ada.get("/admin/audit/entry/x").want(t, http.StatusNotFound)

	got := ada.get("/admin/audit/log.csv?act=x.y").want(t, http.StatusOK)
	lines, err := csv.NewReader(strings.NewReader(got.body)).ReadAll()
	if err != nil || len(lines) != 2 || lines[1][2] != "'=cmd" || !strings.Contains(got.head.Get("Content-Disposition"), "audit.csv") {
		t.Errorf("%q %v", lines, err)
	}
	got = ada.get("/admin/audit/log.jsonl").want(t, http.StatusOK)
	n := 0
	for line := range strings.Lines(got.body) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if all := w.count(`SELECT count(*) FROM audit`); n != all {
		t.Errorf("%d lines of %d entries", n, all)
	}
	ada.get("/admin/audit/log.csv?from=never").want(t, http.StatusBadRequest)

	// Over more than one page.
	_, err = w.pool.Exec(t.Context(), `SELECT audit_append('a', 'many.x', n::text, '{}') FROM generate_series(1, 150) n`)
	w.must(err)
	page = ada.get("/admin/audit?act=many.").body
	older := regexp.MustCompile(`href="(/admin/audit\?act=many\.&amp;before=\d+)"`).FindStringSubmatch(page)
	if older == nil {
		t.Fatal("no older entries")
	}
	if n := strings.Count(ada.get(strings.ReplaceAll(older[1], "&amp;", "&")).body, `href="/admin/audit/entry/`); n != 50 {
		t.Errorf("%d on the second page", n)
	}
}

// TestAuditInBrowser: the walk along the chain shows how far it is, and what it found.
func TestAuditInBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	for _, sql := range []string{`SELECT audit_append('a', 'x.y', n::text, '{}') FROM generate_series(1, 12000) n`, `SELECT audit_seal()`} {
		_, err := w.pool.Exec(t.Context(), sql)
		w.must(err)
	}
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/audit")
	verify := func(then string) {
		b.do(chromedp.Click(chromedp.CSS("#verify")))
		b.until(fmt.Sprintf(`document.getElementById("walk-says").textContent.includes(%q) && document.getElementById("walk-bar").hidden`, then))
	}
	verify("entries fit the hash chain")
	b.axe()
	b.shot("verified")
	for _, sql := range []string{`ALTER TABLE audit DISABLE TRIGGER ALL`, `UPDATE audit SET subject = 'other' WHERE id = 5000`} {
		_, err := w.pool.Exec(t.Context(), sql)
		w.must(err)
	}
	verify("broken at entry 5000")
	b.shot("broken")
}

// TestPeople: the list by search and page by page, and an account: its sessions end, its link works for an hour.
func TestPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleOwner)
	_, err := w.pool.Exec(t.Context(), `INSERT INTO users (id, email, name, role, password_hash) SELECT gen_random_uuid(), 'many' || lpad(n::text, 3, '0') || '@example.com', 'Many ' || n, 'analyst', '' FROM generate_series(1, 60) n`)
	w.must(err)
	page := ada.get("/admin/people?q=many&role=analyst&state=active").want(t, http.StatusOK).body
	next := regexp.MustCompile(`href="(/admin/people\?q=many[^"]*)"`).FindStringSubmatch(page)
	if next == nil || !strings.Contains(page, "many050@") || strings.Contains(page, "many051@") {
		t.Fatal("first page")
	}
	if page := ada.get(strings.ReplaceAll(next[1], "&amp;", "&")).want(t, http.StatusOK).body; !strings.Contains(page, "many060@") || strings.Contains(page, "many050@") || strings.Contains(page, "Further accounts") {
		t.Error("second page")
	}
	for _, query := range []string{"role=god", "state=asleep"} {
		ada.get("/admin/people?"+query).want(t, http.StatusBadRequest)
	}
	if !strings.Contains(ada.get("/admin/people?q=nobodyatall").body, "Nobody is found.") {
		t.Error("an empty list says nothing")
	}
	if page := ada.form("/admin/people", "email", "not an address", "name", "Typed Name", "role", "analyst").want(t, http.StatusBadRequest).body; !strings.Contains(page, `value="Typed Name"`) {
		t.Error("what was typed is lost")
	}
	mina := w.as("mina", account.RoleLabeler)
	id := w.id("mina")
	if page := ada.get("/admin/people/"+id).want(t, http.StatusOK).body; !strings.Contains(page, "127.0.0.1") || !strings.Contains(page, "user.create") {
		t.Error("the page of an account lacks its sessions or its acts")
	}
	ada.form("/admin/people/"+id+"/sessions").want(t, http.StatusSeeOther)
	mina.get("/label").want(t, http.StatusFound)
	mina.login("mina@example.com", testPassword).want(t, http.StatusSeeOther)
	other := w.anon()
	other.login("mina@example.com", testPassword).want(t, http.StatusSeeOther)
	page = mina.get("/account/sessions").want(t, http.StatusOK).body
	end := regexp.MustCompile(`action="(/account/sessions/[^"]+/end)"`).FindAllStringSubmatch(page, -1)
	if len(end) != 1 || !strings.Contains(page, "this one") {
		t.Fatalf("%d others", len(end))
	}
	ada.form(end[0][1]).want(t, http.StatusNotFound) // not hers
	mina.form(end[0][1]).want(t, http.StatusSeeOther)
	other.get("/label").want(t, http.StatusFound)
	other.login("mina@example.com", testPassword)
	mina.form("/account/sessions").want(t, http.StatusSeeOther)
	other.get("/label").want(t, http.StatusFound)
	mina.get("/label").want(t, http.StatusOK)
	w.as("adam", account.RoleAdmin).form("/admin/people/"+w.id("ada")+"/sessions").want(t, http.StatusForbidden)
}

// TestResetInBrowser: the admin makes a link, the person chooses a password with it on a phone, and the link is spent.
func TestResetInBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	mina := w.user("mina", account.RoleLabeler)
	w.addTask(says("Tell a story about a fox."), demoAnswers...)
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/people?q=mina")
	b.do(chromedp.Click(chromedp.CSS(`a[href="/admin/people/` + mina.ID + `"]`)))
	b.until(`document.querySelector("h1").textContent === "mina"`)
	b.do(chromedp.Click(chromedp.CSS(`form[action$="/link"] button`)))
	b.until(`document.getElementById("link")`)
	b.axe()
	b.wholeShot("link")
	link := strings.TrimPrefix(eval[string](b, `document.getElementById("link").textContent`), w.http.URL)
	phone := w.open(360, 740, true)
	phone.allow("404")
	phone.visit(link)
	phone.do(chromedp.SendKeys(chromedp.CSS("#password"), "another long enough one\n"))
	phone.until(`location.pathname === "/label"`)
	phone.visit(link)
	phone.until(`document.querySelector("h1").textContent === "This link does not work"`)
	w.anon().login("mina@example.com", testPassword).want(t, http.StatusUnauthorized)
}
