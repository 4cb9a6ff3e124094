package web

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rankloop/rankloop/web/account"
)

// ahead waits until the page has its next task.
func (b *tab) ahead(requests int) {
	b.Helper()
	b.until(fmt.Sprintf(`performance.getEntriesByType("resource").filter((r) => r.name.endsWith("/label/api/next") && r.responseEnd > 0).length >= %d`, requests))
	time.Sleep(30 * time.Millisecond) // what follows the answer is done within the page
}

// TestNextIsInstant: between the submit and the paint of the next task there is no request, the task ahead is held under
// lease and costs no time until it is shown, undo still works, and the time of it is printed.
func TestNextIsInstant(t *testing.T) {
	const tasks = 31
	b := labelingTab(t, tasks, 1280, 900)
	for n := range tasks - 1 {
		b.ahead(n + 2)
		if n == 0 {
			if held := b.w.count(`SELECT count(*) FROM assignments WHERE state = 'leased' AND draft IS NULL`); held != 2 {
				t.Errorf("%d tasks are held, want the open one and the next", held)
			}
		}
		prompt := b.sheet().Prompt
		b.keys("1234")
		b.do(chromedp.KeyEvent(kb.Enter))
		// The key has been handled: the next task stands there already, whatever the server does.
		if got := b.sheet(); got.Prompt == prompt || got.Order != "Nothing ranked yet" {
			t.Fatalf("task %d: after Enter the page shows %+v", n, got)
		}
		b.until(fmt.Sprintf(`performance.getEntriesByName("next-task").length === %d`, n+1))
	}
	between := eval[[]string](b, `performance.getEntriesByName("next-task").flatMap((m) => performance.getEntriesByType("resource").filter((r) => r.startTime >= m.startTime && r.startTime < m.startTime + m.duration).map((r) => r.name))`)
	if len(between) > 0 {
		t.Errorf("requests between submit and paint: %v", between)
	}
	b.until(`!Object.keys(localStorage).some((k) => k.includes(":out:"))`)
	if n := b.w.count(`SELECT count(*) FROM rankings`); n != tasks-1 {
		t.Errorf("%d rankings, want %d", n, tasks-1)
	}
	// The time of a task begins when it is shown, not when it was fetched.
	times := eval[[]float64](b, `performance.getEntriesByName("next-task").map((m) => m.duration)`)
	slices.Sort(times)
	t.Logf("submit to paint from the task ahead: median %.1f ms, p95 %.1f ms, n = %d", times[len(times)/2], times[len(times)*95/100], len(times))
	if n := b.w.count(`SELECT count(*) FROM rankings k JOIN assignments a ON a.id = k.assignment_id WHERE k.wall_ms > extract(epoch FROM k.created_at - a.claimed_at) * 1000 + 50`); n != 0 {
		t.Errorf("%d rankings took longer than they were held", n)
	}
}

// TestNextWithoutAhead measures the same where nothing is ready: the server is asked after the submit.
func TestNextWithoutAhead(t *testing.T) {
	const tasks = 21
	b := labelingTab(t, tasks, 1280, 900)
	b.do(chromedp.Evaluate[chromedp.Void](`Desk.prototype.fetchAhead = function () {}`))
	for n := range tasks - 1 {
		b.until(fmt.Sprintf(`document.getElementById("progress").textContent.startsWith("%d done") && document.getElementById("order").textContent === "Nothing ranked yet"`, n))
		b.keys("1234")
		b.do(chromedp.KeyEvent(kb.Enter))
		b.until(fmt.Sprintf(`performance.getEntriesByName("next-task").length === %d`, n+1))
	}
	times := eval[[]float64](b, `performance.getEntriesByName("next-task").map((m) => m.duration).slice(1)`) // the first was fetched ahead
	slices.Sort(times)
	t.Logf("submit to paint without a task ahead: median %.1f ms, p95 %.1f ms, n = %d", times[len(times)/2], times[len(times)*95/100], len(times))
}

// TestPrefetchedWaits: the wall time of a task that lay ahead does not hold the time it lay there.
func TestPrefetchedWaits(t *testing.T) {
	b := labelingTab(t, 3, 1280, 900)
	b.ahead(2)
	time.Sleep(3 * time.Second)
	b.keys("1234")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.keys("4321")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`!Object.keys(localStorage).some((k) => k.includes(":out:"))`)
	if n := b.w.count(`SELECT count(*) FROM rankings`); n != 2 {
		t.Fatalf("%d rankings", n)
	}
	if n := b.w.count(`SELECT count(*) FROM rankings WHERE wall_ms >= 3000`); n != 1 {
		t.Errorf("%d rankings took 3 s, want the first only", n)
	}
	if n := b.w.count(`SELECT count(*) FROM rankings k JOIN assignments a ON a.id = k.assignment_id WHERE k.wall_ms < 2500 AND k.created_at - a.claimed_at > interval '3 seconds'`); n != 1 {
		t.Errorf("the second task was not ahead for 3 s")
	}
}

// TestUndoWithAhead: the task that undo interrupts comes back with its values, then the one that was ahead.
func TestUndoWithAhead(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 4, 1280, 900)
	b.ahead(2)
	first := b.sheet().Prompt
	b.keys("1234")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.ahead(3)
	b.keys("43")
	second := b.sheet()
	b.keys("u")
	b.wantOrder("A > B > C > D")
	if got := b.sheet().Prompt; got != first {
		t.Fatalf("undo shows %q, want %q", got, first)
	}
	if eval[bool](b, `document.getElementById("banner").hidden`) {
		t.Error("the page does not say that this is submitted work")
	}
	b.keys("4")
	shown := b.shown()
	b.do(chromedp.KeyEvent(kb.Enter))
	if got := b.sheet(); got.Prompt != second.Prompt || got.Order != second.Order {
		t.Errorf("after undo %+v, was %+v", got, second)
	}
	b.wantStored(shown, 3, 1, 2, 3)
	b.keys("12")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.getElementById("progress").textContent.startsWith("2 done")`)
	if n := b.w.count(`SELECT max(revision) FROM rankings`); n != 2 {
		t.Errorf("revision %d", n)
	}
}

// TestCloseGivesBack: a tab that closes gives the task ahead to others at once, and keeps the one it worked on.
func TestCloseGivesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("mina", account.RoleLabeler)
	for i := range 3 {
		w.addTask(says(fmt.Sprintf("Tell story number %d.", i)), demoAnswers...)
	}
	root := w.open(1280, 900, false)
	root.signIn("mina@example.com")
	root.visit("/docs/ranking")
	b, stop := root.another()
	b.visit("/label")
	b.until(taskOpen)
	b.keys("12")
	b.ahead(2)
	stop()
	deadline := time.Now().Add(10 * time.Second)
	for w.count(`SELECT count(*) FROM assignments WHERE state = 'released'`) != 1 || w.count(`SELECT count(*) FROM assignments WHERE state = 'leased'`) != 1 {
		if time.Now().After(deadline) {
			t.Fatalf("%d released, %d held", w.count(`SELECT count(*) FROM assignments WHERE state = 'released'`), w.count(`SELECT count(*) FROM assignments WHERE state = 'leased'`))
		}
		time.Sleep(50 * time.Millisecond)
	}
}
