package web

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/setting"
)

// payloads are texts that would do something if a page let them.
var payloads = []string{
	`<script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `<svg onload=alert(1)>`, `"><script>alert(1)</script>`, `'><img src=x onerror=alert(1)>`, `</title><script>alert(1)</script>`,
	`</textarea><script>alert(1)</script>`, `</template><script>alert(1)</script>`, `<iframe srcdoc="<script>alert(1)</script>"></iframe>`, `<a href="javascript:alert(1)">x</a>`, `javascript:alert(1)`,
	`<details open ontoggle=alert(1)>`, `<body onload=alert(1)>`, `<input autofocus onfocus=alert(1)>`, `<math><mtext></table><mglyph><style><img src=x onerror=alert(1)>`, `<object data="data:text/html,<script>alert(1)</script>">`,
	`<link rel=stylesheet href=https://evil.example/x.css>`, `<base href=https://evil.example/>`, `<meta http-equiv=refresh content="0;url=https://evil.example">`, `<form action=https://evil.example><button>`, `![x](https://evil.example/x.png)`,
	`[x](javascript:alert(1))`, `{{.Secret}}`, `${alert(1)}`, `{{constructor.constructor('alert(1)')()}}`, `" onmouseover="alert(1)`, `' onfocus='alert(1)' autofocus='`, "`onerror=alert(1)`", `<!--><script>alert(1)</script>-->`,
	`<![CDATA[<script>alert(1)</script>]]>`, `&lt;script&gt;alert(1)&lt;/script&gt;`, `&#60;script&#62;alert(1)`, `\u003cscript\u003ealert(1)\u003c/script\u003e`, `<ScRiPt>alert(1)</sCrIpT>`, `<style>*{background:url(https://evil.example)}</style>`,
	`<video><source onerror=alert(1)>`, `<marquee onstart=alert(1)>`, `<x contenteditable onblur=alert(1)>`, `**bold** <b>not bold</b>`, "`code` <i>x</i>", `<noscript><p title="</noscript><img src=x onerror=alert(1)>">`,
	"a\u202ereversed\u202c", "zero\u200bwidth", "tag\U000e0041", "bell\u0007", "line\u2028sep", "\ufeffbom", `</script><script>alert(1)//`, `]]>`, `--><img src=x onerror=alert(1)>`, `<plaintext>`, `<xmp><script>alert(1)</script>`,
}

// wild reports what text made of a page that should have stayed text.
func wild(page string) []string {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.ElementNode {
			switch n.Data {
			case "iframe", "object", "embed", "base", "math", "video", "marquee", "style", "x", "xmp", "plaintext", "b", "i", "mtext":
				out = append(out, "<"+n.Data+">")
			case "svg": // plots are the server's own
				if !slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "class" && (a.Val == "plot" || a.Val == "plot tree") }) {
					out = append(out, "<svg>")
				}
			}
			for _, a := range n.Attr {
				local := strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "//") || strings.HasPrefix(a.Val, "#")
				switch {
				case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcdoc", a.Key == "http-equiv":
					out = append(out, n.Data+" "+a.Key)
				case (a.Key == "href" || a.Key == "src" || a.Key == "action" || a.Key == "data") && !local:
					out = append(out, n.Data+" "+a.Key+"="+a.Val)
				case n.Data == "script" && a.Key == "src" && !strings.HasPrefix(a.Val, "/static/"):
					out = append(out, "script "+a.Val)
				}
			}
			if n.Data == "script" && (n.FirstChild != nil || len(n.Attr) == 0) {
				out = append(out, "inline script")
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(root)
	return out
}

func TestWildFindsWhatItShould(t *testing.T) {
	for _, p := range []string{payloads[0], payloads[1], payloads[2], payloads[8], payloads[9], payloads[15], payloads[17], payloads[18], payloads[34]} {
		if wild("<html><body><p>"+p+"</p>") == nil {
			t.Errorf("%s goes unseen", p)
		}
	}
}

// TestTextStaysText puts every payload into every text that a page of the server shows.
func TestTextStaysText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ada := w.as("ada", account.RoleOwner)
	customer := w.user("acme", account.RoleCustomer)
	for i, p := range payloads {
		// Names take printable characters only.
		if _, _, err := w.accounts.CreateUser(ctx, account.NewUser{Email: fmt.Sprintf("u%d@example.com", i), Name: p, Role: account.RoleCustomer, Password: testPassword}); err == nil {
			if _, _, err := w.accounts.CreateKey(ctx, account.NewKey{CustomerID: customer.ID, Name: p}); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := strings.Join(payloads, "\n")
	v := w.register(registry.Version{Kind: registry.Policy, Name: "evil " + all, Digest: "sha256:" + repeat("e"), Parents: []string{w.version.ID}, Metrics: map[string]float64{"<script>alert(1)</script>": 1}})
	w.must(w.loop.Promote(ctx, v.ID, `user:<script>alert(1)</script>`, all))
	_, err := w.loop.StartCanary(ctx, w.version.ID, `user:<script>alert(1)</script>`, all, registry.DefaultCanary())
	w.must(err)
	_, err = w.loop.PlanPromotion(ctx, w.version.ID, "2100-01-01T04:00", "", `user:<script>alert(1)</script>`, all)
	w.must(err)
	cfg := loop.DefaultConfig()
	r, err := w.loop.Start(ctx, w.project.ID, `<img src=x onerror=alert(1)>`, cfg)
	w.must(err)
	for _, p := range payloads { // a reason holds about a dozen
		if err := w.loop.PullCord(ctx, w.project.ID, "system", p); err == nil {
			w.must(w.loop.ReleaseCord(ctx, w.project.ID, "system"))
		}
	}
	w.must(w.loop.PullCord(ctx, w.project.ID, "system", strings.Join(payloads[:12], "\n")))
	report, err := json.Marshal(loop.Report{Judge: all, Reason: all, Examples: []loop.Example{{Prompt: all, SFT: all, After: all}}})
	w.must(err)
	_, err = w.pool.Exec(ctx, `UPDATE rounds SET report = $2 WHERE id = $1`, r.ID, report)
	w.must(err)
	w.sampled(r, w.splitPrompt("asked: "+all, labeling.Test), all)
	_, err = w.pool.Exec(ctx, `UPDATE rounds SET held = 'kl', finding = $2, overrides = jsonb_build_array(jsonb_build_object('gate', $2::text, 'finding', $2::text, 'reason', $2::text, 'actor', $2::text, 'at', now())) WHERE id = $1`, r.ID, all)
	w.must(err)
	setup, err := w.loop.SaveTemplate(ctx, loop.Template{ProjectID: w.project.ID, Name: `<script>alert(1)</script>"'{{.}}`, Config: cfg}, "system")
	w.must(err)
	evil, err := w.labeling.CreateProject(ctx, labeling.Project{Name: `<script>alert(1)</script>` + "\u202e", Instructions: all}, "system")
	w.must(err)
	evil.Instructions = strings.Join(payloads[5:], "\n")
	_, err = w.labeling.UpdateProject(ctx, evil, "system", nil)
	w.must(err)
	_, err = w.labeling.AddUseCase(ctx, evil.ID, all[:1500], "system")
	w.must(err)
	most := 700.0
	w.must(w.server.Settings.Set(ctx, setting.NewChange{Name: setting.AnswerTokens, Value: &most, Actor: `user:<script>alert(1)</script>`, Reason: strings.Join(payloads[:20], " ")}))
	_, err = w.pool.Exec(ctx, `INSERT INTO river.river_queue (name, updated_at, paused_at) VALUES ($1, now(), now())`, payloads[1])
	w.must(err)
	own, err := w.accounts.UserByEmail(ctx, "ada@example.com")
	w.must(err)
	task := w.addTask(says(all), all, "other")
	a, err := w.labeling.Claim(ctx, w.project.ID, own.ID)
	w.must(err)
	_, err = w.labeling.Submit(ctx, labeling.SubmitInput{AssignmentID: a.ID, LabelerID: own.ID, Ranks: []int{1, 2}, Comment: all, IdempotencyKey: task.ID}, nil)
	w.must(err)
	judged, closed := w.comparisons(loop.Round{PolicyVersionID: v.ID}, own, all[:1500], all, "other")
	_, err = w.labeling.MakeSnapshot(ctx, w.project.ID, labeling.SnapshotFilter{Name: `<script>alert(1)</script>`}, "system")
	w.must(err)
	for _, p := range []string{"/admin/snapshots/" + w.text(`SELECT id::text FROM snapshots LIMIT 1`), "/admin/erase?q=" + escape(`<script>`), judged, closed, closed + "/pairs", "/admin/compare", "/admin/projects", "/admin/projects/" + evil.ID, "/admin/projects/" + evil.ID + "/guidelines", "/label/projects", "/label/history?project=" + w.project.ID,
		"/label/write?project=" + evil.ID, "/label?project=" + evil.ID, "/admin", "/admin/rounds/new", "/admin/rounds/new?setup=" + setup.ID, "/admin/rounds/" + r.ID, "/admin/rounds/" + r.ID + "/samples", "/admin/models", "/admin/models/" + v.ID, "/admin/models/" + w.version.ID, "/admin/people", "/admin/people/" + own.ID, "/admin/keys", "/admin/audit", "/admin/audit/entry/3", "/admin/settings", "/admin/health", "/account", "/account/sessions", "/label", "/chat", "/docs", "/docs/security"} {
		for _, language := range []string{"zh-TW", "en"} {
			if found := wild(ada.get(p, "Accept-Language", language).want(t, 200).body); found != nil {
				t.Errorf("%s in %s: %v", p, language, found)
			}
		}
		got := ada.get(p)
		fields := regexp.MustCompile(`(?s)<textarea.*?</textarea>`) // what is edited is given back as it is
		if strings.ContainsAny(fields.ReplaceAllString(got.body, ""), "\u202e\u200b\u2028\ufeff\u0007\U000e0041") {
			t.Errorf("%s shows characters that cannot be seen", p)
		}
	}
	for _, q := range payloads {
		for _, got := range []answer{
			ada.get("/admin/audit?actor=" + escape(q) + "&act=" + escape(q)),
			ada.get("/admin/audit?q=" + escape(q) + "&from=" + escape(q)),
			ada.get("/admin/erase?q=" + escape(q)),
			ada.get("/admin/people?q=" + escape(q) + "&after=" + escape(q)),
			ada.get("/docs/" + escape(q)),
			w.anon().get("/login?next=" + escape(q)),
			w.anon().form("/login", "email", q, "password", q, "next", q),
			ada.form("/admin/rounds", "k", q, "promotion", q),
			ada.form("/admin/schedules", "cron", q),
			ada.form("/admin/models/"+v.ID+"/canary", "reason", q, "shares", q),
			ada.form("/admin/models/"+v.ID+"/plan", "reason", q, "at", q, "time_zone", q),
			ada.form("/admin/compare", "a", q, "b", q, "project", "", "list", q, "category", q, "seed", q),
			ada.form("/admin/people", "email", q, "name", q, "role", q),
			ada.form("/admin/keys", "customer", q, "name", q),
			ada.form("/admin/settings", "name", "answers.max_tokens", "value", q, "was", q, "reason", q),
			ada.get("/admin/settings?name=" + escape(q)),
			ada.get("/admin/rounds/" + escape(q)),
			ada.form("/admin/projects", "name", q, "question", q, "languages", q, "instructions", q),
			ada.form("/admin/projects/"+evil.ID, "k", q, "instructions", q),
			ada.get("/admin/projects/" + evil.ID + "/guidelines?from=" + escape(q)),
			ada.form("/label/write", "project", evil.ID, "kind", "few-shot", "text", q, "query0", q, "answer", q),
			ada.get("/label?project=" + escape(q)),
		} {
			if found := wild(got.body); found != nil {
				t.Errorf("%q: %v", q, found)
			}
			if loc := got.head.Get("Location"); strings.Contains(loc, "evil") || strings.HasPrefix(loc, "javascript") {
				t.Errorf("%q redirects to %s", q, loc)
			}
			if got.code >= 500 {
				t.Errorf("%q: %d", q, got.code)
			}
		}
		if _, err := w.pool.Exec(ctx, `DELETE FROM login_buckets`); err != nil {
			t.Fatal(err)
		}
	}
}

func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// TestModelTextInBrowser ranks a task whose texts attack: no script runs, no request leaves, what is shown is the text.
func TestModelTextInBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("mina", account.RoleLabeler)
	p := w.project
	p.Instructions = strings.Join(payloads, "\n\n")
	_, err := w.labeling.UpdateProject(t.Context(), p, "system", nil)
	w.must(err)
	b := w.open(1280, 900, false)
	for i := 0; i < len(payloads); i += 8 {
		part := payloads[i:min(i+8, len(payloads))]
		if len(part) == 1 {
			part = append(part, "another")
		}
		w.addTask([]labeling.Message{{Role: "user", Content: strings.Join(part, "\n")}, {Role: "assistant", Content: part[0]}, {Role: "user", Content: part[1]}}, part...)
	}
	b.signIn("mina@example.com")
	const formatted = `made = "p, strong, em, s, code, pre, ul, ol, li, h3, h4, h5, h6, hr, blockquote, table, tbody, tr, th, td, .wide, .address, .language, .esc, .c-note, .c-string, .c-number, .c-word"; `
	seen := 0
	for range (len(payloads) + 7) / 8 {
		b.until(taskOpen)
		texts := b.shown()
		for _, text := range texts {
			found := false
			for _, p := range payloads {
				found = found || text == labeling.Visible(p) || text == "another"
			}
			if !found {
				t.Errorf("shown as %q", text)
			}
			seen++
		}
		if n := eval[int](b, formatted+`document.querySelectorAll(".answer *:not(.esc), .said *:not(.esc), #instructions :not(" + made + ")").length`); n != 0 {
			t.Errorf("%d elements were made of text: %s", n, eval[string](b, `document.getElementById("cards").innerHTML.slice(0, 2000)`))
		}
		// Formatted, the same texts become elements of our own kinds only, and none has an attribute that could act.
		b.keys("m")
		b.until(`document.getElementById("format").getAttribute("aria-pressed") === "true"`)
		if n := eval[int](b, formatted+`[...document.querySelectorAll(".answer *")].filter((e) => !e.matches(made) || [...e.attributes].some((a) => !["class", "start"].includes(a.name))).length`); n != 0 {
			t.Errorf("%d elements that text must not make: %s", n, eval[string](b, `document.getElementById("cards").innerHTML.slice(0, 2000)`))
		}
		b.keys("m")
		before := eval[string](b, `document.getElementById("progress").textContent`)
		b.keys(strings.Repeat("1", len(texts)) + "\r")
		b.until(fmt.Sprintf(`document.getElementById("progress").textContent !== %q || !document.getElementById("empty").hidden`, before))
	}
	if seen < len(payloads) {
		t.Errorf("%d of %d payloads shown", seen, len(payloads))
	}
}
