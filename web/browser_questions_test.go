package web

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

const workOpen = `!document.getElementById("task").hidden && document.getElementById("conversation").textContent.includes("fox")`

// typed puts text where the cursor is, as an input method does.
func (b *tab) typed(selector, text string) {
	b.Helper()
	b.do(chromedp.Focus(chromedp.CSS(selector)), chromedp.SendKeys(chromedp.CSS(selector), text))
}

// asked is how the page of a question is used: work that is not finished, what shows it after a reload, what finishes it,
// what shows it after undo, and the change then made. stored is what must be in the database after each submit.
type askedInBrowser struct {
	question string
	answers  []string
	begin    func(b *tab)
	begun    string
	finish   func(b *tab)
	undone   string
	change   func(b *tab)
	stored   [2]string // SQL conditions on rankings k
}

var browserQuestions = []askedInBrowser{
	{labeling.QuestionPairwise, demoAnswers[:2],
		func(b *tab) { b.keys("2") }, `document.querySelector("#scale input[value='2']").checked && document.getElementById("order").textContent === "A is better"`,
		func(b *tab) {
			b.do(chromedp.KeyEvent(kb.ArrowRight))
			b.until(`document.querySelector("#scale input[value='3']").checked`)
		},
		`document.querySelector("#scale input[value='3']").checked && document.querySelector(".side-answer.better")`,
		func(b *tab) { b.keys("5") },
		[2]string{`k.strength = 2 AND 1 = (SELECT count(*) FROM comparisons c WHERE c.ranking_id = k.id)`, `k.strength = 0 AND k.ranks = '{1,1}' AND k.revision = 2`}},
	{labeling.QuestionRating, demoAnswers[:1],
		func(b *tab) {
			b.keys("4")
			b.do(chromedp.Click(chromedp.CSS(`#judge input[value="opinion"]`)))
		}, `document.querySelector("#judge .likert input[value='4']").checked && document.querySelector("#judge input[value='opinion']").checked`,
		func(b *tab) { b.keys("6") }, `document.querySelector("#judge .likert input[value='6']").checked && document.querySelector("#judge input[value='opinion']").checked`,
		func(b *tab) { b.keys("2") },
		[2]string{`EXISTS (SELECT FROM ratings r WHERE r.ranking_id = k.id AND r.rating = 6 AND r.flags = '{opinion}')`,
			`EXISTS (SELECT FROM ratings r WHERE r.ranking_id = k.id AND r.rating = 2) AND k.revision = 2`}},
	{labeling.QuestionEdit, demoAnswers[1:2],
		func(b *tab) { b.typed("#text", " broken. ") }, `document.getElementById("text").value.includes("broken.") && document.getElementById("order").textContent === "Edited"`,
		func(b *tab) { b.typed("#text", "The end.") }, `document.getElementById("text").value.includes("The end.")`,
		func(b *tab) {
			b.do(chromedp.Click(chromedp.CSS("#restore")), chromedp.KeyEvent(kb.Escape))
			b.keys("6")
		},
		[2]string{`k.text LIKE 'Once there was a fox.%broken.%The end.%' AND k.ranks = '{2,1}' AND EXISTS (SELECT FROM demonstrations d WHERE d.response = k.text)`,
			`k.text = '' AND k.ranks = '{1}' AND k.revision = 2 AND NOT EXISTS (SELECT FROM demonstrations)`}},
	{labeling.QuestionDemonstration, nil,
		func(b *tab) { b.typed("#text", "Once upon") }, `document.getElementById("text").value === "Once upon"`,
		func(b *tab) { b.typed("#text", " a time 狐狸.") }, `document.getElementById("text").value === "Once upon a time 狐狸."`,
		func(b *tab) { b.typed("#text", " And?") },
		[2]string{`k.text = 'Once upon a time 狐狸.'`, `k.text = 'Once upon a time 狐狸. And?' AND k.revision = 2 AND 1 = (SELECT count(*) FROM demonstrations d WHERE d.response = k.text)`}},
	{labeling.QuestionMultiturn, demoAnswers[:3],
		func(b *tab) { b.keys("21") }, `document.getElementById("order").textContent === "B > A"`,
		func(b *tab) {
			b.do(chromedp.Click(chromedp.CSS(answerCard("C") + " .answer")))
			b.keys("3")
		}, `document.getElementById("order").textContent === "B > A > C"`,
		func(b *tab) {
			b.do(chromedp.Click(chromedp.CSS(answerCard("A") + " .answer")))
			b.keys("1")
		},
		[2]string{`3 = (SELECT count(*) FROM comparisons c WHERE c.ranking_id = k.id)`, `2 = (SELECT count(*) FROM comparisons c WHERE c.ranking_id = k.id) AND k.revision = 2`}},
}

// TestQuestionsInBrowser: claim, a draft that outlives a reload, submit, undo and a second revision, for every question
// beside the plain ranking, on a desk and on a phone.
func TestQuestionsInBrowser(t *testing.T) {
	t.Parallel()
	for _, q := range browserQuestions {
		for _, size := range []struct {
			name          string
			width, height int64
			dark          bool
		}{{"wide", 1280, 900, false}, {"phone-dark", 360, 740, true}} {
			t.Run(q.question+"/"+size.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.user("mina", account.RoleLabeler)
				p := w.ask(q.question, 2, q.answers...)
				b := w.open(size.width, size.height, size.dark)
				b.signIn("mina@example.com")
				b.until(`document.querySelectorAll(".choices li").length === 2`)
				b.shot("projects")
				b.fitsWidth()
				b.do(chromedp.Click(chromedp.CSS(`.choices a[href="/label?project=` + p.ID + `"]`)))
				b.until(workOpen)
				b.shot("new")
				b.do(chromedp.Click(chromedp.CSS("#submit"))) // not finished: stays
				b.begin(q)
				b.do(chromedp.Reload())
				b.until(workOpen + ` && (` + q.begun + `)`)
				b.until(`/^Saved/.test(document.getElementById("saved").textContent) || document.getElementById("saved").textContent === "Restored"`)
				if n := w.count(`SELECT count(*) FROM assignments WHERE draft IS NOT NULL`); n != 1 {
					t.Error("the draft did not reach the server")
				}
				if eval[string](b, `document.getElementById("conversation").lang`) != "en" {
					t.Error("the conversation does not say its language")
				}
				q.finish(b)
				b.fitsWidth()
				b.named()
				b.shot("finished")
				b.send()
				b.stored(q.stored[0])
				b.until(`document.getElementById("progress").textContent.startsWith("1 ") && ` + workOpen)
				b.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
				b.keys("u")
				b.until(q.undone)
				b.until(`!document.getElementById("banner").hidden`)
				b.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.matches("textarea") && document.activeElement.blur()`))
				q.change(b)
				b.send()
				b.stored(q.stored[1])
				b.until(`document.getElementById("banner").hidden && ` + workOpen)
				b.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
				b.keys("s")
				b.until(`document.getElementById("skip-dialog").open`)
				b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('#skip-dialog button[value="skip"]').click()`))
				b.until(`!document.getElementById("empty").hidden`)
			})
		}
	}
}

func (b *tab) begin(q askedInBrowser) {
	b.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.matches("textarea") && document.activeElement.blur()`))
	q.begin(b)
}

// send submits by the key that works from everywhere, or by the button.
func (b *tab) send() {
	b.Helper()
	b.until(`document.getElementById("submit").getAttribute("aria-disabled") === "false"`)
	if eval[bool](b, `document.activeElement.matches("textarea")`) {
		b.do(chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(kb.ModifierCtrl)))
		return
	}
	b.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`), chromedp.KeyEvent(kb.Enter))
}

// stored waits for the newest ranking to fulfil a condition.
func (b *tab) stored(condition string) {
	b.Helper()
	for range 300 {
		if b.w.count(`SELECT count(*) FROM rankings k WHERE k.id = (SELECT id FROM rankings ORDER BY id DESC LIMIT 1) AND `+condition) == 1 {
			return
		}
		time.Sleep(30 * time.Millisecond)
	}
	b.shot("failed")
	b.Fatalf("not stored: %s", condition)
}

// TestGuidelineInBrowser: new instructions come before the task once, on the page of rankings and on others; Escape is no
// answer.
func TestGuidelineInBrowser(t *testing.T) {
	t.Parallel()
	for _, question := range []string{labeling.QuestionRanking, labeling.QuestionRating} {
		t.Run(question, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			mina := w.user("mina", account.RoleLabeler)
			p := w.ask(question, 1, map[bool][]string{true: demoAnswers[:1], false: demoAnswers}[question == labeling.QuestionRating]...)
			a, err := w.labeling.Claim(t.Context(), p.ID, mina.ID)
			w.must(err)
			w.must(w.labeling.Release(t.Context(), a.ID, mina.ID))
			p.Instructions += "\n- **Be brief.**"
			_, err = w.labeling.UpdateProject(t.Context(), p, "system", nil)
			w.must(err)
			b := w.open(1280, 900, false)
			b.signIn("mina@example.com")
			b.visit("/label?project=" + p.ID)
			b.until(`document.getElementById("reread").open && document.getElementById("reread-text").textContent.includes("Be brief.")`)
			b.shot("reread")
			b.do(chromedp.KeyEvent(kb.Escape))
			b.until(`document.getElementById("reread").open`)
			b.do(chromedp.Click(chromedp.CSS("#reread-done")))
			b.until(`!document.getElementById("reread").open`)
			b.do(chromedp.Reload())
			b.until(workOpen)
			if eval[bool](b, `document.getElementById("reread").open`) {
				t.Error("asked twice")
			}
		})
	}
}

// TestWriteInBrowser: the kinds show their own fields, what is typed outlives a reload, and is gone once it is in the pool.
func TestWriteInBrowser(t *testing.T) {
	t.Parallel()
	for _, width := range []int64{1280, 360} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.user("mina", account.RoleLabeler)
			p := w.ask(labeling.QuestionDemonstration, 0)
			_, err := w.labeling.AddUseCase(t.Context(), p.ID, "Answer mails of a museum", "system")
			w.must(err)
			b := w.open(width, 900, width < 500)
			b.signIn("mina@example.com")
			b.visit("/label/write?project=" + p.ID)
			visible := func(id string) bool { return eval[bool](b, `document.getElementById("`+id+`").checkVisibility()`) }
			if visible("case") || visible("query0") || visible("query") {
				t.Error("a plain prompt shows fields of other kinds")
			}
			b.do(chromedp.Click(chromedp.CSS(`input[value="user-based"]`)))
			if !visible("case") || visible("query0") {
				t.Error("a user-based prompt shows the wrong fields")
			}
			b.do(chromedp.Click(chromedp.CSS(`input[value="few-shot"]`)))
			if visible("case") || !visible("query0") || !visible("query1") || visible("query2") {
				t.Error("a few-shot prompt shows the wrong fields")
			}
			b.do(chromedp.Click(chromedp.CSS("#more")))
			if !visible("query2") {
				t.Error("no further example")
			}
			b.typed("#text", "Give a synonym.")
			b.typed("#query0", "big")
			b.typed("#answer0", "large")
			b.do(chromedp.Reload())
			b.until(`document.getElementById("query0").value === "big" && document.querySelector('input[value="few-shot"]').checked`)
			b.typed("#query", "small")
			b.do(chromedp.Click(chromedp.CSS("#own summary")))
			b.typed("#answer", "little")
			b.fitsWidth()
			b.named()
			b.shot("few-shot")
			b.do(chromedp.Click(chromedp.CSS("#write .btn.primary")))
			b.until(`document.querySelector(".note") && document.getElementById("text").value === ""`)
			b.visit("/label/write")
			b.until(`document.getElementById("text").value === ""`)
			if n := w.count(`SELECT count(*) FROM demonstrations d JOIN prompts p ON p.id = d.prompt_id WHERE p.kind = 'few-shot' AND d.response = 'little'`); n != 1 {
				t.Error("nothing was stored")
			}
		})
	}
}

// TestProjectPagesLook walks the admin's pages and the history: nothing is wider than the window, all controls are named.
func TestProjectPagesLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	p := w.ask(labeling.QuestionEdit, 2, demoAnswers[1])
	_, err := w.labeling.AddUseCase(t.Context(), p.ID, "Stories for small children", "system")
	w.must(err)
	p.Instructions = "Be **fair**.\n\n- Read all of it.\n- Correct what is not so.\n- Take your time."
	_, err = w.labeling.UpdateProject(t.Context(), p, "system", nil)
	w.must(err)
	ada, err := w.accounts.UserByEmail(t.Context(), "ada@example.com")
	w.must(err)
	for i := range 2 {
		a, err := w.labeling.Claim(t.Context(), p.ID, ada.ID)
		w.must(err)
		_, err = w.labeling.Submit(t.Context(), labeling.SubmitInput{AssignmentID: a.ID, LabelerID: ada.ID, Text: "Once there was a fox with a drum. It played for everybody.", IdempotencyKey: fmt.Sprint(i)}, nil)
		w.must(err)
	}
	for _, size := range []struct {
		name          string
		width, height int64
		dark          bool
	}{{"wide", 1280, 900, false}, {"phone-dark", 360, 740, true}} {
		t.Run(size.name, func(t *testing.T) {
			t.Parallel()
			v := *w
			v.T = t
			b := v.open(size.width, size.height, size.dark)
			b.signIn("ada@example.com")
			for _, page := range []struct{ name, path string }{{"projects", "/admin/projects"}, {"project", "/admin/projects/" + p.ID},
				{"guidelines", "/admin/projects/" + p.ID + "/guidelines"}, {"history", "/label/history?project=" + p.ID}} {
				b.visit(page.path)
				b.drawn()
				b.fitsWidth()
				b.named()
				b.shot(page.name)
			}
			b.visit("/admin/projects/" + p.ID)
			b.until(`document.querySelectorAll("#preview li").length === 3`)
			b.typed("#instructions", "\n- And one more.")
			b.until(`document.getElementById("preview").textContent.includes("And one more.")`)
		})
	}
}
