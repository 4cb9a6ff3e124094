package web

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/rankloop/rankloop/web/account"
)

// TestOfficialSDK drives the API with OpenAI's own client: only the address and the key differ.
func TestOfficialSDK(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key("acme", func(n *account.NewKey) { n.RPM = 1000 })
	ctx := t.Context()
	client := sdk.NewClient(option.WithBaseURL(w.http.URL+"/v1"), option.WithAPIKey(secret), option.WithMaxRetries(0))

	models, err := client.Models.List(ctx)
	w.must(err)
	if len(models.Data) != 3 || models.Data[2].ID != w.version.ID || models.Data[0].ID != "default" || models.Data[1].ID != w.version.Name || models.Data[0].Created == 0 {
		t.Errorf("models %+v", models.Data)
	}
	one, err := client.Models.Get(ctx, "default")
	w.must(err)
	if one.ID != "default" || one.Object != "model" {
		t.Errorf("model %+v", one)
	}

	params := sdk.ChatCompletionNewParams{Model: "default", N: sdk.Int(2), Seed: sdk.Int(11), MaxCompletionTokens: sdk.Int(12), Logprobs: sdk.Bool(true), TopLogprobs: sdk.Int(3),
		Temperature: sdk.Float(0.8), Stop: sdk.ChatCompletionNewParamsStopUnion{OfStringArray: []string{"zzzz"}},
		Messages: []sdk.ChatCompletionMessageParamUnion{sdk.SystemMessage("Be kind."), sdk.UserMessage("Hi"), sdk.AssistantMessage("Hello."), sdk.UserMessage("Tell a story.")}}
	var raw *http.Response
	chat, err := client.Chat.Completions.New(ctx, params, option.WithResponseInto(&raw))
	w.must(err)
	if len(chat.Choices) != 2 || chat.Choices[0].Message.Role != "assistant" || len(chat.Choices[0].Logprobs.Content) == 0 || chat.Usage.TotalTokens != chat.Usage.PromptTokens+chat.Usage.CompletionTokens {
		t.Errorf("chat %+v", chat)
	}
	if raw.Header.Get(versionHeader) != w.version.ID || raw.Header.Get("X-Request-Id") == "" {
		t.Errorf("headers %v", raw.Header)
	}

	params.StreamOptions = sdk.ChatCompletionStreamOptionsParam{IncludeUsage: sdk.Bool(true)}
	stream := client.Chat.Completions.NewStreaming(ctx, params)
	acc := sdk.ChatCompletionAccumulator{}
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatalf("the client's own accumulator refuses %s", stream.Current().RawJSON())
		}
	}
	w.must(stream.Err())
	for i, c := range chat.Choices {
		if acc.Choices[i].Message.Content != c.Message.Content || acc.Choices[i].FinishReason != c.FinishReason {
			t.Errorf("choice %d streams %q, whole %q", i, acc.Choices[i].Message.Content, c.Message.Content)
		}
	}
	if acc.Usage.TotalTokens != chat.Usage.TotalTokens {
		t.Errorf("usage %+v, %+v", acc.Usage, chat.Usage)
	}

	comp, err := client.Completions.New(ctx, sdk.CompletionNewParams{Model: "default", Prompt: sdk.CompletionNewParamsPromptUnion{OfString: sdk.String("Once")}, MaxTokens: sdk.Int(5), Logprobs: sdk.Int(2)})
	w.must(err)
	if len(comp.Choices) != 1 || comp.Choices[0].Text == "" || len(comp.Choices[0].Logprobs.Tokens) == 0 {
		t.Errorf("completion %+v", comp)
	}
	words := ""
	cs := client.Completions.NewStreaming(ctx, sdk.CompletionNewParams{Model: "default", Prompt: sdk.CompletionNewParamsPromptUnion{OfString: sdk.String("Once")}})
	for cs.Next() {
		for _, x := range cs.Current().Choices {
			words += x.Text
		}
	}
	w.must(cs.Err())
	if strings.TrimSpace(words) == "" {
		t.Error("an empty stream")
	}

	for name, c := range map[string]struct {
		client sdk.Client
		model  string
		max    int64
		status int
		code   string
	}{
		"unknown model": {client, "nope", 5, 404, "model_not_found"},
		"too long":      {client, "default", 5000, 400, "context_length_exceeded"},
		"wrong key":     {sdk.NewClient(option.WithBaseURL(w.http.URL+"/v1"), option.WithAPIKey("rk_live_x"), option.WithMaxRetries(0)), "default", 5, 401, "invalid_api_key"},
	} {
		_, err := c.client.Chat.Completions.New(ctx, sdk.ChatCompletionNewParams{Model: c.model, MaxTokens: sdk.Int(c.max), Messages: params.Messages})
		var e *sdk.Error
		if !errors.As(err, &e) || e.StatusCode != c.status || e.Code != c.code || e.Message == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The client waits for Retry-After by itself.
	_, slow := w.key("slow", func(n *account.NewKey) { n.RPM = 60 })
	patient := sdk.NewClient(option.WithBaseURL(w.http.URL+"/v1"), option.WithAPIKey(slow), option.WithMaxRetries(3))
	for range 60 {
		if _, err := patient.Models.List(ctx, option.WithMaxRetries(0)); err != nil {
			break
		}
	}
	if _, err := patient.Models.List(ctx); err != nil {
		t.Errorf("after the limit: %v", err)
	}
}

// TestOfficialSDKLetter asks OpenAI's own client for what is asked less often: the best of several, scores of a prompt, details of the
// usage, refusals of limits and scopes.
func TestOfficialSDKLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme")
	ctx := t.Context()
	open := func(secret string, retries int) sdk.Client {
		return sdk.NewClient(option.WithBaseURL(w.http.URL+"/v1"), option.WithAPIKey(secret), option.WithMaxRetries(retries))
	}
	client := open(secret, 0)
	noEnd := map[string]int64{"50256": -100}
	best, err := client.Completions.New(ctx, sdk.CompletionNewParams{Model: sdk.CompletionNewParamsModel(w.version.ID), Prompt: sdk.CompletionNewParamsPromptUnion{OfArrayOfStrings: []string{"Once", "The fox"}},
		BestOf: sdk.Int(4), N: sdk.Int(2), MaxTokens: sdk.Int(5), LogitBias: noEnd, PresencePenalty: sdk.Float(0.5)})
	w.must(err)
	if len(best.Choices) != 4 || best.Usage.CompletionTokens != 40 {
		t.Errorf("best of four: %d choices, %+v", len(best.Choices), best.Usage)
	}
	scored, err := client.Completions.New(ctx, sdk.CompletionNewParams{Model: "default", Prompt: sdk.CompletionNewParamsPromptUnion{OfArrayOfTokens: []int64{7454, 2402}},
		Echo: sdk.Bool(true), Logprobs: sdk.Int(0), MaxTokens: sdk.Int(0)})
	w.must(err)
	if x := scored.Choices[0]; x.Text != "Once upon" || len(x.Logprobs.TokenLogprobs) != 2 || x.Logprobs.TokenLogprobs[1] >= 0 || scored.Usage.CompletionTokens != 0 {
		t.Errorf("scores of a prompt: %+v", scored)
	}
	long := strings.Repeat("the fox ", 40)
	for i := range 2 {
		chat, err := client.Chat.Completions.New(ctx, sdk.ChatCompletionNewParams{Model: "default", MaxTokens: sdk.Int(2), Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage(long)}})
		w.must(err)
		if cached := chat.Usage.PromptTokensDetails.CachedTokens; (cached > 0) != (i > 0) {
			t.Errorf("request %d has %d cached tokens", i, cached)
		}
	}
	_, narrow := w.key("narrow", func(n *account.NewKey) { n.Scopes = []string{account.ScopeFeedback} })
	_, tight := w.key("tight", func(n *account.NewKey) { n.TPM = 20 })
	_, poor := w.key("poor", func(n *account.NewKey) { n.DailyTokens = 10 })
	_, idle := w.key("idle", func(n *account.NewKey) { n.RPM = 1 })
	once := open(idle, 0)
	_, err = once.Models.List(ctx)
	w.must(err)
	for name, c := range map[string]struct {
		secret     string
		retries    int
		status     int
		kind, code string
	}{
		"scope": {narrow, 0, 403, "invalid_request_error", "insufficient_permissions"}, "tokens": {tight, 5, 429, "tokens", "rate_limit_exceeded"},
		"quota": {poor, 5, 429, "insufficient_quota", "insufficient_quota"}, "requests": {idle, 0, 429, "requests", "rate_limit_exceeded"},
	} {
		before := w.engineStats().Requests
		client := open(c.secret, c.retries)
		_, err := client.Completions.New(ctx, sdk.CompletionNewParams{Model: "default", Prompt: sdk.CompletionNewParamsPromptUnion{OfString: sdk.String("Once")}, MaxTokens: sdk.Int(40)})
		var e *sdk.Error
		if !errors.As(err, &e) || e.StatusCode != c.status || e.Type != c.kind || e.Code != c.code || e.Response.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %v", name, err)
		}
		if n := w.engineStats().Requests; n != before {
			t.Errorf("%s: the engine had %d requests", name, n-before)
		}
	}
}
