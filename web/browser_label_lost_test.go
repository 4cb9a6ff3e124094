package web

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rankloop/rankloop/web/account"
)

// another opens one more tab of the same browser, with its cookies and storage; stop closes it.
func (b *tab) another() (other *tab, stop func()) {
	b.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	other = &tab{T: b.T, ctx: ctx, w: b.w, home: b.home, allowed: b.allowed}
	b.w.must(chromedp.Do(ctx, chromedp.Navigate("about:blank")))
	b.w.must(chromedp.Listen(ctx, other.hear))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	b.w.must(err)
	other.size(1280, 900)
	b.Cleanup(func() {
		cancel()
		other.mu.Lock()
		defer other.mu.Unlock()
		for _, what := range other.wrong {
			b.Error("browser: " + what)
		}
	})
	return other, cancel
}

// offline cuts the tab's network, or mends it.
func (b *tab) offline(on bool) {
	b.Helper()
	_, err := chromedp.Call(b.ctx, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: on, DownloadThroughput: -1, UploadThroughput: -1})
	b.w.must(err)
	_, err = chromedp.Call(b.ctx, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
		MatchedNetworkConditions: []*network.Conditions{{DownloadThroughput: -1, UploadThroughput: -1, Offline: on}}})
	b.w.must(err)
}

// stopServer ends the server in the middle of what it does; startServer brings it back at the same address.
func (w *world) stopServer() {
	w.http.CloseClientConnections()
	w.http.Close()
}

func (w *world) startServer() {
	w.Helper()
	l, err := net.Listen("tcp", w.http.Listener.Addr().String())
	w.must(err)
	s := httptest.NewUnstartedServer(w.handler)
	s.Listener.Close()
	s.Listener, s.Config = l, NewServer(w.handler)
	s.Start()
	w.http = s
	w.Cleanup(s.Close)
}

// sheet is what a labeler sees of the open task.
type sheet struct {
	Prompt  string
	Order   string
	Ratings []int
	Flags   []int
	Comment string
	Focus   string
}

func (b *tab) sheet() sheet {
	b.Helper()
	return eval[sheet](b, `(() => {
		const cards = [...document.querySelectorAll(".card")].sort((x, y) => x.dataset.key < y.dataset.key ? -1 : 1);
		return { Prompt: document.querySelector("#conversation .said").textContent, Order: document.getElementById("order").textContent,
			Ratings: cards.map((c) => Number(c.querySelector(".likert input:checked")?.value || 0)), Flags: cards.map((c) => c.querySelectorAll(".flags input:checked").length),
			Comment: document.getElementById("comment").value, Focus: document.querySelector(".card.focus").dataset.key };
	})()`)
}

// TestInterruptions edits and submits while tabs crash, close, reload, go elsewhere and come back, and the server dies and
// returns, at random moments. No edit that the page took is lost, no ranking is lost, none is there twice.
// RANKLOOP_SEED replays a run, RANKLOOP_ROUNDS makes a longer one.
func TestInterruptions(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("RANKLOOP_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("RANKLOOP_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t)
	w.user("mina", account.RoleLabeler)
	for i := range 40 {
		w.addTask(says(fmt.Sprintf("Tell story number %d about a fox and a drum.", i)), demoAnswers...)
	}
	root := w.open(1280, 900, false)
	root.allow("ERR_")
	root.allow("Failed to load")
	root.signIn("mina@example.com")
	root.visit("/docs/ranking") // holds the session; works on nothing
	b, stop := root.another()
	b.visit("/label")
	b.until(taskOpen)

	type want struct {
		sheet sheet
		ranks []int // by A, B, ...; of what was submitted
	}
	submitted := map[string]want{} // by prompt
	drafts := map[string]sheet{}
	kinds := map[string]int{}
	rounds := 10
	if everything() {
		rounds = 24
	}
	if s := os.Getenv("RANKLOOP_ROUNDS"); s != "" { // for longer walks
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for round := range rounds {
		down := false
		for range 1 + rng.IntN(4) {
			b.keys(edit(rng))
			if rng.IntN(6) == 0 {
				b.keys("c")
				b.do(chromedp.SendKeys(chromedp.CSS("#comment"), string(rune('a'+rng.IntN(26)))))
				b.do(chromedp.KeyEvent(kb.Escape))
			}
			s := b.sheet()
			drafts[s.Prompt] = s
			if rng.IntN(4) == 0 && !down {
				w.stopServer()
				down = true
			}
			if eval[bool](b, `document.getElementById("submit").getAttribute("aria-disabled") === "false"`) && rng.IntN(2) == 0 {
				ranks := eval[[]int](b, `[...document.querySelectorAll(".card")].sort((x, y) => x.dataset.key < y.dataset.key ? -1 : 1).map((c) => Number(c.querySelector("select").value))`)
				b.do(chromedp.KeyEvent(kb.Enter))
				submitted[s.Prompt] = want{s, ranks}
				if !eval[bool](b, `performance.getEntriesByName("submit").length > 0`) {
					t.Fatal("Enter did not submit")
				}
				if rng.IntN(2) == 0 {
					break // interrupted right behind it
				}
				b.until(fmt.Sprintf(`document.querySelector("#conversation .said").textContent !== %q || %v`, s.Prompt, down))
				if down {
					break // with no server and nothing ahead there is no next task
				}
			}
		}
		time.Sleep(time.Duration(rng.IntN(900)) * time.Millisecond)
		kind := []string{"reload", "crash", "close", "away and back", "second crash"}[rng.IntN(5)]
		if down {
			kinds["server down"]++
			w.startServer()
		}
		kinds[kind]++
		switch kind {
		case "reload":
			b.do(chromedp.Reload())
		case "away and back":
			b.visit("/docs/ranking")
			b.do(chromedp.Evaluate[chromedp.Void](`setTimeout(() => history.back())`))
			b.until(`location.pathname === "/label"`)
		default:
			if kind == "close" {
				stop()
			} else {
				ctx, cancel := context.WithTimeout(b.ctx, 300*time.Millisecond)
				_, _ = chromedp.Call(ctx, page.Crash, struct{}{}) // the tab is gone before it can answer
				cancel()
				if kind == "second crash" { // and again while the page comes up
					mid, end := root.another()
					mid.visit("/label")
					time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
					ctx, cancel := context.WithTimeout(mid.ctx, 300*time.Millisecond)
					_, _ = chromedp.Call(ctx, page.Crash, struct{}{})
					cancel()
					end()
				}
				stop()
			}
			b, stop = root.another()
			b.visit("/label")
		}
		b.until(taskOpen)
		got := b.sheet()
		if _, done := submitted[got.Prompt]; done {
			t.Fatalf("round %d (%s, server down %v): a submitted task is served again: %+v", round, kind, down, got)
		}
		if wanted, begun := drafts[got.Prompt]; begun && !reflect.DeepEqual(got, wanted) {
			t.Fatalf("round %d (%s, server down %v): page shows\n%+v, was\n%+v", round, kind, down, got, wanted)
		}
		for prompt := range drafts {
			if _, done := submitted[prompt]; !done && prompt != got.Prompt {
				t.Fatalf("round %d (%s, server down %v): %q was under work, %q is shown", round, kind, down, prompt, got.Prompt)
			}
		}
	}
	b.until(`!Object.keys(localStorage).some((k) => k.includes(":out:"))`)
	rows, err := w.pool.Query(t.Context(), `
		SELECT p.messages->0->>'content', (SELECT count(*) FROM rankings x WHERE x.task_id = t.id), k.ranks, a.display_order
		FROM assignments a JOIN rankings k ON k.id = a.ranking_id JOIN tasks t ON t.id = k.task_id JOIN prompts p ON p.id = t.prompt_id`)
	w.must(err)
	defer rows.Close()
	stored := 0
	for rows.Next() {
		var prompt string
		var n int
		var ranks, order []int
		w.must(rows.Scan(&prompt, &n, &ranks, &order))
		stored++
		shown := make([]int, len(order))
		for at, pos := range order {
			shown[at] = ranks[pos]
		}
		if want, ok := submitted[prompt]; !ok || n != 1 || !reflect.DeepEqual(shown, want.ranks) {
			t.Errorf("%q: %d rankings, %v, want one, %v", prompt, n, shown, want.ranks)
		}
	}
	w.must(rows.Err())
	if stored != len(submitted) || stored == 0 {
		t.Errorf("%d rankings stored, %d submitted", stored, len(submitted))
	}
	t.Logf("%d rounds, %v, %d rankings", rounds, kinds, stored)
}

// edit is a random key that changes something.
func edit(rng *rand.Rand) string {
	digit := string(rune('1' + rng.IntN(4)))
	switch rng.IntN(8) {
	case 0:
		return "r" + digit + "\x1b"
	case 1:
		return "f" + string("iahesvdom"[rng.IntN(9)])
	case 2:
		return string("jk="[rng.IntN(3)])
	}
	return digit + string(rune('1'+rng.IntN(4)))
}

// TestTwoTabs: each tab of a browser has a task of its own, and neither takes the other's; a tab that closes gives its task
// to the next one, with its draft.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 6, 1280, 900)
	b.keys("31")
	first := b.sheet()
	other, stop := b.another()
	other.visit("/label")
	other.until(taskOpen)
	if second := other.sheet(); second.Prompt == first.Prompt {
		t.Fatal("two tabs show the same task")
	}
	other.keys("1234")
	kept := other.sheet()
	b.keys("24")
	other.do(chromedp.KeyEvent(kb.Enter))
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.getElementById("order").textContent === "Nothing ranked yet"`)
	other.until(`document.getElementById("order").textContent === "Nothing ranked yet"`)
	deadline := time.Now().Add(10 * time.Second)
	for b.w.count(`SELECT count(*) FROM rankings WHERE revision = 1`) != 2 {
		if time.Now().After(deadline) {
			t.Fatal("not both rankings arrived")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if p, q := b.sheet().Prompt, other.sheet().Prompt; p == q || p == kept.Prompt || q == first.Prompt {
		t.Errorf("after the submits the tabs show %q and %q", p, q)
	}
	other.keys("43")
	left := other.sheet()
	other.until(`/^Saved/.test(document.getElementById("saved").textContent)`)
	stop()
	third, _ := b.another()
	third.visit("/label")
	third.until(taskOpen)
	if got := third.sheet(); !reflect.DeepEqual(got, left) {
		t.Errorf("the third tab shows\n%+v, the closed one had\n%+v", got, left)
	}
}

// TestLeaseLost: when somebody else took the place, the work is still there, the page says so, and the ranking is kept as
// surplus. What was finished elsewhere is explained too.
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 2, 1280, 900)
	b.allow("409")
	b.keys("21")
	was := b.sheet()
	b.until(`/^Saved/.test(document.getElementById("saved").textContent)`)
	if _, err := b.w.pool.Exec(t.Context(), `UPDATE assignments SET state = 'expired', closed_at = now() WHERE state = 'leased' AND draft IS NOT NULL`); err != nil {
		t.Fatal(err)
	}
	b.keys("3")
	b.until(`/^Saved/.test(document.getElementById("saved").textContent)`)
	if got := b.sheet(); got.Prompt != was.Prompt || got.Order == was.Order {
		t.Errorf("the task went away: %+v", got)
	}
	b.keys("4")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.getElementById("banner").textContent.includes("does not count")`)
	if n := b.w.count(`SELECT count(*) FROM rankings WHERE surplus`); n != 1 {
		t.Errorf("%d surplus rankings", n)
	}
	// The next task is finished behind the page's back.
	b.keys("2134")
	if _, err := b.w.pool.Exec(t.Context(), `UPDATE assignments SET state = 'skipped', skip_reason = 'test', closed_at = now() WHERE state = 'leased'`); err != nil {
		t.Fatal(err)
	}
	kept := b.sheet()
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.getElementById("banner").textContent.includes("not accepted")`)
	raw := eval[string](b, `Object.entries(localStorage).filter(([k]) => k.includes(":draft:")).map(([, v]) => v).join("\n")`)
	var d struct{ Values struct{ Ranks []int } }
	if err := json.Unmarshal([]byte(raw), &d); err != nil || fmt.Sprint(d.Values.Ranks) != "[2 1 3 4]" {
		t.Errorf("kept in the browser: %s (%v), shown was %+v", raw, err, kept)
	}
}

// TestServerAway: a server that dies and comes back costs nothing: edits made meanwhile arrive within seconds of its return.
func TestServerAway(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 3, 1280, 900)
	b.allow("ERR_")
	b.until(`performance.getEntriesByType("resource").filter((r) => r.name.endsWith("/label/api/next")).length === 2`)
	b.w.stopServer()
	shown := b.shown()
	b.keys("2413")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.getElementById("order").textContent === "Nothing ranked yet"`) // the next task was there already
	b.keys("12")
	b.until(`document.getElementById("banner").textContent.includes("No connection")`)
	b.w.startServer()
	b.wantStored(shown, 2, 4, 1, 3)
	b.until(`/^Saved/.test(document.getElementById("saved").textContent) && document.getElementById("banner").hidden`)
	if n := b.w.count(`SELECT count(*) FROM assignments WHERE draft->'ranks' = '[1, 2, 0, 0]'`); n != 1 {
		t.Error("the draft made without a server did not arrive")
	}
	b.wantOrder("A > B")
}

// TestDraftComesFirst: a draft that is still under way when its task is submitted reaches the server before what ends the task, and is not
// refused (a refusal is an error in the browser's console, which every test reads).
func TestDraftComesFirst(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 2, 1280, 900)
	eval[bool](b, `(() => {
		const plain = window.fetch;
		window.fetch = async (path, init) => {
			if (!path.endsWith("/draft")) return plain(path, init);
			window.draft = "under way";
			await new Promise((done) => setTimeout(done, 800));
			const res = await plain(path, init);
			window.draft = res.status;
			return res;
		};
		return true;
	})()`)
	b.keys("1234")
	b.until(`window.draft === "under way"`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`window.draft === 204`)
	deadline := time.Now().Add(10 * time.Second)
	for b.w.count(`SELECT count(*) FROM assignments WHERE state = 'submitted'`) != 1 {
		if time.Now().After(deadline) {
			t.Fatal("the answer did not come")
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// TestLeaseTakenUpAgain: where the lease of a task that the page has was given back on the way (the goodbye of a page came late), the server
// gives the same task once more. The page knows it: it is not shown twice.
func TestLeaseTakenUpAgain(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 2, 1280, 900)
	b.until(`performance.getEntriesByType("resource").filter((r) => r.name.endsWith("/label/api/next") && r.responseEnd > 0).length >= 2`)
	var ahead, labeler string
	b.w.must(b.w.pool.QueryRow(t.Context(), `SELECT a.id, a.labeler_id FROM assignments a JOIN tasks t ON t.id = a.task_id ORDER BY t.position DESC LIMIT 1`).Scan(&ahead, &labeler))
	b.w.must(b.w.labeling.Release(t.Context(), ahead, labeler))
	b.keys("1234")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`performance.getEntriesByType("resource").filter((r) => r.name.endsWith("/label/api/next") && r.responseEnd > 0).length >= 4`)
	if n := b.w.count(`SELECT count(*) FROM assignments WHERE state = 'leased'`); n != 1 {
		t.Errorf("%d leases, want that of the task which is shown", n)
	}
	b.keys("s")
	b.until(`document.getElementById("skip-dialog").open`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`!document.getElementById("empty").hidden`)
}
