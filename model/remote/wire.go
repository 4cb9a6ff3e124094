package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// wireRequest is the part of OpenAI's request that all such servers take.
type wireRequest struct {
	Model       string    `json:"model"`
	Messages    []Message `json:"messages"`
	N           int       `json:"n,omitempty"`
	MaxTokens   int       `json:"max_tokens,omitempty"`
	Temperature float64   `json:"temperature"`
	Seed        int64     `json:"seed"`
}

type wireAnswer struct {
	Model   string `json:"model"`
	Choices []struct {
		Message struct {
			Content string `json:"content"`
		} `json:"message"`
		FinishReason string `json:"finish_reason"`
	} `json:"choices"`
	Usage struct {
		PromptTokens     int `json:"prompt_tokens"`
		CompletionTokens int `json:"completion_tokens"`
	} `json:"usage"`
}

// once sends one request and adds what comes to the reply.
func (c *Client) once(ctx context.Context, s Server, r Request, reply *Reply) *Error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	w := wireRequest{Model: s.Model, Messages: r.Messages, MaxTokens: r.MaxTokens, Temperature: r.Temperature, Seed: int64(r.Seed & (1<<31 - 1))} // llama.cpp takes 32 bits
	if r.N > 1 {
		w.N = r.N
	}
	body, err := json.Marshal(w)
	if err != nil {
		return &Error{Kind: Refused} // strings and numbers can be encoded; this is never reached
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(s.URL, "/")+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return &Error{Kind: Unreachable}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "rankloop")
	if s.Key != "" {
		req.Header.Set("Authorization", "Bearer "+s.Key)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return unreached(ctx, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return refusal(res)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, MaxBody+1))
	if err != nil {
		return unreached(ctx, err)
	}
	if len(raw) > MaxBody {
		return &Error{Kind: Large, Status: res.StatusCode}
	}
	return reply.add(raw, r.N)
}

// unreached says why a request did not come back.
func unreached(ctx context.Context, err error) *Error {
	var permanent interface{ Permanent() bool }
	switch {
	case errors.As(err, &permanent) && permanent.Permanent():
		return &Error{Kind: Forbidden}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Error{Kind: Late}
	}
	return &Error{Kind: Unreachable}
}

// refusal reads an answer's status, and nothing else but how long to wait.
func refusal(res *http.Response) *Error {
	e := &Error{Kind: Refused, Status: res.StatusCode}
	switch code := res.StatusCode; {
	case code >= 300 && code < 400:
		e.Kind = Redirect
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		e.Kind = Key
	case code == http.StatusNotFound:
		e.Kind = Missing
	case code == http.StatusTooManyRequests:
		e.Kind = Busy
	case code >= 500:
		e.Kind = Failed
	case code < 300:
		e.Kind = Garbled
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 && s < 1<<20 {
		e.After = time.Duration(s) * time.Second
	}
	return e
}

// add reads a chat completion, at most n answers of it.
func (reply *Reply) add(raw []byte, n int) *Error {
	var a wireAnswer
	if json.Unmarshal(raw, &a) != nil || len(a.Choices) == 0 {
		return &Error{Kind: Garbled, Status: http.StatusOK}
	}
	if used := a.Usage.PromptTokens + a.Usage.CompletionTokens; used > 0 && used < 1<<30 {
		reply.Tokens += used
	}
	reply.Model = clip(a.Model, 200)
	before := len(reply.Answers)
	for _, choice := range a.Choices[:min(n, len(a.Choices))] {
		if text := strings.TrimSpace(choice.Message.Content); text != "" {
			reply.Answers = append(reply.Answers, Answer{Text: clip(text, MaxText), Finish: clip(choice.FinishReason, 20)})
		}
	}
	if len(reply.Answers) == before {
		return &Error{Kind: Empty, Status: http.StatusOK}
	}
	return nil
}

// clip cuts a text to so many bytes between two characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
