package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Bounds of requests.
const (
	MaxN        = 128
	MaxStops    = 4
	MaxBestOf   = 20
	MaxLogprobs = 5  // of completions
	MaxTop      = 20 // top_logprobs of chats
)

// Sampling is what both kinds of requests say about how tokens are drawn.
type Sampling struct {
	Model            string             `json:"model"`
	N                *int               `json:"n"`
	Temperature      *float64           `json:"temperature"`
	TopP             *float64           `json:"top_p"`
	PresencePenalty  *float64           `json:"presence_penalty"`
	FrequencyPenalty *float64           `json:"frequency_penalty"`
	LogitBias        map[string]float64 `json:"logit_bias"`
	Seed             *int64             `json:"seed"`
	Stop             Stops              `json:"stop"`
	Stream           bool               `json:"stream"`
	StreamOptions    *StreamOptions     `json:"stream_options"`
	User             string             `json:"user"`
	Store            *bool              `json:"store"`
	Metadata         Metadata           `json:"metadata"`
}

// StreamOptions asks for a last chunk with the usage.
type StreamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

// Count is n with its default.
func (s *Sampling) Count() int {
	if s.N == nil {
		return 1
	}
	return *s.N
}

// Value is *p, or the default where p is nil.
func Value[T any](p *T, or T) T {
	if p == nil {
		return or
	}
	return *p
}

// check reports the first value out of bounds.
func (s *Sampling) check() *Error {
	for _, f := range []struct {
		name   string
		v      *float64
		lo, hi float64
	}{{"temperature", s.Temperature, 0, 2}, {"top_p", s.TopP, 0, 1}, {"presence_penalty", s.PresencePenalty, -2, 2}, {"frequency_penalty", s.FrequencyPenalty, -2, 2}} {
		if f.v != nil && !(*f.v >= f.lo && *f.v <= f.hi) {
			return outOf(f.name, *f.v, f.lo, f.hi)
		}
	}
	if s.Model == "" {
		return Invalid("model", "missing_required_parameter", "You must provide a model parameter.")
	}
	if n := s.Count(); n < 1 || n > MaxN {
		return outOf("n", float64(n), 1, MaxN)
	}
	if len(s.Stop) > MaxStops {
		return Invalid("stop", "array_above_max_length", "Invalid 'stop': expected at most %d sequences, but got %d.", MaxStops, len(s.Stop))
	}
	for _, x := range s.Stop {
		if x == "" {
			return Invalid("stop", "invalid_value", "Invalid 'stop': a sequence must not be empty.")
		}
	}
	for id, b := range s.LogitBias {
		if n, err := strconv.ParseInt(id, 10, 32); err != nil || n < 0 {
			return Invalid("logit_bias", "invalid_value", "Invalid 'logit_bias': %q is not a token id.", id)
		}
		if !(b >= -100 && b <= 100) {
			return outOf("logit_bias", b, -100, 100)
		}
	}
	if s.StreamOptions != nil && !s.Stream {
		return Invalid("stream_options", "invalid_value", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
	}
	return s.Metadata.check()
}

func outOf(name string, v, lo, hi float64) *Error {
	code := "decimal_above_max_value"
	if v < lo || math.IsNaN(v) {
		code = "decimal_below_min_value"
	}
	return Invalid(name, code, "Invalid '%s': expected a value between %g and %g, but got %g instead.", name, lo, hi, v)
}

// Stops is a string or a list of strings.
type Stops []string

// UnmarshalJSON accepts both forms and null.
func (s *Stops) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		if !bytes.Equal(b, []byte("null")) {
			*s = Stops{one}
		}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return Invalid("stop", "invalid_type", "Invalid type for 'stop': expected a string or an array of strings.")
	}
	*s = many
	return nil
}

// ChatRequest is the body of POST /v1/chat/completions.
type ChatRequest struct {
	Sampling
	Messages            []ChatMessage `json:"messages"`
	MaxTokens           *int          `json:"max_tokens"`
	MaxCompletionTokens *int          `json:"max_completion_tokens"`
	Logprobs            bool          `json:"logprobs"`
	TopLogprobs         *int          `json:"top_logprobs"`

	// What would change the meaning of an answer and is not offered: told, not passed over.
	Tools          []json.RawMessage `json:"tools"`
	Functions      []json.RawMessage `json:"functions"`
	ResponseFormat *ResponseFormat   `json:"response_format"`
}

// ResponseFormat says what an answer must look like; text is the only one.
type ResponseFormat struct {
	Type string `json:"type"`
}

// refused reports the first parameter that asks for what this server does not do.
func (r *ChatRequest) refused() *Error {
	switch {
	case len(r.Tools) > 0:
		return Invalid("tools", "unsupported_parameter", "Unsupported parameter: 'tools' is not supported with this model.")
	case len(r.Functions) > 0:
		return Invalid("functions", "unsupported_parameter", "Unsupported parameter: 'functions' is not supported with this model.")
	case r.ResponseFormat != nil && r.ResponseFormat.Type != "text":
		return Invalid("response_format", "unsupported_value", "Unsupported value: 'response_format' of type '%s' is not supported with this model; 'text' is.", clip(r.ResponseFormat.Type))
	}
	return nil
}

// ChatMessage is one turn. Content is a string, or a list of text parts.
type ChatMessage struct {
	Role    string  `json:"role"`
	Content Content `json:"content"`
	Name    string  `json:"name,omitempty"`
}

// Content is the text of a message.
type Content string

// UnmarshalJSON accepts a string or a list of {"type":"text","text":...} parts.
func (c *Content) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil && !bytes.Equal(b, []byte("null")) {
		*c = Content(s)
		return nil
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(b, &parts); err != nil || len(parts) == 0 {
		return Invalid("messages", "invalid_type", "Invalid type for 'messages.content': expected a string or an array of text parts.")
	}
	for _, p := range parts {
		if p.Type != "text" {
			return Invalid("messages", "invalid_value", "Invalid value '%s' in 'messages.content': this model reads text only.", p.Type)
		}
		*c += Content(p.Text)
	}
	return nil
}

// Tokens is the most tokens of an answer, 0 where the request leaves it open.
func (r *ChatRequest) Tokens() int { return Value(r.MaxCompletionTokens, Value(r.MaxTokens, 0)) }

// ParseChat reads and checks a chat request.
func ParseChat(body []byte) (*ChatRequest, *Error) {
	r := new(ChatRequest)
	if e := decode(body, r); e != nil {
		return nil, e
	}
	if e := r.check(); e != nil {
		return nil, e
	}
	if len(r.Messages) == 0 {
		return nil, Invalid("messages", "empty_array", "Invalid 'messages': expected at least one message.")
	}
	if e := r.refused(); e != nil {
		return nil, e
	}
	for i, m := range r.Messages {
		switch m.Role {
		case "system", "developer", "user", "assistant":
		default:
			return nil, Invalid(fmt.Sprintf("messages[%d].role", i), "invalid_value", "Invalid value '%s' for 'messages[%d].role': expected one of 'system', 'developer', 'user' and 'assistant'.", clip(m.Role), i)
		}
	}
	for name, v := range map[string]*int{"max_tokens": r.MaxTokens, "max_completion_tokens": r.MaxCompletionTokens} {
		if v != nil && *v < 1 {
			return nil, Invalid(name, "integer_below_min_value", "Invalid '%s': expected a value of at least 1, but got %d instead.", name, *v)
		}
	}
	if r.TopLogprobs != nil {
		if !r.Logprobs {
			return nil, Invalid("top_logprobs", "invalid_value", "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.")
		}
		if n := *r.TopLogprobs; n < 0 || n > MaxTop {
			return nil, outOf("top_logprobs", float64(n), 0, MaxTop)
		}
	}
	return r, nil
}

// CompletionRequest is the body of POST /v1/completions.
type CompletionRequest struct {
	Sampling
	Prompt    Prompts `json:"prompt"`
	MaxTokens *int    `json:"max_tokens"`
	Logprobs  *int    `json:"logprobs"`
	Echo      bool    `json:"echo"`
	BestOf    *int    `json:"best_of"`
	Suffix    *string `json:"suffix"`
}

// Drawn is how many continuations of each prompt are sampled, of which n are returned.
func (r *CompletionRequest) Drawn() int { return max(r.Count(), Value(r.BestOf, 0)) }

// DefaultMaxTokens is what a completion without max_tokens is cut at.
const DefaultMaxTokens = 16

// MaxPrompts bounds the prompts of one completion request.
const MaxPrompts = 128

// Prompts is a text, a list of texts, a list of token ids or a list of such lists. Exactly one of the two is set; both are
// empty where the request has no prompt.
type Prompts struct {
	Texts []string
	IDs   [][]int32
}

// UnmarshalJSON accepts the four forms and null.
func (p *Prompts) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	var text string
	var texts []string
	var ids []int32
	var many [][]int32
	switch {
	case json.Unmarshal(b, &text) == nil:
		p.Texts = []string{text}
	case json.Unmarshal(b, &texts) == nil && len(texts) > 0:
		p.Texts = texts
	case json.Unmarshal(b, &ids) == nil && len(ids) > 0:
		p.IDs = [][]int32{ids}
	case json.Unmarshal(b, &many) == nil && len(many) > 0:
		p.IDs = many
	default:
		return Invalid("prompt", "invalid_type", "Invalid type for 'prompt': expected a string, an array of strings, an array of token ids or an array of such arrays, none of them empty.")
	}
	return nil
}

// Len is the number of prompts.
func (p Prompts) Len() int { return max(len(p.Texts), len(p.IDs)) }

// ParseCompletion reads and checks a completion request.
func ParseCompletion(body []byte) (*CompletionRequest, *Error) {
	r := new(CompletionRequest)
	if e := decode(body, r); e != nil {
		return nil, e
	}
	if e := r.check(); e != nil {
		return nil, e
	}
	n, best := r.Count(), Value(r.BestOf, 0)
	switch {
	case r.MaxTokens != nil && *r.MaxTokens < 0:
		return nil, Invalid("max_tokens", "integer_below_min_value", "Invalid 'max_tokens': expected a value of at least 0, but got %d instead.", *r.MaxTokens)
	case r.Logprobs != nil && (*r.Logprobs < 0 || *r.Logprobs > MaxLogprobs):
		return nil, outOf("logprobs", float64(*r.Logprobs), 0, MaxLogprobs)
	case r.Prompt.Len() > MaxPrompts:
		return nil, Invalid("prompt", "array_above_max_length", "Invalid 'prompt': expected at most %d prompts, but got %d.", MaxPrompts, r.Prompt.Len())
	case best < 0 || best > MaxBestOf:
		return nil, outOf("best_of", float64(best), 0, MaxBestOf)
	case best > 0 && best < n:
		return nil, Invalid("best_of", "invalid_value", "Invalid 'best_of': it must not be less than 'n', but %d is less than %d.", best, n)
	case best > n && r.Stream:
		return nil, Invalid("best_of", "invalid_value", "Invalid 'best_of': the best of %d cannot be streamed, as they are known only at the end.", best)
	case r.Prompt.Len()*r.Drawn() > MaxN:
		return nil, Invalid(map[bool]string{true: "best_of", false: "n"}[best > n], "invalid_value", "%d prompts with %d completions each ask for more than %d completions.", r.Prompt.Len(), r.Drawn(), MaxN)
	case r.Suffix != nil && *r.Suffix != "":
		return nil, Invalid("suffix", "unsupported_value", "Unsupported parameter: 'suffix' is not supported with this model.")
	}
	for _, ids := range r.Prompt.IDs {
		if len(ids) == 0 {
			return nil, Invalid("prompt", "invalid_value", "Invalid 'prompt': a list of token ids must not be empty.")
		}
	}
	return r, nil
}
