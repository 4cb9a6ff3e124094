package web

import (
	"context"
	"encoding/json"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/conversation"
	"github.com/rankloop/rankloop/web/openai"
)

// talk is a person at the chat page, by its JSON.
type talk struct {
	*browser
	id string
}

func (b *browser) converse(training bool) talk {
	b.w.Helper()
	var c conversationOut
	b.json(post, "/chat/api/conversations", map[string]any{"training": training}).want(b.w, http.StatusCreated).into(b.w, &c)
	return talk{b, c.ID}
}

// said is what a stream of an answer brought.
type said struct {
	Question *turnOut
	Answers  []turnOut
	Text     []string // by choice
	Left     int
	Whole    bool
}

func (k talk) ask(body map[string]any) said {
	k.w.Helper()
	got := k.json(post, "/chat/api/conversations/"+k.id+"/answers", body).want(k.w, http.StatusOK)
	out := said{Text: make([]string, 2)}
	for _, frame := range strings.Split(got.body, "\n\n") {
		data, ok := strings.CutPrefix(frame, "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			out.Whole = true
			continue
		}
		var e struct {
			Question *turnOut
			Answers  []turnOut
			Choice   int
			Text     string
			LeftOut  int `json:"left_out"`
			Error    string
		}
		k.w.must(json.Unmarshal([]byte(data), &e))
		switch {
		case e.Question != nil:
			out.Question, out.Left = e.Question, e.LeftOut
		case e.Answers != nil:
			out.Answers = e.Answers
		case e.Error != "":
			k.w.Fatal(e.Error)
		default:
			out.Text[e.Choice] += e.Text
		}
	}
	return out
}

func (k talk) turns() []turnOut {
	k.w.Helper()
	var c conversationOut
	k.get("/chat/api/conversations/"+k.id).want(k.w, http.StatusOK).into(k.w, &c)
	return c.Turns
}

// TestChatKeeps: a conversation is a tree; what streamed is what is kept, and it is found, renamed and deleted by its owner alone.
func TestChatKeeps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.as("acme", account.RoleCustomer)
	k := acme.converse(false)
	settings := map[string]any{"max_tokens": 6, "seed": 3}
	first := k.ask(map[string]any{"content": "Tell of a fox_one", "settings": settings})
	if !first.Whole || len(first.Answers) != 1 || first.Answers[0].Content != first.Text[0] || first.Answers[0].CompletionTokens == 0 || first.Answers[0].Model != w.version.Name || first.Answers[0].Parent != first.Question.ID {
		t.Fatalf("%+v", first)
	}
	again := k.ask(map[string]any{"parent": first.Question.ID, "settings": settings})
	if again.Answers[0].Content != first.Answers[0].Content || again.Answers[0].ID == first.Answers[0].ID {
		t.Errorf("the same seed gives %q, then %q", first.Answers[0].Content, again.Answers[0].Content)
	}
	edited := k.ask(map[string]any{"content": "Tell of 一百% of a drum", "settings": map[string]any{"max_tokens": 4}})
	k.ask(map[string]any{"parent": edited.Answers[0].ID, "content": "And then?", "settings": map[string]any{"max_tokens": 4}})
	if turns := k.turns(); len(turns) != 7 {
		t.Errorf("%d turns", len(turns))
	}
	var tokens [][]any
	acme.get("/chat/api/turns/"+first.Answers[0].ID+"/tokens").want(t, http.StatusOK).into(t, &tokens)
	if len(tokens) != first.Answers[0].CompletionTokens || len(tokens[0]) != 3 || len(tokens[0][2].([]any)) != chatAlternatives {
		t.Errorf("%d tokens: %v", len(tokens), tokens)
	}
	find := func(q string) int {
		var list struct{ Conversations []conversationOut }
		acme.get("/chat/api/conversations?q="+q).want(t, http.StatusOK).into(t, &list)
		return len(list.Conversations)
	}
	for q, want := range map[string]int{"": 1, "fox_one": 1, "FOX": 1, "foxXone": 0, "%E4%B8%80%E7%99%BE%25": 1, "drum": 1, "nothing": 0} {
		if n := find(q); n != want {
			t.Errorf("%q finds %d", q, n)
		}
	}
	acme.json(put, "/chat/api/conversations/"+k.id, `{"title":"Foxes"}`).want(t, http.StatusOK)
	if find("foxes") != 1 {
		t.Error("the title is not found")
	}
	other := w.as("else", account.RoleCustomer)
	for _, r := range [][2]string{{get, ""}, {put, ""}, {http.MethodDelete, ""}, {post, "/answers"}, {post, "/share"}, {http.MethodDelete, "/share"}, {get, "/code?leaf=" + first.Question.ID}} {
		body := map[string]any{}
		if r[1] == "/answers" {
			body["content"] = "x"
		}
		if got := other.json(r[0], "/chat/api/conversations/"+k.id+r[1], body); got.code != http.StatusNotFound {
			t.Errorf("%s %s of another answers %d", r[0], r[1], got.code)
		}
	}
	other.get("/chat/api/turns/"+first.Answers[0].ID+"/tokens").want(t, http.StatusNotFound)
	other.json(put, "/chat/api/turns/"+first.Answers[0].ID+"/feedback", `{"rating":1}`).want(t, http.StatusNotFound)
	for _, body := range []map[string]any{{"content": ""}, {"content": strings.Repeat("x", 33_000)}, {"parent": "x", "content": "y"}, {"parent": first.Answers[0].ID}, {"parent": first.Question.ID, "content": "behind a question"},
		{"content": "x", "settings": map[string]any{"temperature": 3}}, {"content": "x", "settings": map[string]any{"top_p": -1}}, {"content": "x", "settings": map[string]any{"max_tokens": -1}}, {"content": "x", "nonsense": 1}} {
		acme.json(post, "/chat/api/conversations/"+k.id+"/answers", body).want(t, http.StatusBadRequest)
	}
	acme.do(http.MethodDelete, "/chat/api/conversations/"+k.id, "", "").want(t, http.StatusNoContent)
	acme.get("/chat/api/conversations/"+k.id).want(t, http.StatusNotFound)
	if n := w.count(`SELECT count(*) FROM conversation_turns`); n != 0 {
		t.Errorf("%d turns are left", n)
	}
	if n := w.count(`SELECT count(*) FROM prompts`) + w.count(`SELECT count(*) FROM kept_completions`); n != 0 {
		t.Error("what was said in the chat joined the pool")
	}
}

// TestChatOutgrows: the earliest turns make room, the system prompt stays.
func TestChatOutgrows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.as("acme", account.RoleCustomer).converse(false)
	settings := map[string]any{"max_tokens": 4, "system": "Be kind."}
	parent, left := "", 0
	for i := range 6 {
		got := k.ask(map[string]any{"parent": parent, "content": strings.Repeat("word ", 40) + fmt.Sprint(i), "settings": settings})
		parent, left = got.Answers[0].ID, got.Left
	}
	if left == 0 || left%2 != 0 {
		t.Errorf("%d turns were left out", left)
	}
	system := openai.ChatMessage{Role: "system", Content: "Be kind."}
	turns := []openai.ChatMessage{system}
	for range 6 {
		turns = append(turns, openai.ChatMessage{Role: "user", Content: openai.Content(strings.Repeat("word ", 40))}, openai.ChatMessage{Role: "assistant", Content: "Yes."})
	}
	turns = append(turns, openai.ChatMessage{Role: "user", Content: "And?"})
	v, err := w.slot.Acquire()
	w.must(err)
	defer v.Release()
	j, left, err := w.server.fittingJob(v, &openai.ChatRequest{Messages: turns})
	w.must(err)
	got := j.prompts[0].Messages
	if got[0].Role != "system" || got[1].Role != "user" || got[len(got)-1].Content != "And?" || len(got)+left != len(turns) {
		t.Errorf("%d left out: %+v", left, got)
	}
	k.json(post, "/chat/api/conversations/"+k.id+"/answers", map[string]any{"content": strings.Repeat("word ", 400)}).want(t, http.StatusBadRequest)
}

// TestChatTeaches: with training allowed a thumb reaches the labelers, a vote becomes a comparison; switched off it is hidden at
// once, and deleting erases it.
func TestChatTeaches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.as("acme", account.RoleCustomer)
	settings := map[string]any{"max_tokens": 6}
	closed := acme.converse(false)
	unheard := closed.ask(map[string]any{"content": "Quiet", "settings": settings})
	var out taught
	acme.json(put, "/chat/api/turns/"+unheard.Answers[0].ID+"/feedback", `{"rating":1,"comment":"fine"}`).want(t, http.StatusOK).into(t, &out)
	if out.Taught || w.count(`SELECT count(*) FROM feedback`)+w.count(`SELECT count(*) FROM prompts`) != 0 || closed.turns()[1].Rating != 1 {
		t.Errorf("%+v", out)
	}
	k := acme.converse(true)
	got := k.ask(map[string]any{"content": "Loud", "compare": true, "settings": settings})
	if len(got.Answers) != 2 || got.Answers[0].Completion != got.Answers[1].Completion || got.Text[1] != got.Answers[1].Content {
		t.Fatalf("%+v", got)
	}
	acme.json(put, "/chat/api/turns/"+got.Answers[0].ID+"/vote", `{"vote":"worse"}`).want(t, http.StatusOK).into(t, &out)
	if !out.Taught || out.Leaf != got.Answers[1].ID {
		t.Errorf("%+v", out)
	}
	if n := w.count(`SELECT count(*) FROM comparisons c JOIN responses r ON r.id = c.winner_id WHERE r.position = 1`); n != 1 {
		t.Errorf("%d comparisons", n)
	}
	if turns := k.turns(); turns[1].Vote != conversation.Worse || turns[2].Vote != conversation.Better {
		t.Errorf("%+v", turns)
	}
	acme.json(put, "/chat/api/turns/"+got.Answers[1].ID+"/feedback", `{"rating":-1,"tags":["wrong"],"correction":"Better so."}`).want(t, http.StatusOK)
	if n := w.count(`SELECT count(*) FROM demonstrations WHERE origin = 'customer'`); n != 1 {
		t.Errorf("%d demonstrations", n)
	}
	for i, rating := range []int{1, -1, -1, 0} { // one thumb at a time; none is none
		acme.json(put, "/chat/api/turns/"+got.Answers[0].ID+"/feedback", map[string]any{"rating": rating}).want(t, http.StatusOK)
		if n := w.count(`SELECT count(*) FROM feedback WHERE rating IS NOT NULL AND NOT tied AND correction = ''`); n != rating*rating {
			t.Errorf("step %d: %d ratings stand", i, n)
		}
	}
	acme.json(put, "/chat/api/turns/"+got.Question.ID+"/feedback", `{"rating":1}`).want(t, http.StatusBadRequest)
	acme.json(put, "/chat/api/turns/"+unheard.Answers[0].ID+"/vote", `{"vote":"better"}`).want(t, http.StatusBadRequest)
	acme.json(put, "/chat/api/turns/"+got.Answers[0].ID+"/vote", `{"vote":"best"}`).want(t, http.StatusBadRequest)
	acme.json(put, "/chat/api/conversations/"+k.id, `{"training":false}`).want(t, http.StatusOK)
	if n := w.count(`SELECT count(*) FROM prompts WHERE usable`) + w.count(`SELECT count(*) FROM tasks WHERE NOT hidden`); n != 0 {
		t.Errorf("%d rows are still shown", n)
	}
	acme.json(put, "/chat/api/conversations/"+k.id, `{"training":true}`).want(t, http.StatusOK)
	if n := w.count(`SELECT count(*) FROM prompts WHERE usable`); n != 1 {
		t.Errorf("%d prompts came back", n)
	}
	acme.do(http.MethodDelete, "/chat/api/conversations/"+k.id, "", "").want(t, http.StatusNoContent)
	for _, table := range []string{"prompts", "feedback", "kept_completions", "tasks", "responses", "rankings", "demonstrations", "prompt_sources"} {
		if n := w.count(`SELECT count(*) FROM ` + table); n != 0 {
			t.Errorf("%d rows of %s are left", n, table)
		}
	}
}

// TestChatShared: the link shows the branch as it stood, to whoever is signed in, until it is revoked.
func TestChatShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme, mina := w.as("acme", account.RoleCustomer), w.as("mina", account.RoleLabeler)
	k := acme.converse(false)
	got := k.ask(map[string]any{"content": "A <b>fox</b>", "settings": map[string]any{"max_tokens": 4}})
	share := func() string {
		var out struct{ Path string }
		acme.json(post, "/chat/api/conversations/"+k.id+"/share", map[string]any{"leaf": got.Answers[0].ID}).want(t, http.StatusCreated).into(t, &out)
		return out.Path
	}
	link := share()
	k.ask(map[string]any{"parent": got.Answers[0].ID, "content": "A later secret", "settings": map[string]any{"max_tokens": 4}})
	page := mina.get(link).want(t, http.StatusOK).body
	if !strings.Contains(page, "A &lt;b&gt;fox&lt;/b&gt;") || strings.Contains(page, "later secret") || strings.Contains(page, "textarea") {
		t.Errorf("%.2000s", page)
	}
	if got := w.anon().get(link); got.code != http.StatusFound {
		t.Errorf("anonymous gets %d", got.code)
	}
	if n := w.count(`SELECT count(*) FROM conversations WHERE encode(share_hash, 'escape') LIKE '%' || $1 || '%'`, strings.TrimPrefix(link, "/chat/shared/")); n != 0 {
		t.Error("the token itself is stored")
	}
	second := share()
	mina.get(link).want(t, http.StatusNotFound)
	mina.get(second).want(t, http.StatusOK)
	acme.do(http.MethodDelete, "/chat/api/conversations/"+k.id+"/share", "", "").want(t, http.StatusNoContent)
	mina.get(second).want(t, http.StatusNotFound)
	acme.json(post, "/chat/api/conversations/"+k.id+"/share", `{"leaf":"x"}`).want(t, http.StatusBadRequest)
}

// TestChatStopped: what came before the reader went is kept, and says that it was stopped.
func TestChatStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.as("acme", account.RoleCustomer).converse(true)
	ctx, cancel := context.WithCancel(t.Context())
	body := strings.NewReader(`{"content":"Go on","settings":{"max_tokens":120}}`)
	req, err := http.NewRequestWithContext(ctx, post, w.http.URL+"/chat/api/conversations/"+k.id+"/answers", body)
	w.must(err)
	req.Header.Set("Content-Type", "application/json")
	res, err := k.client.Do(req)
	w.must(err)
	buf := make([]byte, 2000)
	n, err := res.Body.Read(buf)
	if err != nil || !strings.Contains(string(buf[:n]), "question") {
		t.Fatal(string(buf[:n]), err)
	}
	cancel()
	res.Body.Close()
	w.eventually(`SELECT count(*) = 1 FROM usage WHERE endpoint = '/chat'`)
	if finish := w.count(`SELECT count(*) FROM usage WHERE finish IN ('cancelled', 'length', 'stop')`); finish != 1 {
		t.Error("the usage is not known")
	}
	turns := k.turns()
	if len(turns) == 2 && turns[1].Finish == "" || len(turns) > 2 {
		t.Errorf("%+v", turns)
	}
	if n := w.count(`SELECT count(*) FROM kept_completions k, usage u WHERE u.finish = 'cancelled'`); n != 0 {
		t.Error("labelers would rank half an answer")
	}
}

// eventually waits for what happens after an answer has ended.
func (w *world) eventually(sql string) {
	w.Helper()
	for range 3000 {
		var ok bool
		w.must(w.pool.QueryRow(w.Context(), sql).Scan(&ok))
		if ok {
			return
		}
		_, err := w.pool.Exec(w.Context(), `SELECT pg_sleep(0.01)`)
		w.must(err)
	}
	w.Fatalf("never: %s", sql)
}

// TestChatCode: the request is what the page asks, in languages that can be run.
func TestChatCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.as("acme", account.RoleCustomer)
	k := acme.converse(false)
	question := "It's a \"fox\", \\ and\n`$(drum)` 狐狸 😀 %s </script>"
	got := k.ask(map[string]any{"content": question, "settings": map[string]any{"max_tokens": 5, "seed": 4, "temperature": 0.5, "top_p": 0.9, "system": "Be 'kind'."}})
	var c code
	acme.get("/chat/api/conversations/"+k.id+"/code?leaf="+got.Answers[0].ID).want(t, http.StatusOK).into(t, &c)
	acme.get("/chat/api/conversations/"+k.id+"/code").want(t, http.StatusBadRequest)
	if src, err := format.Source([]byte(c.Go)); err != nil || string(src) != c.Go {
		t.Errorf("%v:\n%s", err, c.Go)
	}
	program, err := parser.ParseFile(token.NewFileSet(), "main.go", c.Go, 0)
	w.must(err)
	for _, spec := range program.Imports {
		path := strings.TrimSuffix(strings.Trim(spec.Path.Value, `"`), "/v3")
		if name := path[strings.LastIndex(path, "/")+1:]; !strings.Contains(c.Go, strings.TrimSuffix(name, "-go")+".") {
			t.Errorf("the program imports %s, and does not use it", path)
		}
	}
	_, secret := w.key("coder")
	run := func(name string, args ...string) {
		t.Helper()
		if _, err := exec.LookPath(name); err != nil {
			t.Logf("%s is not here: what it would read was not tried", name)
			return
		}
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), "RANKLOOP_API_KEY="+secret)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if name == "sh" {
			var chat openai.Chat
			body := string(out)
			w.must(json.Unmarshal([]byte(body[strings.Index(body, "{"):]), &chat))
			if chat.Choices[0].Message.Content != got.Answers[0].Content {
				t.Errorf("by curl %q, at the page %q", chat.Choices[0].Message.Content, got.Answers[0].Content)
			}
		}
	}
	if _, err := exec.LookPath("curl"); err == nil {
		run("sh", "-c", strings.Replace(c.Curl, "curl ", "curl -sS ", 1))
	}
	dir := t.TempDir()
	py, js := filepath.Join(dir, "a.py"), filepath.Join(dir, "a.mjs")
	w.must(os.WriteFile(py, []byte(c.Python), 0o600))
	w.must(os.WriteFile(js, []byte(c.JavaScript), 0o600))
	run("python3", "-c", "import ast,sys; t=ast.parse(open(sys.argv[1]).read()); assert sys.argv[2] in [n.value for n in ast.walk(t) if isinstance(n, ast.Constant)]", py, question)
	run("node", "--check", js)
}

// TestPresets keeps settings under names, of each person alone.
func TestPresets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.as("acme", account.RoleCustomer)
	var p presetOut
	acme.json(put, "/chat/api/presets", `{"name":" Short ","settings":{"max_tokens":5}}`).want(t, http.StatusOK).into(t, &p)
	acme.json(put, "/chat/api/presets", `{"name":"Short","settings":{"max_tokens":6,"temperature":0}}`).want(t, http.StatusOK)
	for _, body := range []string{`{"name":""}`, `{"name":"` + strings.Repeat("x", 61) + `"}`, `{"name":"x","settings":{"top_p":2}}`, `{"name":"x","settings":{"nonsense":2}}`} {
		acme.json(put, "/chat/api/presets", body).want(t, http.StatusBadRequest)
	}
	var list struct{ Presets []presetOut }
	acme.get("/chat/api/presets").want(t, http.StatusOK).into(t, &list)
	if len(list.Presets) != 1 || list.Presets[0].ID != p.ID || list.Presets[0].Settings.MaxTokens != 6 || *list.Presets[0].Settings.Temperature != 0 {
		t.Errorf("%+v", list)
	}
	w.as("else", account.RoleCustomer).do(http.MethodDelete, "/chat/api/presets/"+p.ID, "", "").want(t, http.StatusNotFound)
	acme.do(http.MethodDelete, "/chat/api/presets/"+p.ID, "", "").want(t, http.StatusNoContent)
}
