package openai

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestGolden pins every byte of the shapes that clients parse.
func TestGolden(t *testing.T) {
	stop, text, usage, lp, seed := "stop", "Hi", NewUsage(3, 1, 2), -0.25, int64(7)
	for _, c := range []struct {
		name string
		v    any
		want string
	}{
		{"models", ModelList{"list", []Model{NewModel("policy-1", 1700000000)}},
			`{"object":"list","data":[{"id":"policy-1","object":"model","created":1700000000,"owned_by":"rankloop"}]}`},
		{"chat", Chat{ID: "chatcmpl-1", Object: "chat.completion", Created: 1, Model: "m", SystemFingerprint: "fp_1", Usage: NewUsage(3, 1, 2),
			Choices: []ChatChoice{{Message: Reply{Role: "assistant", Content: "Hi"}, FinishReason: "stop"}}},
			`{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"system_fingerprint":"fp_1"}`},
		{"chunk", ChatChunk{ID: "chatcmpl-1", Object: "chat.completion.chunk", Created: 1, Model: "m", SystemFingerprint: "fp_1",
			Choices: []DeltaChoice{{Delta: Delta{Role: "assistant", Content: &text}}}},
			`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"logprobs":null,"finish_reason":null}],"usage":null}`},
		{"last chunk", ChatChunk{ID: "c", Object: "chat.completion.chunk", Choices: []DeltaChoice{{FinishReason: &stop}}},
			`{"id":"c","object":"chat.completion.chunk","created":0,"model":"","system_fingerprint":"","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}`},
		{"completion", Completion{ID: "cmpl-1", Object: "text_completion", Created: 1, Model: "m", SystemFingerprint: "fp_1",
			Choices: []CompletionChoice{{Text: "Hi", FinishReason: &stop}}},
			`{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"Hi","logprobs":null,"finish_reason":"stop"}],"usage":null,"system_fingerprint":"fp_1"}`},
		{"usage chunk", ChatChunk{ID: "c", Object: "chat.completion.chunk", Choices: []DeltaChoice{}, Usage: &usage},
			`{"id":"c","object":"chat.completion.chunk","created":0,"model":"","system_fingerprint":"","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}`},
		{"chat with log-probabilities", ChatChoice{Message: Reply{Role: "assistant", Content: "é"}, FinishReason: "length", Logprobs: &ChatLogprobs{Content: []TokenLogprob{
			{Token: "é", Logprob: -0.5, Bytes: ByteList([]byte("é")), TopLogprobs: []TopLogprob{{Token: "\ufffd", Logprob: -0.75, Bytes: []int{195}}}}}}},
			`{"index":0,"message":{"role":"assistant","content":"é","refusal":null},"logprobs":{"content":[{"token":"é","logprob":-0.5,"bytes":[195,169],"top_logprobs":[{"token":"�","logprob":-0.75,"bytes":[195]}]}],"refusal":null},"finish_reason":"length"}`},
		{"completion with log-probabilities of an echoed prompt", CompletionChoice{Text: "Once upon", FinishReason: &stop, Logprobs: &CompletionLogprobs{TextOffset: []int{0, 4},
			TokenLogprobs: []*float64{nil, &lp}, Tokens: []string{"Once", " upon"}, TopLogprobs: []map[string]float64{nil, {" upon": -0.25}}}},
			`{"index":0,"text":"Once upon","logprobs":{"text_offset":[0,4],"token_logprobs":[null,-0.25],"tokens":["Once"," upon"],"top_logprobs":[null,{" upon":-0.25}]},"finish_reason":"stop"}`},
		{"stored", StoredChat{Chat: Chat{ID: "chatcmpl-1", Object: "chat.completion", Created: 1, Model: "m", SystemFingerprint: "fp_1", Usage: usage, Choices: []ChatChoice{}},
			RequestID: "r", Metadata: Metadata{"topic": "foxes"}, Seed: &seed, Temperature: 1, TopP: 1, InputUser: &text, ServiceTier: "default"},
			`{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"system_fingerprint":"fp_1","request_id":"r","metadata":{"topic":"foxes"},"seed":7,"temperature":1,"top_p":1,"presence_penalty":0,"frequency_penalty":0,"input_user":"Hi","service_tier":"default","tools":null,"tool_choice":null,"response_format":null}`},
		{"messages", NewList(Messages("chatcmpl-1", []ChatMessage{{Role: "user", Content: "Hi"}}), false, func(m StoredMessage) string { return m.ID }),
			`{"object":"list","data":[{"id":"chatcmpl-1-0","role":"user","content":"Hi","name":null,"content_parts":null}],"first_id":"chatcmpl-1-0","last_id":"chatcmpl-1-0","has_more":false}`},
		{"an empty list", NewList[StoredChat](nil, false, nil), `{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}`},
		{"deleted", Deleted{"chat.completion.deleted", "chatcmpl-1", true}, `{"object":"chat.completion.deleted","id":"chatcmpl-1","deleted":true}`},
	} {
		got, err := json.Marshal(c.v)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		e    *Error
		code int
		want string
	}{
		{ModelNotFound("x"), 404, `{"error":{"message":"The model 'x' does not exist or you do not have access to it.","type":"invalid_request_error","param":"model","code":"model_not_found"}}`},
		{Unauthorized(), 401, `{"error":{"message":"Incorrect API key provided. Give a valid key as 'Authorization: Bearer KEY'.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`},
		{Forbidden("no"), 403, `{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"insufficient_permissions"}}`},
		{UnknownURL("GET", "/v1/x"), 404, `{"error":{"message":"Unknown request URL: GET /v1/x.","type":"invalid_request_error","param":null,"code":"unknown_url"}}`},
		{MethodNotAllowed("PUT"), 405, `{"error":{"message":"Not allowed to PUT this URL.","type":"invalid_request_error","param":null,"code":"method_not_supported"}}`},
		{NotFound("Chat completion", "c"), 404, `{"error":{"message":"Chat completion not found: 'c'.","type":"invalid_request_error","param":null,"code":"not_found"}}`},
		{ContextLengthExceeded("messages", 8, 6, 4), 400, `{"error":{"message":"This model's maximum context length is 8 tokens. However, you requested 10 tokens (6 in the prompt, 4 for the completion). Please shorten the prompt or the completion.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`},
		{RateLimited(LimitRequests, "wait"), 429, `{"error":{"message":"wait","type":"requests","param":null,"code":"rate_limit_exceeded"}}`},
		{RateLimited(LimitTokens, "wait"), 429, `{"error":{"message":"wait","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`},
		{QuotaExceeded("enough"), 429, `{"error":{"message":"enough","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`},
		{TooLarge(5), 413, `{"error":{"message":"The request body is larger than 5 bytes.","type":"invalid_request_error","param":null,"code":"request_too_large"}}`},
		{Overloaded(), 503, `{"error":{"message":"The engine is currently overloaded, please try again later.","type":"server_error","param":null,"code":"overloaded"}}`},
		{Internal("r"), 500, `{"error":{"message":"The server had an error while processing your request. Request id: r.","type":"server_error","param":null,"code":null}}`},
	} {
		if got := string(c.e.Body()); got != c.want || c.e.Status != c.code {
			t.Errorf("error %d:\n got %s\nwant %s", c.e.Status, got, c.want)
		}
	}
	frame, err := Frame(map[string]int{"a": 1})
	if err != nil || string(frame) != "data: {\"a\":1}\n\n" {
		t.Errorf("frame %q, %v", frame, err)
	}
}

func TestParseChat(t *testing.T) {
	r, e := ParseChat([]byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],
		"stop":"\n","temperature":0,"max_completion_tokens":7,"max_tokens":9,"unknown":{"x":1},"n":null}`))
	if e != nil {
		t.Fatal(e)
	}
	if r.Messages[0].Content != "ab" || len(r.Stop) != 1 || *r.Temperature != 0 || r.Tokens() != 7 || r.Count() != 1 {
		t.Fatalf("%+v", r)
	}
	const ok = `"model":"m","messages":[{"role":"user","content":"x"}]`
	for body, param := range map[string]string{
		`{`: "", `[]`: "", `null`: "model", `"x"`: "",
		`{"messages":[{"role":"user","content":"x"}]}`:                                "model",
		`{"model":7,"messages":[]}`:                                                   "model",
		`{"model":"m","messages":[]}`:                                                 "messages",
		`{"model":"m","messages":"x"}`:                                                "messages",
		`{"model":"m","messages":[{"role":"king","content":"x"}]}`:                    "messages[0].role",
		`{"model":"m","messages":[{"role":"user","content":7}]}`:                      "messages",
		`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url"}]}]}`: "messages",
		`{` + ok + `,"temperature":2.1}`:                                              "temperature",
		`{` + ok + `,"temperature":"hot"}`:                                            "temperature",
		`{` + ok + `,"top_p":-0.1}`:                                                   "top_p",
		`{` + ok + `,"n":0}`:                                                          "n",
		`{` + ok + `,"n":129}`:                                                        "n",
		`{` + ok + `,"n":1.5}`:                                                        "n",
		`{` + ok + `,"max_tokens":0}`:                                                 "max_tokens",
		`{` + ok + `,"stop":["a","b","c","d","e"]}`:                                   "stop",
		`{` + ok + `,"stop":7}`:                                                       "stop",
		`{` + ok + `,"stop":""}`:                                                      "stop",
		`{` + ok + `,"presence_penalty":3}`:                                           "presence_penalty",
		`{` + ok + `,"logit_bias":{"x":1}}`:                                           "logit_bias",
		`{` + ok + `,"logit_bias":{"1":101}}`:                                         "logit_bias",
		`{` + ok + `,"top_logprobs":2}`:                                               "top_logprobs",
		`{` + ok + `,"stream":"yes"}`:                                                 "stream",
		`{` + ok + `,"stream_options":{"include_usage":true}}`:                        "stream_options",
		`{` + ok + `,"tools":[{"type":"function"}]}`:                                  "tools",
		`{` + ok + `,"functions":[{"name":"f"}]}`:                                     "functions",
		`{` + ok + `,"response_format":{"type":"json_object"}}`:                       "response_format",
		`{` + ok + `,"metadata":{"a":1}}`:                                             "metadata",
		`{` + ok + `,"metadata":{"":"x"}}`:                                            "metadata",
		`{` + ok + `,"metadata":{"` + strings.Repeat("k", 65) + `":"x"}}`:             "metadata",
		`{` + ok + `,"metadata":{"k":"` + strings.Repeat("v", 513) + `"}}`:            "metadata",
	} {
		_, e := ParseChat([]byte(body))
		switch {
		case e == nil:
			t.Errorf("%s: accepted", body)
		case e.Status != 400 || e.Message == "":
			t.Errorf("%s: %+v", body, e)
		case param == "" && e.Param != nil, param != "" && (e.Param == nil || *e.Param != param):
			t.Errorf("%s: param %v, want %q (%s)", body, e.Param, param, e.Message)
		}
	}
}

func TestParseCompletion(t *testing.T) {
	for body, want := range map[string]Prompts{
		`{"model":"m","prompt":"a"}`:         {Texts: []string{"a"}},
		`{"model":"m","prompt":["a","b"]}`:   {Texts: []string{"a", "b"}},
		`{"model":"m","prompt":[1,2]}`:       {IDs: [][]int32{{1, 2}}},
		`{"model":"m","prompt":[[1],[2,3]]}`: {IDs: [][]int32{{1}, {2, 3}}},
		`{"model":"m","prompt":null}`:        {},
		`{"model":"m"}`:                      {},
	} {
		r, e := ParseCompletion([]byte(body))
		if e != nil {
			t.Errorf("%s: %v", body, e)
			continue
		}
		got, _ := json.Marshal(r.Prompt)
		expected, _ := json.Marshal(want)
		if string(got) != string(expected) {
			t.Errorf("%s: %s", body, got)
		}
	}
	for body, param := range map[string]string{
		`{"model":"m","prompt":{}}`:                                         "prompt",
		`{"model":"m","prompt":[]}`:                                         "prompt",
		`{"model":"m","prompt":[[]]}`:                                       "prompt",
		`{"model":"m","prompt":["a",1]}`:                                    "prompt",
		`{"model":"m","prompt":[1.5]}`:                                      "prompt",
		`{"model":"m","prompt":"a","max_tokens":-1}`:                        "max_tokens",
		`{"model":"m","prompt":"a","logprobs":6}`:                           "logprobs",
		`{"model":"m","prompt":"a","best_of":21}`:                           "best_of",
		`{"model":"m","prompt":"a","n":3,"best_of":2}`:                      "best_of",
		`{"model":"m","prompt":"a","best_of":2,"stream":true}`:              "best_of",
		`{"model":"m","prompt":["a","b","c","d","e","f","g"],"best_of":20}`: "best_of",
		`{"model":"m","prompt":"a","suffix":"b"}`:                           "suffix",
		`{"model":"m","prompt":["a","b"],"n":128}`:                          "n",
	} {
		if _, e := ParseCompletion([]byte(body)); e == nil || e.Param == nil || *e.Param != param {
			t.Errorf("%s: %+v", body, e)
		}
	}
}

// FuzzParse: no body makes the parsers panic, and what they refuse is a 400 with a message.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":"x"}],"stop":["a"]}`))
	f.Add([]byte(`{"model":"m","prompt":[[1,2]],"logit_bias":{"1":-100}}`))
	f.Add([]byte(`{"metadata":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, a := ParseChat(body)
		_, b := ParseCompletion(body)
		_, c := ParseUpdate(body)
		for _, e := range []*Error{a, b, c} {
			if e != nil && (e.Status != 400 || e.Message == "") {
				t.Fatalf("%q: %+v", body, e)
			}
		}
	})
}
