package web

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rankloop/rankloop/web/account"
)

// TestLookKeys walks the pages of keys and of the engine, empty and full, at a desk and on a phone, light and dark: nothing may be
// wider than the window, everything has a name, no script fails.
func TestLookKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	w.user("nora", account.RoleAnalyst)
	walk := w.lookAt
	walk("empty", "ada", "en", "light", 1280, 900, map[string]string{"keys": "/admin/keys"})
	k := w.usedKey()
	_, secret := w.key("shop")
	for i := range 3 {
		w.withKey(secret).complete(fmt.Sprintf(`{"model":"default","prompt":"Question %d","max_tokens":9}`, i))
	}
	full := map[string]string{"keys": "/admin/keys", "key": "/admin/keys/" + k.ID, "engine": "/admin/engine"}
	walk("phone-zh-dark", "ada", "zh-Hant", "dark", 360, 740, full)
	walk("analyst", "nora", "en", "dark", 360, 740, map[string]string{"engine": "/admin/engine"})
	serves, err := w.slot.Acquire()
	w.must(err)
	template := serves.Template
	serves.Release()
	w.slot.Set(nil)
	walk("nothing serves", "nora", "en", "light", 1280, 900, map[string]string{"none": "/admin/engine"})
	w.slot.Set(tinyServed(t, w.version, template, 1))
}

// lookAt walks pages as somebody sees them: nothing may be wider than the window, everything has a name, no script fails.
func (w *world) lookAt(name, who, tag, theme string, width, height int64, pages map[string]string) {
	w.Run(name, func(t *testing.T) {
		v := *w
		v.T = t
		b := v.open(width, height, false)
		b.visit("/login")
		b.show(tag, theme)
		b.signIn(who + "@example.com")
		b.show(tag, theme)
		for page, path := range pages {
			if page == "proof" {
				_, err := w.pool.Exec(w.Context(), `UPDATE sessions SET proved_at = proved_at - interval '1 hour'`)
				w.must(err)
				b.allowed = append(b.allowed, path) // a download that is not sent yet
			}
			b.visit(path)
			if page == "engine" {
				b.until(`document.querySelectorAll(".chart canvas").length === 2`)
			}
			b.drawn()
			b.fitsWidth()
			b.named()
			b.axe()
			b.wholeShot(page)
		}
	})
}

// TestLookCustomer walks what customers read of themselves and of the API, and what admins read of customers' feedback and of other
// engines.
func TestLookCustomer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	w.lookAt("empty", "ada", "en", "light", 1280, 900, map[string]string{"usage": "/account/usage", "data": "/account/data", "keys": "/account/keys", "engines": "/admin/engines", "feedback": "/admin/labeling/feedback"})
	w.usedKey()
	eve := w.anon()
	eve.login("acme@example.com", testPassword)
	secret := eve.ownKey("shop")
	id, _ := w.withKey(secret).chat(asks("Which birds sing at night?", `,"n":2,"user":"reader-7"`))
	w.withKey(secret).json(post, "/v1/chat/completions/"+id+"/feedback", `{"rating":-1,"preferred":1,"correction":"Nightingales do, and some robins near street lamps.","tags":["too short","wrong"],"comment":"The first names no bird."}`).want(t, http.StatusCreated)
	other, _ := w.withKey(secret).chat(asks("And by day?", ""))
	w.withKey(secret).json(post, "/v1/chat/completions/"+other+"/feedback", `{"rating":1}`).want(t, http.StatusCreated)
	eve.form("/account/erase", "what", "completion", "part", other, "sure", "yes", "password", testPassword).want(t, http.StatusOK)
	w.someEngines()
	own := map[string]string{"proof": "/account/export", "usage": "/account/usage", "data": "/account/data", "keys": "/account/keys"}
	house := map[string]string{"engines": "/admin/engines", "feedback": "/admin/labeling/feedback", "erase": "/admin/erase"}
	w.lookAt("acme", "acme", "zh-Hant", "dark", 360, 740, own)
	w.lookAt("ada", "ada", "zh-Hant", "dark", 360, 740, house)
}

// TestKeyByHand makes a key on the page, rotates it and revokes it, by keyboard and pointer.
func TestKeyByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	w.user("acme", account.RoleCustomer)
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/keys")
	eval[bool](b, `document.getElementById("customer").selectedIndex = [...document.getElementById("customer").options].findIndex((o) => o.text.includes("acme")); true`)
	b.do(chromedp.SendKeys(chromedp.CSS("#name"), "website"), chromedp.SendKeys(chromedp.CSS("#daily"), "1000\n"))
	b.until(`document.getElementById("secret")`)
	first := eval[string](b, `document.getElementById("secret").textContent`)
	b.do(chromedp.Click(chromedp.CSS(`a[href="/admin/keys/` + first[8:16] + `"]`)))
	b.until(`location.pathname.endsWith("` + first[8:16] + `") && document.readyState === "complete"`)
	if eval[bool](b, `document.body.innerText.includes("`+first[17:]+`")`) {
		t.Error("the page of a key shows its secret")
	}
	b.do(chromedp.Click(chromedp.CSS("details.confirm summary")), chromedp.Click(chromedp.CSS(`form[action$="/rotate"] button`)))
	b.until(`document.getElementById("secret")`)
	second := eval[string](b, `document.getElementById("secret").textContent`)
	for _, secret := range []string{first, second} {
		w.withKey(secret).get("/v1/models").want(t, http.StatusOK)
	}
	b.visit("/admin/keys/" + second[8:16])
	b.do(chromedp.Click(chromedp.CSS("details.confirm:nth-of-type(2) summary")), chromedp.Click(chromedp.CSS(`form[action$="/revoke"] button`)))
	b.until(`document.body.innerText.includes("The key is revoked.")`)
	w.withKey(second).get("/v1/models").want(t, http.StatusUnauthorized)
	w.withKey(first).get("/v1/models").want(t, http.StatusOK)
}
