package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/remote"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// TestEnginePages: an admin adds rankloop itself as another engine, asks it, and lets it answer a whole task; its key is never shown.
func TestEnginePages(t *testing.T) {
	t.Parallel()
	other := newWorld(t)
	_, secret := other.key("peer")
	w := newWorld(t)
	b := w.as("ada", account.RoleOwner)
	if got := b.get(enginesPath).want(t, http.StatusOK); !strings.Contains(got.body, "None yet") {
		t.Error("nothing says that there is none")
	}
	fields := map[string]string{"name": "peer", "url": other.http.URL + "/v1", "model": "default", "key": secret, "answers": "9", "max_tokens": "12", "daily_tokens": "100000", "timeout": "20", "enabled": "yes"}
	form := func(change ...string) []string {
		var out []string
		for k, v := range fields {
			for i := 0; i+1 < len(change); i += 2 {
				if change[i] == k {
					v = change[i+1]
				}
			}
			out = append(out, k, v)
		}
		return out
	}
	for name, bad := range map[string][]string{"url": {"url", "ftp://x"}, "answers": {"answers", "10"}, "name": {"name", "a/b"}, "timeout": {"timeout", "x"}, "tokens": {"daily_tokens", ""}} {
		got := b.form(enginesPath, form(bad...)...)
		if got.code != http.StatusBadRequest || !strings.Contains(got.body, `role="alert"`) || strings.Contains(got.body, secret) {
			t.Errorf("%s: %d", name, got.code)
		}
	}
	b.form(enginesPath, form()...).want(t, http.StatusSeeOther)
	list, err := w.loop.Engines(t.Context())
	w.must(err)
	if len(list) != 1 || !list[0].HasKey || list[0].Timeout != 20*time.Second {
		t.Fatalf("%+v", list)
	}
	page := enginesPath + "/" + list[0].ID
	if got := b.form(page+"/test").want(t, http.StatusOK); !strings.Contains(got.body, "It answered after") || strings.Contains(got.body, secret) {
		t.Errorf("%.1500s", got.body)
	}
	if n := other.count(`SELECT count(*) FROM usage`); n != 1 {
		t.Errorf("%d requests came", n)
	}
	w.addPrompt("Where do owls sleep?")
	w.must(w.loop.AddTasks(t.Context(), w.project.ID, "batch", 1, 4, 1, 16, 1)) // no policy has weights here: the engine gives all
	if n := w.count(`SELECT count(*) FROM responses WHERE model_version = 'peer/tiny-sft'`); n != 4 {
		t.Errorf("%d answers", n)
	}
	for _, path := range []string{enginesPath, page} {
		if got := b.get(path).want(t, http.StatusOK); strings.Contains(got.body, secret) || !strings.Contains(got.body, "answers</span>") {
			t.Errorf("%s: %.1500s", path, got.body)
		}
	}
	// Empty keeps the key, ticking the box forgets it.
	b.form(page, form("key", "")...).want(t, http.StatusSeeOther)
	b.form(page+"/test").want(t, http.StatusOK)
	fields["drop_key"] = "yes"
	b.form(page, form("key", "")...).want(t, http.StatusSeeOther)
	if got := b.form(page+"/test").want(t, http.StatusOK); !strings.Contains(got.body, "The engine does not take the key.") {
		t.Errorf("%.1500s", got.body)
	}
	b.form(page+"/disable").want(t, http.StatusSeeOther)
	if got := b.get(enginesPath); !strings.Contains(got.body, "Switch on") {
		t.Error("it is not off")
	}
	b.form(page+"/enable").want(t, http.StatusSeeOther)
	b.form(page+"/remove").want(t, http.StatusSeeOther)
	b.get(page).want(t, http.StatusNotFound)
	for _, act := range []string{"engine.add", "engine.change", "engine.test", "engine.enable", "engine.remove", "engine.answers"} {
		if n := w.count(`SELECT count(*) FROM audit WHERE act = $1 AND detail::text NOT LIKE '%' || $2 || '%'`, act, secret); n == 0 {
			t.Errorf("%s is not in the log", act)
		}
	}
}

// addPrompt adds an imported prompt.
func (w *world) addPrompt(text string) {
	w.Helper()
	tx, err := w.pool.Begin(w.Context())
	w.must(err)
	_, _, err = w.labeling.AddPrompt(w.Context(), tx, labeling.NewPrompt{ProjectID: w.project.ID, Messages: says(text), Origin: labeling.OriginImport, Split: labeling.Train})
	w.must(err)
	w.must(tx.Commit(w.Context()))
}

// TestEngineErrors: each way to fail has words of its own that say what mends it, and none holds what the engine said.
func TestEngineErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("ada", account.RoleOwner)
	code := 0
	engine := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "3600") // nothing is tried again
		rw.WriteHeader(code)
		rw.Write([]byte(`{"error":{"message":"hunter2"},"choices":"hunter2"}`))
	}))
	defer engine.Close()
	e, err := w.loop.SaveEngine(t.Context(), loop.EngineChange{Engine: loop.Engine{Name: "e", URL: engine.URL, Model: "m", Answers: 1, MaxTokens: 10, DailyTokens: 1000, Timeout: time.Second}, Actor: "user:x"})
	w.must(err)
	page := enginesPath + "/" + e.ID
	for c, kind := range map[int]remote.Kind{200: remote.Garbled, 307: remote.Redirect, 400: remote.Refused, 401: remote.Key, 404: remote.Missing, 429: remote.Busy, 500: remote.Failed} {
		code = c
		got := b.form(page+"/test").want(t, http.StatusOK)
		if want := string(engineErrors[kind]); want == "" || !strings.Contains(got.body, strings.NewReplacer("'", "&#39;").Replace(want)) || strings.Contains(got.body, "hunter2") {
			t.Errorf("%d: the page does not say %q", c, want)
		}
	}
	engine.Close()
	if _, err := w.pool.Exec(t.Context(), `UPDATE engines SET daily_tokens = 1`); err != nil {
		t.Fatal(err)
	}
	if got := b.form(page+"/test").want(t, http.StatusOK); !strings.Contains(got.body, "The budget of the day is used up.") {
		t.Error("the budget is not named")
	}
	for _, k := range []remote.Kind{remote.Unreachable, remote.Forbidden, remote.Late, remote.Key, remote.Missing, remote.Busy, remote.Refused, remote.Failed, remote.Redirect, remote.Garbled, remote.Large, remote.Empty, loop.EngineBudget} {
		if engineErrors[k] == "" {
			t.Errorf("%s has no words", k)
		}
	}
}
