package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// script is a server that gives the answers in turn, and a client that notes how long it would have waited.
type script struct {
	*httptest.Server
	Client
	steps  []http.HandlerFunc
	bodies []wireRequest
	keys   []string
	waits  []time.Duration
}

func play(t *testing.T, steps ...http.HandlerFunc) *script {
	t.Helper()
	s := &script{steps: steps}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body wireRequest
		raw, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(raw, &body); err != nil || r.URL.Path != "/v1/chat/completions" || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		s.bodies, s.keys = append(s.bodies, body), append(s.keys, r.Header.Get("Authorization"))
		if len(s.steps) == 0 {
			t.Error("one request too many")
			return
		}
		step := s.steps[0]
		s.steps = s.steps[1:]
		step(w, r)
	}))
	t.Cleanup(s.Close)
	s.Client = Client{
		HTTP:  &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Sleep: func(_ context.Context, d time.Duration) error { s.waits = append(s.waits, d); return nil },
	}
	return s
}

func (s *script) server() Server {
	return Server{URL: s.URL + "/v1/", Model: "m", Key: "secret", Timeout: 5 * time.Second}
}

func says(texts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var choices []any
		for i, t := range texts {
			choices = append(choices, map[string]any{"index": i, "message": map[string]any{"role": "assistant", "content": t}, "finish_reason": "stop"})
		}
		json.NewEncoder(w).Encode(map[string]any{"id": "x", "model": "m-7b", "choices": choices, "usage": map[string]any{"prompt_tokens": 3, "completion_tokens": len(texts)}})
	}
}

func status(code int, head ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(head); i += 2 {
			w.Header().Set(head[i], head[i+1])
		}
		w.WriteHeader(code)
		io.WriteString(w, `{"error":{"message":"the database password is hunter2"}}`)
	}
}

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

// TestChat: what is asked for is asked for in one request where the server knows n, and again where it does not.
func TestChat(t *testing.T) {
	ask := Request{Messages: []Message{{"user", "hello"}}, N: 3, MaxTokens: 40, Temperature: 1, Seed: 1 << 40}
	s := play(t, says(" a ", "b", "c", "one too many"))
	got, err := s.Chat(t.Context(), s.server(), ask)
	if err != nil || len(got.Answers) != 3 || got.Answers[0] != (Answer{"a", "stop"}) || got.Model != "m-7b" || got.Tokens != 7 || got.Requests != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if b := s.bodies[0]; b.N != 3 || b.MaxTokens != 40 || b.Model != "m" || b.Temperature != 1 || len(b.Messages) != 1 || s.keys[0] != "Bearer secret" {
		t.Errorf("%+v %q", b, s.keys)
	}
	s = play(t, says("a"), says("b"), says("c"))
	got, err = s.Chat(t.Context(), s.server(), ask)
	if err != nil || len(got.Answers) != 3 || got.Tokens != 12 || got.Requests != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	if s.bodies[0].Seed == s.bodies[1].Seed || s.bodies[1].N != 2 || s.bodies[2].N != 0 {
		t.Errorf("%+v", s.bodies)
	}
	s = play(t, says("a"), status(400))
	got, err = s.Chat(t.Context(), s.server(), ask)
	if err == nil || len(got.Answers) != 1 {
		t.Errorf("what came before the error: %+v, %v", got, err)
	}
}

// TestRetries: what may pass is tried again after a wait that doubles or that the server asks for, three times at most; what will not pass
// is not. No error repeats what the server said.
func TestRetries(t *testing.T) {
	huge := `{"choices":[{"message":{"content":"` + strings.Repeat("a", MaxBody) + `"}}]}`
	for name, c := range map[string]struct {
		steps []http.HandlerFunc
		kind  Kind // empty: an answer comes
		waits []time.Duration
	}{
		"once":         {[]http.HandlerFunc{status(503), says("a")}, "", []time.Duration{backoff}},
		"twice":        {[]http.HandlerFunc{status(500), status(502), says("a")}, "", []time.Duration{backoff, 2 * backoff}},
		"never":        {[]http.HandlerFunc{status(500), status(500), status(500)}, Failed, []time.Duration{backoff, 2 * backoff}},
		"as asked":     {[]http.HandlerFunc{status(429, "Retry-After", "7"), says("a")}, "", []time.Duration{7 * time.Second}},
		"too long":     {[]http.HandlerFunc{status(429, "Retry-After", "3600")}, Busy, nil},
		"not a number": {[]http.HandlerFunc{status(429, "Retry-After", "-5"), says("a")}, "", []time.Duration{backoff}},
		"key":          {[]http.HandlerFunc{status(401)}, Key, nil},
		"forbidden":    {[]http.HandlerFunc{status(403)}, Key, nil},
		"missing":      {[]http.HandlerFunc{status(404)}, Missing, nil},
		"refused":      {[]http.HandlerFunc{status(400)}, Refused, nil},
		"redirect":     {[]http.HandlerFunc{status(307, "Location", "http://169.254.169.254/")}, Redirect, nil},
		"no content":   {[]http.HandlerFunc{status(204)}, Garbled, nil},
		"not JSON":     {[]http.HandlerFunc{body("<html>hunter2")}, Garbled, nil},
		"no choices":   {[]http.HandlerFunc{body(`{"choices":[]}`)}, Garbled, nil},
		"another JSON": {[]http.HandlerFunc{body(`{"choices":"a"}`)}, Garbled, nil},
		"no text":      {[]http.HandlerFunc{says(" ")}, Empty, nil},
		"too large":    {[]http.HandlerFunc{body(huge)}, Large, nil},
		"endless": {[]http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) {
			for chunk := []byte(strings.Repeat(" ", 64<<10)); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}}, Large, nil},
		"broke in half": {[]http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		}, says("a")}, "", []time.Duration{backoff}},
		"hung up at once": {[]http.HandlerFunc{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, says("a")}, "", []time.Duration{backoff}},
	} {
		t.Run(name, func(t *testing.T) {
			s := play(t, c.steps...)
			got, err := s.Chat(t.Context(), s.server(), Request{N: 1})
			var e *Error
			switch {
			case c.kind == "" && (err != nil || len(got.Answers) != 1):
				t.Errorf("%+v, %v", got, err)
			case c.kind != "" && (!errors.As(err, &e) || e.Kind != c.kind || strings.Contains(err.Error(), "hunter2")):
				t.Errorf("%v, want %s", err, c.kind)
			}
			if fmt.Sprint(s.waits) != fmt.Sprint(c.waits) || len(s.steps) != 0 || got.Requests != len(c.steps) {
				t.Errorf("waits %v, want %v; %d steps left, %d requests", s.waits, c.waits, len(s.steps), got.Requests)
			}
		})
	}
}

type refusing struct{}

func (refusing) Error() string   { return "not allowed: 10.0.0.1" }
func (refusing) Permanent() bool { return true }

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// TestUnreached: a dial that is not allowed is not tried again; a server that hangs is given up on; a caller that goes is gone.
func TestUnreached(t *testing.T) {
	calls := 0
	c := Client{HTTP: doer(func(*http.Request) (*http.Response, error) { calls++; return nil, fmt.Errorf("dial: %w", refusing{}) })}
	var e *Error
	if _, err := c.Chat(t.Context(), Server{URL: "http://a/v1", Timeout: time.Second}, Request{N: 1}); !errors.As(err, &e) || e.Kind != Forbidden || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	c = Client{
		HTTP:  doer(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }),
		Sleep: func(context.Context, time.Duration) error { return nil },
	}
	if _, err := c.Chat(t.Context(), Server{URL: "http://a/v1", Timeout: time.Millisecond}, Request{N: 1}); !errors.As(err, &e) || e.Kind != Late {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Chat(ctx, Server{URL: "http://a/v1", Timeout: time.Minute}, Request{N: 1}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// FuzzAdd: whatever a server answers, what is taken of it is bounded text.
func FuzzAdd(f *testing.F) {
	f.Add([]byte(`{"model":"m","choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}`), 2)
	f.Add([]byte(`{"choices":[{"message":{"content":null}}]}`), 1)
	f.Fuzz(func(t *testing.T, raw []byte, n int) {
		n = 1 + max(0, n)%9
		var r Reply
		e := r.add(raw, n)
		if (e == nil) != (len(r.Answers) > 0) || len(r.Answers) > n || len(r.Model) > 200 || r.Tokens < 0 {
			t.Errorf("%+v, %v", r, e)
		}
		for _, a := range r.Answers {
			if a.Text == "" || len(a.Text) > MaxText || len(a.Finish) > 20 {
				t.Errorf("%+v", a)
			}
		}
	})
}
