package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// ask makes a project of the question with n tasks, each on a prompt of its own.
func (w *world) ask(question string, n int, answers ...string) labeling.Project {
	w.Helper()
	p, err := w.labeling.CreateProject(w.Context(), labeling.Project{Name: question, Question: question, Languages: []string{"en"},
		Instructions: "Be **fair**.\n\n- Read all of it.\n- Take your time."}, "system")
	w.must(err)
	w.must(pgx.BeginFunc(w.Context(), w.pool, func(tx pgx.Tx) error {
		for i := range n {
			messages := says(fmt.Sprintf("Tell story number %d about a fox and a drum.", i))
			if question == labeling.QuestionMultiturn {
				messages = append(says("Do you know stories?"), labeling.Message{Role: "assistant", Content: "Many. About what?"}, messages[0])
			}
			prompt, _, err := w.labeling.AddPrompt(w.Context(), tx, labeling.NewPrompt{ProjectID: p.ID, Messages: messages, Origin: labeling.OriginImport, Split: labeling.Train})
			if err != nil {
				return err
			}
			var list []labeling.NewResponse
			for _, a := range answers {
				list = append(list, labeling.NewResponse{Text: a})
			}
			if _, err := w.labeling.AddTask(w.Context(), tx, prompt.ID, list, 1, ""); err != nil {
				return err
			}
		}
		return nil
	}))
	return p
}

// TestProjectsOfLabelers: one project needs no choice; several are chosen from, and the choice is remembered.
func TestProjectsOfLabelers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mina := w.as("mina", account.RoleLabeler)
	if got := mina.get("/label").want(t, 200); !strings.Contains(got.body, `data-question="ranking"`) {
		t.Error("the only project is not shown at once")
	}
	p := w.ask(labeling.QuestionRating, 2, demoAnswers[0])
	if got := mina.get("/label").want(t, 200); !strings.Contains(got.body, "/label?project="+p.ID) || !strings.Contains(got.body, "/label?project="+w.project.ID) {
		t.Error("no choice of two projects")
	}
	for range 2 { // by the address, then remembered
		at := "/label"
		if strings.Contains(mina.get("/label").body, "<h1>Choose a project</h1>") {
			at += "?project=" + p.ID
		}
		if got := mina.get(at).want(t, 200); !strings.Contains(got.body, `data-project="`+p.ID+`"`) || !strings.Contains(got.body, "rating.js") {
			t.Errorf("%s does not show the project", at)
		}
	}
	var a task
	mina.json(post, "/label/api/claim", map[string]string{"project": p.ID}).want(t, 200).into(t, &a)
	if a.Question != labeling.QuestionRating || a.Project != p.ID || a.Language != "en" || len(a.Answers) != 1 || a.Unread || a.Guideline != 1 {
		t.Errorf("%+v", a)
	}
	mina.json(post, "/label/api/claim", nil).want(t, http.StatusNoContent) // the default project has nothing
	at := "/label/api/assignments/" + a.Assignment
	mina.json(put, at+"/draft", `{"text":"x"}`).want(t, http.StatusBadRequest)
	mina.json(post, at+"/submit", `{"ranks":[1]}`, "Idempotency-Key", "k").want(t, http.StatusBadRequest)
	mina.json(post, at+"/submit", `{"ratings":[6]}`, "Idempotency-Key", "k").want(t, 200)
	mina.json(post, "/label/api/undo", `{"project":"`+p.ID+`"}`).want(t, 200)

	// Closed, it is offered no more.
	p.Closed = true
	_, err := w.labeling.UpdateProject(t.Context(), p, "system", nil)
	w.must(err)
	mina.json(post, "/label/api/claim", map[string]string{"project": p.ID}).want(t, http.StatusNotFound)
	mina.get("/label?project="+p.ID).want(t, http.StatusNotFound)
	if got := mina.get("/label").want(t, 200); !strings.Contains(got.body, w.project.ID) {
		t.Error("a closed project is remembered")
	}
	for _, bad := range []string{`{"project":"x"}`, `{"project":"01890a5d-ac96-774b-bcce-b302099a8057"}`} {
		mina.json(post, "/label/api/claim", bad).want(t, http.StatusNotFound)
	}
}

// TestAcknowledge: the page is told that the guideline has changed, until it is acknowledged.
func TestAcknowledge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mina := w.as("mina", account.RoleLabeler)
	w.addTask(says("Tell a story."), demoAnswers...)
	claim := func() (a task) {
		mina.json(post, "/label/api/claim", nil).want(t, 200).into(t, &a)
		return
	}
	a := claim()
	mina.json(post, "/label/api/assignments/"+a.Assignment+"/release", nil).want(t, http.StatusNoContent)
	p := w.project
	p.Instructions += "\n\n3. **Is kind.**"
	_, err := w.labeling.UpdateProject(t.Context(), p, "system", nil)
	w.must(err)
	if a = claim(); !a.Unread || a.Guideline != 2 {
		t.Fatalf("%+v", a)
	}
	mina.json(post, "/label/api/acknowledge", `{"version":7}`).want(t, http.StatusNotFound)
	mina.json(post, "/label/api/acknowledge", fmt.Sprintf(`{"project":%q,"version":2}`, p.ID)).want(t, http.StatusNoContent)
	if claim().Unread {
		t.Error("asked again")
	}
}

// TestHistoryPage: own work newest first, by pages, opened again from there until it is frozen.
func TestHistoryPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mina, yuki := w.as("mina", account.RoleLabeler), w.as("yuki", account.RoleLabeler)
	const n = historySize + 3
	q, err := w.labeling.QualitySettings(t.Context(), w.project.ID)
	w.must(err)
	q.ControlAfter = 0 // no former task comes again in place of the last
	w.must(w.labeling.SetQualitySettings(t.Context(), w.project.ID, q, "system"))
	for i := range n {
		w.addTask(says(fmt.Sprintf("Story <%d>.", i)), demoAnswers...)
	}
	var last task
	for i := range n {
		mina.json(post, "/label/api/claim", nil).want(t, 200).into(t, &last)
		mina.json(post, "/label/api/assignments/"+last.Assignment+"/submit", `{"ranks":[2,1,3,3]}`, "Idempotency-Key", fmt.Sprint(i)).want(t, 200)
	}
	page := mina.get("/label/history").want(t, 200).body
	if strings.Count(page, "/reopen") != historySize || !strings.Contains(page, "B &gt; A &gt; C = D") || !strings.Contains(page, "Story &lt;52&gt;.") || strings.Contains(page, "Story &lt;2&gt;.") {
		t.Errorf("first page: %.2000s", page)
	}
	_, next, _ := strings.Cut(page, `href="/label/history?before=`)
	next, _, _ = strings.Cut(next, `"`)
	if older := mina.get("/label/history?before="+next).want(t, 200).body; strings.Count(older, "/reopen") != 3 || !strings.Contains(older, "Story &lt;0&gt;.") || strings.Contains(older, `href="/label/history?before=`) {
		t.Error("the second page is not the rest")
	}
	mina.get("/label/history?before=x").want(t, http.StatusBadRequest)
	if got := yuki.get("/label/history").want(t, 200).body; strings.Contains(got, "Story") {
		t.Error("somebody else's work is shown")
	}
	yuki.form("/label/history/"+last.Assignment+"/reopen").want(t, http.StatusNotFound)
	if got := mina.form("/label/history/"+last.Assignment+"/reopen").want(t, http.StatusSeeOther); got.head.Get("Location") != "/label?project="+w.project.ID {
		t.Error(got.head.Get("Location"))
	}
	var again task
	mina.json(post, "/label/api/claim", nil).want(t, 200).into(t, &again)
	if again.Assignment != last.Assignment || again.State != "reopened" || fmt.Sprint(again.Draft.Ranks) != "[2 1 3 3]" {
		t.Errorf("%+v", again)
	}
	mina.json(post, "/label/api/assignments/"+last.Assignment+"/submit", `{"ranks":[1,2,3,4]}`, "Idempotency-Key", "again").want(t, 200)
	w.must(pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error {
		_, err := w.labeling.Snapshot(t.Context(), tx, w.project.ID, labeling.SnapshotFilter{Name: "round <7>"})
		return err
	}))
	page = mina.get("/label/history").want(t, 200).body
	if !strings.Contains(page, "frozen by round &lt;7&gt;") || !strings.Contains(page, "revision 2") || strings.Contains(page, "/reopen") {
		t.Errorf("after the snapshot: %.1500s", page)
	}
	if got := mina.form("/label/history/"+last.Assignment+"/reopen").want(t, http.StatusConflict); !strings.Contains(got.body, "round &lt;7&gt;") {
		t.Error("the snapshot is not named")
	}
}

// TestWritePage: the three kinds, what is refused comes back with what was typed, the second time is a duplicate.
func TestWritePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mina := w.as("mina", account.RoleLabeler)
	p := w.ask(labeling.QuestionDemonstration, 0)
	u, err := w.labeling.AddUseCase(t.Context(), p.ID, "Answer mails of a museum", "system")
	w.must(err)
	if got := mina.get("/label/write?project="+p.ID).want(t, 200); !strings.Contains(got.body, "Answer mails of a museum") {
		t.Error("the use case is not offered")
	}
	write := func(fields ...string) answer {
		return mina.form("/label/write", append([]string{"project", p.ID, "language", "en"}, fields...)...)
	}
	location := func(a answer, want string) {
		t.Helper()
		if a.want(t, http.StatusSeeOther).head.Get("Location") != "/label/write?done="+want {
			t.Error(a.head.Get("Location"))
		}
	}
	location(write("kind", "plain", "text", "Write a rhyme.\r\nOn cats.", "query0", "left over", "answer", " \r\n"), "written")
	location(write("kind", "plain", "text", "Write a rhyme.\nOn cats."), "known")
	location(write("kind", "few-shot", "text", "Give a synonym.", "query0", "big", "answer0", "large", "query1", "", "answer1", "", "query2", "glad", "answer2", "happy", "query", "small", "answer", "little"), "written")
	location(write("kind", "user-based", "text", "When do you open?", "case", u.ID), "written")
	got := write("kind", "few-shot", "text", "Give an <antonym>.", "query0", "big", "answer", "typed")
	if got.code != http.StatusBadRequest || !strings.Contains(got.body, "Give an &lt;antonym&gt;.") || !strings.Contains(got.body, "typed") || !strings.Contains(got.body, `role="alert"`) {
		t.Errorf("%d %.800s", got.code, got.body)
	}
	write("kind", "plain", "text", strings.Repeat("x", maxBodyPage+1)).want(t, http.StatusRequestEntityTooLarge)
	if n := w.count(`SELECT count(*) FROM prompts WHERE origin = 'labeler' AND project_id = $1`, p.ID); n != 3 {
		t.Errorf("%d prompts", n)
	}
	if n := w.count(`SELECT count(*) FROM demonstrations WHERE response = 'little' AND jsonb_array_length(messages) = 5 AND origin = 'labeler'`); n != 1 {
		t.Error("the answer is no demonstration")
	}
	// What was not answered by its author waits for anyone to answer it.
	var a task
	mina.json(post, "/label/api/claim", map[string]string{"project": p.ID}).want(t, 200).into(t, &a)
	if a.Question != labeling.QuestionDemonstration || len(a.Answers) != 0 || a.Messages[0].Content != "Write a rhyme.\nOn cats." {
		t.Errorf("%+v", a)
	}
}

// TestProjectSettings goes through the admin's pages.
func TestProjectSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleAdmin)
	mina := w.as("mina", account.RoleLabeler)
	got := ada.form("/admin/projects", "name", "Dialogue", "question", "pairwise", "k", "", "overlap", "2", "prompt_cap", "50", "valid_share", "0.1", "test_share", "", "lease", "20",
		"languages", "en, zh-Hant", "instructions", "One.\r\nTwo.").want(t, http.StatusSeeOther)
	id := strings.TrimSuffix(strings.TrimPrefix(got.head.Get("Location"), "/admin/projects/"), "?done=saved")
	p, err := w.labeling.Project(t.Context(), id)
	w.must(err)
	if p.K != 2 || p.Overlap != 2 || p.PromptCap != 50 || p.ValidShare != 0.1 || p.Lease.Minutes() != 20 || fmt.Sprint(p.Languages) != "[en zh-Hant]" || p.Instructions != "One.\nTwo." {
		t.Errorf("%+v", p)
	}
	for _, wrong := range [][]string{{"name", "Dialogue"}, {"name", "x", "k", "3", "question", "pairwise"}, {"name", "x", "overlap", "many"}, {"name", "x", "languages", "chinese"},
		{"name", "x", "lease", "0"}, {"name", ""}, {"name", "x", "valid_share", "1"}, {"name", "x", "question", "essay"}, {"name", "x", "test_share", "NaN"}} {
		got := ada.form("/admin/projects", wrong...)
		if got.code != http.StatusBadRequest && got.code != http.StatusConflict || !strings.Contains(got.body, `role="alert"`) {
			t.Errorf("%v: %d", wrong, got.code)
		}
	}
	// The overlap counts for tasks that are there; new instructions are a new version.
	var task labeling.Task
	w.must(pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error {
		prompt, _, err := w.labeling.AddPrompt(t.Context(), tx, labeling.NewPrompt{ProjectID: id, Text: "x", Origin: labeling.OriginImport})
		if err == nil {
			task, err = w.labeling.AddTask(t.Context(), tx, prompt.ID, []labeling.NewResponse{{Text: "a"}, {Text: "b"}}, 2, "")
		}
		return err
	}))
	ada.form("/admin/projects/"+id, "k", "2", "overlap", "3", "languages", "en", "instructions", "One.\nThree.", "closed", "").want(t, http.StatusSeeOther)
	task, err = w.labeling.Task(t.Context(), task.ID)
	w.must(err)
	if task.Need != 3 || task.OpenSlots != 3 {
		t.Errorf("task %+v", task)
	}
	page := ada.get("/admin/projects/"+id+"/guidelines").want(t, 200).body
	if !strings.Contains(page, `<del><span class="op" aria-hidden="true">−</span><bdi dir="auto">Two.</bdi></del>`) || !strings.Contains(page, `<bdi dir="auto">Three.</bdi></ins>`) {
		t.Errorf("difference: %.3000s", page)
	}
	ada.get("/admin/projects/"+id+"/guidelines?from=9").want(t, http.StatusNotFound)
	ada.get("/admin/projects/"+id+"/guidelines?from=x").want(t, http.StatusBadRequest)
	if got := ada.form("/admin/projects/"+id, "overlap", "0", "instructions", "y"); got.code != http.StatusSeeOther { // 0 is the usual
		t.Errorf("%d", got.code)
	}
	ada.form("/admin/projects/"+id, "instructions", strings.Repeat("x", maxBodyPage)).want(t, http.StatusRequestEntityTooLarge)
	if p, _ := w.labeling.Project(t.Context(), id); p.Instructions != "y" {
		t.Error("a form that was too large changed something")
	}
	ada.form("/admin/projects/"+w.project.ID, "closed", "yes", "instructions", "x").want(t, http.StatusBadRequest)
	ada.form("/admin/projects/"+id+"/tasks", "prompts", "many").want(t, http.StatusBadRequest)
	ada.form("/admin/projects/"+id+"/tasks", "prompts", "0").want(t, http.StatusBadRequest)
	ada.form("/admin/projects/"+id+"/tasks", "prompts", "12").want(t, http.StatusSeeOther)
	if n := w.count(`SELECT count(*) FROM river.river_job WHERE kind = 'loop.tasks' AND args->>'project_id' = $1 AND args->>'prompts' = '12'`, id); n != 1 {
		t.Errorf("%d jobs", n)
	}
	ada.form("/admin/projects/"+id+"/cases", "case", " ").want(t, http.StatusBadRequest)
	ada.form("/admin/projects/"+id+"/cases", "case", "Summaries").want(t, http.StatusSeeOther)
	cases, err := w.labeling.UseCases(t.Context(), id)
	w.must(err)
	ada.form("/admin/projects/"+id+"/cases/"+cases[0].ID+"/retire").want(t, http.StatusSeeOther)
	ada.form("/admin/projects/"+id+"/cases/nothing/retire").want(t, http.StatusNotFound)
	mina.get("/admin/projects/"+id).want(t, http.StatusForbidden)
	if n := w.count(`SELECT count(*) FROM audit WHERE act LIKE 'labeling.%' AND subject IN ($1, $2)`, id, cases[0].ID); n != 5 { // the order is the loop's
		t.Errorf("%d audit rows, want created, saved twice, use case added and retired", n)
	}
}
