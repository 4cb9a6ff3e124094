package web

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// asking signs a labeler in on the page of a question with n tasks.
func asking(t *testing.T, question string, n int, answers ...string) *tab {
	t.Helper()
	w := newWorld(t)
	w.user("mina", account.RoleLabeler)
	p := w.ask(question, n, answers...)
	b := w.open(1280, 900, false)
	b.signIn("mina@example.com")
	b.visit("/label?project=" + p.ID)
	b.until(workOpen)
	return b
}

func (b *tab) blur() {
	b.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
}

// TestKeysOfEveryQuestion: the list of keys opens everywhere and can be changed; controls show their keys; a key chosen on one
// page counts on all others, but where it is taken there.
func TestKeysOfEveryQuestion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("mina", account.RoleLabeler)
	pages := map[string]string{labeling.QuestionRanking: "/label?project=" + w.project.ID}
	w.addTask(says("Tell story number 0 about a fox and a drum."), demoAnswers...)
	for _, q := range browserQuestions {
		pages[q.question] = "/label?project=" + w.ask(q.question, 3, q.answers...).ID
	}
	b := w.open(1280, 900, false)
	b.signIn("mina@example.com")
	visit := func(question string) {
		t.Helper()
		b.visit(pages[question])
		b.until(workOpen)
		b.blur()
	}
	key := func(action string) string {
		t.Helper()
		return eval[string](b, `document.querySelector('[data-action="`+action+`"]').textContent`)
	}
	change := func(does, to string) {
		t.Helper()
		b.keys("?")
		b.until(`document.getElementById("help").open`)
		b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`[...document.querySelectorAll(".keys-rows tr")].find((r) => r.textContent.includes(%q)).querySelector("button").click()`, does)))
		b.keys(to)
		b.until(`document.querySelector(".keys-said").textContent === ""`)
		b.do(chromedp.KeyEvent(kb.Escape))
		b.until(`!document.getElementById("help").open`)
	}
	for question := range pages {
		visit(question)
		if dead := eval[[]string](b, `[...document.querySelectorAll("[data-action]")].filter((e) => !e.textContent).map((e) => e.dataset.action)`); len(dead) > 0 {
			t.Errorf("%s: controls without a key: %v", question, dead)
		}
		b.keys("?")
		b.until(`document.getElementById("help").open`)
		said := eval[string](b, `document.querySelector(".keys-rows").innerText`)
		for _, does := range []string{"Submit", "Skip, with a reason", "Report: unsafe, or personal data", "Write a note to the reviewers", "Submit, also from within a text", "Show the keys"} {
			if !strings.Contains(said, does) {
				t.Errorf("%s: the list lacks %q", question, does)
			}
		}
		b.shot("keys-" + question)
		b.do(chromedp.KeyEvent(kb.Escape))
		b.keys("c")
		b.until(`document.activeElement.id === "comment"`)
		b.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("comment").value = ""`)) // the protocol types the letter although the key was taken
		b.do(chromedp.SendKeys(chromedp.CSS("#comment"), "s u ! ? 5"), chromedp.KeyEvent(kb.Escape))
		if got := eval[string](b, `document.getElementById("comment").value + document.querySelectorAll("dialog[open]").length`); got != "s u ! ? 50" {
			t.Errorf("%s: keys act while somebody writes: %q", question, got)
		}
	}
	visit(labeling.QuestionRating)
	change("Skip, with a reason", "x")
	change("Take the rating away", "g")
	for question := range pages {
		visit(question)
		if got := key("skip"); got != "X" {
			t.Errorf("%s: skip is on %q", question, got)
		}
	}
	visit(labeling.QuestionPairwise) // G is taken here: what was chosen elsewhere does not take it away
	b.keys("g")
	b.until(`document.getElementById("mode").textContent.includes("Answer B")`)
	b.keys("h")
	b.until(`document.querySelectorAll(".side-answer")[1].querySelector('input[value="hallucination"]').checked && document.getElementById("mode").hidden`)
	change("Report: unsafe, or personal data", "w") // and keeps what was chosen for other pages
	visit(labeling.QuestionRating)
	b.keys("3g")
	b.until(`document.getElementById("order").textContent === "Not rated yet"`)
	b.keys("w")
	b.until(`document.getElementById("report-dialog").open`)
}

// TestTakeBackElsewhere: Ctrl+Z takes back ratings, flags and choices on the pages of the other questions, too.
func TestTakeBackElsewhere(t *testing.T) {
	t.Parallel()
	b := asking(t, labeling.QuestionPairwise, 1, demoAnswers[:2]...)
	back := func(keys string, mods ...chromedp.Modifier) {
		b.do(chromedp.KeyEvent(keys, chromedp.KeyModifiers(append(mods, kb.ModifierCtrl)...)))
	}
	state := func() string {
		t.Helper()
		return eval[string](b, `[...document.querySelectorAll("#sheet input:checked")].map((i) => i.value).join(" ")`)
	}
	b.keys("2r75fo")
	if got := state(); got != "7 opinion 5 2" {
		t.Fatalf("chosen: %s", got)
	}
	for _, want := range []string{"7 5 2", "7 2", "2", "", ""} {
		back("z")
		if got := state(); got != want {
			t.Errorf("taken back to %q, want %q", got, want)
		}
	}
	for _, want := range []string{"2", "7 2", "7 5 2", "7 opinion 5 2"} {
		back("Z", kb.ModifierShift)
		if got := state(); got != want {
			t.Errorf("done again to %q, want %q", got, want)
		}
	}
	b.w.eventually(`SELECT count(*) = 1 FROM assignments WHERE draft->'ratings' = '[7, 5]' AND draft->'strength' = '3'`) // the page says Saved of what came before, too
}

// TestWordsThatChanged: beside the text of an edit stands the answer with what the text takes away and adds, by words, and by
// characters where a script has no spaces. It can be hidden, and stays so.
func TestWordsThatChanged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, was, becomes, gone, added, said string }{
		{"words", "The red fox had a drum.", "The old fox had a loud drum.", "red", "old| loud", "8 characters added, 3 taken away"},
		{"characters", "狐狸在樹下快樂地敲鼓。", "狐狸在山下快樂地打鼓。", "樹|敲", "山|打", "2 characters added, 2 taken away"},
		{"hidden signs", "a\u202eb c", "a\u202eb d", "c", "d", "1 characters added, 1 taken away"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := asking(t, labeling.QuestionEdit, 1, c.was)
			marked := `[...document.querySelectorAll("#answer %s")].map((e) => e.textContent).join("|")`
			if n := eval[int](b, `document.querySelectorAll("#answer ins, #answer del").length`); n != 0 {
				t.Fatal("marks without a change")
			}
			b.do(chromedp.Evaluate[chromedp.Void](`(() => { const e = document.getElementById("text"); e.value = ` + quote(c.becomes) + `; e.dispatchEvent(new Event("input", { bubbles: true })); })()`))
			b.until(`document.querySelector("#answer ins")`)
			if gone, added := eval[string](b, fmt.Sprintf(marked, "del")), eval[string](b, fmt.Sprintf(marked, "ins")); gone != c.gone || added != c.added {
				t.Errorf("gone %q, added %q, want %q and %q", gone, added, c.gone, c.added)
			}
			if got := eval[string](b, `document.getElementById("changed").textContent`); got != c.said {
				t.Errorf("said %q", got)
			}
			b.shot("changed")
			b.keys("d")
			b.until(`!document.querySelector("#answer ins, #answer del") && document.getElementById("compare").getAttribute("aria-pressed") === "false"`)
			b.do(chromedp.Reload())
			b.until(workOpen + ` && document.getElementById("order").textContent === "Edited"`)
			if eval[bool](b, `Boolean(document.querySelector("#answer ins"))`) {
				t.Error("what was hidden shows after a reload")
			}
			b.do(click("#compare"))
			b.until(`document.querySelector("#answer ins")`)
			b.do(click("#restore"))
			b.until(`!document.querySelector("#answer ins, #answer del") && document.getElementById("changed").textContent === ""`)
		})
	}
}

// TestVeilElsewhere: what others reported is veiled on the pages of the other questions, and cannot be submitted unseen.
func TestVeilElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.ask(labeling.QuestionRating, 1, demoAnswers[0])
	yuki := w.as("yuki", account.RoleLabeler)
	w.user("mina", account.RoleLabeler)
	var a task
	yuki.json(post, "/label/api/claim", map[string]any{"project": p.ID}).into(t, &a)
	yuki.json(post, "/label/api/assignments/"+a.Assignment+"/skip", `{"reason":"unsafe"}`)
	var held string
	w.must(w.pool.QueryRow(t.Context(), `SELECT id FROM tasks WHERE held <> ''`).Scan(&held))
	w.as("ada", account.RoleAdmin).form("/admin/held/" + held + "/release")
	b := w.open(1280, 900, false)
	b.signIn("mina@example.com")
	b.visit("/label?project=" + p.ID)
	b.until(`!document.getElementById("veil").hidden`)
	if eval[bool](b, `document.getElementById("answer").checkVisibility()`) {
		t.Error("the answer shows")
	}
	b.do(click("#unveil"))
	b.until(`document.getElementById("veil").hidden && document.getElementById("answer").checkVisibility()`)
	b.blur()
	b.keys("2!")
	b.until(`document.getElementById("report-dialog").open`)
	b.do(click(`#report-dialog button[value="report"]`))
	b.until(`!document.getElementById("empty").hidden`)
	if n := w.count(`SELECT count(*) FROM tasks WHERE held = 'unsafe'`); n != 1 {
		t.Errorf("%d tasks are held", n)
	}
}

// TestNextIsInstantElsewhere: on the pages of the other questions, too, there is no request between the submit and the paint
// of the next task; the time of it is printed.
func TestNextIsInstantElsewhere(t *testing.T) {
	const tasks = 21
	for _, c := range []struct {
		question string
		answers  []string
		finish   func(b *tab)
	}{
		{labeling.QuestionPairwise, demoAnswers[:2], func(b *tab) { b.keys("2") }}, {labeling.QuestionRating, demoAnswers[:1], func(b *tab) { b.keys("6") }},
		{labeling.QuestionEdit, demoAnswers[1:2], func(b *tab) { b.typed("#text", " More.") }}, {labeling.QuestionDemonstration, nil, func(b *tab) { b.typed("#text", "Once.") }},
	} {
		t.Run(c.question, func(t *testing.T) {
			b := asking(t, c.question, tasks, c.answers...)
			for n := range tasks - 1 {
				b.ahead(n + 2)
				prompt := eval[string](b, `document.querySelector("#conversation .said").textContent`)
				c.finish(b)
				b.send()
				if eval[string](b, `document.querySelector("#conversation .said").textContent`) == prompt {
					t.Fatalf("task %d: after the submit the page shows it still", n)
				}
				b.until(fmt.Sprintf(`performance.getEntriesByName("next-task").length === %d`, n+1))
			}
			if between := eval[[]string](b, `performance.getEntriesByName("next-task").flatMap((m) => performance.getEntriesByType("resource").filter((r) => r.startTime >= m.startTime && r.startTime < m.startTime + m.duration).map((r) => r.name))`); len(between) > 0 {
				t.Errorf("requests between submit and paint: %v", between)
			}
			b.until(`!Object.keys(localStorage).some((k) => k.includes(":out:"))`)
			if n := b.w.count(`SELECT count(*) FROM rankings`); n != tasks-1 {
				t.Errorf("%d rankings, want %d", n, tasks-1)
			}
			times := eval[[]float64](b, `performance.getEntriesByName("next-task").map((m) => m.duration)`)
			slices.Sort(times)
			t.Logf("%s: submit to paint from the task ahead: median %.1f ms, p95 %.1f ms, n = %d", c.question, times[len(times)/2], times[len(times)*95/100], len(times))
		})
	}
}

// pageClock puts the clock of a page into the test's hands: advance(ms) lets that much time pass for its timers and clocks, in
// the order in which they are due, with a breath after each for what it sends. Between advances time passes as ever.
const pageClock = `(() => {
	const real = { set: setTimeout.bind(window), clear: clearTimeout.bind(window), now: performance.now.bind(performance), date: Date.now };
	const timers = new Map();
	let ahead = 0, last = 1e6;
	const now = () => real.now() + ahead;
	performance.now = now;
	Date.now = () => real.date() + Math.round(ahead);
	const start = (id) => { const t = timers.get(id); t.real = real.set(() => fire(id), Math.max(0, t.due - now())); };
	function fire(id) {
		const t = timers.get(id);
		if (!t) return;
		real.clear(t.real);
		if (t.every) { t.due = now() + t.every; start(id); } else timers.delete(id);
		t.f();
	}
	window.setTimeout = (f, ms = 0, ...more) => { timers.set(++last, { f: () => f(...more), due: now() + ms }); start(last); return last; };
	window.setInterval = (f, ms, ...more) => { timers.set(++last, { f: () => f(...more), due: now() + ms, every: ms }); start(last); return last; };
	window.clearTimeout = window.clearInterval = (id) => { const t = timers.get(id); if (t) { real.clear(t.real); timers.delete(id); } };
	window.realTimeout = real.set;
	window.tries = 0;
	const send = window.fetch;
	window.fetch = (path, init) => { if (String(path).endsWith("/submit")) window.tries++; return send(path, init); };
	window.advance = async (ms) => {
		const until = now() + ms;
		for (;;) {
			const [id, t] = [...timers].reduce((a, b) => (b[1].due < a[1].due ? b : a), [0, { due: Infinity }]);
			if (t.due > until) break;
			ahead += Math.max(0, t.due - now());
			fire(id);
			await new Promise((r) => real.set(r, 4));
		}
		ahead += Math.max(0, until - now());
	};
})();`

// TestOfflineForLong: without a network, or without a server, one works on and submits; after a minute of the page's time, and
// after a quarter of an hour, with the server restarted meanwhile, all of it lands exactly once.
func TestOfflineForLong(t *testing.T) {
	t.Parallel()
	for gone, question := range map[string]string{"network": labeling.QuestionRanking, "server": labeling.QuestionRating} {
		t.Run(question+"/"+gone, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.user("mina", account.RoleLabeler)
			at, answers, done := "/label?project="+w.project.ID, demoAnswers, "4321"
			if question == labeling.QuestionRating {
				at, answers, done = "/label?project="+w.ask(question, 3, demoAnswers[0]).ID, nil, "6"
			}
			for i := range 3 {
				if answers != nil {
					w.addTask(says(fmt.Sprintf("Tell story number %d about a fox and a drum.", i)), answers...)
				}
			}
			b := w.open(1280, 900, false)
			b.allow("ERR_")
			b.signIn("mina@example.com")
			b.before(pageClock)
			b.visit(at)
			b.until(workOpen)
			b.ahead(2)
			pass := func(d time.Duration) {
				t.Helper()
				b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`window.passed = false; advance(%d).then(() => { window.passed = true; }); undefined`, d.Milliseconds())))
				b.until(`window.passed`)
			}
			waiting := `Object.keys(localStorage).filter((k) => k.includes(":out:")).length`
			if gone == "network" {
				b.offline(true)
			} else {
				w.stopServer()
			}
			for n := range 2 { // the open task, and the one that was ahead: while it is open and when nothing is, the first is sent again and again
				b.blur()
				b.keys(done)
				b.do(chromedp.KeyEvent(kb.Enter))
				b.until(fmt.Sprintf(waiting+` === %d`, n+1))
				b.until(`document.getElementById("banner").textContent.includes("No connection")`)
				tries := eval[int](b, `tries`)
				pass(time.Minute)
				if again := eval[int](b, `tries`) - tries; again < 5 || again > 60 {
					t.Errorf("%d tries in a minute with %d waiting", again, n+1)
				}
			}
			if got := eval[int](b, waiting); got != 2 {
				t.Fatalf("%d answers wait after a minute, want 2", got)
			}
			if gone == "network" {
				w.stopServer() // and is started anew meanwhile
			}
			pass(15 * time.Minute)
			if got, n := eval[int](b, waiting), w.count(`SELECT count(*) FROM rankings`); got != 2 || n != 0 {
				t.Fatalf("after a quarter of an hour %d answers wait and %d are stored", got, n)
			}
			w.startServer()
			if gone == "network" {
				b.offline(false)
			}
			pass(time.Minute)
			b.until(waiting + ` === 0`)
			if n := w.count(`SELECT count(*) FROM rankings`); n != 2 {
				t.Errorf("%d rankings, want 2", n)
			}
			b.until(`document.getElementById("progress").textContent.startsWith("2 ") && ` + workOpen)
			pass(5 * time.Minute)
			if n := w.count(`SELECT count(*) FROM rankings`); n != 2 {
				t.Errorf("%d rankings five minutes later, want 2", n)
			}
			if n := w.count(`SELECT count(*) FROM rankings WHERE surplus`); n != 0 {
				t.Errorf("%d of them came too late", n)
			}
		})
	}
}
