package web

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/setting"
)

// TestSettings: a setting holds from the next request on, its history says who and why, what was typed wrongly stands in its field, two
// admins cannot overwrite one another, and a former value comes back.
func TestSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme")
	b := w.withKey(secret)
	ada := w.as("ada", account.RoleAdmin)
	w.as("nora", account.RoleAnalyst).get("/admin/settings").want(t, http.StatusForbidden)
	ask := func(code int) {
		t.Helper()
		b.json(post, "/v1/completions", `{"model":"default","prompt":[1,2,3],"max_tokens":9}`).want(t, code)
	}
	set := func(value, was, reason string, more ...string) answer {
		t.Helper()
		return ada.form("/admin/settings", append([]string{"name", string(setting.AnswerTokens), "value", value, "was", was, "reason", reason}, more...)...)
	}
	ask(http.StatusOK)
	set("8", "512", "short <answers> & cheap").want(t, http.StatusSeeOther)
	ask(http.StatusBadRequest)
	page := ada.get("/admin/settings").want(t, http.StatusOK).body
	for _, text := range []string{"<del>default</del>", "<ins>8</ins>", "short &lt;answers&gt; &amp; cheap", "ada@example.com"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %s", text)
		}
	}
	if got := set("eight", "8", "a reason that is kept").want(t, http.StatusBadRequest).body; !strings.Contains(got, `value="eight"`) || !strings.Contains(got, "a reason that is kept") || !strings.Contains(got, "must be a number") {
		t.Error("what was typed, or what is wrong with it, is lost")
	}
	for _, wrong := range []string{"0", "40000", "1.5", "NaN", ""} {
		set(wrong, "8", "x").want(t, http.StatusBadRequest)
	}
	if got := set("100", "512", "I never saw the 8").want(t, http.StatusConflict).body; !strings.Contains(got, "somebody else has changed") {
		t.Error(got)
	}
	ada.form("/admin/settings", "name", "no.such", "value", "1", "was", "1").want(t, http.StatusNotFound)
	set("8", "8", "no change").want(t, http.StatusSeeOther)
	if n := w.count(`SELECT count(*) FROM setting_changes`); n != 1 {
		t.Fatalf("%d changes are written down", n)
	}
	set("", "8", "back", "default", "yes").want(t, http.StatusSeeOther)
	ask(http.StatusOK)
	changes, err := w.server.Settings.History(t.Context(), setting.AnswerTokens, 0, 10)
	w.must(err)
	if len(changes) != 2 || changes[0].New != nil || *changes[0].Old != 8 || changes[1].Old != nil || *changes[1].New != 8 || changes[1].Reason != "short <answers> & cheap" {
		t.Fatalf("%+v", changes)
	}
	ada.form("/admin/settings/undo", "id", "999").want(t, http.StatusNotFound)
	id := w.count(`SELECT max(id) FROM setting_changes`)
	ada.form("/admin/settings/undo", "id", strconv.Itoa(id)).want(t, http.StatusSeeOther)
	ask(http.StatusBadRequest)
	if n := w.count(`SELECT count(*) FROM audit WHERE act = 'setting.set' AND subject = $1 AND actor LIKE 'user:%'`, setting.AnswerTokens); n != 3 {
		t.Errorf("%d entries in the audit log", n)
	}

	// New keys and new rounds too; what is not set stays as the newest round has it.
	for name, value := range map[setting.Name][2]string{setting.KeyRequests: {"60", "7"}, setting.RelabelBelow: {"0", "0.6"}} {
		ada.form("/admin/settings", "name", string(name), "value", value[1], "was", value[0], "reason", "for all").want(t, http.StatusSeeOther)
	}
	w.as("shop", account.RoleCustomer).form("/account/keys", "name", "own", "scopes", "completions", "days", "30").want(t, http.StatusOK)
	if n := w.count(`SELECT rpm FROM api_keys WHERE name = 'own'`); n != 7 {
		t.Errorf("a new key may ask %d times a minute", n)
	}
	newest := loop.DefaultConfig()
	newest.Relabel.Below, newest.Relabel.Probe = 0.5, 11
	if c := w.server.nextConfig([]loop.Round{{Config: newest}}); c.Relabel != (loop.RelabelConfig{Below: 0.6, Probe: 11, Prompts: 256}) || c.Seed != newest.Seed+1 {
		t.Errorf("the next round: %+v", c.Relabel)
	}

	// New projects begin with what is set.
	ada.form("/admin/settings", "name", string(setting.ProjectOverlap), "value", "3", "was", "1", "reason", "surer").want(t, http.StatusSeeOther)
	ada.form("/admin/projects", "name", "second", "question", "ranking", "instructions", "Rank.", "lease", "30").want(t, http.StatusSeeOther)
	if n := w.count(`SELECT overlap FROM projects WHERE name = 'second'`); n != 3 {
		t.Errorf("a new project asks %d labelers", n)
	}
}
