package web

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/web/account"
)

// sure unfolds what a button of that text hides, gives the reason, and says yes.
func (b *tab) sure(summary, reason, fields, button string) {
	b.Helper()
	b.until(fmt.Sprintf(`[...document.querySelectorAll("details.confirm > summary")].find((s) => s.textContent.startsWith(%q))`, summary))
	eval[bool](b, fmt.Sprintf(`(() => { const d = [...document.querySelectorAll("details.confirm")].find((d) => d.firstElementChild.textContent.startsWith(%q));
		d.firstElementChild.click(); d.querySelector("[name=reason]").value = %q; %s return true; })()`, summary, reason, fields))
	b.drawn()
	eval[bool](b, fmt.Sprintf(`[...document.querySelectorAll("details.confirm[open] button")].find((x) => x.textContent === %q).click(); true`, button))
}

// TestAdmin6PromoteCanaryRollback is the admin's sixth journey: a version is promoted, another one is a canary that customers meet, is
// paused, goes on and all the way, is rolled back from; a bad one is taken back by its guard. Every reason stands on the pages.
func TestAdmin6PromoteCanaryRollback(t *testing.T) {
	t.Parallel()
	w := trialWorld(t)
	w.slot.Keep = 1
	w.user("ada", account.RoleOwner)
	_, secret := w.key("acme")
	customer := w.withKey(secret)
	good, bad := w.policy("policy-1", "d"), w.policy("policy-2", "e")
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	check := func(name string) {
		t.Helper()
		b.drawn()
		b.fitsWidth()
		b.wholeShot("canary-" + name)
	}
	page := func(id string) { b.visit("/admin/models/" + id) }
	says := func(text string) {
		t.Helper()
		b.until(fmt.Sprintf(`document.getElementById("main").innerText.includes(%q)`, text))
	}

	// A canary of half of the requests, by the form of its page.
	page(good.ID)
	check("before")
	eval[bool](b, `[...document.querySelectorAll("details.confirm > summary")].find((s) => s.textContent.startsWith("Start a canary")).click(); true`)
	check("form")
	b.named()
	b.axe()
	page(good.ID)
	b.sure("Start a canary", "wins 58% blind", `d.querySelector("[name=shares]").value = "50"; d.querySelector("[name=answers]").value = "20"; d.querySelector("[name=least]").value = "10"; d.querySelector("[name=minutes]").value = "0"; d.querySelector("[name=slower]").value = "100";`, "Yes, start the canary")
	says("The canary has begun.")
	w.follow()
	met := map[string]int{} // answers of each version
	for i := 0; met[good.ID] < 20 || met[w.version.ID] < 10; i++ {
		met[customer.by(defaultModel, fmt.Sprintf("user %d", i))]++
	}
	b.sure("Pause", "over lunch", "", "Yes, pause")
	says("paused canary")
	w.must(w.loop.WatchCanary(t.Context()))
	page(good.ID)
	says("paused canary")
	check("paused")
	b.size(360, 740)
	b.show("zh-Hant", "dark")
	page(good.ID)
	check("phone-zh-dark")
	b.visit("/admin/models")
	check("list-phone-zh-dark")
	b.size(1280, 900)
	b.show("en", "light")
	page(good.ID)
	b.sure("Resume", "back again", "", "Yes, resume")
	says("The canary goes on.")
	w.must(w.loop.WatchCanary(t.Context())) // whoever works does so each second
	w.follow()
	page(good.ID)
	says("serving")
	check("promoted")
	if got := customer.by(defaultModel, "anybody"); got != good.ID {
		t.Errorf("%s answers", got)
	}

	// The other one fails, and its guard takes it back.
	c, err := w.loop.StartCanary(t.Context(), bad.ID, "user:x", "try it", registry.DefaultCanary())
	w.must(err)
	w.follow()
	var list []registry.Observation
	for i := range 120 {
		list = append(list, registry.Observation{CanaryID: c.ID, Canary: i%2 == 0, Milliseconds: 100, Empty: i%2 == 0})
	}
	w.must(w.registry.Observe(t.Context(), list))
	page(bad.ID)
	says("worse than allowed")
	check("failing")
	w.must(w.loop.WatchCanary(t.Context()))
	w.follow()
	page(bad.ID)
	says("rolled back by a guard")
	says("empty answers: 100.0% of 60, against 0.0% of 60; 2.0% are allowed")
	check("rolled-back")
	if got := customer.by(defaultModel, "anybody"); got != good.ID {
		t.Errorf("%s answers", got)
	}

	// By hand: promoted after all, and rolled back.
	b.sure("Promote…", "the guard was wrong", "", "Yes, promote")
	says("Promoted. Answers under way finish on the former weights.")
	w.follow()
	if got := customer.by(defaultModel, "anybody"); got != bad.ID {
		t.Errorf("%s answers", got)
	}
	b.sure("Roll back…", "it was not", "", "Yes, roll back")
	says("Rolled back to the version that served before.")
	says("it was not")
	check("models")
	w.follow()
	if got := customer.by(defaultModel, "anybody"); got != good.ID {
		t.Errorf("%s answers", got)
	}
	b.visit("/admin/audit?subject=" + good.ID)
	says("canary.promote")
	says("model.rollback")
	b.do(chromedp.Navigate(w.http.URL + "/admin/models/" + good.ID))
	says("wins 58% blind")
	customer.get("/v1/models").want(t, http.StatusOK)
}
