package web

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rankloop/rankloop/web/account"
)

const taskOpen = `document.querySelectorAll(".card").length > 1 && !document.getElementById("task").hidden`

// labeler signs somebody in on the ranking page with n tasks of four answers.
func labelingTab(t *testing.T, n int, width, height int64) *tab {
	w := newWorld(t)
	w.user("mina", account.RoleLabeler)
	for i := range n {
		w.addTask(says(fmt.Sprintf("Tell story number %d about a fox and a drum.", i)), demoAnswers...)
	}
	b := w.open(width, height, false)
	b.signIn("mina@example.com")
	b.until(taskOpen)
	return b
}

// ranks are the ranks of the labeler's newest ranking by the text of the answer.
func (b *tab) ranks() map[string]int {
	b.Helper()
	rows, err := b.w.pool.Query(b.Context(), `
		SELECT r.text, k.ranks[r.position + 1] FROM rankings k JOIN responses r ON r.task_id = k.task_id
		WHERE k.id = (SELECT id FROM rankings ORDER BY created_at DESC, id DESC LIMIT 1)`)
	b.w.must(err)
	out := map[string]int{}
	for rows.Next() {
		var text string
		var rank int
		b.w.must(rows.Scan(&text, &rank))
		out[text] = rank
	}
	b.w.must(rows.Err())
	return out
}

// shown are the texts of the answers A, B, ...
func (b *tab) shown() []string {
	b.Helper()
	return eval[[]string](b, `[...document.querySelectorAll(".card")].sort((x, y) => x.dataset.key < y.dataset.key ? -1 : 1).map((c) => c.querySelector(".answer").textContent)`)
}

func (b *tab) order() string {
	b.Helper()
	return eval[string](b, `document.getElementById("order").textContent`)
}

func (b *tab) wantOrder(want string) {
	b.Helper()
	b.until(`document.getElementById("order").textContent === ` + fmt.Sprintf("%q", want) + ` && !document.getAnimations().some((a) => a.playState === "running")`) // a card on its way would slip from under the pointer
}

// wantStored checks the submitted ranks of A, B, ...
func (b *tab) wantStored(shown []string, ranks ...int) {
	b.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		got := b.ranks()
		wrong := len(got) != len(shown)
		for i, text := range shown {
			wrong = wrong || got[text] != ranks[i]
		}
		if !wrong {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("stored %v, want %v for %q", got, ranks, shown)
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// dragTo drags the handle of one answer to a place of the page: above a card's middle, or onto the line.
func (b *tab) drag(from, to string, above bool) {
	b.Helper()
	type point struct{ X, Y float64 }
	at := func(sel string, dy float64) point {
		return eval[point](b, fmt.Sprintf(`(() => { const r = document.querySelector(%q).getBoundingClientRect(); return { X: r.x + r.width / 2, Y: r.y + r.height * %g }; })()`, sel, dy))
	}
	dy := 0.75
	if above {
		dy = 0.25
	}
	src, dst := at(from+" .handle", .5), at(to, dy)
	dst.X = src.X
	b.do(chromedp.DragAndDropXY(src.X, src.Y, dst.X, dst.Y, 25))
	time.Sleep(250 * time.Millisecond) // cards settle
}

func answerCard(key string) string { return `.card[data-key="` + key + `"]` }

func TestRankByMouse(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 2, 1280, 1400)
	shown := b.shown()
	// C above the line, then A above C, then D below C, then B onto the place between.
	b.drag(answerCard("C"), ".divider", true)
	b.wantOrder("C")
	b.drag(answerCard("A"), answerCard("C"), true)
	b.wantOrder("A > C")
	b.drag(answerCard("D"), ".divider", true)
	b.wantOrder("A > C > D")
	b.drag(answerCard("D"), answerCard("C"), true)
	b.wantOrder("A > D > C")
	// A tie by its button, the last answer by its menu and the arrow.
	b.do(chromedp.Click(chromedp.CSS(answerCard("C") + " .tie")))
	b.wantOrder("A > D = C")
	b.do(chromedp.Click(chromedp.CSS(answerCard("B") + " .up")))
	b.wantOrder("A > D = C > B")
	b.do(chromedp.Click(chromedp.CSS(answerCard("B") + " .up")))
	b.wantOrder("A > B > D = C")
	b.shot("ranked")
	b.do(chromedp.Click(chromedp.CSS("#submit")))
	b.wantStored(shown, 1, 2, 3, 3)
	b.until(`document.getElementById("progress").textContent.startsWith("1 done")`)
}

func TestRankByKeys(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 3, 1280, 900)
	shown := b.shown()
	// Four digits and Enter rank four answers: 5 keys, no mouse, no Tab.
	b.keys("2132")
	b.wantOrder("B > A = D > C")
	if eval[bool](b, `document.getElementById("submit").getAttribute("aria-disabled") === "true"`) {
		t.Error("a complete ranking cannot be submitted")
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.wantStored(shown, 2, 1, 4, 2)

	// The other keys.
	b.until(`document.getElementById("progress").textContent.startsWith("1 done") && ` + taskOpen)
	b.wantOrder("Nothing ranked yet")
	b.do(chromedp.KeyEvent(kb.Enter)) // not complete: stays
	b.keys("1234")
	b.wantOrder("A > B > C > D")
	b.keys("k")
	b.do(chromedp.KeyEvent("K", chromedp.KeyModifiers(kb.ModifierShift))) // C above B
	b.wantOrder("A > C > B > D")
	b.do(chromedp.KeyEvent("="))
	b.wantOrder("A = C > B > D")
	b.do(chromedp.KeyEvent("=")) // and apart again
	b.wantOrder("A > C > B > D")
	b.do(chromedp.KeyEvent("J", chromedp.KeyModifiers(kb.ModifierShift)))
	b.wantOrder("A > B > C > D")
	b.keys("0")
	b.wantOrder("A > B > D")
	b.do(chromedp.KeyEvent("z", chromedp.KeyModifiers(kb.ModifierCtrl)))
	b.wantOrder("A > B > C > D")
	b.keys("0")
	b.do(chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.ArrowDown))
	b.keys("4")
	b.wantOrder("A > B > D = C")
	shown = b.shown()
	b.do(chromedp.KeyEvent(kb.Enter))
	b.wantStored(shown, 1, 2, 3, 3)

	// Undo opens it again; the edit is a second revision.
	b.until(`document.getElementById("progress").textContent.startsWith("2 done") && document.getElementById("order").textContent === "Nothing ranked yet"`)
	b.keys("u")
	b.wantOrder("A > B > C = D")
	b.keys("4")
	b.wantOrder("B > C = D > A")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.wantStored(shown, 4, 1, 2, 2)
	b.until(`document.getElementById("order").textContent === "Nothing ranked yet"`)
	if n := b.w.count(`SELECT max(revision) FROM rankings`); n != 2 {
		t.Errorf("revision %d, want 2", n)
	}
	// Skip the last, with its reason.
	b.keys("s")
	b.until(`document.getElementById("skip-dialog").open`)
	b.do(chromedp.Click(chromedp.CSS(`#skip-dialog button[value="skip"]`)))
	b.until(`!document.getElementById("empty").hidden`)
	if n := b.w.count(`SELECT count(*) FROM assignments WHERE state = 'skipped'`); n != 1 {
		t.Errorf("%d skipped, want 1", n)
	}
	b.shot("empty")
}

// TestFocusStaysInView: in a low window, the answer that keys act on is in sight after every key.
func TestFocusStaysInView(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 1, 1280, 480)
	for _, key := range "42131jkkkk0123" {
		b.keys(string(key))
		b.until(`(() => {
			const c = document.querySelector(".card.focus").getBoundingClientRect(), dock = document.getElementById("dock").getBoundingClientRect();
			return document.getAnimations().length === 0 && c.top >= 0 && c.bottom <= dock.top;
		})()`)
	}
}

// TestReloadKeepsDraft: what was done a moment before a reload is there after it, from this browser; and what was saved
// is there in another one.
func TestReloadKeepsDraft(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 1, 1280, 500)
	b.keys("31")
	b.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("note").open = true`), chromedp.SendKeys(chromedp.CSS("#comment"), "the second ends well"))
	b.do(chromedp.Evaluate[chromedp.Void](`scrollTo({ top: 321, behavior: "instant" })`))
	time.Sleep(50 * time.Millisecond)
	focus := b.sheet().Focus
	b.do(chromedp.Reload())
	b.until(taskOpen)
	b.wantOrder("B > A")
	if got := eval[int](b, `Math.round(scrollY)`); got != 321 || b.sheet().Focus != focus {
		t.Errorf("after the reload the page stands at %d with the frame on %s, was 321 and %s", got, b.sheet().Focus, focus)
	}
	if got := eval[string](b, `document.getElementById("comment").value`); got != "the second ends well" {
		t.Errorf("note %q", got)
	}
	b.until(`/^(Saved.*|Restored)$/.test(document.getElementById("saved").textContent)`)
	if n := b.w.count(`SELECT count(*) FROM assignments WHERE draft->>'comment' = 'the second ends well' AND draft->'ranks' = '[3, 1, 0, 0]'`); n != 1 {
		t.Error("the draft did not reach the server")
	}
	other := b.w.open(1280, 900, false)
	other.signIn("mina@example.com")
	other.until(taskOpen)
	other.wantOrder("B > A")
}

// TestOfflineSubmit: a ranking submitted without a connection is kept through a reload and stored once.
func TestOfflineSubmit(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 2, 1280, 900)
	b.allow("ERR_INTERNET_DISCONNECTED")
	shown := b.shown()
	b.offline(true)
	b.keys("4321")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.getElementById("banner").textContent.includes("No connection")`)
	b.shot("offline")
	if n := b.w.count(`SELECT count(*) FROM rankings`); n != 0 {
		t.Fatal("the browser was not offline")
	}
	b.offline(false)
	b.wantStored(shown, 4, 3, 2, 1)
	b.until(`document.getElementById("progress").textContent.startsWith("1 done") && ` + taskOpen)
	if n := b.w.count(`SELECT count(*) FROM rankings`); n != 1 {
		t.Errorf("%d rankings", n)
	}
	if kept := eval[int](b, `Object.keys(localStorage).filter((k) => k.endsWith("outbox")).length`); kept != 0 {
		t.Error("the outbox was not emptied")
	}
}

// TestPhone: one thumb. Drag by touch from the handle, page scrolls elsewhere, nothing is wider than the screen, targets
// are at least 24 px.
func TestPhone(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 1, 360, 740)
	b.fitsWidth()
	b.targets()
	type point struct{ X, Y float64 }
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".divider").scrollIntoView({ block: "start" })`))
	time.Sleep(100 * time.Millisecond)
	from := eval[point](b, `(() => { const r = document.querySelector('.card[data-key="A"] .handle').getBoundingClientRect(); return { X: r.x + r.width / 2, Y: r.y + r.height / 2 }; })()`)
	to := eval[point](b, `(() => { const r = document.querySelector(".divider").getBoundingClientRect(); return { X: r.x + 30, Y: r.y + 4 }; })()`)
	touch := func(kind input.DispatchTouchEventType, p ...point) {
		params := input.DispatchTouchEventParams{Type: kind, TouchPoints: []*input.TouchPoint{}}
		for _, p := range p {
			params.TouchPoints = append(params.TouchPoints, &input.TouchPoint{X: p.X, Y: p.Y})
		}
		_, err := chromedp.Call(b.ctx, input.DispatchTouchEvent, params)
		b.w.must(err)
		time.Sleep(15 * time.Millisecond)
	}
	touch(input.DispatchTouchEventTypeTouchStart, from)
	for i := range 21 {
		touch(input.DispatchTouchEventTypeTouchMove, point{from.X + (to.X-from.X)*float64(i)/20, from.Y + (to.Y-from.Y)*float64(i)/20})
	}
	touch(input.DispatchTouchEventTypeTouchEnd)
	b.wantOrder("A")
	b.do(chromedp.SetValue(chromedp.CSS("#rank-2"), "2"))
	b.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("rank-2").dispatchEvent(new Event("change"))`))
	b.wantOrder("A > C")
	// A thumb anywhere else scrolls the page and moves no card.
	before := b.order()
	b.do(chromedp.Evaluate[chromedp.Void](`scrollTo({ top: 0, behavior: "instant" })`))
	at := eval[point](b, `(() => { const r = document.querySelector("#conversation").getBoundingClientRect(); return { X: r.x + 60, Y: r.y + 30 }; })()`)
	for range 2 {
		touch(input.DispatchTouchEventTypeTouchStart, point{at.X, 500})
		for i := range 20 {
			touch(input.DispatchTouchEventTypeTouchMove, point{at.X, 500 - 15*float64(i)})
		}
		touch(input.DispatchTouchEventTypeTouchEnd)
	}
	b.until(`scrollY > 200`)
	if got := b.order(); got != before {
		t.Errorf("scrolling changed the order from %s to %s", before, got)
	}
	// Without dragging: the arrow.
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.card[data-key="C"] .up').click()`))
	b.wantOrder("C > A")
	b.fitsWidth()
	b.shot("ranked")
}
