package web

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/oidc"
)

// axeTags are the rules that every page keeps: WCAG 2.2 at level AA, and axe's best practice.
const axeTags = `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`

// axe looks for violations on the page as it stands.
func (b *tab) axe() {
	b.Helper()
	if !eval[bool](b, `typeof axe === "object"`) {
		src, err := os.ReadFile("testdata/axe/axe.min.js")
		b.w.must(err)
		b.before(string(src))
		eval[bool](b, string(src)+"; true")
	}
	eval[bool](b, `window.axeFound = ""; axe.run(document, {runOnly: {type: "tag", values: `+axeTags+`}, resultTypes: ["violations"]})
		.then((r) => { window.axeFound = JSON.stringify(r.violations.map((v) => ({id: v.id, help: v.help, nodes: v.nodes.slice(0, 4).map((n) => n.html.slice(0, 160) + " " + n.failureSummary.slice(0, 300))}))); },
			(e) => { window.axeFound = JSON.stringify([{id: "failed", help: String(e), nodes: []}]); }); true`)
	b.until(`window.axeFound`)
	var found []struct {
		ID, Help string
		Nodes    []string
	}
	b.w.must(json.Unmarshal([]byte(eval[string](b, `window.axeFound`)), &found))
	for _, v := range found {
		b.Errorf("%s: %s: %s\n\t%s", eval[string](b, `location.pathname`), v.ID, v.Help, strings.Join(v.Nodes, "\n\t"))
	}
}

// whole checks that no text is cut off and that no control lies outside of the window.
func (b *tab) whole() {
	b.Helper()
	for _, what := range eval[[]string](b, `[...document.querySelectorAll("main *, header *")].filter((e) => {
		const s = getComputedStyle(e), r = e.getBoundingClientRect();
		if (!r.width || !r.height || !e.checkVisibility() || e.closest(".sr, svg, .scroll, pre, [hidden], .skip-link, template") || e.classList.contains("sr")) return false;
		const words = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
		if (words && s.overflowX === "hidden" && s.textOverflow !== "ellipsis" && e.scrollWidth > e.clientWidth + 1) return true;
		return (words || e.matches("button, input, select, textarea")) && (r.right > innerWidth + 1 || r.left < -1);
	}).slice(0, 5).map((e) => e.outerHTML.slice(0, 120))`) {
		b.Errorf("%s: cut: %s", eval[string](b, `location.pathname`), what)
	}
}

// byTab goes through the page by Tab alone: each control is reached and shows that it has the focus.
func (b *tab) byTab() {
	b.Helper()
	n := eval[int](b, `(() => {
		document.querySelectorAll("details").forEach((d) => { d.open = true; });
		const radios = new Set();
		const controls = [...document.querySelectorAll('a[href], button, input:not([type="hidden"]), select, textarea, summary, [tabindex="0"]')].filter((e) => {
			if (e.disabled || !e.checkVisibility({ visibilityProperty: true }) || e.closest("dialog:not([open])") || e.tabIndex < 0 || e.matches(".card")) return false; // cards are one stop, moved by keys
			if (e.type !== "radio") return true;
			if (radios.has(e.name)) return false;
			radios.add(e.name);
			return true;
		});
		document.activeElement.blur();
		const reached = new Set(), dark = [];
		const lit = (x) => { const s = getComputedStyle(x); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== "none"; };
		addEventListener("focusin", (ev) => {
			const e = ev.target;
			reached.add(e.type === "radio" ? controls.find((c) => c.name === e.name) : e);
			if (!lit(e) && !(e.parentElement && lit(e.parentElement)) && !e.closest(".card")) dark.push(e.outerHTML.slice(0, 120));
		}, true);
		window.missed = () => controls.filter((e) => !reached.has(e)).slice(0, 5).map((e) => "not reached by Tab: " + e.outerHTML.slice(0, 120)).concat(dark.slice(0, 3).map((h) => "focus not seen: " + h));
		return controls.length + 8 * document.querySelectorAll("input[type=datetime-local]").length; // each has a stop for year, month, ...
	})()`)
	down := kb.Encode('\t')[0] // letting go of it moves nothing
	for range n + 6 {
		_, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, *down)
		b.w.must(err)
	}
	for _, what := range eval[[]string](b, `window.missed()`) {
		b.Errorf("%s: %s", eval[string](b, `location.pathname`), what)
	}
}

// pagesOf are all pages of the server, from its routes; one with a parameter shows what here says.
func (w *world) pagesOf(here map[string][]string) []string {
	w.Helper()
	var out []string
	for _, r := range w.server.engine.Routes() {
		if r.Method != get || r.Path == "/" || strings.HasPrefix(r.Path, "/v1") || strings.Contains(r.Path, "/api/") || strings.HasPrefix(r.Path, "/static") ||
			strings.HasPrefix(r.Path, "/admin/jobs") || r.Path == "/healthz" || r.Path == "/readyz" {
			continue
		}
		switch shown, ok := here[r.Path]; {
		case ok:
			out = append(out, shown...)
		case strings.ContainsAny(r.Path, ":*"):
			w.Errorf("say what %s shall show", r.Path)
		default:
			out = append(out, r.Path)
		}
	}
	slices.Sort(out)
	return out
}

// fullWorld has something to show on every page. pages are those for people who have signed in, open the others.
func fullWorld(t *testing.T) (w *world, pages, open []string) {
	w = newWorld(t, func(_ *Config, d *Deps) {
		d.Providers = []*oidc.Provider{oidc.New(oidc.Config{Name: "work", Title: "Example Work", Issuer: "https://id.example.com", ClientID: "x"}, &http.Client{})}
	})
	ada := w.user("ada", account.RoleOwner)
	mina := w.user("mina", account.RoleLabeler)
	w.user("tomas", account.RoleLabeler)
	key := w.usedKey()
	ended := w.finishedRound()
	round, err := w.loop.Start(t.Context(), w.project.ID, "system", loop.DefaultConfig())
	w.must(err)
	for range eachProject {
		w.addTask(says("Tell a story about a fox and a drum with a happy ending."), demoAnswers...)
	}
	w.someCanary(w.version.ID)
	held := w.addTask(says("Tell a story about a bear."), demoAnswers[:2]...)
	_, err = w.pool.Exec(t.Context(), `UPDATE tasks SET held = 'pii' WHERE id = $1`, held.ID)
	w.must(err)
	imported := w.dataAndQuality(mina)
	judged, closed := w.comparisons(ended, mina, "Tell a story about a fox and a drum with a happy ending.", demoAnswers...)
	w.must(w.labeling.RefreshDashboard(t.Context(), w.project.ID))
	engine := w.someEngines()
	w.someUsage("ada")
	w.someUsage("acme")
	// The pages of the labelers in the first project, and the page of each question.
	var manual []string
	at := "?project=" + w.project.ID
	label := []string{"/label" + at}
	for _, q := range browserQuestions {
		p := w.ask(q.question, eachProject, q.answers...)
		label = append(label, "/label?project="+p.ID)
	}
	_, token, err := w.accounts.Invite(t.Context(), account.NewInvitation{Role: account.RoleLabeler, ProjectID: w.project.ID, CreatedBy: ada})
	w.must(err)
	for _, p := range w.server.help["en"] {
		manual = append(manual, "/docs/"+p.Name)
	}
	pages = w.pagesOf(map[string][]string{
		"/label":                        label,
		"/label/guideline":              {"/label/guideline" + at},
		"/label/history":                {"/label/history" + at},
		"/label/me":                     {"/label/me" + at},
		"/label/qualify":                {"/label/qualify" + at},
		"/label/write":                  {"/label/write" + at},
		"/admin/rounds/:id":             {"/admin/rounds/" + ended.ID, "/admin/rounds/" + round.ID},
		"/admin/models/:id":             {"/admin/models/" + w.version.ID, "/admin/models/" + ended.PolicyVersionID, "/admin/models/" + ended.RewardVersionID},
		"/admin/compare/:id":            {judged, closed},
		"/admin/compare/:id/pairs":      {closed + "/pairs"},
		"/admin/compare/:id/pairs.csv":  nil, // files
		"/admin/compare/:id/pairs.json": nil,
		"/admin/lineage":                {"/admin/lineage", "/admin/lineage?kind=labeler&id=" + mina.ID},
		"/admin/keys/:id":               {"/admin/keys/" + key.ID},
		"/admin/engines/:id":            {engine},
		"/account/export":               nil, // a file
		"/docs/:page":                   manual,
		"/docs":                         nil,
		"/login":                        nil,
		"/login/link":                   nil, // for those who have not signed in

		"/login/with/:provider":          nil, // lead elsewhere
		"/login/with/:provider/callback": nil,
		"/account/link/:provider":        nil,
		"/admin/people/:id":              {"/admin/people/" + mina.ID},
		"/admin/audit/entry/:entry":      {"/admin/audit/entry/" + w.someChange(mina)},
		"/admin/audit/log.csv":           nil, // files
		"/admin/audit/log.jsonl":         nil,
		"/admin/rounds/:id/samples":      {"/admin/rounds/" + ended.ID + "/samples", "/admin/rounds/" + round.ID + "/samples"},
		"/admin/rounds/:id/curves.csv":   nil, // a file

		"/admin/labeling/tasks/:id":      {"/admin/labeling/tasks/" + held.ID},
		"/admin/labeling/people/:id":     {"/admin/labeling/people/" + mina.ID},
		"/admin/labeling/pay.csv":        nil, // files
		"/admin/labeling/pay.json":       nil,
		"/admin/keys/usage.csv":          nil,
		"/admin/projects/:id":            {"/admin/projects/" + w.project.ID},
		"/admin/projects/:id/guidelines": {"/admin/projects/" + w.project.ID + "/guidelines"},
		"/admin/import/:id":              {imported},
		"/review/:id":                    {"/review/" + held.ID},
		"/admin/snapshots/:id":           {"/admin/snapshots/" + w.text(`SELECT id::text FROM snapshots WHERE name = 'first'`)},
		"/admin/erase":                   {"/admin/erase", "/admin/erase?q=example.com"},
		"/admin/erase/:id":               {"/admin/erase/" + w.text(`SELECT id::text FROM erasures`)},
		"/admin/erase/:id/report.json":   nil, // a file
		"/admin/snapshots/:id/export":    nil, // a file
		"/admin/snapshots/:id/manifest":  nil, // JSON
		"/chat/shared/:token":            {w.sharedChat()},
		"/join/:token":                   nil, // for those who have not signed in
	})
	return w, append(pages, "/admin/nothing"), []string{"/login", "/login/link", "/join/" + token, "/join/" + strings.Repeat("a", 43)}
}

// someChange changes the role of somebody, and back, and returns the entry of it in the audit log.
func (w *world) someChange(u account.User) string {
	w.Helper()
	w.must(w.accounts.SetRole(w.Context(), u.ID, account.RoleReviewer, "system"))
	w.must(w.accounts.SetRole(w.Context(), u.ID, u.Role, "system"))
	return strconv.Itoa(w.count(`SELECT max(id) FROM audit WHERE act = 'user.role'`))
}

// someCanary has a version answer a tenth of the requests, and wait for its promotion besides.
func (w *world) someCanary(id string) registry.Canary {
	w.Helper()
	ctx := w.Context()
	c, err := w.loop.StartCanary(ctx, id, "user:"+id, "wins 58% of 400 blind comparisons", registry.DefaultCanary())
	w.must(err)
	w.must(w.loop.AdvanceCanary(ctx, c.ID, 0, "canary", "100 answers at 1% of the requests, no guard tripped"))
	var list []registry.Observation
	for i := range 600 {
		reward := float64(i%7) / 3
		list = append(list, registry.Observation{CanaryID: c.ID, Canary: i%6 == 0, Milliseconds: 120 + i%90, Failed: i%199 == 3, Cut: i%11 == 2, Repeating: i%61 == 5, Reward: &reward})
	}
	w.must(w.registry.Observe(ctx, list))
	_, err = w.loop.PlanPromotion(ctx, id, "2100-03-01T04:00", "Asia/Taipei", "user:"+id, "few customers ask at that time")
	w.must(err)
	return c
}

// someUsage gives a person keys of all kinds, and use of several models.
func (w *world) someUsage(name string) {
	w.Helper()
	id := w.id(name)
	for i, n := range []account.NewKey{{Name: "playground", TrainingOptIn: true}, {Name: "a trainer's key with a long name", Scopes: []string{account.ScopeReward}, Lifetime: 24 * time.Hour}, {Name: "revoked"}} {
		n.CustomerID, n.Actor = id, "system"
		k, _, err := w.accounts.CreateKey(w.Context(), n)
		w.must(err)
		if i == 2 {
			w.must(w.accounts.RevokeKey(w.Context(), k.ID, "system"))
		}
		_, err = w.pool.Exec(w.Context(), `INSERT INTO usage (id, at, key_id, user_id, endpoint, model_version, prompt_tokens, completion_tokens, finish, duration_ms)
			SELECT gen_random_uuid(), now() - make_interval(days => d), $1, $2, '/v1/completions', CASE WHEN m = 0 THEN $3 ELSE 'another model ' || m END, 900 * (d % 7) + 100 * m, 300 + 40 * d, 'stop', 10
			FROM generate_series(0, 25) d, generate_series(0, 1 + 2 * $4::int) m WHERE (d + m) % 3 <> 1`, k.ID, id, w.version.ID, i)
		w.must(err)
	}
}

// someEngines adds two engines, one of which fails, and returns the page of that one.
func (w *world) someEngines() (page string) {
	w.Helper()
	for _, name := range []string{"vllm", "ollama"} {
		e, err := w.loop.SaveEngine(w.Context(), loop.EngineChange{Engine: loop.Engine{Name: name, URL: "https://" + name + ".example.com/v1", Model: "meta-llama/Llama-3.1-8B-Instruct",
			Answers: 2, MaxTokens: 256, DailyTokens: 1_000_000, Timeout: time.Minute, Enabled: true}, Key: "sk-1", Actor: "system"})
		w.must(err)
		page = enginesPath + "/" + e.ID
		_, err = w.pool.Exec(w.Context(), `INSERT INTO engine_days (engine_id, day, tokens, requests, answers, failures) VALUES ($1, (now() AT TIME ZONE 'UTC')::date, 412345, 812, 1624, 3)`, e.ID)
		w.must(err)
	}
	_, err := w.pool.Exec(w.Context(), `UPDATE engines SET error = 'failed', error_status = 503, error_at = now() WHERE name = 'ollama'`)
	w.must(err)
	return page
}

// eachProject is how many tasks of each question there are: enough for all tabs that look at once.
const eachProject = 16

// shotName is how a page is called on a picture: ids are left out.
func (w *world) shotName(path string) string {
	w.Helper()
	all, err := w.labeling.Projects(w.Context())
	w.must(err)
	names := []string{"/", "_", w.version.ID, "id", "?project=" + w.project.ID, ""}
	for _, p := range all {
		names = append(names, "?project="+p.ID, "-"+p.Name)
	}
	return strings.NewReplacer(names...).Replace(strings.Trim(path, "/"))
}

// visits checks each page as it is shown in the tab.
func (b *tab) visits(pages []string, check func()) {
	b.Helper()
	for _, p := range pages {
		b.visit(p)
		b.settled(p)
		check()
		b.wholeShot(b.w.shotName(p))
	}
}

// dataAndQuality gives the pages of data, projects, quality and own work something to show, and returns the page of an import
// with a record that was rejected and one that holds personal data.
func (w *world) dataAndQuality(labeler account.User) (imported string) {
	w.Helper()
	ctx := w.Context()
	olga := w.as("olga", account.RoleAdmin)
	imported = olga.sendFile("some.jsonl", `{"prompt":"Name a bird.","chosen":"Robin.","rejected":"Cod.","labeler":"ann"}
{"prompt":"Same","chosen":"a","rejected":"a"}
{"prompt":"Write to ann@example.com"}
{"prompt":"What a shop asks","completions":["a","b"],"ranks":[1,2],"customer":"shop"}
`).want(w.T, http.StatusSeeOther).head.Get("Location")
	w.work()
	olga.form("/admin/snapshots", "name", "first").want(w.T, http.StatusSeeOther)
	_, err := w.erase(ctx, labeling.Subject{Kind: labeling.SubjectCustomer, ID: "shop"}, "user:olga", false)
	w.must(err)
	olga.form("/admin/webhooks", "url", "https://example.com/hook").want(w.T, http.StatusOK)
	hooks, err := w.labeling.Webhooks(ctx)
	w.must(err)
	olga.form("/admin/webhooks/"+hooks[0].ID+"/test").want(w.T, http.StatusSeeOther)
	w.must(w.labeling.DeliverNext(ctx, func(context.Context, labeling.Delivery) (int, error) { return 500, nil }))

	p := w.project
	p.Instructions += "\n\n3. **Is kind.**"
	_, err = w.labeling.UpdateProject(ctx, p, "system", nil)
	w.must(err)
	_, err = w.labeling.AddUseCase(ctx, p.ID, "Answer mails of a museum", "system")
	w.must(err)

	practice := w.addTask(says("Tell a story about a snail."), demoAnswers[:2]...)
	olga.form("/admin/quality/gold", "task", practice.ID, "stage", "practice", "ranks", "1 2", "explanation", "The first ends well.").want(w.T, http.StatusSeeOther)
	w.addTask(says("Tell a story about an owl."), demoAnswers...)
	a, err := w.labeling.Claim(ctx, p.ID, labeler.ID)
	w.must(err)
	_, err = w.labeling.Submit(ctx, labeling.SubmitInput{AssignmentID: a.ID, LabelerID: labeler.ID, IdempotencyKey: a.ID, Ranks: []int{2, 1, 3, 3}, Comment: "D repeats C.",
		ActiveMS: 20_000, WallMS: 25_000}, nil)
	w.must(err)
	return imported
}

// settled waits until a page has drawn what its scripts draw.
func (b *tab) settled(path string) {
	b.Helper()
	if strings.HasPrefix(path, "/label?") {
		b.until(`document.getElementById("task") && !document.getElementById("task").hidden`)
	}
	if strings.HasPrefix(path, "/admin/rounds/") && !strings.HasSuffix(path, "/samples") && !strings.HasPrefix(path, "/admin/rounds/new") {
		b.until(`document.querySelector(".chart canvas, #round[data-live=yes]")`)
	}
	b.drawn()
}

// show sets the language and the theme through the switches in the header.
func (b *tab) show(tag, theme string) {
	b.Helper()
	press := func(button, then string) {
		eval[bool](b, `window.former = true`)
		b.do(chromedp.Click(chromedp.CSS(`.look button[value="` + button + `"]`)))
		b.until(`!window.former && document.readyState === "complete" && ` + then)
	}
	if eval[string](b, `document.documentElement.lang`) != tag {
		press(tag, `document.documentElement.lang === "`+tag+`"`)
	}
	press(theme, `(document.documentElement.dataset.theme || "system") === "`+theme+`"`)
}

// everything is what CI looks at: more readers, sizes and random rounds than fit into the ten minutes that a package has by itself.
func everything() bool { return os.Getenv("CI") == "true" && !testing.Short() }

// TestAccessibility opens every page as everybody who may, in both languages and themes, wide and narrow.
func TestAccessibility(t *testing.T) {
	t.Parallel()
	w, pages, open := fullWorld(t)
	for _, c := range []struct {
		name, who, tag, theme string
		width, height         int64
		axe                   bool // two of them have every colour, word and width between them
	}{
		{"wide-en-light", "ada", "en", "light", 1280, 900, true},
		{"phone-zh-dark", "ada", "zh-Hant", "dark", 360, 740, true},
		{"wide-zh-dark", "ada", "zh-Hant", "dark", 1280, 900, false},
		{"phone-en-light", "ada", "en", "light", 360, 740, false},
		{"labeler-zh", "mina", "zh-Hant", "light", 1280, 900, true},
		{"customer-en", "acme", "en", "dark", 360, 740, true},
	} {
		if c.name != "phone-zh-dark" && !(everything() || c.name == "wide-en-light" && !testing.Short()) { // the race detector learns nothing from the other readers
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := *w
			v.T = t
			b := v.open(c.width, c.height, false)
			b.allow("404")
			b.allow("403")
			b.visit("/login")
			b.show(c.tag, c.theme)
			check := func() {
				b.fitsWidth()
				b.whole()
				b.named()
				if c.axe {
					b.axe()
				}
			}
			b.visits(open, check)
			b.signIn(c.who + "@example.com")
			b.show(c.tag, c.theme)
			b.visits(slices.DeleteFunc(slices.Clone(pages), func(p string) bool { // refused all alike, as /admin is; and the manual is the same for all
				return c.who != "ada" && (strings.HasPrefix(p, "/admin") && p != "/admin" || strings.HasPrefix(p, "/docs/")) || c.who == "acme" && strings.HasPrefix(p, "/label?")
			}), check)
		})
	}
}

// TestZoom: at twice the size, and at 3840 px, nothing is cut and nothing scrolls sideways.
func TestZoom(t *testing.T) {
	t.Parallel()
	w, pages, _ := fullWorld(t)
	for _, c := range []struct {
		name          string
		width, height int64
	}{{"twice", 640, 450}, {"4k", 3840, 2160}} {
		if c.name != "twice" && !everything() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := *w
			v.T = t
			b := v.open(c.width, c.height, false)
			b.allow("404")
			b.signIn("ada@example.com")
			b.show("zh-Hant", "system")
			b.visits(pages, func() { b.fitsWidth(); b.whole() })
		})
	}
}

// TestKeyboard reaches every control of every page by Tab, and sees where it is; the first stop leads to the content.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	w, pages, _ := fullWorld(t)
	b := w.open(1280, 900, false)
	b.allow("404")
	b.signIn("ada@example.com")
	for _, p := range pages {
		b.visit(p)
		b.settled(p)
		b.byTab()
	}
	b.visit("/admin/keys")
	b.do(chromedp.KeyEvent(kb.Tab))
	if eval[string](b, `document.activeElement.getAttribute("href")`) != "#main" {
		t.Error("the first stop is not the link to the content")
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.activeElement.id === "main"`)
	b.visit("/label?project=" + w.project.ID) // dialogs keep the focus, and give it back
	b.until(taskOpen)
	b.do(chromedp.Focus(chromedp.CSS("#help-open")), chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector("dialog[open]") && document.querySelector("dialog[open]").contains(document.activeElement)`)
	for range 4 {
		b.do(chromedp.KeyEvent(kb.Tab))
		if !eval[bool](b, `document.activeElement === document.body || document.querySelector("dialog[open]").contains(document.activeElement)`) {
			t.Error("the focus leaves the dialog")
		}
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.querySelector("dialog[open]") && document.activeElement.id === "help-open"`)
}

// TestSwitchWithoutScript: language and theme are forms.
func TestSwitchWithoutScript(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.open(360, 740, true)
	b.visit("/login")
	dark := eval[string](b, `getComputedStyle(document.body).backgroundColor`)
	b.show("zh-Hant", "light")
	if got := eval[string](b, `document.querySelector("h1").textContent + getComputedStyle(document.body).backgroundColor`); got != "登入rgb(245, 246, 248)" || dark == "rgb(245, 246, 248)" {
		t.Errorf("after the switch: %s, before: %s", got, dark)
	}
	b.show("zh-Hant", "dark")
	b.show("en", "system")
	if got := eval[string](b, `getComputedStyle(document.body).backgroundColor`); got != dark {
		t.Errorf("the system's theme does not come back: %s", got)
	}
}
