package web

import (
	"encoding/json"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/web/account"
)

// TestReference: the page shows every endpoint, and the call that it shows of the reward model works as it is.
func TestReference(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tinyReward(64)
	_, secret := w.key("lab")
	page := w.as("acme", account.RoleCustomer).get("/docs/reference").want(t, http.StatusOK).body
	for _, r := range w.server.engine.Routes() {
		if !strings.Contains(r.Path, "/api/") {
			continue
		}
		if want := html.EscapeString(r.Method + " " + regexp.MustCompile(`:([a-z]+)`).ReplaceAllString(r.Path, "{$1}")); strings.Count(page, "<code>"+want+"</code>") != 2 {
			t.Errorf("%s is not listed and described", want)
		}
	}
	call := regexp.MustCompile(`(?s)<pre[^>]*id="call-post-api-v1-reward">(.*?)</pre>`).FindStringSubmatch(page)
	if call == nil {
		t.Fatal("no call is shown")
	}
	shell := html.UnescapeString(call[1])
	body := regexp.MustCompile(`(?s)-d '(.*)'$`).FindStringSubmatch(shell)
	if body == nil || !strings.Contains(shell, w.http.URL+"/api/v1/reward") || !strings.Contains(shell, "Bearer $RANKLOOP_KEY") {
		t.Fatalf("the call is %s", shell)
	}
	w.withKey(secret).json(post, rewardPath, body[1]).want(t, http.StatusOK)
}

// TestReferenceInChinese: all that is described is so in the reader's language, and no translation is of something that the reference no
// longer says.
func TestReferenceInChinese(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.as("acme", account.RoleCustomer)
	page := b.get("/docs/reference", "Accept-Language", "zh-TW").want(t, http.StatusOK).body
	for _, want := range []string{"以已上線的獎勵模型為提示詞與回答的配對評分。", "每一對各有一個獎勵，依序排列", `lang="zh-Hant"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	raw, err := docsFS.ReadFile("docs/zh-Hant/reference.json")
	w.must(err)
	var known map[string]string
	w.must(json.Unmarshal(raw, &known))
	said, err := docsFS.ReadFile("docs/openapi.json")
	w.must(err)
	var doc any
	w.must(json.Unmarshal(said, &doc))
	all := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				if s, ok := x.(string); ok && (k == "description" || k == "summary") {
					all[s] = true
				}
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(doc)
	for en, own := range known {
		if !all[en] || own == "" {
			t.Errorf("openapi.json does not say %q, which is translated", en)
		}
	}
	for en := range all {
		if known[en] == "" {
			t.Errorf("reference.json lacks %q", en)
		}
	}
	write, err := described(w.server.speaks[1])
	w.must(err)
	if got := string(write("Something <new>", true)); got != `<span lang="en">Something &lt;new&gt;.</span>` {
		t.Errorf("what is not translated is written %s", got)
	}
}

// TestExamples: every example of the reference fits what it is an example of, as far as its type goes, and calls escape what a shell would read.
func TestExamples(t *testing.T) {
	r, err := loadReference()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, op := range r.Operations {
		examples := []string{op.Example}
		for _, a := range op.Answers {
			examples = append(examples, a.Example)
		}
		for _, e := range examples {
			if e == "" {
				continue
			}
			seen++
			var v map[string]any
			if err := json.Unmarshal([]byte(e), &v); err != nil {
				t.Errorf("%s %s: %v: %s", op.Method, op.Path, err, e)
			}
		}
		if op.ByKey == (op.curl("http://x") == "") {
			t.Errorf("%s %s: a call is shown: %q", op.Method, op.Path, op.curl("http://x"))
		}
	}
	if seen < 8 {
		t.Errorf("only %d examples", seen)
	}
	op := refOperation{Method: "POST", Path: "/x", ByKey: true, Example: `{"a": "it's"}`}
	if got := op.curl("http://h"); !strings.HasSuffix(got, `-d '{"a":"it'\''s"}'`) {
		t.Errorf("%s", got)
	}
	doc := openAPIDoc{Components: struct{ Schemas ordered[schema] }{ordered[schema]{{"Loop", schema{Properties: ordered[schema]{{"next", schema{Ref: "#/components/schemas/Loop"}}}}}}}}
	if got := doc.pretty(schema{Ref: "#/components/schemas/Loop"}); !strings.Contains(got, "null") {
		t.Errorf("a schema that holds itself: %s", got)
	}
}
