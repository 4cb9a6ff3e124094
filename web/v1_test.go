package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
)

// frames splits a stream into its data.
func frames(t *testing.T, a answer) []string {
	t.Helper()
	if kind := a.head.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("a stream of %s: %s", kind, a.body)
	}
	var out []string
	for _, f := range strings.Split(strings.TrimSuffix(a.body, "\n\n"), "\n\n") {
		data, ok := strings.CutPrefix(f, "data: ")
		if !ok || strings.Contains(data, "\n") {
			t.Fatalf("frame %q", f)
		}
		out = append(out, data)
	}
	return out
}

// chatStream reads a whole stream and puts the choices together.
func chatStream(t *testing.T, a answer) (texts map[int]string, finishes map[int]string, usage *openai.Usage, chunks []openai.ChatChunk) {
	t.Helper()
	texts, finishes = map[int]string{}, map[int]string{}
	list := frames(t, a)
	if list[len(list)-1] != "[DONE]" {
		t.Fatalf("stream ends with %s", list[len(list)-1])
	}
	for _, f := range list[:len(list)-1] {
		var c openai.ChatChunk
		if err := json.Unmarshal([]byte(f), &c); err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, c)
		if c.Usage != nil {
			usage = c.Usage
		}
		for _, x := range c.Choices {
			if x.Delta.Content != nil {
				if !utf8.ValidString(*x.Delta.Content) || strings.Contains(*x.Delta.Content, "\ufffd\ufffd\ufffd") {
					t.Errorf("broken UTF-8 in %s", f)
				}
				texts[x.Index] += *x.Delta.Content
			}
			if x.FinishReason != nil {
				finishes[x.Index] = *x.FinishReason
			}
		}
	}
	return texts, finishes, usage, chunks
}

func TestChat(t *testing.T) {
	w := newWorld(t)
	k, secret := w.key("acme")
	b := w.withKey(secret)
	ask := `{"model":"default","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"Hi"}]}],"max_tokens":40,"seed":7,"n":3`
	got := b.json(post, "/v1/chat/completions", ask+`,"logprobs":true,"top_logprobs":2,"unknown_field":1}`).want(t, http.StatusOK)
	var whole openai.Chat
	got.into(t, &whole)
	if got.head.Get(versionHeader) != w.version.ID || whole.Model != w.version.Name || !strings.HasPrefix(whole.SystemFingerprint, "fp_") || whole.Object != "chat.completion" {
		t.Errorf("answer %+v %v", whole, got.head)
	}
	tokens := 0
	for i, c := range whole.Choices {
		if c.Index != i || c.Message.Role != "assistant" || c.FinishReason != "length" && c.FinishReason != "stop" {
			t.Errorf("choice %+v", c)
		}
		tokens += len(c.Logprobs.Content)
		for _, lp := range c.Logprobs.Content {
			if lp.Logprob > 0 || len(lp.TopLogprobs) != 2 || lp.TopLogprobs[0].Logprob < lp.TopLogprobs[1].Logprob {
				t.Fatalf("log-probability %+v", lp)
			}
		}
	}
	if len(whole.Choices) != 3 || whole.Choices[0].Message.Content == whole.Choices[1].Message.Content {
		t.Errorf("choices are not drawn apart: %+v", whole.Choices)
	}
	if u := whole.Usage; u.CompletionTokens != tokens || u.TotalTokens != u.PromptTokens+u.CompletionTokens || u.PromptTokens < 5 {
		t.Errorf("usage %+v for %d tokens", u, tokens)
	}
	if !strings.Contains(got.body, `"refusal":null`) {
		t.Error("message without refusal")
	}
	// The same seed streams the same text.
	texts, finishes, usage, chunks := chatStream(t, b.json(post, "/v1/chat/completions", ask+`,"stream":true,"stream_options":{"include_usage":true}}`).want(t, http.StatusOK))
	for i, c := range whole.Choices {
		if texts[i] != c.Message.Content || finishes[i] != c.FinishReason {
			t.Errorf("choice %d streams %q (%s), whole %q (%s)", i, texts[i], finishes[i], c.Message.Content, c.FinishReason)
		}
	}
	if usage == nil || *usage != whole.Usage || len(chunks[len(chunks)-1].Choices) != 0 {
		t.Errorf("usage of the stream %+v, of the whole %+v", usage, whole.Usage)
	}
	first := map[int]bool{}
	for _, c := range chunks {
		if c.ID != chunks[0].ID || c.Created != chunks[0].Created || c.Object != "chat.completion.chunk" {
			t.Errorf("chunk %+v", c)
		}
		for _, x := range c.Choices {
			if first[x.Index] != (x.Delta.Role == "") {
				t.Errorf("role in %+v", x)
			}
			first[x.Index] = true
		}
	}
	// Usage rows are the sum of the answers' usage.
	if n := w.count(`SELECT sum(completion_tokens) FROM usage WHERE key_id = $1`, k.ID); n != 2*whole.Usage.CompletionTokens {
		t.Errorf("usage rows sum to %d", n)
	}
	var days struct {
		Usage []usageDay `json:"usage"`
	}
	b.get("/api/v1/usage").want(t, http.StatusOK).into(t, &days)
	if len(days.Usage) != 1 || days.Usage[0].Requests != 2 || days.Usage[0].CompletionTokens != int64(2*whole.Usage.CompletionTokens) {
		t.Errorf("usage by day %+v", days)
	}
	// Another seed, another text; greedy is the same whatever the seed.
	var x, y openai.Chat
	greedy := `{"model":"tiny-sft","messages":[{"role":"user","content":"Hi"}],"max_completion_tokens":10,"temperature":0}`
	b.json(post, "/v1/chat/completions", greedy).into(t, &x)
	b.json(post, "/v1/chat/completions", greedy).into(t, &y)
	if x.Choices[0].Message.Content != y.Choices[0].Message.Content || x.Usage.CompletionTokens != 10 {
		t.Errorf("greedy: %+v %+v", x, y)
	}
	// A stop text ends an answer before it.
	content := x.Choices[0].Message.Content
	if stop := content[len(content)/2:]; stop != "" {
		raw, _ := json.Marshal([]string{stop})
		b.json(post, "/v1/chat/completions", strings.TrimSuffix(greedy, "}")+`,"stop":`+string(raw)+`}`).into(t, &y)
		if y.Choices[0].FinishReason != "stop" || y.Choices[0].Message.Content != strings.Split(content, stop)[0] {
			t.Errorf("stop at %q of %q gives %+v", stop, content, y.Choices[0])
		}
	}
}

func TestCompletions(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key("acme")
	b := w.withKey(secret)
	var c openai.Completion
	got := b.json(post, "/v1/completions", `{"model":"default","prompt":["Once upon","a time"],"n":2,"max_tokens":6,"logprobs":3,"seed":1}`).want(t, http.StatusOK)
	got.into(t, &c)
	if c.Object != "text_completion" || len(c.Choices) != 4 || c.Usage.CompletionTokens > 24 || c.Choices[3].Index != 3 {
		t.Fatalf("%s", got.body)
	}
	for _, x := range c.Choices {
		lp := x.Logprobs
		if n := len(lp.Tokens); n != len(lp.TokenLogprobs) || n != len(lp.TextOffset) || n != len(lp.TopLogprobs) || n == 0 {
			t.Errorf("lists of %+v", lp)
		}
		for i, top := range lp.TopLogprobs {
			if _, ok := top[lp.Tokens[i]]; !ok || len(top) < 3 {
				t.Errorf("top log-probabilities %v of %q", top, lp.Tokens[i])
			}
		}
	}
	// Ids and text are the same prompt (text begins behind the start token); no max_tokens means 16; no prompt is the beginning of a text.
	b.json(post, "/v1/completions", `{"model":"default","prompt":[50256,7454,2402],"temperature":0}`).into(t, &c)
	byIDs := c.Choices[0].Text
	b.json(post, "/v1/completions", `{"model":"default","prompt":"Once upon","temperature":0}`).into(t, &c)
	if c.Choices[0].Text != byIDs || c.Usage.CompletionTokens > 16 || c.Usage.PromptTokens != 3 {
		t.Errorf("text %q, ids %q, %+v", c.Choices[0].Text, byIDs, c.Usage)
	}
	b.json(post, "/v1/completions", `{"model":"default"}`).want(t, http.StatusOK)
	b.json(post, "/v1/completions", `{"model":"default","prompt":""}`).want(t, http.StatusOK)
	b.json(post, "/v1/completions", `{"model":"default","prompt":"Once upon","echo":true,"temperature":0}`).into(t, &c)
	if c.Choices[0].Text != "Once upon"+byIDs {
		t.Errorf("echo gives %q", c.Choices[0].Text)
	}
	text := ""
	for _, f := range frames(t, b.json(post, "/v1/completions", `{"model":"default","prompt":"Once upon","stream":true,"temperature":0,"logprobs":0}`)) {
		if f == "[DONE]" {
			break
		}
		var chunk openai.Completion
		if err := json.Unmarshal([]byte(f), &chunk); err != nil || chunk.Object != "text_completion" {
			t.Fatalf("%v %s", err, f)
		}
		for _, x := range chunk.Choices {
			text += x.Text
		}
	}
	if text != byIDs {
		t.Errorf("streams %q, whole %q", text, byIDs)
	}
	// A bias of -100 keeps a token out.
	b.json(post, "/v1/completions", `{"model":"default","prompt":"Once upon","temperature":0,"max_tokens":1,"logprobs":1}`).into(t, &c)
	tok := c.Choices[0].Logprobs.Tokens[0]
	served, _ := w.slot.Acquire()
	ids := served.Tokenizer.Encode(tok)
	served.Release()
	if len(ids) == 1 {
		raw, _ := json.Marshal(map[int32]int{ids[0]: -100})
		b.json(post, "/v1/completions", `{"model":"default","prompt":"Once upon","temperature":0,"max_tokens":1,"logprobs":1,"logit_bias":`+string(raw)+`}`).into(t, &c)
		if c.Choices[0].Logprobs.Tokens[0] == tok {
			t.Errorf("bias did not keep %q out", tok)
		}
	}
}

// TestConsent: a prompt joins the labeling pool exactly where key and request consent, with the usage row or not at all.
func TestConsent(t *testing.T) {
	broken := false
	w := newWorld(t)
	join := w.server.OnPrompt
	w.server.OnPrompt = func(ctx context.Context, tx pgx.Tx, key account.Key, p Prompt) error {
		if broken {
			return errors.New("the pool is full of water")
		}
		return join(ctx, tx, key, p)
	}
	_, no := w.key("private")
	yes, secret := w.key("open", func(n *account.NewKey) { n.TrainingOptIn = true })
	ask := func(secret, text, more string) {
		t.Helper()
		raw, _ := json.Marshal(text)
		w.withKey(secret).json(post, "/v1/chat/completions", `{"model":"default","max_tokens":2,"messages":[{"role":"user","content":`+string(raw)+`}]`+more+`}`).want(t, http.StatusOK)
	}
	pool := func() int { return w.count(`SELECT count(*) FROM prompts`) }
	ask(no, "Nobody may train on this", "")
	ask(secret, "Not this one", `,"store":false`)
	if n := pool(); n != 0 {
		t.Fatalf("%d prompts without consent", n)
	}
	ask(secret, "This one", "")
	ask(secret, "This one", `,"stream":true`)
	if n := w.count(`SELECT count(*) FROM prompts WHERE customer_id = $1 AND origin = 'api'`, yes.CustomerID); n != 1 || pool() != 1 {
		t.Errorf("%d prompts of %d", n, pool())
	}
	w.withKey(secret).json(post, "/v1/completions", `{"model":"default","prompt":"A completion's prompt"}`).want(t, http.StatusOK)
	w.withKey(secret).json(post, "/v1/completions", `{"model":"default"}`).want(t, http.StatusOK) // nothing to rank
	if n := pool(); n != 2 {
		t.Errorf("%d prompts", n)
	}
	broken = true
	before := w.count(`SELECT count(*) FROM usage`)
	ask(secret, "A prompt that the pool cannot take", "")
	if n := w.count(`SELECT count(*) FROM usage`); n != before+1 || pool() != 2 {
		t.Errorf("usage %d after %d, prompts %d", n, before, pool())
	}
	if !strings.Contains(w.logs.String(), "prompt not taken") {
		t.Error("nobody was told")
	}
}

// TestPromotionKeepsStreams: a stream under way ends on the weights it began with; the next request meets the new ones; the
// old engine is closed when its last request is done. No request fails.
func TestPromotionKeepsStreams(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key("acme")
	v := w.register(registry.Version{Kind: registry.Policy, Name: "next", Digest: "sha256:" + repeat("f"), Parents: []string{w.version.ID}})
	old, err := w.slot.Acquire()
	w.must(err)
	old.Release()
	ask := func(stream bool) *http.Request {
		body := `{"model":"default","messages":[{"role":"user","content":"Hi"}],"max_tokens":200,"logit_bias":{"50256":-100},"stream":` + map[bool]string{true: "true", false: "false"}[stream] + `}`
		req, err := http.NewRequestWithContext(t.Context(), post, w.http.URL+"/v1/chat/completions", strings.NewReader(body))
		w.must(err)
		req.Header.Set("Authorization", "Bearer "+secret)
		req.Header.Set("Content-Type", "application/json")
		return req
	}
	res, err := http.DefaultClient.Do(ask(true))
	w.must(err)
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	_, err = lines.ReadString('\n')
	w.must(err)
	w.must(w.loop.Promote(t.Context(), v.ID, "system", ""))
	swapped := make(chan struct{})
	go func() { // as the program's keeper does; it may have to wait for the engine
		defer close(swapped)
		w.slot.Set(tinyServed(t, v, old.Template, 2))
	}()
	<-swapped
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			res, err := http.DefaultClient.Do(ask(false))
			if err != nil || res.StatusCode != http.StatusOK || res.Header.Get(versionHeader) != v.ID {
				t.Errorf("%v %v", err, res)
				return
			}
			res.Body.Close()
		}()
	}
	rest, text := "", 0
	for {
		line, err := lines.ReadString('\n')
		rest += line
		text++
		if err != nil {
			break
		}
	}
	wg.Wait()
	if !strings.HasSuffix(rest, "data: [DONE]\n\n") || res.Header.Get(versionHeader) != w.version.ID || text < 200 {
		t.Errorf("the stream under way was cut after %d lines: %.200s", text, rest[max(0, len(rest)-200):])
	}
	if old.acquire() {
		t.Error("the old policy can still be acquired")
	}
}

// TestSlotRace swaps while many acquire: no engine is used after it was closed, none is left open.
func TestSlotRace(t *testing.T) {
	var slot Slot
	if _, err := slot.Acquire(); !errors.Is(err, ErrNotServing) {
		t.Errorf("an empty slot gives %v", err)
	}
	var list []*Served
	for i := range 5 {
		list = append(list, tinyServed(t, registry.Version{Name: "v"}, nil, uint64(i)))
	}
	slot.Set(list[0])
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				s, err := slot.Acquire()
				if err != nil || s.refs.Load() < 1 {
					t.Errorf("%v", err)
					return
				}
				s.Release()
			}
		}()
	}
	for _, s := range list[1:] {
		time.Sleep(2 * time.Millisecond)
		slot.Set(s)
	}
	close(stop)
	wg.Wait()
	slot.Set(nil)
	for i, s := range list {
		if n := s.refs.Load(); n != 0 {
			t.Errorf("policy %d has %d holders left", i, n)
		}
	}
}

// TestNotServing: without a policy, and with a database that is away, the answer says so and is worth trying again.
func TestNotServing(t *testing.T) {
	w := newWorld(t, func(_ *Config, d *Deps) {
		d.Ping = func(context.Context) error { return errors.New("no") }
	})
	if got := w.anon().get("/readyz").want(t, http.StatusServiceUnavailable); !strings.Contains(got.body, "database") {
		t.Error(got.body)
	}
	w.anon().get("/healthz").want(t, http.StatusOK)
	_, secret := w.key("acme")
	w.slot.Set(nil)
	got := w.withKey(secret).json(post, "/v1/chat/completions", `{"model":"default","messages":[{"role":"user","content":"Hi"}]}`).want(t, http.StatusServiceUnavailable)
	if got.head.Get("Retry-After") == "" || !strings.Contains(got.body, `"overloaded"`) {
		t.Errorf("%v %s", got.head, got.body)
	}
	ada := w.as("ada", account.RoleOwner)
	ada.get("/chat").want(t, http.StatusOK)
	w.pool.Close()
	for _, p := range []string{"/admin", "/label"} {
		if got := ada.get(p); got.code != http.StatusServiceUnavailable && got.code != http.StatusInternalServerError {
			t.Errorf("%s without a database: %d", p, got.code)
		}
	}
	if got := w.withKey(secret).get("/v1/models"); strings.Contains(got.body, "closed pool") {
		t.Error(got.body)
	}
}

// TestErrorsOfRooms: each sentinel has its status; nothing falls through.
func TestErrorsOfRooms(t *testing.T) {
	for err, code := range roomErrors {
		if p, known := problemOf(err); p.Status != code || !known {
			t.Errorf("%v: %d %v", err, p.Status, known)
		}
	}
	if p, known := problemOf(errors.New("secret inside")); p.Status != 500 || known || strings.Contains(p.Error(), "secret") {
		t.Errorf("%+v", p)
	}
	if !slices.Contains([]int{499}, func() int { p, _ := problemOf(context.Canceled); return p.Status }()) {
		t.Error("a client that has gone is an error of ours")
	}
}
