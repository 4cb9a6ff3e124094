package loop_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/remote"
	"github.com/rankloop/rankloop/ppo/loop"
)

// reversed seals by writing backwards, so that a test sees whether sealing was asked for.
type reversed struct{}

func (reversed) Seal(owner, secret string) ([]byte, error) {
	b := []byte(owner + " " + secret)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return b, nil
}

func (r reversed) Unseal(owner string, sealed []byte) (string, error) {
	plain, _ := r.Seal("", string(sealed))
	secret, ok := strings.CutPrefix(strings.TrimSpace(string(plain)), owner+" ")
	if !ok {
		return "", errors.New("another owner's")
	}
	return secret, nil
}

// stranger is an engine elsewhere: it says something new each time, with usage of 10 tokens an answer, until it is told to fail.
type stranger struct {
	*httptest.Server
	status atomic.Int64 // 0: 200
	mu     sync.Mutex
	asked  []string // what
	keys   map[string]bool
	n      int
}

func newStranger(t *testing.T) *stranger {
	s := &stranger{keys: map[string]bool{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			N        int
			Messages []struct{ Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, in.Messages[len(in.Messages)-1].Content)
		s.keys[r.Header.Get("Authorization")] = true
		if code := int(s.status.Load()); code != 0 {
			w.WriteHeader(code)
			return
		}
		var choices []any
		for range max(1, in.N) {
			s.n++
			choices = append(choices, map[string]any{"message": map[string]any{"content": fmt.Sprintf("answer %d", s.n)}, "finish_reason": "stop"})
		}
		json.NewEncoder(w).Encode(map[string]any{"model": "big-7b", "choices": choices, "usage": map[string]any{"prompt_tokens": 0, "completion_tokens": 10 * len(choices)}})
	}))
	t.Cleanup(s.Close)
	return s
}

func (b *bench) engines(t *testing.T) {
	t.Helper()
	b.loop.Secrets = reversed{}
	b.loop.Remote = &remote.Client{HTTP: http.DefaultClient}
}

func (b *bench) number(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	if err := b.pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// order makes tasks of so many prompts and waits for them.
func (b *bench) order(t *testing.T, n int) {
	t.Helper()
	if err := b.loop.OrderTasks(t.Context(), b.project.ID, n, "user:admin"); err != nil {
		t.Fatal(err)
	}
	for b.number(t, `SELECT count(*) FROM river.river_job WHERE kind = 'loop.tasks' AND state <> 'completed'`) > 0 {
		time.Sleep(20 * time.Millisecond)
	}
}

func saved(t *testing.T, b *bench, url string, change func(*loop.EngineChange)) loop.Engine {
	t.Helper()
	c := loop.EngineChange{Engine: loop.Engine{Name: "stranger", URL: url + "/v1", Model: "big", Answers: 3, MaxTokens: 20, DailyTokens: 1_000_000, Timeout: 5 * time.Second, Enabled: true},
		Key: "sk-1", Actor: "user:admin"}
	if change != nil {
		change(&c)
	}
	e, err := b.loop.SaveEngine(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestEngineAnswers: an engine gives its share of each task's answers, the policy the rest; whoever is to see what customers asked is said.
func TestEngineAnswers(t *testing.T) {
	b := newBench(t)
	b.engines(t)
	ctx := t.Context()
	s := newStranger(t)
	e := saved(t, b, s.URL, nil)
	if err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		_, _, err := b.labeling.AddPrompt(ctx, tx, labeling.NewPrompt{ProjectID: b.project.ID, Origin: labeling.OriginAPI, CustomerID: "acme", APIKeyID: "12345678", Consent: true,
			Split: labeling.Train, Messages: []labeling.Message{{Role: "user", Content: "private"}}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b.order(t, 1000)
	tasks := b.number(t, `SELECT count(*) FROM tasks`)
	theirs := b.number(t, `SELECT count(*) FROM responses WHERE model_version = 'stranger/big-7b' AND finish = 'stop' AND token_ids IS NULL`)
	ours := b.number(t, `SELECT count(*) FROM responses WHERE token_ids IS NOT NULL`)
	if tasks != 31 || theirs != 3*30 || ours != 30+4 {
		t.Errorf("%d tasks, %d answers of the engine, %d of the policy", tasks, theirs, ours)
	}
	if len(s.asked) != 30 || len(s.keys) != 1 || !s.keys["Bearer sk-1"] {
		t.Errorf("%d requests with %v", len(s.asked), s.keys)
	}
	for _, q := range s.asked {
		if q == "private" {
			t.Error("a customer's prompt left")
		}
	}
	e, err := b.loop.Engine(ctx, e.ID)
	if err != nil || e.Today.Tokens != 900 || e.Today.Answers != 90 || e.Today.Requests != 30 || e.AnsweredAt == nil || !e.HasKey {
		t.Errorf("%+v, %v", e, err)
	}
	if n := b.number(t, `SELECT count(*) FROM audit WHERE act = 'engine.answers'`); n == 0 {
		t.Error("nothing in the log says that it was asked")
	}
	if n := b.number(t, `SELECT count(*) FROM engines WHERE position('sk-1' IN convert_from(secret, 'UTF8')) > 0`) + b.number(t, `SELECT count(*) FROM audit WHERE detail::text LIKE '%sk-1%'`); n != 0 {
		t.Error("the key stands in the clear")
	}
	// The same with leave to see them, and the policy for nothing.
	change := loop.EngineChange{Engine: e, DropKey: true, Actor: "user:admin"}
	change.Customers, change.Answers = true, 9
	if e, err = b.loop.SaveEngine(ctx, change); err != nil || e.HasKey {
		t.Fatalf("%+v, %v", e, err)
	}
	b.order(t, 1000)
	if n := b.number(t, `SELECT count(*) FROM responses`) - theirs - ours; n != 4*31 || b.number(t, `SELECT count(*) FROM responses WHERE token_ids IS NOT NULL`) != ours {
		t.Errorf("%d further answers", n)
	}
	if !s.keys[""] {
		t.Error("the key was not forgotten")
	}
	if err := b.loop.RemoveEngine(ctx, e.ID, "user:admin"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.loop.Engine(ctx, e.ID); !errors.Is(err, loop.ErrNotFound) {
		t.Error(err)
	}
}

// TestEngineFails: a failing engine is left alone after three failures, one whose budget is used up at once; the policy gives all answers,
// and the page learns why.
func TestEngineFails(t *testing.T) {
	b := newBench(t)
	b.engines(t)
	ctx := t.Context()
	s := newStranger(t)
	s.status.Store(http.StatusBadRequest)
	e := saved(t, b, s.URL, nil)
	b.order(t, 12)
	e, err := b.loop.Engine(ctx, e.ID)
	if err != nil || e.Error != remote.Refused || e.ErrorStatus != 400 || e.ErrorAt == nil || e.Today.Tokens != 0 || e.Today.Failures == 0 || len(s.asked) > 4 {
		t.Errorf("%d requests; %+v, %v", len(s.asked), e, err)
	}
	if n := b.number(t, `SELECT count(*) FROM responses WHERE token_ids IS NOT NULL`); n != 48 {
		t.Errorf("%d answers of the policy", n)
	}
	// A budget for one request of 3 answers of 20 tokens, that uses 30 of them. The next would not fit.
	s.status.Store(0)
	change := loop.EngineChange{Engine: e, Actor: "user:admin"}
	change.DailyTokens = 80
	if _, err := b.loop.SaveEngine(ctx, change); err != nil {
		t.Fatal(err)
	}
	s.asked = nil
	b.order(t, 12)
	e, err = b.loop.Engine(ctx, e.ID)
	if err != nil || len(s.asked) != 1 || e.Today.Tokens != 30 || e.Today.Answers != 3 || e.Error != loop.EngineBudget {
		t.Errorf("%d requests; %+v, %v", len(s.asked), e, err)
	}
	change.Enabled = false
	if _, err := b.loop.SaveEngine(ctx, change); err != nil {
		t.Fatal(err)
	}
	b.order(t, 2)
	if len(s.asked) != 1 {
		t.Error("an engine that is off was asked")
	}
}

// TestEngineForm: what an engine may not be, and that a name is one engine's.
func TestEngineForm(t *testing.T) {
	b := newBench(t)
	b.engines(t)
	e := saved(t, b, "https://example.com", nil)
	if e.URL != "https://example.com/v1" || e.Provenance("") != "stranger/big" || e.Provenance("x/y") != "stranger/x/y" {
		t.Errorf("%+v", e)
	}
	for field, change := range map[string]func(*loop.EngineChange){
		"name":         func(c *loop.EngineChange) { c.Name = "a/b" },
		"model":        func(c *loop.EngineChange) { c.Name, c.Model = "x", "" },
		"url":          func(c *loop.EngineChange) { c.Name, c.URL = "x", "https://user:pass@example.com/v1" },
		"answers":      func(c *loop.EngineChange) { c.Name, c.Answers = "x", 10 },
		"max_tokens":   func(c *loop.EngineChange) { c.Name, c.MaxTokens = "x", 0 },
		"daily_tokens": func(c *loop.EngineChange) { c.Name, c.DailyTokens = "x", 0 },
		"timeout":      func(c *loop.EngineChange) { c.Name, c.Timeout = "x", time.Hour },
		"key":          func(c *loop.EngineChange) { c.Name, c.Key = "x", "a\nb" },
	} {
		c := loop.EngineChange{Engine: e, Actor: "user:admin"}
		c.ID = ""
		change(&c)
		var wrong *loop.InvalidError
		if _, err := b.loop.SaveEngine(t.Context(), c); !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, url := range []string{"", "example.com", "ftp://example.com", "https://", "https://example.com/v1?a=b", "https://example.com/#a", "https://exa\u202emple.com"} {
		c := loop.EngineChange{Engine: e}
		c.URL = url
		var wrong *loop.InvalidError
		if _, err := b.loop.SaveEngine(t.Context(), c); !errors.As(err, &wrong) || wrong.Field != "url" {
			t.Errorf("%q: %v", url, err)
		}
	}
	c := loop.EngineChange{Engine: e}
	c.ID = ""
	var wrong *loop.InvalidError
	if _, err := b.loop.SaveEngine(t.Context(), c); !errors.As(err, &wrong) || wrong.Field != "name" {
		t.Errorf("the same name: %v", err)
	}
	c.ID = "01890a5d-ac96-774b-bcce-b302099a8057"
	c.Name = "other"
	if _, err := b.loop.SaveEngine(t.Context(), c); !errors.Is(err, loop.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}
