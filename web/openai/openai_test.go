package openai

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestGolden pins every byte of the shapes that clients parse.
func TestGolden(t *testing.T) {
	stop, text := "stop", "Hi"
	for _, c := range []struct {
		name string
		v    any
		want string
	}{
		{"models", ModelList{"list", []Model{NewModel("policy-1", 1700000000)}},
			`{"object":"list","data":[{"id":"policy-1","object":"model","created":1700000000,"owned_by":"rankloop"}]}`},
		{"chat", Chat{ID: "chatcmpl-1", Object: "chat.completion", Created: 1, Model: "m", SystemFingerprint: "fp_1", Usage: NewUsage(3, 2),
			Choices: []ChatChoice{{Message: Reply{Role: "assistant", Content: "Hi"}, FinishReason: "stop"}}},
			`{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5},"system_fingerprint":"fp_1"}`},
		{"chunk", ChatChunk{ID: "chatcmpl-1", Object: "chat.completion.chunk", Created: 1, Model: "m", SystemFingerprint: "fp_1",
			Choices: []DeltaChoice{{Delta: Delta{Role: "assistant", Content: &text}}}},
			`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"logprobs":null,"finish_reason":null}],"usage":null}`},
		{"last chunk", ChatChunk{ID: "c", Object: "chat.completion.chunk", Choices: []DeltaChoice{{FinishReason: &stop}}},
			`{"id":"c","object":"chat.completion.chunk","created":0,"model":"","system_fingerprint":"","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}`},
		{"completion", Completion{ID: "cmpl-1", Object: "text_completion", Created: 1, Model: "m", SystemFingerprint: "fp_1",
			Choices: []CompletionChoice{{Text: "Hi", FinishReason: &stop}}},
			`{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"Hi","logprobs":null,"finish_reason":"stop"}],"usage":null,"system_fingerprint":"fp_1"}`},
	} {
		got, err := json.Marshal(c.v)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	if got, want := string(ModelNotFound("x").Body()), `{"error":{"message":"The model 'x' does not exist or you do not have access to it.","type":"invalid_request_error","param":"model","code":"model_not_found"}}`; got != want {
		t.Errorf("error:\n got %s\nwant %s", got, want)
	}
	if got, want := string(Unauthorized().Body()), `"param":null,"code":"invalid_api_key"}}`; !strings.HasSuffix(got, want) {
		t.Errorf("error with a null param: %s", got)
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
		`{"model":"m","prompt":{}}`:                 "prompt",
		`{"model":"m","prompt":[]}`:                 "prompt",
		`{"model":"m","prompt":[[]]}`:               "prompt",
		`{"model":"m","prompt":["a",1]}`:            "prompt",
		`{"model":"m","prompt":[1.5]}`:              "prompt",
		`{"model":"m","prompt":"a","max_tokens":0}`: "max_tokens",
		`{"model":"m","prompt":"a","logprobs":6}`:   "logprobs",
		`{"model":"m","prompt":"a","best_of":21}`:   "best_of",
		`{"model":"m","prompt":"a","suffix":"b"}`:   "suffix",
		`{"model":"m","prompt":["a","b"],"n":128}`:  "n",
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
	f.Fuzz(func(t *testing.T, body []byte) {
		_, a := ParseChat(body)
		_, b := ParseCompletion(body)
		for _, e := range []*Error{a, b} {
			if e != nil && (e.Status != 400 || e.Message == "") {
				t.Fatalf("%q: %+v", body, e)
			}
		}
	})
}
