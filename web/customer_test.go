package web

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/web/account"
)

// apiCustomer is somebody with a browser, a key, and OpenAI's own client.
type apiCustomer struct {
	*browser
	secret string
	openai sdk.Client
}

// client is OpenAI's own, of which only address and key are set.
func (w *world) client(secret string, retries int) sdk.Client {
	return sdk.NewClient(option.WithBaseURL(w.http.URL+"/v1"), option.WithAPIKey(secret), option.WithMaxRetries(retries))
}

// TestCustomer walks the ways of an API customer on one server, as that one would: by OpenAI's own client, and by the pages of the
// account. The chat page is walked in a browser by TestChatPage and its neighbours; each clause in its depth has a test of its own.
func TestCustomer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("acme", account.RoleCustomer)
	secret := b.ownKey("shop")
	c := apiCustomer{b, secret, w.client(secret, 0)}
	for _, j := range []struct {
		name string
		walk func(*testing.T, *world, apiCustomer)
	}{
		{"1 drop-in", dropIn}, {"2 keys", keyLife}, {"3 stream", streamed}, {"4 limits", limited}, {"5 errors", wrong}, {"6 feedback", teaches}, {"7 usage", sums},
		{"9 consent", consents}, {"10 reproduce", reproduces},
	} {
		t.Run(j.name, func(t *testing.T) {
			here, b := *w, *c.browser
			here.T, b.w = t, &here
			j.walk(t, &here, apiCustomer{&b, c.secret, c.openai})
		})
	}
}

// ownKey makes a key that may ask and say what answers were worth, and lets what comes by it be trained on.
func (b *browser) ownKey(name string) string {
	b.w.Helper()
	fields := url.Values{"name": {name}, "scopes": {account.ScopeCompletions, account.ScopeFeedback}, "training": {"yes"}}
	return secretOnPage.FindString(b.do(post, "/account/keys", "application/x-www-form-urlencoded", fields.Encode()).want(b.w, http.StatusOK).body)
}

func talking(text string, tokens int64) sdk.ChatCompletionNewParams {
	return sdk.ChatCompletionNewParams{Model: "default", MaxTokens: sdk.Int(tokens), Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage(text)}, LogitBias: map[string]int64{"50256": -100}}
}

// dropIn: models, chat, completions, a stream, n, stop, log-probabilities and a seed, with nothing but address and key changed.
func dropIn(t *testing.T, w *world, c apiCustomer) {
	models, err := c.openai.Models.List(t.Context())
	w.must(err)
	if len(models.Data) != 3 || models.Data[0].ID != "default" {
		t.Errorf("%+v", models.Data)
	}
	p := talking("Tell a story", 12)
	p.N, p.Seed, p.Logprobs, p.TopLogprobs = sdk.Int(2), sdk.Int(4), sdk.Bool(true), sdk.Int(2)
	p.Stop = sdk.ChatCompletionNewParamsStopUnion{OfString: sdk.String("zzzz")}
	chat, err := c.openai.Chat.Completions.New(t.Context(), p)
	w.must(err)
	stream, acc := c.openai.Chat.Completions.NewStreaming(t.Context(), p), sdk.ChatCompletionAccumulator{}
	for stream.Next() {
		acc.AddChunk(stream.Current())
	}
	w.must(stream.Err())
	for i, x := range chat.Choices {
		if len(x.Logprobs.Content) != 12 || acc.Choices[i].Message.Content != x.Message.Content {
			t.Errorf("choice %d: %q streams, %q whole", i, acc.Choices[i].Message.Content, x.Message.Content)
		}
	}
	old, err := c.openai.Completions.New(t.Context(), sdk.CompletionNewParams{Model: "default", Prompt: sdk.CompletionNewParamsPromptUnion{OfString: sdk.String("Once")}, MaxTokens: sdk.Int(3)})
	w.must(err)
	if len(old.Choices) != 1 || old.Usage.CompletionTokens > 3 {
		t.Errorf("%+v", old)
	}
}

// keyLife: a key is shown once, kept as a digest, bound to scopes, ends in time, overlaps with the one that takes its place, and is
// dead with the request after it is revoked.
func keyLife(t *testing.T, w *world, c apiCustomer) {
	first := secretOnPage.FindString(c.form("/account/keys", "name", "short-lived", "scopes", "completions", "days", "30").want(t, http.StatusOK).body)
	page := c.get("/account/keys").want(t, http.StatusOK).body
	if strings.Contains(page, first) || !strings.Contains(page, first[:17]) {
		t.Error("the key is shown twice, or its beginning not at all")
	}
	if n := w.count(`SELECT count(*) FROM api_keys k WHERE k::text LIKE '%' || $1 || '%'`, first[17:]); n != 0 {
		t.Error("the secret is kept")
	}
	if n := w.count(`SELECT count(*) FROM api_keys WHERE name = 'short-lived' AND expires_at BETWEEN now() + interval '29 days' AND now() + interval '31 days'`); n != 1 {
		t.Error("the key does not end in 30 days")
	}
	w.withKey(first).json(post, "/v1/chat/completions/chatcmpl-x/feedback", `{"rating":1}`).want(t, http.StatusForbidden)
	second := secretOnPage.FindString(c.form("/account/keys/"+first[8:16]+"/rotate", "overlap", "1").want(t, http.StatusOK).body)
	for _, secret := range []string{first, second} {
		w.withKey(secret).get("/v1/models").want(t, http.StatusOK)
	}
	for _, secret := range []string{first, second} {
		c.form("/account/keys/"+secret[8:16]+"/revoke").want(t, http.StatusSeeOther)
		w.withKey(secret).get("/v1/models").want(t, http.StatusUnauthorized)
	}
}

// streamed: whole characters, an end, and no place held for who has gone.
func streamed(t *testing.T, w *world, c apiCustomer) {
	p := talking("說一個故事", 60)
	stream := c.openai.Chat.Completions.NewStreaming(t.Context(), p)
	events := 0
	for ; stream.Next(); events++ {
		for _, x := range stream.Current().Choices {
			if !utf8.ValidString(x.Delta.Content) {
				t.Errorf("a broken character: %q", x.Delta.Content)
			}
		}
	}
	w.must(stream.Err())
	if events < 10 {
		t.Errorf("%d events of 60 tokens", events)
	}
	got := w.withKey(c.secret).json(post, "/v1/chat/completions", asks("Hi", `,"stream":true`)).want(t, http.StatusOK)
	if !strings.HasSuffix(got.body, "data: [DONE]\n\n") {
		t.Errorf("ends %q", got.body[max(0, len(got.body)-80):])
	}
	left := c.openai.Chat.Completions.NewStreaming(t.Context(), talking("Tell a long story", 200))
	left.Next()
	left.Close()
	for end := time.Now().Add(10 * time.Second); w.engineStats().Active > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the place of who left is held")
		}
	}
}

// limited: what a key may not do is refused with a time to come again, before any work; another key is not touched.
func limited(t *testing.T, w *world, c apiCustomer) {
	_, secret := w.key("small", func(n *account.NewKey) { n.RPM, n.TPM = 3, 100 })
	before, client := w.engineStats().Requests, w.client(secret, 0)
	var raw *http.Response
	_, err := client.Chat.Completions.New(t.Context(), talking("Hi", 200), option.WithResponseInto(&raw))
	if e := (*sdk.Error)(nil); !errors.As(err, &e) || e.StatusCode != http.StatusTooManyRequests || raw.Header.Get("Retry-After") == "" || raw.Header.Get("X-Ratelimit-Remaining-Tokens") != "100" {
		t.Errorf("%v", err)
	}
	for range 2 {
		_, err = client.Models.List(t.Context())
		w.must(err)
	}
	if _, err := client.Models.List(t.Context()); err == nil {
		t.Error("the fourth of three requests")
	}
	if n := w.engineStats().Requests; n != before {
		t.Errorf("refused requests did work: %d", n-before)
	}
	_, err = c.openai.Chat.Completions.New(t.Context(), talking("Hi", 2))
	w.must(err)
}

// wrong: every error is OpenAI's object and says what to mend; a server with too much to do says so at once, and when to come again.
func wrong(t *testing.T, w *world, c apiCustomer) {
	cold := talking("Hi", 5)
	cold.Temperature = sdk.Float(9)
	nobody := talking("Hi", 5)
	nobody.Model = "nobody"
	for what, want := range map[string]struct {
		p           sdk.ChatCompletionNewParams
		code        int
		name, param string
	}{
		"another model": {nobody, 404, "model_not_found", "model"}, "too long": {talking("Hi", 5000), 400, "context_length_exceeded", "messages"}, "temperature": {cold, 400, "", "temperature"},
	} {
		_, err := c.openai.Chat.Completions.New(t.Context(), want.p)
		if e := (*sdk.Error)(nil); !errors.As(err, &e) || e.StatusCode != want.code || want.name != "" && e.Code != want.name || e.Param != want.param || e.Message == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.withKey(c.secret).get("/v1/nothing").want(t, http.StatusNotFound)
	// An engine with one place, held by somebody who writes for long.
	small := w.small()
	long := talking("A long one", 500)
	long.N = sdk.Int(8)
	busy := c.openai.Chat.Completions.NewStreaming(t.Context(), long)
	if !busy.Next() {
		t.Fatal(busy.Err())
	}
	rows := w.count(`SELECT count(*) FROM usage`)
	var raw *http.Response
	_, err := c.openai.Chat.Completions.New(t.Context(), talking("Hi", 5), option.WithResponseInto(&raw))
	if e := (*sdk.Error)(nil); !errors.As(err, &e) || e.StatusCode != http.StatusServiceUnavailable || raw.Header.Get("Retry-After") == "" || raw.Header.Get("Retry-After") == "0" {
		t.Errorf("%v", err)
	}
	if n := w.count(`SELECT count(*) FROM usage`); n != rows {
		t.Errorf("a refused request has %d rows", n-rows)
	}
	busy.Close()
	small()
}

// small lets a model serve, by the name and id of the one that does, with one place; it returns what takes that back.
func (w *world) small() func() {
	w.Helper()
	old, err := w.slot.Acquire()
	w.must(err)
	m, err := model.New(model.Config{Family: "gpt2", Vocab: old.Tokenizer.Vocab(), Context: 1024, Layers: 1, Width: 16, Heads: 2, KVHeads: 2, Hidden: 32, NormEps: 1e-5, Tied: true, BOS: -1, EOS: 50256}, 1)
	w.must(err)
	w.slot.Set(&Served{VersionID: old.VersionID, Name: old.Name, Created: old.Created, Engine: decode.NewEngine(m, old.Tokenizer, decode.EngineOptions{MaxBatch: 1}),
		Tokenizer: old.Tokenizer, Template: old.Template, Context: 1024, Digest: old.Digest})
	return func() {
		w.slot.Set(tinyServed(w.T, w.version, old.Template, 1))
		old.Release()
	}
}

// teaches: what is said of an answer is with the labelers at once, and saying it again changes nothing.
func teaches(t *testing.T, w *world, c apiCustomer) {
	p := talking("Name a bird of the wood", 6)
	p.N = sdk.Int(2)
	chat, err := c.openai.Chat.Completions.New(t.Context(), p)
	w.must(err)
	say := func() feedbackOut {
		var f feedbackOut
		got := w.withKey(c.secret).json(post, "/v1/chat/completions/"+chat.ID+"/feedback", `{"rating":1,"preferred":1,"correction":"A robin."}`)
		got.into(t, &f)
		return f
	}
	first := say()
	if again := say(); first.ID == "" || again.ID != first.ID || !first.Queued || strings.Join(first.Became, " ") != "task comparison demonstration" {
		t.Errorf("%+v, then %+v", first, again)
	}
	var got task
	w.as("mina", account.RoleLabeler).json(post, "/label/api/claim", nil).want(t, http.StatusOK).into(t, &got)
	if len(got.Answers) != 2 || !strings.Contains(got.Messages[0].Content, "Name a bird") {
		t.Errorf("the labeler gets %+v", got)
	}
}

// sums: what answers said adds up to what is on the page and in the file.
func sums(t *testing.T, w *world, c apiCustomer) {
	read := func() (tokens int64) {
		rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(w.withKey(c.secret).get("/api/v1/usage.csv").want(t, http.StatusOK).body, "\ufeff"))).ReadAll()
		w.must(err)
		for _, r := range rows[1:] {
			for i, name := range rows[0] {
				if strings.HasSuffix(name, "prompt_tokens") || strings.HasSuffix(name, "completion_tokens") {
					var n int64
					fmt.Sscan(r[i], &n)
					tokens += n
				}
			}
		}
		return tokens
	}
	before, sum := read(), int64(0)
	for i := range 3 {
		chat, err := c.openai.Chat.Completions.New(t.Context(), talking(strings.Repeat("word ", i), int64(2+i)))
		w.must(err)
		sum += chat.Usage.TotalTokens
	}
	if got := read() - before; got != sum || sum == 0 {
		t.Errorf("%d tokens in the file, %d in the answers", got, sum)
	}
	if page := c.get("/account/usage").want(t, http.StatusOK).body; !strings.Contains(page, w.version.Name) {
		t.Error("the page does not name the model")
	}
}

// consents: a request can say no where the key says yes; who changes its mind is out of sight at once; what is to be forgotten is
// forgotten wherever it stands, by the id of a completion or by one of the customer's own users.
func consents(t *testing.T, w *world, c apiCustomer) {
	key := w.withKey(c.secret)
	pool := func(word string) int {
		return w.count(`SELECT count(*) FROM prompts WHERE usable AND text LIKE '%' || $1 || '%'`, word)
	}
	key.chat(asks("heron one", `,"store":false`))
	key.chat(asks("heron two", `,"metadata":{"training":"false"}`))
	if n := pool("heron"); n != 0 {
		t.Errorf("%d prompts that were not to be used are in the pool", n)
	}
	id, _ := key.chat(asks("stork one", `,"store":true,"user":"u7"`))
	key.chat(asks("stork two", `,"store":true,"user":"u7"`))
	key.chat(asks("stork three", `,"store":true,"user":"u8"`))
	training := func(on string) { c.form("/account/keys/"+c.secret[8:16]+"/training", "training", on) }
	if training("no"); pool("stork") != 0 {
		t.Error("prompts are in the pool after consent is withdrawn")
	}
	training("yes")
	stands := func(want int) {
		t.Helper()
		for table, n := range map[string]int{"prompts": pool("stork"), "stored": w.count(`SELECT count(*) FROM stored_completions WHERE convert_from(messages, 'UTF8') LIKE '%stork%'`)} {
			if n != want {
				t.Errorf("%d %s, want %d", n, table, want)
			}
		}
	}
	stands(3)
	erase := func(want string, fields ...string) {
		t.Helper()
		if got := c.form("/account/erase", fields...).want(t, http.StatusOK); !strings.Contains(got.body, want) {
			t.Errorf("%v: the page lacks %q", fields, want)
		}
	}
	erase("What would go", "what", "completion", "part", id)
	stands(3)
	erase("Erased. The report", "what", "completion", "part", id, "sure", "yes", "password", testPassword)
	stands(2)
	erase("There is nothing to erase", "what", "completion", "part", id)
	erase("Erased. The report", "what", "user", "part", "u7", "sure", "yes", "password", testPassword)
	stands(1)
	c.form("/account/erase", "what", "user").want(t, http.StatusBadRequest)
	c.form("/account/erase", "what", "world", "part", "x").want(t, http.StatusBadRequest)
	if got := c.get("/account/data").want(t, http.StatusOK).body; strings.Count(got, `<td class="mono small">`) != 2 {
		t.Error("the page does not list both erasures")
	}
	// An answer at the chat page, by whoever looks after the house.
	k := c.converse(false)
	said := k.ask(map[string]any{"content": "crane one", "settings": map[string]any{"max_tokens": 3}})
	k.ask(map[string]any{"content": "crane two", "parent": said.Answers[0].ID, "settings": map[string]any{"max_tokens": 3}})
	kept := k.ask(map[string]any{"content": "crane three", "settings": map[string]any{"max_tokens": 3}})
	completion := ""
	w.must(w.pool.QueryRow(t.Context(), `SELECT completion_id FROM conversation_turns WHERE id = $1`, said.Answers[0].ID).Scan(&completion))
	ada := w.as("ada", account.RoleAdmin)
	ada.form("/admin/erase", "kind", "completion", "id", completion, "sure", "yes").want(t, http.StatusSeeOther)
	if turns := k.turns(); len(turns) != 2 || turns[0].ID != kept.Question.ID {
		t.Errorf("%+v", turns)
	}
	if got := c.get("/chat?c="+k.id).want(t, http.StatusOK); strings.Contains(got.body, "crane one") {
		t.Error("the question is still there")
	}
	ada.form("/admin/erase", "kind", "completion", "id", completion, "sure", "yes").want(t, http.StatusNotFound)
}

// reproduces: the same seed and fingerprint give the same bytes, the header names the weights, and their id pins them.
func reproduces(t *testing.T, w *world, c apiCustomer) {
	ask := func(model string) (text, print, version string) {
		var raw *http.Response
		p := talking("Again", 20)
		p.Seed, p.Model = sdk.Int(42), model
		chat, err := c.openai.Chat.Completions.New(t.Context(), p, option.WithResponseInto(&raw))
		w.must(err)
		return chat.Choices[0].Message.Content, chat.SystemFingerprint, raw.Header.Get(versionHeader)
	}
	text, print, version := ask("default")
	if again, same, pinned := ask(version); again != text || same != print || pinned != version || version != w.version.ID {
		t.Errorf("%q %s %s, then %q %s %s", text, print, version, again, same, pinned)
	}
}
