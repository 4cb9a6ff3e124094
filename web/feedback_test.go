package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/openai"
)

// chat asks the API for answers, and returns the completion's id and their texts.
func (b *browser) chat(body string) (id string, texts []string) {
	b.w.Helper()
	var c openai.Chat
	b.json(post, "/v1/chat/completions", body).want(b.w, http.StatusOK).into(b.w, &c)
	for _, x := range c.Choices {
		texts = append(texts, x.Message.Content)
	}
	return c.ID, texts
}

func asks(question, more string) string {
	return fmt.Sprintf(`{"model":"default","messages":[{"role":"user","content":%q}],"max_tokens":8%s}`, question, more)
}

// TestFeedbackReachesLabelers: what a customer says of its answers is in the labelers' queue at once, with these answers; a
// preference is a comparison, a correction a demonstration.
func TestFeedbackReachesLabelers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, secret := w.key("acme", func(n *account.NewKey) { n.TrainingOptIn = true })
	key := w.withKey(secret)
	mina := w.as("mina", account.RoleLabeler)
	id, texts := key.chat(asks("Name a bird", `,"n":3,"seed":5,"user":"u-17"`))
	var f feedbackOut
	began := time.Now()
	key.json(post, "/v1/chat/completions/"+id+"/feedback", `{"preferred":1,"correction":"A robin is a bird.","tags":["short"],"comment":"call 0912-345-678"}`).want(t, http.StatusCreated).into(t, &f)
	if f.CompletionID != id || *f.Preferred != 1 || f.Choice != 1 || f.User != "u-17" || f.Model != w.version.ID || !f.Queued || strings.Join(f.Became, " ") != "task comparison demonstration" || f.Object != "completion.feedback" {
		t.Errorf("%+v", f)
	}
	var task task
	mina.json(post, "/label/api/claim", nil).want(t, http.StatusOK).into(t, &task)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the labeler waited %s", took)
	}
	if task.Messages[0].Content != "Name a bird" || len(task.Answers) != 3 {
		t.Errorf("%+v", task)
	}
	seen := map[string]bool{}
	for _, a := range task.Answers {
		seen[a.Text] = true
	}
	for _, x := range texts {
		if view, _ := labeling.Sanitize(x); !seen[view] {
			t.Errorf("the labeler does not see %q among %v", x, seen)
		}
	}
	if n := w.count(`SELECT count(*) FROM comparisons c JOIN responses l ON l.id = c.loser_id JOIN rankings r ON r.id = c.ranking_id WHERE r.labeler_id = 'customer:' || $1 AND l.position <> 1`, k.CustomerID); n != 2 {
		t.Errorf("%d comparisons", n)
	}
	if n := w.count(`SELECT count(*) FROM demonstrations WHERE origin = 'customer' AND response = 'A robin is a bird.'`); n != 1 {
		t.Errorf("%d demonstrations", n)
	}
	if n := w.count(`SELECT count(*) FROM prompt_sources WHERE customer_id = $1 AND api_key_id = $2 AND model_version = $3 AND end_user = 'u-17' AND completion_id = $4 AND consent`, k.CustomerID, k.ID, w.version.ID, id); n != 1 {
		t.Error("the prompt does not know where it came from")
	}
	if n := w.count(`SELECT count(*) FROM feedback WHERE comment LIKE '%0912%'`); n != 0 {
		t.Error("a telephone number was kept")
	}
	// Once more changes nothing; under a key of its own it is another.
	var again feedbackOut
	key.json(post, "/v1/chat/completions/"+id+"/feedback", `{"preferred":1,"correction":"A robin is a bird.","tags":["short"],"comment":"call 0912-345-678"}`).want(t, http.StatusOK).into(t, &again)
	if again.ID != f.ID {
		t.Errorf("%s, then %s", f.ID, again.ID)
	}
	key.json(post, "/v1/chat/completions/"+id+"/feedback", `{"rating":1}`, "Idempotency-Key", "k").want(t, http.StatusCreated)
	key.json(post, "/v1/chat/completions/"+id+"/feedback", `{"rating":1}`, "Idempotency-Key", "k").want(t, http.StatusOK)
	key.json(post, "/v1/chat/completions/"+id+"/feedback", `{"rating":-1}`, "Idempotency-Key", "k").want(t, http.StatusConflict)
	var list struct {
		Feedback []feedbackOut
		HasMore  bool `json:"has_more"`
	}
	key.get("/api/v1/feedback").want(t, http.StatusOK).into(t, &list)
	if len(list.Feedback) != 2 || list.Feedback[1].ID != f.ID || list.HasMore {
		t.Errorf("%+v", list)
	}
	// Streams are kept too, and the choices of several prompts count through.
	var frames []openai.Completion
	for _, frame := range strings.Split(key.json(post, "/v1/completions", `{"model":"default","prompt":["One bird","Two birds"],"n":2,"max_tokens":4,"stream":true}`).want(t, http.StatusOK).body, "\n\n") {
		if data, ok := strings.CutPrefix(frame, "data: {"); ok {
			var c openai.Completion
			w.must(json.Unmarshal([]byte("{"+data), &c))
			frames = append(frames, c)
		}
	}
	key.json(post, "/v1/completions/"+frames[0].ID+"/feedback", `{"preferred":3}`).want(t, http.StatusCreated).into(t, &f)
	if n := w.count(`SELECT count(*) FROM feedback f JOIN kept_completions k ON k.id = f.completion WHERE f.id = $1 AND k.text = 'Two birds' AND jsonb_array_length(k.answers) = 2`, f.ID); n != 1 {
		t.Error("the fourth choice answers the second prompt")
	}
	key.json(post, "/v1/completions/"+frames[0].ID+"/feedback", `{"preferred":4}`).want(t, http.StatusBadRequest)
	// An admin sees it all.
	ada := w.as("ada", account.RoleAdmin)
	page := ada.get("/admin/labeling/feedback").want(t, http.StatusOK).body
	for _, part := range []string{"A robin is a bird.", "short", k.ID, w.version.Name, "answer 2 is the best"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	var asked string
	w.must(w.pool.QueryRow(t.Context(), `SELECT task_id FROM feedback WHERE correction <> ''`).Scan(&asked))
	page = ada.get("/admin/labeling/tasks/"+asked).want(t, http.StatusOK).body
	for _, part := range []string{"Where the prompt came from", k.ID, "u-17", id, w.version.Name, "consent"} {
		if !strings.Contains(page, part) {
			t.Errorf("the task's page lacks %q", part)
		}
	}
}

// TestFeedbackWantsConsent: nothing is kept that was not allowed, by the key or by the request; the answer says how to mend it.
func TestFeedbackWantsConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme")
	key := w.withKey(secret)
	refused := func(id string) {
		t.Helper()
		got := key.json(post, "/v1/chat/completions/"+id+"/feedback", `{"rating":1}`).want(t, http.StatusNotFound)
		if !strings.Contains(got.body, "/api/v1/consent") || !strings.Contains(got.body, `"invalid_request_error"`) {
			t.Error(got.body)
		}
	}
	kept := func(want int) {
		t.Helper()
		if n := w.count(`SELECT count(*) FROM kept_completions`); n != want {
			t.Fatalf("%d completions are kept, want %d", n, want)
		}
		if n := w.count(`SELECT count(*) FROM prompts`); n != want {
			t.Fatalf("%d prompts are in the pool, want %d", n, want)
		}
	}
	id, _ := key.chat(asks("One", ""))
	refused(id)
	refused("chatcmpl-nothing")
	kept(0)
	asked, _ := key.chat(asks("Two", `,"store":true,"metadata":{"training":"true"}`))
	kept(1)
	key.json(post, "/v1/chat/completions/"+asked+"/feedback", `{"rating":1}`).want(t, http.StatusCreated)
	_, other := w.key("else")
	w.withKey(other).json(post, "/v1/chat/completions/"+asked+"/feedback", `{"rating":1}`).want(t, http.StatusNotFound)
	key.chat(asks("Three", `,"store":false,"metadata":{"training":"true"}`))
	kept(1)
	var c consentOut
	key.get("/api/v1/consent").want(t, http.StatusOK).into(t, &c)
	if c.Training {
		t.Error("a key consents by itself")
	}
	key.json(put, "/api/v1/consent", `{"training":true}`).want(t, http.StatusOK)
	key.json(put, "/api/v1/consent", `{}`).want(t, http.StatusBadRequest)
	four, _ := key.chat(asks("Four", ""))
	kept(2)
	key.chat(asks("Five", `,"store":false`))
	key.chat(asks("Six", `,"metadata":{"training":"false"}`))
	kept(2)
	// Withdrawn: hidden at once, and nothing further is taken.
	key.json(put, "/api/v1/consent", `{"training":false}`).want(t, http.StatusOK).into(t, &c)
	if c.Prompts != 2 || w.count(`SELECT count(*) FROM prompts WHERE usable`) != 0 {
		t.Errorf("%+v", c)
	}
	refused(four)
	refused(asked)
	key.json(put, "/api/v1/consent", `{"training":true}`).want(t, http.StatusOK)
	key.json(post, "/v1/chat/completions/"+four+"/feedback", `{"rating":1}`).want(t, http.StatusCreated)
}

// TestFeedbackSampled: a single answer is put before labelers with further ones, for which a job is queued.
func TestFeedbackSampled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme", func(n *account.NewKey) { n.TrainingOptIn = true })
	key := w.withKey(secret)
	id, _ := key.chat(asks("Name a bird", ""))
	var f feedbackOut
	key.json(post, "/v1/chat/completions/"+id+"/feedback", `{"rating":-1}`).want(t, http.StatusCreated).into(t, &f)
	if !f.Queued || len(f.Became) != 0 {
		t.Errorf("%+v", f)
	}
	if n := w.count(`SELECT count(*) FROM river.river_job WHERE kind = 'loop.feedback' AND args ->> 'batch' LIKE 'feedback:%'`); n != 1 {
		t.Errorf("%d jobs", n)
	}
}

// TestEraseOwn: a customer erases a completion, or one of its users, and nobody else's.
func TestEraseOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme", func(n *account.NewKey) { n.TrainingOptIn = true })
	key := w.withKey(secret)
	one, _ := key.chat(asks("Zebra one", `,"n":2,"user":"u1"`))
	two, _ := key.chat(asks("Zebra two", `,"n":2,"user":"u2"`))
	for _, id := range []string{one, two} {
		key.json(post, "/v1/chat/completions/"+id+"/feedback", `{"preferred":0,"correction":"It is so."}`).want(t, http.StatusCreated)
	}
	_, other := w.key("else", func(n *account.NewKey) { n.TrainingOptIn = true })
	w.withKey(other).json(post, "/api/v1/erasures", fmt.Sprintf(`{"completion":%q}`, one)).want(t, http.StatusNotFound)
	for _, body := range []string{`{}`, `{"completion":"a","user":"b"}`, `{"user":"` + strings.Repeat("x", 600) + `"}`} {
		key.json(post, "/api/v1/erasures", body).want(t, http.StatusBadRequest)
	}
	var r struct {
		Rows   map[string]int
		DryRun bool `json:"dry_run"`
	}
	key.json(post, "/api/v1/erasures", fmt.Sprintf(`{"completion":%q,"dry_run":true}`, one)).want(t, http.StatusOK).into(t, &r)
	if !r.DryRun || r.Rows["prompts"] != 1 || w.count(`SELECT count(*) FROM prompts`) != 2 {
		t.Errorf("%+v", r)
	}
	key.json(post, "/api/v1/erasures", fmt.Sprintf(`{"completion":%q}`, one)).want(t, http.StatusOK)
	key.json(post, "/api/v1/erasures", fmt.Sprintf(`{"completion":%q}`, one)).want(t, http.StatusNotFound)
	if w.count(`SELECT count(*) FROM prompts WHERE text LIKE '%one%'`) != 0 || w.count(`SELECT count(*) FROM prompts WHERE text LIKE '%two%'`) != 1 || w.count(`SELECT count(*) FROM feedback`) != 1 {
		t.Error("the wrong rows went")
	}
	key.json(post, "/api/v1/erasures", `{"user":"u2"}`).want(t, http.StatusOK)
	for _, table := range []string{"prompts", "feedback", "kept_completions", "tasks", "responses", "rankings", "demonstrations", "prompt_sources"} {
		if n := w.count(`SELECT count(*) FROM ` + table); n != 0 {
			t.Errorf("%d rows of %s are left", n, table)
		}
	}
}
