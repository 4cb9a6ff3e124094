package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// TestReviewOfAProject: cases, settings, gold tasks and quarantine are those of the project in the address, and of no other.
func TestReviewOfAProject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := w.ask(labeling.QuestionPairwise, 2, demoAnswers[:2]...)
	w.addTask(says("one"), "A.", "B.")
	mina, ada := w.as("mina", account.RoleLabeler), w.as("ada", account.RoleAdmin)
	at := "?project=" + second.ID
	var a task
	mina.json(post, "/label/api/claim", map[string]any{"project": second.ID}).want(t, http.StatusOK).into(t, &a)
	mina.json(post, "/label/api/assignments/"+a.Assignment+"/report", map[string]any{"kind": "pii"}).want(t, http.StatusNoContent)
	var held string
	w.must(w.pool.QueryRow(t.Context(), `SELECT id FROM tasks WHERE held = 'pii'`).Scan(&held))
	if strings.Contains(ada.get("/review").body, held) {
		t.Error("the case of one project shows in another")
	}
	page := ada.get("/review"+at).want(t, http.StatusOK)
	if !strings.Contains(page.body, `/review/`+held+at) || !strings.Contains(page.body, `<option value="`+second.ID+`" selected`) {
		t.Error("the case does not show in its project")
	}
	ada.get("/review/"+held).want(t, http.StatusNotFound)
	ada.get("/review/"+held+at).want(t, http.StatusOK)
	ada.form("/review/"+held, "decision", "release").want(t, http.StatusNotFound)
	if to := ada.form("/review/"+held+at, "decision", "release").want(t, http.StatusSeeOther).head.Get("Location"); to != "/review"+at+"&done=decided" {
		t.Errorf("afterwards at %s", to)
	}
	if n := w.count(`SELECT count(*) FROM tasks WHERE held <> ''`); n != 0 {
		t.Error("the decision was not carried out")
	}

	ada.form("/admin/quality/settings"+at, "gold_rate", "0.25").want(t, http.StatusSeeOther)
	for id, want := range map[string]float64{second.ID: 0.25, w.project.ID: 0} {
		if q, err := w.labeling.QualitySettings(t.Context(), id); err != nil || (q.GoldRate == 0.25) != (want == 0.25) {
			t.Errorf("project %s: %+v %v", id, q, err)
		}
	}
	ada.form("/admin/quality/gold"+at, "task", held, "stage", "retired", "ranks", "1 2", "explanation", "told of the second").want(t, http.StatusSeeOther)
	if strings.Contains(ada.get("/admin/quality").body, "told of the second") || !strings.Contains(ada.get("/admin/quality"+at).body, "told of the second") {
		t.Error("gold tasks are not those of the project")
	}
	u, err := w.accounts.UserByEmail(t.Context(), "mina@example.com")
	w.must(err)
	ada.form("/admin/quality/quarantine"+at, "labeler", u.ID, "reason", "places").want(t, http.StatusSeeOther)
	mina.json(post, "/label/api/claim", map[string]any{"project": second.ID}).want(t, http.StatusNoContent)
	mina.json(post, "/label/api/claim", nil).want(t, http.StatusOK)
	ada.form("/admin/quality/restore", "labeler", u.ID).want(t, http.StatusConflict)
	ada.form("/admin/quality/restore"+at, "labeler", u.ID).want(t, http.StatusSeeOther)
	for _, p := range []string{"/review", "/admin/quality"} {
		for _, id := range []string{"x", "01890a5d-ac96-774b-bcce-b302099a8057"} {
			ada.get(p+"?project="+id).want(t, http.StatusNotFound)
		}
	}
}

// TestCordOfAProject: every page on which people label has the cord, it stops the training of that page's project alone, and
// the page of rounds says whose.
func TestCordOfAProject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mina, ada := w.as("mina", account.RoleLabeler), w.as("ada", account.RoleAdmin)
	var last labeling.Project
	for _, q := range browserQuestions {
		last = w.ask(q.question, 1, q.answers...)
		page := mina.get("/label?project="+last.ID).want(t, http.StatusOK)
		if !strings.Contains(page.body, `action="/label/cord"><input type="hidden" name="project" value="`+last.ID+`"`) {
			t.Errorf("%s: no cord of the project", q.question)
		}
	}
	mina.form("/label/cord", "project", "01890a5d-ac96-774b-bcce-b302099a8057", "reason", "x").want(t, http.StatusNotFound)
	mina.form("/label/cord", "project", last.ID, "reason", "all of them insult").want(t, http.StatusSeeOther)
	if page := mina.get("/label?done=cord"); !strings.Contains(page.body, "The training is stopped.") {
		t.Error("the labeler is not told")
	}
	if page := ada.get("/admin"); !strings.Contains(page.body, "<bdi>"+last.Name+"</bdi>: <bdi>all of them insult") {
		t.Error("the page of rounds does not say whose training is stopped")
	}
	ada.form("/admin/rounds").want(t, http.StatusSeeOther) // the server's own project goes on
	ada.form("/admin/cord/release").want(t, http.StatusNotFound)
	ada.form("/admin/cord/release", "project", last.ID).want(t, http.StatusSeeOther)
	if page := ada.get("/admin"); strings.Contains(page.body, "Training is stopped.") {
		t.Error("the cord is still pulled")
	}
	last.Closed = true
	_, err := w.labeling.UpdateProject(t.Context(), last, "system", nil)
	w.must(err)
	mina.form("/label/cord", "project", last.ID, "reason", "x").want(t, http.StatusNotFound)
}

// TestQualifyForAProject: the test is that of the project in which the labeler works.
func TestQualifyForAProject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := w.ask(labeling.QuestionPairwise, 2, "good one", "bad one")
	mina, ada := w.as("mina", account.RoleLabeler), w.as("ada", account.RoleAdmin)
	var ids []string
	rows, err := w.pool.Query(t.Context(), `SELECT id::text FROM tasks WHERE project_id = $1 ORDER BY id`, second.ID)
	w.must(err)
	for rows.Next() {
		ids = append(ids, "")
		w.must(rows.Scan(&ids[len(ids)-1]))
	}
	w.must(rows.Err())
	at := "?project=" + second.ID
	ada.form("/admin/quality/gold"+at, "task", ids[0], "stage", "practice", "ranks", "1 2").want(t, http.StatusSeeOther)
	ada.form("/admin/quality/settings"+at, "qualify", "yes").want(t, http.StatusSeeOther)
	if page := mina.get("/label/qualify").want(t, http.StatusOK); !strings.Contains(page.body, "<h1>Choose a project</h1>") {
		t.Error("nobody asked which project")
	}
	page := mina.get("/label/qualify"+at).want(t, http.StatusOK)
	if !strings.Contains(page.body, "Practice 1 of 1") || !strings.Contains(page.body, `action="/label/qualify/`+ids[0]+at+`"`) {
		t.Fatalf("%.900s", page.body)
	}
	if page = mina.get("/label/qualify"); !strings.Contains(page.body, "Practice 1 of 1") {
		t.Error("the project is not remembered")
	}
	mina.form("/label/qualify/"+ids[0]+"?project="+w.project.ID, "rank0", "1", "rank1", "2").want(t, http.StatusNotFound)
	mina.form("/label/qualify/"+ids[0]+at, "rank0", "1", "rank1", "2").want(t, http.StatusOK)
	if page = mina.get("/label/qualify" + at); strings.Contains(page.body, "Practice 1 of 1") {
		t.Error("the answer does not count in the project")
	}
}

// TestOwnFigures: a labeler sees own figures of the project; the gold score comes late and in steps, so that no task is given
// away by it. Admins see the exact one.
func TestOwnFigures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mina, ada := w.as("mina", account.RoleLabeler), w.as("ada", account.RoleAdmin)
	if page := mina.get("/label/me").want(t, http.StatusOK); !strings.Contains(page.body, "come within a minute") {
		t.Error("no word to somebody who has done nothing")
	}
	var tasks []labeling.Task
	for i := range 5 {
		tasks = append(tasks, w.addTask(says(fmt.Sprintf("Tell story number %d.", i)), demoAnswers...))
	}
	show := func() string {
		t.Helper()
		w.must(w.labeling.RefreshDashboard(t.Context(), w.project.ID))
		return mina.get("/label/me").want(t, http.StatusOK).body
	}
	for range 5 {
		var a task
		mina.json(post, "/label/api/claim", nil).want(t, http.StatusOK).into(t, &a)
		mina.json(post, "/label/api/assignments/"+a.Assignment+"/submit", map[string]any{"ranks": []int{1, 2, 3, 4}, "active_ms": 60_000, "wall_ms": 60_000}, "Idempotency-Key", a.Assignment).want(t, http.StatusOK)
	}
	if page := show(); !strings.Contains(page, "<dt>Done</dt><dd>5</dd>") || !strings.Contains(page, "0.1 hours") || !strings.Contains(page, "Not enough yet") {
		t.Errorf("%.3000s", page)
	}
	exact := 0
	for i, task := range tasks { // known ranks: as mina has it, but one pair of the last
		var ranks []int
		w.must(w.pool.QueryRow(t.Context(), `SELECT ranks::int[] FROM rankings WHERE task_id = $1`, task.ID).Scan(&ranks))
		if exact += 6; i == 4 {
			for j, r := range ranks {
				ranks[j] = []int{0, 2, 1, 3, 4}[r]
			}
			exact--
		}
		ada.form("/admin/quality/gold", "task", task.ID, "stage", "stream", "ranks", strings.Trim(fmt.Sprint(ranks), "[]")).want(t, http.StatusSeeOther)
		if page := show(); strings.Contains(page, "about ") != (i >= 3) { // 6 pairs a task
			t.Errorf("after %d gold tasks: %.3000s", i+1, page)
		}
	}
	if page := show(); !strings.Contains(page, "about 95.0%") || strings.Contains(page, "96.7") {
		t.Errorf("29 of 30 pairs are not shown as about 95%%: %.3000s", page)
	}
	if page := ada.get("/admin/labeling"); exact != 29 || !strings.Contains(page.body, "96.7%") {
		t.Error("the admin does not see the exact gold score")
	}
}
