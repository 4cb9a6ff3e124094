package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
)

// complete asks for completions and reads the answer.
func (b *browser) complete(body string) openai.Completion {
	b.w.Helper()
	var c openai.Completion
	b.json(post, "/v1/completions", body).want(b.w, http.StatusOK).into(b.w, &c)
	return c
}

// logprobOf is the log-probability of a token after a prompt, by drawing exactly that token.
func (b *browser) logprobOf(token int, prompt string) float64 {
	b.w.Helper()
	c := b.complete(fmt.Sprintf(`{"model":"default","prompt":%s,"max_tokens":1,"temperature":0,"logprobs":0,"logit_bias":{"%d":100}}`, prompt, token))
	return *c.Choices[0].Logprobs.TokenLogprobs[0]
}

// TestEcho: the prompt's tokens come with the log-probabilities that the model gives them, in the whole answer and in the stream.
func TestEcho(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, secret := w.key("acme")
	b := w.withKey(secret)
	// By ids: the first token follows nothing. 7454 is "Once", 2402 " upon".
	c := b.complete(`{"model":"default","prompt":[7454,2402],"echo":true,"logprobs":2,"max_tokens":3,"temperature":0,"logit_bias":{"50256":-100}}`)
	x := c.Choices[0]
	lp := x.Logprobs
	if len(lp.Tokens) != 5 || lp.Tokens[0] != "Once" || lp.Tokens[1] != " upon" || !strings.HasPrefix(x.Text, "Once upon") || lp.TokenLogprobs[0] != nil || lp.TopLogprobs[0] != nil {
		t.Fatalf("echo of ids: %+v", x)
	}
	if got, want := *lp.TokenLogprobs[1], b.logprobOf(2402, "[7454]"); got != want {
		t.Errorf("\" upon\" after \"Once\" has %v in the echo, %v when it is drawn", got, want)
	}
	if lp.TextOffset[0] != 0 || lp.TextOffset[1] != 4 || lp.TextOffset[2] != 9 || len(lp.TopLogprobs[1]) < 2 || len(lp.TopLogprobs[1]) > 3 {
		t.Errorf("lists %+v", lp)
	}
	if c.Usage.PromptTokens != 2 || c.Usage.CompletionTokens != 3 {
		t.Errorf("usage %+v", c.Usage)
	}
	// By text: the token that begins a text stands in front, unseen, so that the first one shown has a log-probability.
	byText := b.complete(`{"model":"default","prompt":"Once upon","echo":true,"logprobs":0,"max_tokens":0}`)
	lp = byText.Choices[0].Logprobs
	if len(lp.Tokens) != 2 || lp.TokenLogprobs[0] == nil || *lp.TokenLogprobs[0] != b.logprobOf(7454, "[50256]") || *lp.TokenLogprobs[1] != b.logprobOf(2402, "[50256,7454]") {
		t.Errorf("echo of a text: %+v", lp)
	}
	// No tokens at all: scoring alone. Nothing is written, and nothing counted.
	if x := byText.Choices[0]; x.Text != "Once upon" || *x.FinishReason != "length" || byText.Usage.CompletionTokens != 0 {
		t.Errorf("max_tokens 0: %+v %+v", x, byText.Usage)
	}
	if n := w.count(`SELECT completion_tokens FROM usage WHERE key_id = $1 ORDER BY id DESC LIMIT 1 OFFSET 2`, k.ID); n != 0 {
		t.Errorf("max_tokens 0 counts %d", n)
	}
	full := strings.Repeat("7454,", 255) + "7454"
	if got := b.complete(`{"model":"default","prompt":[` + full + `],"echo":true,"logprobs":0,"max_tokens":0}`); len(got.Choices[0].Logprobs.Tokens) != 256 {
		t.Errorf("a prompt as long as the context: %d tokens", len(got.Choices[0].Logprobs.Tokens))
	}
	// The stream holds the same, choice by choice.
	for _, ask := range []string{`"prompt":["Once upon","a time"],"n":2,"logprobs":1`, `"prompt":[[7454,2402],[50256]],"logprobs":3`, `"prompt":"Once upon","logprobs":0,"max_tokens":0`, `"prompt":"Once upon","max_tokens":4`} {
		ask = `{"model":"default","echo":true,"seed":5,` + ask
		whole := b.complete(ask + `}`)
		texts, lists := map[int]string{}, map[int]*openai.CompletionLogprobs{}
		for _, f := range frames(t, b.json(post, "/v1/completions", ask+`,"stream":true}`)) {
			var chunk openai.Completion
			if f == "[DONE]" {
				break
			}
			w.must(json.Unmarshal([]byte(f), &chunk))
			for _, x := range chunk.Choices {
				texts[x.Index] += x.Text
				if l := x.Logprobs; l != nil {
					if lists[x.Index] == nil {
						lists[x.Index] = new(openai.CompletionLogprobs)
					}
					sum := lists[x.Index]
					sum.TextOffset, sum.Tokens = append(sum.TextOffset, l.TextOffset...), append(sum.Tokens, l.Tokens...)
					sum.TokenLogprobs, sum.TopLogprobs = append(sum.TokenLogprobs, l.TokenLogprobs...), append(sum.TopLogprobs, l.TopLogprobs...)
				}
			}
		}
		for i, x := range whole.Choices {
			a, _ := json.Marshal(x.Logprobs)
			c, _ := json.Marshal(lists[i])
			if texts[i] != x.Text || string(a) != string(c) {
				t.Errorf("%s, choice %d\nstreams %q %s\nwhole   %q %s", ask, i, texts[i], c, x.Text, a)
			}
		}
	}
}

// TestBestOf: of all that are drawn, those with the largest mean log-probability are given, and all are counted.
func TestBestOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, secret := w.key("acme")
	b := w.withKey(secret)
	const ask = `{"model":"default","prompt":["Once upon","The fox"],"max_tokens":6,"seed":3,"logprobs":0,"logit_bias":{"50256":-100}`
	all := b.complete(ask + `,"n":5}`)
	best := b.complete(ask + `,"n":2,"best_of":5}`)
	if len(all.Choices) != 10 || len(best.Choices) != 4 || best.Usage.CompletionTokens != 60 || all.Usage.CompletionTokens != 60 {
		t.Fatalf("%d and %d choices, usage %+v", len(all.Choices), len(best.Choices), best.Usage)
	}
	mean := func(x openai.CompletionChoice) (sum float64) {
		for _, lp := range x.Logprobs.TokenLogprobs {
			sum += *lp
		}
		return sum / float64(len(x.Logprobs.TokenLogprobs))
	}
	for p := range 2 {
		drawn := slices.Clone(all.Choices[5*p : 5*p+5])
		slices.SortStableFunc(drawn, func(x, y openai.CompletionChoice) int { return cmp.Compare(mean(y), mean(x)) })
		for i := range 2 {
			if got := best.Choices[2*p+i]; got.Text != drawn[i].Text || got.Index != 2*p+i {
				t.Errorf("prompt %d: the best %d is %q with %.3f, of all it is %q with %.3f", p, i, got.Text, mean(got), drawn[i].Text, mean(drawn[i]))
			}
		}
	}
	if n := w.count(`SELECT sum(completion_tokens) FROM usage WHERE key_id = $1`, k.ID); n != 120 {
		t.Errorf("%d tokens in the usage rows", n)
	}
	// best_of of n is no choice, and may be streamed.
	b.json(post, "/v1/completions", ask+`,"n":2,"best_of":2,"stream":true}`).want(t, http.StatusOK)
}

// TestReproduce: the same seed and fingerprint give the same choices to the byte, whatever else runs and however they are sent; other
// weights have another fingerprint. A version is pinned by its id.
func TestReproduce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme")
	b := w.withKey(secret)
	ask := `{"model":"` + w.version.ID + `","messages":[{"role":"user","content":"Hi"}],"max_tokens":24,"seed":-9007199254740993,"n":3,"logprobs":true,"top_logprobs":3,"top_p":0.9,"frequency_penalty":0.5,"presence_penalty":-0.25,"logit_bias":{"13":-5}}`
	choices := func(a answer) (string, string) {
		var c struct {
			Choices     json.RawMessage `json:"choices"`
			Fingerprint string          `json:"system_fingerprint"`
		}
		a.want(t, http.StatusOK).into(t, &c)
		return string(c.Choices), c.Fingerprint
	}
	first, print := choices(b.json(post, "/v1/chat/completions", ask))
	again := make(chan answer, 4)
	for i := range cap(again) {
		go func() {
			b.json(post, "/v1/chat/completions", fmt.Sprintf(`{"model":"default","messages":[{"role":"user","content":"Noise"}],"seed":%d,"n":4,"max_tokens":30}`, i))
			again <- b.json(post, "/v1/chat/completions", ask)
		}()
	}
	for range cap(again) {
		if text, p := choices(<-again); text != first || p != print {
			t.Errorf("the same request again:\n%s %s\n%s %s", first, print, text, p)
		}
	}
	next := w.version
	next.ID, next.Name, next.Digest = strings.Repeat("0", 8)+next.ID[8:], "next", "sha256:"+repeat("e")
	old, err := w.slot.Acquire()
	w.must(err)
	template := old.Template
	old.Release()
	w.slot.Set(tinyServed(t, next, template, 2))
	if _, other := choices(b.json(post, "/v1/chat/completions", `{"model":"default","messages":[{"role":"user","content":"Hi"}],"max_tokens":2}`)); other == print {
		t.Error("other weights have the same fingerprint")
	}
	if got := b.json(post, "/v1/chat/completions", ask).want(t, http.StatusNotFound); !strings.Contains(got.body, "model_not_found") {
		t.Errorf("a version that serves no more answers %s", got.body)
	}
}

// TestCachedTokens: what was not read again is in the usage, to customers alone.
func TestCachedTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, secret := w.key("acme")
	_, other := w.key("other")
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = fmt.Sprint(1000 + i)
	}
	ask := `{"model":"default","max_tokens":2,"prompt":[` + strings.Join(ids, ",") + `]}`
	cached := func(secret string) int { return w.withKey(secret).complete(ask).Usage.Prompt.CachedTokens }
	if n := cached(secret); n != 0 {
		t.Errorf("the first request has %d cached tokens", n)
	}
	n := cached(secret)
	if n < 64 || n > 99 {
		t.Errorf("the second request has %d cached tokens", n)
	}
	if n := cached(other); n != 0 {
		t.Errorf("another customer has %d", n)
	}
	if got := w.count(`SELECT sum(cached_tokens) FROM usage WHERE key_id = $1`, k.ID); got != n {
		t.Errorf("usage rows have %d, the answers %d", got, n)
	}
	_, _, usage, _ := chatStream(t, w.withKey(secret).json(post, "/v1/chat/completions", `{"model":"default","stream":true,"stream_options":{"include_usage":true},"max_tokens":2,"messages":[{"role":"user","content":"`+strings.Repeat("a fox ", 40)+`"}]}`))
	if usage == nil || usage.Prompt.CachedTokens != 0 {
		t.Errorf("usage of a stream %+v", usage)
	}
}

// brokenServing panics.
type brokenServing struct{}

func (brokenServing) Acquire() (*Served, error)              { panic("a secret of the inside") }
func (brokenServing) AcquireVersion(string) (*Served, error) { panic("a secret of the inside") }
func (brokenServing) AcquireFor(string) (*Served, Counted, error) {
	panic("a secret of the inside")
}
func (brokenServing) Versions() []Version { panic("a secret of the inside") }

// TestPinned: a version that served before goes on answering who pins it, as long as it is kept, and never anybody else.
func TestPinned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slot.Keep = 1
	_, secret := w.key("acme")
	b := w.withKey(secret)
	old, err := w.slot.Acquire()
	w.must(err)
	template := old.Template
	old.Release()
	version := func(n string) registry.Version {
		v := w.version
		v.ID, v.Name, v.Digest = strings.Repeat(n, 8)+v.ID[8:], "next-"+n, "sha256:"+repeat(n)
		return v
	}
	second, third := tinyServed(t, version("2"), template, 2), tinyServed(t, version("3"), template, 3)
	answers := func(model string) string {
		t.Helper()
		a := b.json(post, "/v1/completions", `{"model":"`+model+`","prompt":[1,2],"max_tokens":4,"seed":1}`)
		if a.code == http.StatusNotFound && strings.Contains(a.body, "model_not_found") {
			return "none"
		}
		return a.want(t, http.StatusOK).head.Get(versionHeader)
	}
	check := func(want map[string]string) {
		t.Helper()
		for model, version := range want {
			if got := answers(model); got != version {
				t.Errorf("%s is answered by %s, want %s", model, got, version)
			}
		}
	}
	w.slot.Set(second)
	check(map[string]string{"default": second.VersionID, "next-2": second.VersionID, w.version.ID: w.version.ID, w.version.Name: w.version.ID, third.VersionID: "none"})
	var models openai.ModelList
	b.get("/v1/models").want(t, http.StatusOK).into(t, &models)
	if len(models.Data) != 5 || models.Data[1].ID != "next-2" || models.Data[3].ID != w.version.Name {
		t.Errorf("models %+v", models.Data)
	}
	w.slot.Set(third)
	check(map[string]string{"default": third.VersionID, second.VersionID: second.VersionID, w.version.ID: "none"})
	if old.acquire() {
		t.Error("one that is no longer kept can still be acquired")
	}
	again := tinyServed(t, version("2"), template, 2) // a rollback
	w.slot.Set(again)
	check(map[string]string{"default": second.VersionID, second.VersionID: second.VersionID, third.VersionID: third.VersionID})
	if second.acquire() {
		t.Error("a version is held twice")
	}
	w.slot.Set(nil)
	for _, s := range []*Served{old, second, third, again} {
		if n := s.refs.Load(); n != 0 {
			t.Errorf("%s has %d holders left", s.Name, n)
		}
	}
	b.get("/v1/models").want(t, http.StatusServiceUnavailable)
	b.json(post, "/v1/completions", `{"model":"next-2","prompt":"x"}`).want(t, http.StatusServiceUnavailable)
}

// TestErrorObject: whatever goes wrong under /v1, the answer is OpenAI's object with all four keys, a request id and a time.
func TestErrorObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme")
	_, narrow := w.key("narrow", func(n *account.NewKey) { n.Scopes = []string{account.ScopeReward} })
	_, slow := w.key("slow", func(n *account.NewKey) { n.RPM = 1 })
	w.withKey(slow).get("/v1/models").want(t, http.StatusOK)
	const chat = `{"model":"default","messages":[{"role":"user","content":"Hi"}]`
	check := func(name string, a answer, code int, kind, what string) {
		t.Helper()
		var e struct{ Error map[string]any }
		a.into(t, &e)
		if a.code != code || e.Error["type"] != kind || fmt.Sprint(e.Error["code"]) != what || len(e.Error) != 4 || e.Error["message"] == "" {
			t.Errorf("%s: %d %s", name, a.code, a.body)
		}
		for _, k := range []string{"message", "type", "param", "code"} {
			if _, ok := e.Error[k]; !ok {
				t.Errorf("%s: no %s in %s", name, k, a.body)
			}
		}
		if a.head.Get("Content-Type") != "application/json" || len(a.head.Get("X-Request-Id")) != 36 || a.head.Get("Openai-Processing-Ms") == "" {
			t.Errorf("%s: headers %v", name, a.head)
		}
		if strings.Contains(a.body, "inside") {
			t.Errorf("%s tells of the inside", name)
		}
		if code == 429 || code == 503 {
			if a.head.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", name)
			}
		}
	}
	b := w.withKey(secret)
	const invalid = "invalid_request_error"
	for _, p := range []string{"/v1", "/v1/", "/v1/embeddings", "/v1/chat", "/v1/chat/completions/x/y", "/v1/models/a/b"} {
		for _, method := range []string{get, post, put, http.MethodDelete, http.MethodPatch} {
			check(method+" "+p, b.do(method, p, "", ""), 404, invalid, "unknown_url")
		}
	}
	for p, methods := range map[string][]string{"/v1/models": {post, put, http.MethodDelete}, "/v1/completions": {get, put}, "/v1/chat/completions": {put, http.MethodDelete}, "/v1/chat/completions/chatcmpl-1": {put, http.MethodPatch}} {
		for _, method := range methods {
			a := b.do(method, p, "", "")
			check(method+" "+p, a, 405, invalid, "method_not_supported")
			if a.head.Get("Allow") == "" {
				t.Errorf("%s %s: no Allow", method, p)
			}
		}
	}
	check("no key", w.anon().get("/v1/models"), 401, invalid, "invalid_api_key")
	check("a key of another scope", w.withKey(narrow).get("/v1/models"), 403, invalid, "insufficient_permissions")
	check("cross-site", b.json(post, "/v1/completions", `{}`, "Origin", "https://evil.example"), 403, invalid, "insufficient_permissions")
	check("not JSON", b.json(post, "/v1/completions", `{`), 400, invalid, "<nil>")
	check("not called JSON", b.do(post, "/v1/completions", "text/plain", chat+"}"), 415, invalid, "<nil>")
	check("too large", b.json(post, "/v1/chat/completions", chat+`,"user":"`+strings.Repeat("x", 1<<20)+`"}`), 413, invalid, "request_too_large")
	check("unknown model", b.get("/v1/models/nope"), 404, invalid, "model_not_found")
	check("unknown stored completion", b.get("/v1/chat/completions/chatcmpl-nope"), 404, invalid, "not_found")
	check("too long", b.json(post, "/v1/completions", `{"model":"default","prompt":"`+strings.Repeat("word ", 400)+`"}`), 400, invalid, "context_length_exceeded")
	check("too many requests", w.withKey(slow).get("/v1/models"), 429, "requests", "rate_limit_exceeded")
	w.server.Serving = brokenServing{}
	check("panic", b.json(post, "/v1/chat/completions", chat+"}"), 500, "server_error", "<nil>")
	w.server.Serving = new(Slot)
	check("nothing serves", b.json(post, "/v1/chat/completions", chat+"}"), 503, "server_error", "overloaded")
	w.pool.Close()
	check("no database", b.get("/v1/models"), 500, "server_error", "<nil>")
}

// TestHeadersOfAnswers: what clients look at is on whole answers and on streams.
func TestHeadersOfAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme", func(n *account.NewKey) { n.RPM, n.TPM = 100, 10_000 })
	for _, body := range []string{`{"model":"default","messages":[{"role":"user","content":"Hi"}],"max_tokens":2}`, `{"model":"default","messages":[{"role":"user","content":"Hi"}],"max_tokens":2,"stream":true}`} {
		got := w.withKey(secret).json(post, "/v1/chat/completions", body).want(t, http.StatusOK)
		for name, want := range map[string]string{versionHeader: w.version.ID, "X-Ratelimit-Limit-Requests": "100", "X-Ratelimit-Limit-Tokens": "10000"} {
			if got.head.Get(name) != want {
				t.Errorf("%s is %q, want %q", name, got.head.Get(name), want)
			}
		}
		for _, name := range []string{"X-Request-Id", "Openai-Processing-Ms", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"} {
			if got.head.Get(name) == "" {
				t.Errorf("no %s", name)
			}
		}
	}
}
