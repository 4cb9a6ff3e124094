package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rankloop/rankloop/web/account"
)

// sevenTab signs a labeler in on tasks of seven answers.
func sevenTab(t *testing.T, n int) *tab {
	w := newWorld(t)
	w.user("mina", account.RoleLabeler)
	for i := range n {
		var answers []string
		for a := range 7 {
			answers = append(answers, fmt.Sprintf("Answer number %d of task %d, about a fox and a drum.", a, i))
		}
		w.addTask(says(fmt.Sprintf("Tell story number %d.", i)), answers...)
	}
	b := w.open(1280, 900, false)
	b.signIn("mina@example.com")
	b.until(taskOpen)
	return b
}

// press sends one key press each and counts them.
func (b *tab) press(pressed *int, keys ...string) {
	b.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
		*pressed++
	}
}

// TestSevenByKeys: journeys 1 and 2. Seven answers take eight keys, seven ratings eight more; a flag takes two; a rating
// that contradicts the order is pointed out and may be submitted all the same.
func TestSevenByKeys(t *testing.T) {
	t.Parallel()
	b := sevenTab(t, 2)
	shown := b.shown()
	keys := 0
	b.press(&keys, "r", "7", "6", "5", "4", "3", "2", "1")
	if got := b.sheet().Ratings; fmt.Sprint(got) != "[7 6 5 4 3 2 1]" || keys != 8 {
		t.Errorf("ratings %v after %d keys", got, keys)
	}
	b.press(&keys, kb.Escape, "f", "h", "f", "o", "f", "o")
	if got := b.sheet().Flags; fmt.Sprint(got) != "[0 0 0 0 0 0 1]" {
		t.Errorf("flags %v", got)
	}
	b.keys("kkkkkkk")
	keys = 0
	b.press(&keys, "1", "2", "3", "4", "5", "7", "6")
	b.until(`document.getElementById("conflict").textContent.includes("ranks above")`)
	if got := eval[string](b, `document.getElementById("conflict").textContent`); !strings.HasPrefix(got, "G ranks above F") {
		t.Errorf("the warning says %q", got)
	}
	b.shot("conflict")
	b.press(&keys, kb.Enter)
	if keys != 8 {
		t.Errorf("%d keys", keys)
	}
	b.wantStored(shown, 1, 2, 3, 4, 5, 7, 6)
	if n := b.w.count(`SELECT count(*) FROM ratings WHERE rating IS NOT NULL`); n != 7 {
		t.Errorf("%d ratings stored", n)
	}
	if n := b.w.count(`SELECT count(*) FROM ratings WHERE flags = '{hallucination}'`); n != 1 {
		t.Errorf("%d flags stored", n)
	}
}

// TestTakeBack: Ctrl+Z takes back ranks, ratings and flags in turn, Ctrl+Shift+Z does them again.
func TestTakeBack(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 1, 1280, 900)
	back := func() { b.do(chromedp.KeyEvent("z", chromedp.KeyModifiers(kb.ModifierCtrl))) }
	forward := func() {
		b.do(chromedp.KeyEvent("Z", chromedp.KeyModifiers(kb.ModifierCtrl, kb.ModifierShift)))
	}
	b.keys("2r5\x1bfi")
	full := b.sheet()
	if full.Order != "A" || fmt.Sprint(full.Ratings, full.Flags) != "[0 5 0 0] [0 0 1 0]" {
		t.Fatalf("%+v", full)
	}
	back()
	if got := b.sheet(); fmt.Sprint(got.Flags) != "[0 0 0 0]" || fmt.Sprint(got.Ratings) != "[0 5 0 0]" {
		t.Errorf("after one step back %+v", got)
	}
	back()
	back()
	back() // nothing is left
	if got := b.sheet(); got.Order != "Nothing ranked yet" || fmt.Sprint(got.Ratings) != "[0 0 0 0]" {
		t.Errorf("after all steps back %+v", got)
	}
	forward()
	forward()
	forward()
	forward()
	if got := b.sheet(); got.Order != full.Order || fmt.Sprint(got.Ratings, got.Flags) != fmt.Sprint(full.Ratings, full.Flags) {
		t.Errorf("after all steps forward %+v", got)
	}
}

// TestKeysRest: keys do nothing while somebody writes, while an input method composes, and in dialogs.
func TestKeysRest(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 1, 1280, 900)
	b.keys("c")
	b.until(`document.activeElement.id === "comment"`)
	b.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("comment").value = ""`))
	b.do(chromedp.SendKeys(chromedp.CSS("#comment"), "1 j s u = ? r 5"))
	if got := b.sheet(); got.Order != "Nothing ranked yet" || got.Comment != "1 j s u = ? r 5" || eval[int](b, `document.querySelectorAll("dialog[open]").length`) != 0 {
		t.Errorf("while writing: %+v", got)
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	b.do(chromedp.Evaluate[chromedp.Void](`for (const init of [{ key: "1", isComposing: true }, { key: "Process", code: "Digit1", keyCode: 229 }, { key: "1", keyCode: 229 }, { key: "1", altKey: true }]) document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { bubbles: true, ...init }))`))
	b.keys("?")
	b.until(`document.getElementById("help").open`)
	b.keys("12")
	b.do(chromedp.KeyEvent(kb.Escape))
	if got := b.sheet(); got.Order != "Nothing ranked yet" {
		t.Errorf("while composing or in a dialog: %+v", got)
	}
	b.keys("1")
	b.wantOrder("A")
}

// TestRemap: a key is changed in the dialog, a clash is refused with what it clashes with, the choice outlives a reload, and
// all keys of one letter can be switched off.
func TestRemap(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 1, 1280, 900)
	change := func(does string) {
		b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`[...document.querySelectorAll(".keys-rows tr")].find((r) => r.textContent.includes(%q)).querySelector("button").click()`, does)))
	}
	b.keys("?")
	b.until(`document.getElementById("help").open`)
	b.shot("dialog")
	change("Skip, with a reason")
	b.keys("j")
	b.until(`document.querySelector(".keys-said").textContent.includes("Frame down")`)
	b.keys("x")
	b.until(`document.querySelector(".keys-said").textContent === ""`)
	b.do(chromedp.Reload())
	b.until(taskOpen)
	if got := eval[string](b, `document.querySelector("#skip kbd").textContent`); got != "X" {
		t.Errorf("the button shows %q", got)
	}
	b.keys("s")
	if eval[bool](b, `document.getElementById("skip-dialog").open`) {
		t.Error("the old key still works")
	}
	b.keys("x")
	b.until(`document.getElementById("skip-dialog").open`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.keys("?")
	b.do(click(".keys-single"))
	b.do(chromedp.KeyEvent(kb.Escape))
	b.keys("x1")
	if eval[bool](b, `document.getElementById("skip-dialog").open`) || b.order() != "Nothing ranked yet" {
		t.Error("keys of one letter work although they are off")
	}
	b.do(click("#help-open"))
	b.do(click(".keys-reset"))
	b.do(click(".keys-single"))
	b.do(chromedp.KeyEvent(kb.Escape))
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".card.focus").focus()`))
	b.keys("s")
	b.until(`document.getElementById("skip-dialog").open`)
}

// TestSkipAndReport: journey 8. A skip frees the slot at once and the task does not come back; a report holds the task and
// reaches the reviewers' page.
func TestSkipAndReport(t *testing.T) {
	t.Parallel()
	b := labelingTab(t, 3, 1280, 900)
	first := b.sheet().Prompt
	b.keys("s")
	b.until(`document.getElementById("skip-dialog").open`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(fmt.Sprintf(`document.querySelector("#conversation .said").textContent !== %q`, first))
	if n := b.w.count(`SELECT count(*) FROM assignments a JOIN tasks t ON t.id = a.task_id WHERE a.state = 'skipped' AND a.skip_reason = 'cannot judge' AND t.open_slots = 1`); n != 1 {
		t.Errorf("%d tasks are free again", n)
	}
	b.keys("!")
	b.until(`document.getElementById("report-dialog").open`)
	b.shot("report")
	b.do(click(`#report-dialog [value="pii"]`))
	b.do(click(`#report-dialog button[value="report"]`))
	deadline := time.Now().Add(10 * time.Second)
	for b.w.count(`SELECT count(*) FROM tasks WHERE held = 'pii'`) != 1 {
		if time.Now().After(deadline) {
			t.Fatal("the report does not hold the task")
		}
		time.Sleep(30 * time.Millisecond)
	}
	b.until(`document.querySelector("#conversation .said").textContent.includes("number 2")`)
	ada := b.w.as("ada", account.RoleAdmin)
	if page := ada.get("/admin/held"); !strings.Contains(page.body, "Personal data") {
		t.Error("the report does not reach the reviewers")
	}
	b.keys("1234")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`!document.getElementById("empty").hidden`)
}

// TestVeil: a task whose answers others found unsafe is veiled until it is asked for.
func TestVeil(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	held := w.addTask(says("Tell a story."), demoAnswers...)
	yuki := w.as("yuki", account.RoleLabeler)
	w.user("mina", account.RoleLabeler)
	var a task
	yuki.json(post, "/label/api/claim", nil).into(t, &a)
	yuki.json(post, "/label/api/assignments/"+a.Assignment+"/skip", `{"reason":"unsafe"}`)
	w.as("ada", account.RoleAdmin).form("/admin/held/" + held.ID + "/release")
	b := w.open(1280, 900, false)
	b.signIn("mina@example.com")
	b.until(`!document.getElementById("task").hidden`)
	b.until(`!document.getElementById("veil").hidden`)
	if eval[bool](b, `document.getElementById("cards").checkVisibility()`) {
		t.Error("the answers show")
	}
	b.shot("veiled")
	b.keys("1234")
	b.do(chromedp.KeyEvent(kb.Enter)) // the focus is on the button that shows them
	b.until(`document.getElementById("veil").hidden && document.getElementById("cards").checkVisibility()`)
	if n := w.count(`SELECT count(*) FROM rankings`); n != 0 {
		t.Error("veiled answers were submitted")
	}
	b.do(chromedp.Reload())
	b.until(taskOpen)
}
