package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

var secretOnPage = regexp.MustCompile(`rk_live_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}`)

// TestOwnKeys: a customer makes, rotates and revokes keys; what is shown once works; nobody touches another's.
func TestOwnKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("acme", account.RoleCustomer)
	if got := b.get("/account/keys").want(t, http.StatusOK); !strings.Contains(got.body, "You have no key yet") {
		t.Error("nothing says that there is no key")
	}
	make := func(fields ...string) string {
		t.Helper()
		got := b.form("/account/keys", fields...).want(t, http.StatusOK)
		secret := secretOnPage.FindString(got.body)
		if secret == "" {
			t.Fatalf("no key is shown: %.300s", got.body)
		}
		return secret
	}
	first := make("name", "shop", "scopes", "completions", "days", "30")
	w.withKey(first).get("/v1/models").want(t, http.StatusOK)
	if got := b.get("/account/keys"); strings.Contains(got.body, first) || !strings.Contains(got.body, first[:17]+"…") {
		t.Error("the key is shown again, or its beginning is not")
	}
	own, err := w.accounts.Keys(t.Context(), w.id("acme"))
	w.must(err)
	if len(own) != 1 || own[0].TrainingOptIn || own[0].RPM != account.DefaultRPM || own[0].ExpiresAt == nil || !slices.Equal(own[0].Scopes, []string{"completions"}) {
		t.Errorf("%+v", own)
	}
	path := "/account/keys/" + own[0].ID
	second := secretOnPage.FindString(b.form(path+"/rotate", "overlap", "1").want(t, http.StatusOK).body)
	w.withKey(first).get("/v1/models").want(t, http.StatusOK)
	w.withKey(second).get("/v1/models").want(t, http.StatusOK)
	b.form(path+"/rotate", "overlap", "1").want(t, http.StatusConflict)
	b.form(path+"/revoke").want(t, http.StatusSeeOther)
	w.withKey(first).get("/v1/models").want(t, http.StatusUnauthorized)
	third := secretOnPage.FindString(b.form("/account/keys/"+second[8:16]+"/rotate", "overlap", "0").want(t, http.StatusOK).body)
	w.withKey(second).get("/v1/models").want(t, http.StatusUnauthorized)
	w.withKey(third).get("/v1/models").want(t, http.StatusOK)
	for _, act := range []string{"apikey.create", "apikey.rotate", "apikey.revoke"} {
		if n := w.count(`SELECT count(*) FROM audit WHERE act = $1 AND actor = $2`, act, "user:"+w.id("acme")); n == 0 {
			t.Errorf("%s is not in the log", act)
		}
	}
	for name, fields := range map[string][]string{"no name": {"name", "", "scopes", "completions"}, "days": {"name", "x", "days", "-1", "scopes", "completions"}, "scope": {"name", "x", "scopes", "everything"}} {
		if got := b.form("/account/keys", fields...); got.code != http.StatusBadRequest || secretOnPage.MatchString(got.body) || !strings.Contains(got.body, `role="alert"`) {
			t.Errorf("%s: %d", name, got.code)
		}
	}
	// Another customer, and somebody who may have none.
	eve := w.as("eve", account.RoleCustomer)
	for _, act := range []string{"rotate", "revoke", "training"} {
		eve.form("/account/keys/"+third[8:16]+"/"+act, "overlap", "0", "training", "yes").want(t, http.StatusNotFound)
		eve.form("/account/keys/nothing!/"+act, "overlap", "0").want(t, http.StatusNotFound)
	}
	w.withKey(third).get("/v1/models").want(t, http.StatusOK)
	w.as("mina", account.RoleLabeler).form("/account/keys", "name", "x", "scopes", "completions").want(t, http.StatusBadRequest)
	for i := range ownKeys {
		got := b.form("/account/keys", "name", fmt.Sprint(i), "scopes", "completions")
		if want := map[bool]int{true: http.StatusOK, false: http.StatusConflict}[i < ownKeys-1]; got.code != want { // one works already
			t.Fatalf("key %d: %d", i, got.code)
		}
	}
}

// id is that of a user.
func (w *world) id(name string) string {
	w.Helper()
	u, err := w.accounts.UserByEmail(w.Context(), name+"@example.com")
	w.must(err)
	return u.ID
}

// TestOwnConsent: withdrawing hides what came with the key at once, and gives it back with the next yes.
func TestOwnConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("acme", account.RoleCustomer)
	secret := secretOnPage.FindString(b.form("/account/keys", "name", "shop", "scopes", "completions", "training", "yes").want(t, http.StatusOK).body)
	w.withKey(secret).json(post, "/v1/chat/completions", map[string]any{"model": "default", "max_tokens": 4, "messages": []any{map[string]any{"role": "user", "content": "Tell a story"}}}).want(t, http.StatusOK)
	usable := func() int { return w.count(`SELECT count(*) FROM prompts WHERE usable`) }
	if usable() != 1 {
		t.Fatal("the prompt did not join the pool")
	}
	path := "/account/keys/" + secret[8:16] + "/training"
	b.form(path, "training", "no").want(t, http.StatusSeeOther)
	if usable() != 0 {
		t.Error("the prompt is still in the pool")
	}
	w.withKey(secret).json(post, "/v1/chat/completions", map[string]any{"model": "default", "max_tokens": 4, "messages": []any{map[string]any{"role": "user", "content": "Another story"}}}).want(t, http.StatusOK)
	if n := w.count(`SELECT count(*) FROM prompts`); n != 1 {
		t.Errorf("%d prompts", n)
	}
	b.form(path, "training", "yes").want(t, http.StatusSeeOther)
	if usable() != 1 {
		t.Error("the prompt did not come back")
	}
	if n := w.count(`SELECT count(*) FROM audit WHERE act = 'apikey.training'`); n != 2 {
		t.Errorf("%d rows in the log", n)
	}
}

// TestUsagePage: the plots and the table say what was used, by model; an empty account is told how to begin.
func TestUsagePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("acme", account.RoleCustomer)
	if got := b.get("/account/usage").want(t, http.StatusOK); !strings.Contains(got.body, "Nothing has been used yet") || strings.Contains(got.body, "<svg") {
		t.Error("an empty account is not told so")
	}
	for i, version := range []string{w.version.ID, "01890a5d-ac96-774b-bcce-b302099a8057"} {
		w.must(w.accounts.Record(t.Context(), account.Usage{UserID: w.id("acme"), Endpoint: "/chat", ModelVersion: version, PromptTokens: 1000 * (i + 1), CompletionTokens: 7, Finish: "stop"}, nil))
	}
	got := b.get("/account/usage").want(t, http.StatusOK)
	for _, want := range []string{"2 requests with 3,014 tokens", "tiny-sft", "099a8057", "2,000", `class="part p1"`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(got.body, "<svg"); n != 2 {
		t.Errorf("%d plots", n)
	}
	if got := w.as("eve", account.RoleCustomer).get("/account/usage"); strings.Contains(got.body, "tiny-sft") {
		t.Error("another customer sees it")
	}
}

// TestStackOf: four models have a colour of their own, the others share one, and nothing is lost.
func TestStackOf(t *testing.T) {
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var rows []usageRow
	for i := range 6 {
		for d := range 3 {
			rows = append(rows, usageRow{account.Day{Day: from.AddDate(0, 0, 10*d), Requests: int64(i + 1)}, fmt.Sprint("m", i)})
		}
	}
	s := stackOf(rows, from, "others", func(d account.Day) float64 { return float64(d.Requests) })
	if !slices.Equal(s.Names, []string{"m5", "m4", "m3", "m2", "others"}) || len(s.Columns) != accountDays || s.Columns[10].Label != "03-11" {
		t.Errorf("%+v", s)
	}
	for d := range 3 {
		if got := s.Columns[10*d].Values; !slices.Equal(got, []float64{6, 5, 4, 3, 3}) {
			t.Errorf("day %d: %v", d, got)
		}
	}
	if got := s.Columns[1].Values; !slices.Equal(got, make([]float64, 5)) {
		t.Errorf("an empty day: %v", got)
	}
	svg := string(stackPlot("x", "T", "D", s))
	if n := strings.Count(svg, `<rect class="part`); n != 5+3*5 {
		t.Errorf("%d parts and legends", n)
	}
	if empty := string(stackPlot("x", "<T>", "D", stack{})); strings.Contains(empty, "NaN") || strings.Contains(empty, "<T>") {
		t.Error(empty)
	}
}

// TestOwnData: the export holds what is kept and no secret, the erasure asks twice and for the password, and what it took is gone.
func TestOwnData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("acme", account.RoleCustomer)
	secret := secretOnPage.FindString(b.form("/account/keys", "name", "shop", "scopes", "completions", "training", "yes").want(t, http.StatusOK).body)
	ask := func(secret, text string) {
		w.withKey(secret).json(post, "/v1/chat/completions", map[string]any{"model": "default", "max_tokens": 4, "store": true, "messages": []any{map[string]any{"role": "user", "content": text}}}).want(t, http.StatusOK)
	}
	ask(secret, "What do <owls> eat?")
	_, others := w.key("eve", func(n *account.NewKey) { n.TrainingOptIn = true })
	ask(others, "Somebody else's")
	got := b.get("/account/export").want(t, http.StatusOK)
	if !strings.Contains(got.head.Get("Content-Disposition"), "attachment") || got.head.Get("Content-Type") != "application/jsonl" {
		t.Errorf("%v", got.head)
	}
	kinds := map[string]int{}
	for lines := bufio.NewScanner(strings.NewReader(got.body)); lines.Scan(); {
		var l exportLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil || len(l.Row) < 2 {
			t.Errorf("%s: %v", lines.Text(), err)
		}
		kinds[l.Kind]++
	}
	for _, kind := range []string{"account", "session", "key", "request", "prompts", "prompt_sources", "contributors", "stored_completions"} {
		if kinds[kind] != 1 {
			t.Errorf("%d lines of %s; %v", kinds[kind], kind, kinds)
		}
	}
	if !strings.Contains(got.body, "What do <owls> eat?") || strings.Contains(got.body, "Somebody else's") || strings.Contains(got.body, secret[17:]) || strings.Contains(got.body, "argon2id") || strings.Contains(got.body, "_hash") {
		t.Errorf("the export holds too much or too little: %s", got.body)
	}
	prompts := func() int {
		n := w.count(`SELECT count(*) FROM prompts`)
		if kept := w.count(`SELECT count(*) FROM stored_completions`); kept != n {
			t.Errorf("%d stored completions beside %d prompts", kept, n)
		}
		return n
	}
	if got := b.form("/account/erase").want(t, http.StatusOK); !strings.Contains(got.body, "What would go") || !strings.Contains(got.body, "<code>prompts</code>: 1") || prompts() != 2 {
		t.Error("no preview, or more than one")
	}
	if got := b.form("/account/erase", "sure", "yes", "password", "not it, not it").want(t, http.StatusBadRequest); !strings.Contains(got.body, "The password is not right.") || prompts() != 2 {
		t.Error("the password is not asked for")
	}
	if got := b.form("/account/erase", "sure", "yes", "password", testPassword).want(t, http.StatusOK); !strings.Contains(got.body, "Erased. The report&#39;s sha256 is") || prompts() != 1 {
		t.Errorf("not erased: %.2000s", got.body)
	}
	if got := b.form("/account/erase").want(t, http.StatusOK); !strings.Contains(got.body, "There is nothing to erase") {
		t.Error("twice")
	}
	past, err := w.labeling.ErasuresOf(t.Context(), labeling.Subject{Kind: "customer", ID: w.id("acme")})
	w.must(err)
	if page := b.get("/account/data").want(t, http.StatusOK); len(past) != 1 || !strings.Contains(page.body, past[0].Digest) {
		t.Errorf("%+v", past)
	}
	if got := w.withKey(others).get("/v1/models"); got.code != http.StatusOK || w.count(`SELECT count(*) FROM sessions WHERE user_id = $1`, w.id("acme")) != 1 {
		t.Error("the erasure reached further, or left a session behind")
	}
}
