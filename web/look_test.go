package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/account"
)

// TestLanguage: the browser's wish, the cookie and the account's setting, in rising order; the switch is on every page.
func TestLanguage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := func(b *browser, path, tag, word string, head ...string) {
		t.Helper()
		got := b.get(path, head...)
		if !strings.Contains(got.body, `<html lang="`+tag+`"`) || !strings.Contains(got.body, word) || got.head.Get("Content-Language") != tag {
			t.Errorf("%s is not in %s: %.300s", path, tag, got.body)
		}
		for _, other := range w.server.speaks {
			if in := strings.Contains(got.body, `name="lang" value="`+other.Tag+`"`); in != (other.Tag != tag) {
				t.Errorf("%s in %s: switch to %s: %v", path, tag, other.Tag, in)
			}
		}
	}
	anon := w.anon()
	page(anon, "/login", "en", "Sign in")
	page(anon, "/login", "zh-Hant", "登入", "Accept-Language", "zh-TW,zh;q=0.9")
	page(anon, "/login", "en", "Sign in", "Accept-Language", "zh-CN,zh;q=0.9")
	page(anon, "/nothing", "zh-Hant", "沒有這個頁面", "Accept-Language", "zh-HK")
	got := anon.form("/look", "lang", "zh-Hant", "next", "/login?next=%2Flabel").want(t, http.StatusSeeOther)
	if got.head.Get("Location") != "/login?next=%2Flabel" {
		t.Errorf("the switch leads to %s", got.head.Get("Location"))
	}
	page(anon, "/login", "zh-Hant", "登入", "Accept-Language", "en")

	mina := w.as("mina", account.RoleLabeler)
	page(mina, "/account", "en", "Your account")
	mina.form("/look", "lang", "zh-Hant", "next", "/account").want(t, http.StatusSeeOther)
	mina.form("/look", "lang", "zh-Hant").want(t, http.StatusSeeOther)
	page(mina, "/account", "zh-Hant", "您的帳號")
	page(mina, "/docs/ranking", "zh-Hant", "同一個數字按兩次代表並列")
	page(mina, "/docs/speed", "zh-Hant", "限制模型的有三件事")
	elsewhere := w.anon()
	elsewhere.login("mina@example.com", testPassword).want(t, http.StatusSeeOther)
	page(elsewhere, "/account", "zh-Hant", "您的帳號", "Accept-Language", "en", "Cookie", "lang=en")
	if n := w.count(`SELECT count(*) FROM audit WHERE act = 'user.language'`); n != 1 {
		t.Errorf("%d entries for one change", n)
	}

	// What scripts show is in the reader's language, what programs read is English.
	if got := mina.json(post, "/label/api/assignments/01890a5d-ac96-774b-bcce-b302099a8057/submit", `{"ranks":[1],"ratings":[],"flags":[],"comment":"","active_ms":99999999999,"wall_ms":1}`); !strings.Contains(got.body, "超過任何人的工作時間") {
		t.Errorf("not translated: %s", got.body)
	}
	if got := mina.json(post, "/label/api/claim", `{"a":1}`); !strings.Contains(got.body, "a：不是已知的欄位") {
		t.Errorf("not translated: %s", got.body)
	}
	if got := mina.get("/api/v1/usage"); !strings.Contains(got.body, "Unauthorized") {
		t.Errorf("not in English: %s", got.body)
	}
	if got := elsewhere.get("/admin"); got.code != http.StatusForbidden || !strings.Contains(got.body, "您的角色不允許此操作") {
		t.Errorf("%d %.300s", got.code, got.body)
	}
}

// TestTheme: a choice is there in the first byte of the page, and can be taken back.
func TestTheme(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.anon()
	theme := func(want string) {
		t.Helper()
		if body := b.get("/login").body; strings.Contains(body, "data-theme=") != (want != "") || want != "" && !strings.Contains(body, `data-theme="`+want+`"`) {
			t.Errorf("theme is not %q: %.200s", want, body)
		}
	}
	theme("")
	b.form("/look", "theme", "dark", "next", "/login").want(t, http.StatusSeeOther)
	theme("dark")
	b.form("/look", "theme", "light", "next", "/login").want(t, http.StatusSeeOther)
	theme("light")
	b.form("/look", "theme", "system", "next", "/login").want(t, http.StatusSeeOther)
	theme("")
	if body := b.get("/login", "Cookie", `theme="><script>`).body; strings.Contains(body, "<script>") || strings.Contains(body, "data-theme") {
		t.Error("the cookie reaches the page")
	}
	for _, form := range [][]string{{"theme", "pink"}, {"lang", "zh-Hans"}, {"lang", "../en"}} {
		b.form("/look", form...).want(t, http.StatusBadRequest)
	}
	for _, next := range []string{"//evil.example", "https://evil.example/", `/\evil.example`, ""} {
		if got := b.form("/look", "theme", "dark", "next", next); got.head.Get("Location") != "/" {
			t.Errorf("%q leads to %s", next, got.head.Get("Location"))
		}
	}
}

// TestHere: the switch comes back to the page, also from what a form answered.
func TestHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleOwner)
	if body := ada.get("/admin/audit?act=user.").body; !strings.Contains(body, `name="next" value="/admin/audit?act=user."`) {
		t.Error("the query is lost")
	}
	if body := ada.form("/admin/people", "email", "x@example.com", "role", "labeler").body; !strings.Contains(body, `name="next" value="/admin/people"`) {
		t.Error("a page that a form answered does not come back to itself")
	}
	if body := ada.form("/account/password", "old", "x", "new", "y").body; !strings.Contains(body, `name="next" value="/"`) {
		t.Error("an address without a page is gone back to")
	}
}
