package web

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
)

// engineStats are those of what serves.
func (w *world) engineStats() decode.Stats {
	w.Helper()
	v, err := w.slot.Acquire()
	w.must(err)
	defer v.Release()
	return v.Engine.Stats()
}

// still stops the clock of the limits.
func (w *world) still() {
	now := time.Now()
	clock := func() time.Time { return now }
	w.server.tokens, w.server.api = newLimiter(clock), newLimiter(clock)
}

const ask16 = `{"model":"default","prompt":[1,2,3,4],"max_tokens":16,"logit_bias":{"50256":-100}` // uses 4 + 16

// TestTokensPerMinute: what a request may use is set aside, a request for more is refused before the engine hears of it, and what was
// not used is given back.
func TestTokensPerMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme", func(n *account.NewKey) { n.TPM = 100 })
	w.still()
	b := w.withKey(secret)
	left := func(a answer) string { return a.head.Get("X-Ratelimit-Remaining-Tokens") }
	if got := left(b.get("/v1/models").want(t, http.StatusOK)); got != "100" {
		t.Errorf("%s tokens left at the start", got)
	}
	if got := left(b.json(post, "/v1/completions", ask16+`}`).want(t, http.StatusOK)); got != "80" {
		t.Errorf("%s tokens left after one that used 20", got)
	}
	// 4 prompt tokens and up to 60: a stop text ends it before.
	var c openai.Completion
	b.json(post, "/v1/completions", `{"model":"default","prompt":[1,2,3,4],"max_tokens":60,"temperature":0,"stop":["e","a","o","i"]}`).want(t, http.StatusOK).into(t, &c)
	used := c.Usage.TotalTokens
	if got := left(b.get("/v1/models")); got != strconv.Itoa(80-used) || used >= 64 {
		t.Errorf("%s tokens left after %d of at most 64", got, used)
	}
	before, rows := w.engineStats().Requests, w.count(`SELECT count(*) FROM usage`)
	for what, body := range map[string]string{"n": ask16 + `,"n":5}`, "best_of": ask16 + `,"best_of":5}`, "prompts": `{"model":"default","prompt":[[1],[2],[3],[4],[5],[6]],"max_tokens":15}`} {
		got := b.json(post, "/v1/completions", body).want(t, http.StatusTooManyRequests)
		var e struct{ Error openai.Error }
		got.into(t, &e)
		if e.Error.Type != "tokens" || *e.Error.Code != "rate_limit_exceeded" || got.head.Get("Retry-After") == "" || got.head.Get("Retry-After") == "0" {
			t.Errorf("%s: %v %s", what, got.head, got.body)
		}
	}
	// More than there ever is: waiting is of no use.
	if got := b.json(post, "/v1/completions", ask16+`,"n":7}`).want(t, http.StatusTooManyRequests); got.head.Get("X-Should-Retry") != "false" || !strings.Contains(got.body, "too large") {
		t.Errorf("%v %s", got.head, got.body)
	}
	if s := w.engineStats(); s.Requests != before || s.Refused != 0 || w.count(`SELECT count(*) FROM usage`) != rows {
		t.Errorf("refused requests did work: %+v", s)
	}
	if got := left(b.get("/v1/models")); got != strconv.Itoa(80-used) {
		t.Errorf("refusals took tokens: %s left", got)
	}
	// A request that the server cannot take on costs nothing.
	served, err := w.slot.Acquire()
	w.must(err)
	served.Engine.Close()
	b.json(post, "/v1/completions", ask16+`}`).want(t, http.StatusServiceUnavailable)
	served.Release()
	if got := left(b.get("/v1/models")); got != strconv.Itoa(80-used) {
		t.Errorf("a 503 took tokens: %s left", got)
	}
}

// TestQuota: whatever comes at once, a key never uses more in a day than it may; what is refused does no work.
func TestQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, secret := w.key("acme", func(n *account.NewKey) { n.DailyTokens = 130 })
	b := w.withKey(secret)
	var wg sync.WaitGroup
	answers := make(chan answer, 12)
	for range cap(answers) {
		wg.Go(func() { answers <- b.json(post, "/v1/completions", ask16+`}`) })
	}
	wg.Wait()
	close(answers)
	good := int64(0)
	for a := range answers {
		if a.code == http.StatusOK {
			good++
			continue
		}
		var e struct{ Error openai.Error }
		a.into(t, &e)
		wait, err := strconv.Atoi(a.head.Get("Retry-After"))
		if a.code != http.StatusTooManyRequests || e.Error.Type != "insufficient_quota" || a.head.Get("X-Should-Retry") != "false" || err != nil || wait < 1 || wait > 24*3600 {
			t.Errorf("%d %v %s", a.code, a.head, a.body)
		}
	}
	used := w.count(`SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) FROM usage WHERE key_id = $1`, k.ID)
	if good < 1 || used != int(20*good) || used > 130 || w.engineStats().Requests != good {
		t.Errorf("%d answered, %d tokens used of 130, the engine had %d requests", good, used, w.engineStats().Requests)
	}
	for range 6 - good { // one after the other all that fit are answered
		b.json(post, "/v1/completions", ask16+`}`).want(t, http.StatusOK)
	}
	b.json(post, "/v1/completions", ask16+`}`).want(t, http.StatusTooManyRequests)
	b.json(post, "/v1/completions", `{"model":"default","prompt":[1,2,3,4],"max_tokens":6}`).want(t, http.StatusOK)
	if len(w.server.flight.keys) != 0 {
		t.Errorf("still set aside: %v", w.server.flight.keys)
	}
	// A new day, and a change by an admin, are met by the next request.
	_, err := w.pool.Exec(t.Context(), `UPDATE key_days SET day = day - 1`)
	w.must(err)
	b.json(post, "/v1/completions", ask16+`}`).want(t, http.StatusOK)
	w.must(w.accounts.ChangeKey(t.Context(), k.ID, account.KeyChange{Name: k.Name, Scopes: k.Scopes, Limits: account.Limits{RPM: 60, TPM: 1000, DailyTokens: 20}, Actor: "system"}))
	if got := b.json(post, "/v1/completions", ask16+`}`).want(t, http.StatusTooManyRequests); !strings.Contains(got.body, "insufficient_quota") || got.head.Get("X-Ratelimit-Limit-Tokens") != "1000" {
		t.Errorf("%v %s", got.head, got.body)
	}
}

// TestUsageIsTheSum: per key, model and day, what is shown and sent as CSV is the sum of the usage fields of the answers.
func TestUsageIsTheSum(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleOwner)
	rng := rand.New(rand.NewPCG(7, 7))
	type total struct{ requests, prompt, cached, completion int64 }
	sums := map[string]*total{}
	var keys []account.Key
	var clients []*browser
	for _, name := range []string{"acme", "=cmd|' /C calc'!A0", "third"} {
		u, err := w.accounts.UserByEmail(t.Context(), "acme@example.com")
		var k account.Key
		var secret string
		if err != nil {
			k, secret = w.key("acme")
		} else {
			k, secret, err = w.accounts.CreateKey(t.Context(), account.NewKey{CustomerID: u.ID, Name: name, RPM: 1000, TPM: 1_000_000})
			w.must(err)
		}
		keys, clients, sums[k.ID] = append(keys, k), append(clients, w.withKey(secret)), new(total)
	}
	for i := range 40 {
		n := rng.IntN(len(keys))
		words := strings.Repeat("the fox ", rng.IntN(30)) + "sings"
		tokens := 1 + rng.IntN(12)
		var u openai.Usage
		switch i % 5 {
		case 0:
			var c openai.Chat
			clients[n].json(post, "/v1/chat/completions", fmt.Sprintf(`{"model":"default","n":%d,"max_tokens":%d,"messages":[{"role":"user","content":"%s"}]}`, 1+rng.IntN(3), tokens, words)).want(t, http.StatusOK).into(t, &c)
			u = c.Usage
		case 1:
			_, _, usage, _ := chatStream(t, clients[n].json(post, "/v1/chat/completions", fmt.Sprintf(`{"model":"default","stream":true,"stream_options":{"include_usage":true},"max_tokens":%d,"messages":[{"role":"user","content":"%s"}]}`, tokens, words)).want(t, http.StatusOK))
			u = *usage
		case 2:
			u = *clients[n].complete(fmt.Sprintf(`{"model":"default","prompt":["%s","%s"],"n":2,"best_of":3,"max_tokens":%d}`, words, words, tokens)).Usage
		case 3:
			u = *clients[n].complete(fmt.Sprintf(`{"model":"default","prompt":"%s","echo":true,"logprobs":1,"max_tokens":%d}`, words, rng.IntN(2)*tokens)).Usage
		case 4:
			for _, f := range frames(t, clients[n].json(post, "/v1/completions", fmt.Sprintf(`{"model":"default","prompt":"%s","stream":true,"stream_options":{"include_usage":true},"max_tokens":%d}`, words, tokens))) {
				var c openai.Completion
				if f != "[DONE]" {
					w.must(json.Unmarshal([]byte(f), &c))
				}
				if c.Usage != nil {
					u = *c.Usage
				}
			}
		}
		if u.TotalTokens != u.PromptTokens+u.CompletionTokens || u.PromptTokens == 0 {
			t.Fatalf("request %d: usage %+v", i, u)
		}
		s := sums[keys[n].ID]
		*s = total{s.requests + 1, s.prompt + int64(u.PromptTokens), s.cached + int64(u.Prompt.CachedTokens), s.completion + int64(u.CompletionTokens)}
	}
	cached := int64(0)
	table := func(body string) (out [][]string) {
		t.Helper()
		rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(body, "\ufeff"))).ReadAll()
		w.must(err)
		return rows[1:]
	}
	number := func(s string) int64 { n, err := strconv.ParseInt(s, 10, 64); w.must(err); return n }
	all := map[string]total{}
	for _, row := range table(ada.get("/admin/keys/usage.csv").want(t, http.StatusOK).body) {
		for _, cell := range row {
			if strings.HasPrefix(cell, "=") {
				t.Errorf("a spreadsheet would compute %q", cell)
			}
		}
		x := all[row[1]]
		all[row[1]] = total{x.requests + number(row[5]), x.prompt + number(row[6]), x.cached + number(row[7]), x.completion + number(row[8])}
		if row[3] != w.version.Name || row[4] != w.version.ID || number(row[9]) != number(row[6])+number(row[8]) || row[10] != "acme@example.com" {
			t.Errorf("row %q", row)
		}
	}
	for i, k := range keys {
		want := *sums[k.ID]
		cached += want.cached
		var days struct{ Usage []usageDay }
		clients[i].get("/api/v1/usage?days=2").want(t, http.StatusOK).into(t, &days)
		var shown, listed total
		for _, d := range days.Usage {
			shown = total{shown.requests + d.Requests, shown.prompt + d.PromptTokens, shown.cached + d.CachedTokens, shown.completion + d.CompletionTokens}
		}
		for _, row := range table(clients[i].get("/api/v1/usage.csv?days=2").want(t, http.StatusOK).body) {
			listed = total{listed.requests + number(row[5]), listed.prompt + number(row[6]), listed.cached + number(row[7]), listed.completion + number(row[8])}
		}
		if shown != want || listed != want || all[k.ID] != want {
			t.Errorf("key %s: answers %+v, usage %+v, its CSV %+v, everybody's %+v", k.ID, want, shown, listed, all[k.ID])
		}
		if n := w.count(`SELECT sum(tokens) FROM key_days WHERE key_id = $1`, k.ID); int64(n) != want.prompt+want.completion {
			t.Errorf("key %s: %d tokens towards its quota, %+v answered", k.ID, n, want)
		}
	}
	if cached == 0 {
		t.Error("nothing was cached: that sum says nothing")
	}
	clients[0].get("/api/v1/usage?days=0").want(t, http.StatusBadRequest)
	clients[0].get("/api/v1/usage.csv?days=x").want(t, http.StatusBadRequest)
}
