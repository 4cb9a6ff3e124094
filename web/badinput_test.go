package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/account"
)

// badJSON are bodies that no JSON endpoint may take.
func badJSON() []string {
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	return []string{
		"", " ", "null", "true", "1", `"x"`, "[]", "{", "}", "{]", `{"a":}`, `{"a":1,}`, `{a:1}`, `{'a':1}`, `{"a":1}{"b":2}`, `{"a":1} x`, "{} []",
		"{\"a\":\"\xff\"}", "{\"a\":\"\xc3\x28\"}", "{\"a\":\"\xed\xa0\x80\"}", "\xef\xbb\xbf{}", `{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ud800\u0041"}`,
		`{"a":"\u0000"}`, "{\"a\":\"\x00\"}", `{"a":"\x41"}`, `{"a":01}`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":1e999}`, `{"a":` + deep + `}`,
		`{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, `{"a":1,"A":2}`, strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), `{"ranks":"1"}`,
	}
}

// TestBadInput sends what nobody should send, everywhere: the answer is a clear 4xx, never a 5xx, and nothing is stored.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mina := w.as("mina", account.RoleLabeler)
	ada := w.as("ada", account.RoleOwner)
	_, secret := w.key("acme", func(n *account.NewKey) { n.TrainingOptIn = true; n.RPM = 1_000_000 })
	key := w.withKey(secret)
	w.addTask(says("Tell a story."), demoAnswers...)
	var task task
	mina.json(post, "/label/api/claim", nil).want(t, http.StatusOK).into(t, &task)
	at := "/label/api/assignments/" + task.Assignment
	cases := 0
	check := func(name string, a answer, codes ...int) {
		t.Helper()
		cases++
		ok := a.code >= 400 && a.code < 500
		for _, c := range codes {
			ok = ok || a.code == c
		}
		if !ok {
			t.Errorf("%s: %d %.200s", name, a.code, a.body)
		}
		if strings.Contains(a.body, "SQLSTATE") || strings.Contains(a.body, "panic") || strings.Contains(a.body, ".go:") {
			t.Errorf("%s tells about the inside: %.300s", name, a.body)
		}
	}

	for i, body := range badJSON() {
		for _, p := range []string{"/draft", "/submit", "/skip"} {
			method := post
			if p == "/draft" {
				method = put
			}
			check(fmt.Sprintf("%s body %d %.30q", p, i, body), mina.json(method, at+p, body, "Idempotency-Key", "k"))
		}
		for _, p := range []string{"/v1/chat/completions", "/v1/completions"} {
			check(fmt.Sprintf("%s body %d %.30q", p, i, body), key.json(post, p, body))
		}
		const id = "01890a5d-ac96-774b-bcce-b302099a8057"
		for _, p := range []string{"POST /chat/api/conversations/" + id + "/answers", "POST /chat/api/conversations/" + id + "/share", "PUT /chat/api/conversations/" + id,
			"PUT /chat/api/presets", "PUT /chat/api/turns/" + id + "/feedback", "PUT /chat/api/turns/" + id + "/vote"} {
			method, path, _ := strings.Cut(p, " ")
			check(fmt.Sprintf("%s body %d", p, i), ada.json(method, path, body))
		}
		if strings.TrimSpace(body) != "" { // nothing is a conversation without settings
			check(fmt.Sprintf("conversation body %d", i), ada.json(post, "/chat/api/conversations", body))
		}
		for _, p := range []string{"POST /v1/completions/cmpl-x/feedback", "POST /v1/chat/completions/chatcmpl-x/feedback", "PUT /api/v1/consent", "POST /api/v1/erasures"} {
			method, path, _ := strings.Cut(p, " ")
			check(fmt.Sprintf("%s body %d", p, i), key.json(method, path, body))
		}
	}

	// Labeling: wrong values.
	for _, body := range []string{`{}`, `{"ranks":null}`, `{"ranks":[]}`, `{"ranks":[1,2,3]}`, `{"ranks":[1,2,3,4,5]}`, `{"ranks":[0,1,2,3]}`, `{"ranks":[1,2,3,9]}`, `{"ranks":[-1,1,2,3]}`,
		`{"ranks":[1.5,2,3,4]}`, `{"ranks":[1,2,3,"4"]}`, `{"ranks":[1,2,3,99999999999999999999]}`, `{"ranks":[1,2,3,4],"ratings":[1]}`, `{"ranks":[1,2,3,4],"ratings":[8,1,1,1]}`,
		`{"ranks":[1,2,3,4],"flags":[["nonsense"],[],[],[]]}`, `{"ranks":[1,2,3,4],"flags":[[]]}`, `{"ranks":[1,2,3,4],"comment":5}`, `{"ranks":[1,2,3,4],"active_ms":-1}`,
		`{"ranks":[1,2,3,4],"active_ms":9223372036854775807}`, `{"ranks":[1,2,3,4],"wall_ms":9223372036854775807}`, `{"ranks":[1,2,3,4],"role":"admin"}`, `{"Ranks":[1,2,3,4]}`,
		`{"ranks":[1,2,3,4],"comment":"` + strings.Repeat("x", 20_000) + `"}`, `{"ranks":[1,2,3,4],"comment":"` + strings.Repeat("x", 80_000) + `"}`} {
		check("submit "+clipRunes(body, 60), mina.json(post, at+"/submit", body, "Idempotency-Key", "k1"))
	}
	for _, k := range []string{"", strings.Repeat("k", 201), "\xff\xfe"} {
		check("idempotency key", mina.json(post, at+"/submit", `{"ranks":[1,2,3,4]}`, "Idempotency-Key", k))
	}
	for _, body := range []string{`{"ranks":[9,0,0,0]}`, `{"ranks":[1]}`, `{"focus":-1}`, `{"focus":4}`, `{"focus":9e30}`, `{"comment":"` + strings.Repeat("x", 20_000) + `"}`, `{"flags":[["x"],[],[],[]]}`} {
		check("draft "+clipRunes(body, 60), mina.json(put, at+"/draft", body))
	}
	for _, body := range []string{`{}`, `{"reason":""}`, `{"reason":"   "}`, `{"reason":5}`, `{"reason":"` + strings.Repeat("x", 2000) + `"}`} {
		check("skip "+clipRunes(body, 60), mina.json(post, at+"/skip", body))
	}
	check("text, not JSON", mina.do(post, at+"/submit", "text/plain", `{"ranks":[1,2,3,4]}`, "Idempotency-Key", "k"))
	check("claim with a body", mina.json(post, "/label/api/claim", `{"project":"other"}`))
	check("undo of nothing", mina.json(post, "/label/api/undo", nil))
	ids := []string{"x", "..", "%00", "%ff", "1", strings.Repeat("a", 36), strings.Repeat("9", 500), "01890a5d-ac96-774b-bcce-b302099a8057", "{01890a5d-ac96-774b-bcce-b302099a8057}", "' OR 1=1 --", "<script>", "null"}
	for _, id := range ids {
		id = strings.ReplaceAll(url.PathEscape(id), "%25", "%")
		for _, p := range []string{"submit", "skip", "renew", "release"} {
			body := any(nil)
			if p == "submit" {
				body = `{"ranks":[1,2,3,4]}`
			} else if p == "skip" {
				body = `{"reason":"x"}`
			}
			check(p+" of "+id, mina.json(post, "/label/api/assignments/"+id+"/"+p, body, "Idempotency-Key", "k2"))
		}
		check("draft of "+id, mina.json(put, "/label/api/assignments/"+id+"/draft", `{}`))
		check("round "+id, ada.get("/admin/rounds/"+id))
		check("events "+id, ada.get("/admin/api/rounds/"+id+"/events"))
		for _, p := range []string{"rounds/" + id + "/cancel", "rounds/" + id + "/proceed", "rounds/" + id + "/pause", "rounds/" + id + "/resume", "rounds/" + id + "/retry", "rounds/" + id + "/promote", "rounds/" + id + "/decline", "schedules/" + id + "/enable",
			"schedules/" + id + "/remove", "models/" + id + "/promote", "models/" + id + "/canary", "models/" + id + "/plan", "canaries/" + id + "/advance", "canaries/" + id + "/pause", "canaries/" + id + "/resume", "canaries/" + id + "/abort", "planned/" + id + "/cancel", "people/" + id + "/password", "people/" + id + "/disable", "people/" + id + "/enable", "keys/" + id + "/revoke", "held/" + id + "/release"} {
			check(p, ada.form("/admin/"+p, "reason", "because", "step", "0", "at", "2100-01-01T04:00"))
		}
		check("model "+id, ada.get("/admin/models/"+id))
		check("docs "+id, ada.get("/docs/"+id))
		check("v1 model "+id, key.get("/v1/models/"+id))
	}

	// Admin forms.
	for _, f := range [][]string{{}, {"email", ""}, {"email", "x"}, {"email", "@"}, {"email", "a@b", "role", "god"}, {"email", "a b@c", "role", "labeler"}, {"email", "a\x00@b", "role", "labeler"},
		{"email", "\xff@b", "role", "labeler"}, {"email", strings.Repeat("a", 300) + "@b", "role", "labeler"}, {"email", "a@b", "role", "labeler", "name", strings.Repeat("n", 201)},
		{"email", "a@b", "role", "labeler", "name", "a\nb"}, {"email", "mina@example.com", "role", "labeler"}} {
		check(fmt.Sprintf("invite %.60q", f), ada.form("/admin/people", f...))
	}
	for _, f := range [][]string{{"k", "x"}, {"k", "3"}, {"k", "10"}, {"k", "99999999999999999999"}, {"prompts", "0"}, {"prompts", "-1"}, {"eval_prompts", "0"}, {"seed", "-1"}, {"seed", "1e3"}, {"promotion", "maybe"},
		{"config", "{"}, {"config", "[]"}, {"config", `{"unknown":1}`}, {"config", `{"k":"4"}`}, {"config", `{"k":4,"k":5}`}, {"config", "\xff"}, {"config", strings.Repeat(" ", 40<<10)},
		{"config", `{"max_kl":-1}`}, {"config", `{"ppo":{"clip":-1}}`}, {"config", `{"reward":{"lr":-1}}`}} {
		check(fmt.Sprintf("round %.60q", f), ada.form("/admin/rounds", f...))
		check(fmt.Sprintf("schedule %.60q", f), ada.form("/admin/schedules", append([]string{"cron", "0 3 * * *"}, f...)...))
	}
	for _, f := range [][]string{{}, {"reason", ""}, {"reason", "\xff"}, {"reason", strings.Repeat("r", 501)}, {"reason", "r", "shares", "x"}, {"reason", "r", "shares", "10, 1"}, {"reason", "r", "shares", "100"}, {"reason", "r", "shares", "NaN"},
		{"reason", "r", "answers", "1"}, {"reason", "r", "answers", "1e99"}, {"reason", "r", "answers", "Inf"}, {"reason", "r", "minutes", "-1"}, {"reason", "r", "minutes", "NaN"}, {"reason", "r", "slower", "0"}, {"reason", "r", "errors", "101"}, {"reason", "r", "cut", "NaN"}} {
		check(fmt.Sprintf("canary %.60q", f), ada.form("/admin/models/"+w.version.ID+"/canary", f...))
	}
	for _, at := range []string{"", "x", "2001-01-01T04:00", "2100-02-30T04:00", "\xff", strings.Repeat("1", 50)} {
		check(fmt.Sprintf("plan %.30q", at), ada.form("/admin/models/"+w.version.ID+"/plan", "reason", "r", "at", at))
	}
	for _, f := range [][]string{{"step", "nowhere"}, {"step", "data", "k", "x"}, {"step", "data", "config", "{"}, {"step", "data", "config", "\xff"}, {"step", "parts", "parts", "everything"}, {"step", "summary", "setup", "x"},
		{"step", "training", "hours", "NaN"}, {"step", "training", "preset", "\x00"}, {"step", "training", "go", "preset", "preset", "none"}, {"step", "summary", "go", "save", "name", " "}, {"step", "summary", "go", "schedule", "cron", "\xff"}} {
		check(fmt.Sprintf("wizard %.60q", f), ada.form("/admin/rounds/new", f...))
	}
	for _, cron := range []string{"", "x", "* * * *", "61 * * * *", "* * * * * *", "@every 1s\x00", "\xff", strings.Repeat("*", 300)} {
		check(fmt.Sprintf("cron %.30q", cron), ada.form("/admin/schedules", "cron", cron))
	}
	customer, err := w.accounts.UserByEmail(t.Context(), "acme@example.com")
	w.must(err)
	labeler, err := w.accounts.UserByEmail(t.Context(), "mina@example.com")
	w.must(err)
	for _, f := range [][]string{{}, {"customer", "x", "name", "n"}, {"customer", labeler.ID, "name", "n"}, {"customer", customer.ID}, {"customer", customer.ID, "name", "n", "rpm", "-1"}, {"customer", customer.ID, "name", "n", "rpm", "x"},
		{"customer", customer.ID, "name", "n", "rpm", "1000001"}, {"customer", customer.ID, "name", "n", "days", "-1"}, {"customer", customer.ID, "name", "n", "days", "99999999999"}, {"customer", customer.ID, "name", "\x00"}} {
		check(fmt.Sprintf("key %.60q", f), ada.form("/admin/keys", f...))
	}
	for _, q := range []string{"before=x", "before=-1", "before=99999999999999999999", "actor=%00", "act=%ff", "subject=" + strings.Repeat("x", 600)} {
		check("audit?"+clipRunes(q, 40), ada.get("/admin/audit?"+q))
	}
	for _, f := range [][]string{{}, {"old", "x"}, {"old", "x", "new", "y"}, {"old", testPassword, "new", "short"}, {"old", testPassword, "new", "ada@example.com"}, {"old", testPassword, "new", "password1234"}, {"old", testPassword, "new", "aaaaaaaaaaaaaaa"},
		{"old", "\xff", "new", "a much better secret"}, {"old", testPassword, "new", strings.Repeat("x", 257)}} {
		check(fmt.Sprintf("password %.40q", f), ada.form("/account/password", f...))
		_, err := w.pool.Exec(t.Context(), `DELETE FROM login_buckets`)
		w.must(err)
	}
	for _, id := range []string{"x", "1", "1.2.3", "1.2.3.4.5", "-1.0.0.0", "99999999999.0", "1.x", "\xff"} {
		check("Last-Event-ID "+id, ada.get("/admin/api/rounds/01890a5d-ac96-774b-bcce-b302099a8057/events", "Last-Event-ID", id))
	}
	for _, h := range []string{"", "Bearer", "Bearer x", "Basic abc", "Bearer rk_live_", "Bearer rk_live_12345678_" + strings.Repeat("a", 43), "Bearer " + secret + "x", "Bearer " + secret[:60] + "'", "bearer\t" + secret, "Bearer " + strings.Repeat("x", 9000)} {
		check(fmt.Sprintf("Authorization %.30q", h), w.anon().get("/v1/models", "Authorization", h))
	}
	for _, form := range []string{"email=%ff&password=x", "email=%00&password=x", "email=a%zz", "email=" + strings.Repeat("a", 2000) + "&password=x", "email=a&password=" + strings.Repeat("p", 5000), strings.Repeat("a", 70_000)} {
		check(fmt.Sprintf("login %.30q", form), w.anon().do(post, "/login", "application/x-www-form-urlencoded", form))
	}
	if cases < 500 {
		t.Errorf("only %d cases", cases)
	}
	t.Logf("%d bad inputs", cases)
	for what, sql := range map[string]string{"rankings": `SELECT count(*) FROM rankings`, "usage": `SELECT count(*) FROM usage`, "rounds": `SELECT count(*) FROM rounds`, "schedules": `SELECT count(*) FROM schedules`} {
		if n := w.count(sql); n != 0 {
			t.Errorf("%d %s were stored", n, what)
		}
	}
	if n := w.count(`SELECT count(*) FROM users`); n != 3 {
		t.Errorf("%d users", n)
	}
	if strings.Contains(w.logs.String(), "level=ERROR") {
		t.Errorf("errors in the log:\n%.2000s", w.logs.String())
	}
	// The task is still there, and can be ranked.
	mina.json(post, at+"/submit", `{"ranks":[1,2,3,4]}`, "Idempotency-Key", "good").want(t, http.StatusOK)
}

// TestBadAPI: what OpenAI's API refuses is refused with its error object, and names the parameter.
func TestBadAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.key("acme", func(n *account.NewKey) { n.RPM = 1_000_000 })
	key := w.withKey(secret)
	chat := `"model":"default","messages":[{"role":"user","content":"Hi"}]`
	comp := `"model":"default","prompt":"Hi"`
	long := strings.Repeat("word ", 400)
	for _, c := range []struct {
		path, body  string
		code        int
		param, kind string // code of the error
	}{
		{"chat", `{"messages":[{"role":"user","content":"Hi"}]}`, 400, "model", ""},
		{"chat", `{"model":"nope","messages":[{"role":"user","content":"Hi"}]}`, 404, "model", "model_not_found"},
		{"chat", `{"model":5,"messages":[]}`, 400, "model", ""},
		{"chat", `{"model":"default"}`, 400, "messages", ""},
		{"chat", `{"model":"default","messages":[]}`, 400, "messages", ""},
		{"chat", `{"model":"default","messages":"Hi"}`, 400, "messages", ""},
		{"chat", `{"model":"default","messages":[{"role":"god","content":"Hi"}]}`, 400, "messages[0].role", ""},
		{"chat", `{"model":"default","messages":[{"role":"user","content":5}]}`, 400, "messages", ""},
		{"chat", `{"model":"default","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]}`, 400, "messages", ""},
		{"chat", `{` + chat + `,"temperature":2.1}`, 400, "temperature", ""},
		{"chat", `{` + chat + `,"temperature":-0.1}`, 400, "temperature", ""},
		{"chat", `{` + chat + `,"temperature":"hot"}`, 400, "temperature", ""},
		{"chat", `{` + chat + `,"top_p":1.5}`, 400, "top_p", ""},
		{"chat", `{` + chat + `,"n":0}`, 400, "n", ""},
		{"chat", `{` + chat + `,"n":129}`, 400, "n", ""},
		{"chat", `{` + chat + `,"n":1.5}`, 400, "n", ""},
		{"chat", `{` + chat + `,"stop":["a","b","c","d","e"]}`, 400, "stop", ""},
		{"chat", `{` + chat + `,"stop":[""]}`, 400, "stop", ""},
		{"chat", `{` + chat + `,"stop":5}`, 400, "stop", ""},
		{"chat", `{` + chat + `,"max_tokens":0}`, 400, "max_tokens", ""},
		{"chat", `{` + chat + `,"max_tokens":-5}`, 400, "max_tokens", ""},
		{"chat", `{` + chat + `,"max_tokens":100000}`, 400, "messages", "context_length_exceeded"},
		{"chat", `{` + chat + `,"max_completion_tokens":0}`, 400, "max_completion_tokens", ""},
		{"chat", `{` + chat + `,"presence_penalty":3}`, 400, "presence_penalty", ""},
		{"chat", `{` + chat + `,"frequency_penalty":-3}`, 400, "frequency_penalty", ""},
		{"chat", `{` + chat + `,"logit_bias":{"x":1}}`, 400, "logit_bias", ""},
		{"chat", `{` + chat + `,"logit_bias":{"1":101}}`, 400, "logit_bias", ""},
		{"chat", `{` + chat + `,"logit_bias":{"99999999":1}}`, 400, "logit_bias", ""},
		{"chat", `{` + chat + `,"logit_bias":{"-1":1}}`, 400, "logit_bias", ""},
		{"chat", `{` + chat + `,"top_logprobs":3}`, 400, "top_logprobs", ""},
		{"chat", `{` + chat + `,"logprobs":true,"top_logprobs":21}`, 400, "top_logprobs", ""},
		{"chat", `{` + chat + `,"stream_options":{"include_usage":true}}`, 400, "stream_options", ""},
		{"chat", `{` + chat + `,"stream":"yes"}`, 400, "stream", ""},
		{"chat", `{` + chat + `,"seed":"x"}`, 400, "seed", ""},
		{"chat", `{"model":"default","messages":[{"role":"user","content":"` + long + `"}]}`, 400, "messages", "context_length_exceeded"},
		{"completions", `{"prompt":"Hi"}`, 400, "model", ""},
		{"completions", `{"model":"nope","prompt":"Hi"}`, 404, "model", "model_not_found"},
		{"completions", `{` + comp + `,"max_tokens":-1}`, 400, "max_tokens", ""},
		{"completions", `{` + comp + `,"max_tokens":255}`, 400, "prompt", "context_length_exceeded"},
		{"completions", `{` + comp + `,"logprobs":6}`, 400, "logprobs", ""},
		{"completions", `{` + comp + `,"logprobs":true}`, 400, "logprobs", ""},
		{"completions", `{` + comp + `,"n":3,"best_of":2}`, 400, "best_of", ""},
		{"completions", `{` + comp + `,"best_of":5,"stream":true}`, 400, "best_of", ""},
		{"completions", `{` + comp + `,"best_of":21}`, 400, "best_of", ""},
		{"completions", `{` + comp + `,"suffix":"x"}`, 400, "suffix", ""},
		{"completions", `{"model":"default","prompt":[]}`, 400, "prompt", ""},
		{"completions", `{"model":"default","prompt":[[]]}`, 400, "prompt", ""},
		{"completions", `{"model":"default","prompt":{"a":1}}`, 400, "prompt", ""},
		{"completions", `{"model":"default","prompt":[50257]}`, 400, "prompt", ""},
		{"completions", `{"model":"default","prompt":[-1]}`, 400, "prompt", ""},
		{"completions", `{"model":"default","prompt":[99999999999]}`, 400, "prompt", ""},
		{"completions", `{"model":"default","prompt":["a","b"],"n":100}`, 400, "n", ""},
		{"completions", `{"model":"default","prompt":"` + long + `"}`, 400, "prompt", "context_length_exceeded"},
	} {
		path := "/v1/completions"
		if c.path == "chat" {
			path = "/v1/chat/completions"
		}
		got := key.json(post, path, c.body)
		var e map[string]map[string]any
		if got.code != c.code {
			t.Errorf("%s: %d, want %d: %.200s", clipRunes(c.body, 120), got.code, c.code, got.body)
			continue
		}
		got.into(t, &e)
		body := e["error"]
		for _, k := range []string{"message", "type", "param", "code"} {
			if _, ok := body[k]; !ok {
				t.Errorf("%s: error without %s: %s", clipRunes(c.body, 80), k, got.body)
			}
		}
		if body["param"] != c.param || c.kind != "" && body["code"] != c.kind || body["type"] != "invalid_request_error" {
			t.Errorf("%s: param %v code %v, want %s %s", clipRunes(c.body, 80), body["param"], body["code"], c.param, c.kind)
		}
	}
	for path, code := range map[string]int{"/v1/embeddings": 404, "/v1": 404, "/v1/": 404, "/v1/chat": 404, "/v1/models/nope": 404} {
		var e map[string]map[string]any
		key.get(path).want(t, code).into(t, &e)
		if e["error"]["type"] == nil {
			t.Errorf("%s: no error object", path)
		}
	}
	key.get("/v1/completions").want(t, http.StatusMethodNotAllowed)
	big := `{` + chat + `,"user":"` + strings.Repeat("x", 1<<20) + `"}`
	key.json(post, "/v1/chat/completions", big).want(t, http.StatusRequestEntityTooLarge)
	if got := w.anon().get("/v1/models").want(t, 401); !strings.Contains(got.body, `"invalid_api_key"`) {
		t.Errorf("anonymous: %s", got.body)
	}
	if n := w.count(`SELECT count(*) FROM usage`); n != 0 {
		t.Errorf("%d refused requests were counted", n)
	}
}
