package web

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rankloop/rankloop/web/account"
)

// TestLongAnswers: journey 6. Nine answers of 20 kB stand on the page in full, names stay in sight while one scrolls, side by
// side they scroll together, and the times of painting and comparing are printed.
func TestLongAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("mina", account.RoleLabeler)
	w.addTask(says("Is a fox a bird?"), "No.", "Yes.")
	w.addTask(says("Tell a very long story."), longAnswers()...)
	b := w.open(1280, 900, false)
	b.signIn("mina@example.com")
	b.until(taskOpen)
	b.ahead(2)
	b.keys("12")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`performance.getEntriesByName("next-task").length === 1`)
	t.Logf("nine answers of 20 kB: %.0f ms from submit to paint", eval[float64](b, `performance.getEntriesByName("next-task")[0].duration`))
	if short := eval[int](b, `[...document.querySelectorAll(".answer")].filter((a) => a.textContent.length < 20000 || a.scrollHeight > a.clientHeight + 1).length`); short > 0 {
		t.Errorf("%d answers are not there in full", short)
	}
	b.fitsWidth()
	// In the middle of the first card its name is still in sight.
	b.do(chromedp.Evaluate[chromedp.Void](`scrollTo({ top: document.querySelector(".card").offsetHeight / 2, behavior: "instant" })`))
	b.until(`(() => { const r = document.querySelector(".card .name").getBoundingClientRect(); return r.top >= 0 && r.bottom < 80; })()`)
	took := eval[float64](b, `(() => { const from = performance.now(); document.getElementById("compare").click(); document.body.offsetHeight; return performance.now() - from; })()`)
	t.Logf("eight comparisons of 20 kB: %.0f ms", took)
	if eval[int](b, `document.querySelectorAll(".answer ins").length`) == 0 {
		t.Error("nothing is marked as different")
	}
	b.keys("vy")
	b.until(`document.getElementById("cards").classList.contains("together")`)
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll(".answer")[1].scrollTop = 2000`))
	b.until(`[...document.querySelectorAll(".answer")].every((a) => Math.abs(a.scrollTop / (a.scrollHeight - a.clientHeight) - document.querySelectorAll(".answer")[1].scrollTop / (document.querySelectorAll(".answer")[1].scrollHeight - document.querySelectorAll(".answer")[1].clientHeight)) < 0.02)`)
	b.fitsWidth()
}
