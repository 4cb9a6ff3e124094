package web

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// labeled lets three labelers rank n tasks each, and more as the counters say, and computes the figures. Answers come in
// different lengths; yuki ranks by chance.
func (w *world) labeled(n int) (labelers []account.User, tasks []labeling.Task) {
	w.Helper()
	for _, name := range []string{"mina", "tomas", "yuki"} {
		labelers = append(labelers, w.user(name, account.RoleLabeler))
	}
	w.must(pgx.BeginFunc(w.Context(), w.pool, func(tx pgx.Tx) error {
		for i := range n {
			p, _, err := w.labeling.AddPrompt(w.Context(), tx, labeling.NewPrompt{ProjectID: w.project.ID, Messages: says(fmt.Sprintf("Tell story %d about a fox and a drum.", i)), Origin: labeling.OriginImport})
			if err != nil {
				return err
			}
			var list []labeling.NewResponse
			for _, a := range demoAnswers {
				list = append(list, labeling.NewResponse{Text: a, ModelVersion: w.version.ID, Finish: "stop"})
			}
			t, err := w.labeling.AddTask(w.Context(), tx, p.ID, list, 3, "round 1")
			if err != nil {
				return err
			}
			tasks = append(tasks, t)
		}
		return nil
	}))
	rng := rand.New(rand.NewPCG(1, 2))
	for l, u := range labelers {
		for i := range n {
			a, err := w.labeling.Claim(w.Context(), w.project.ID, u.ID)
			w.must(err)
			in := labeling.SubmitInput{AssignmentID: a.ID, LabelerID: u.ID, IdempotencyKey: a.ID, ActiveMS: int64(20_000 + 1000*i), WallMS: int64(25_000 + 1000*i)}
			for _, pos := range a.Order {
				rank := []int{1, 4, 2, 3}[pos]
				if l == 2 {
					rank = 1 + rng.IntN(4)
				}
				in.Ranks = append(in.Ranks, rank)
			}
			if i == 0 && l == 0 {
				in.Comment = "hard to <say>"
				in.Flags = [][]string{{"opinion"}, nil, nil, nil}
				in.Ratings = []int{7, 1, 4, 4}
			}
			_, err = w.labeling.Submit(w.Context(), in, nil)
			w.must(err)
		}
	}
	w.must(w.labeling.RefreshDashboard(w.Context(), w.project.ID))
	return labelers, tasks
}

func TestDashboards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nora := w.as("nora", account.RoleAnalyst)
	for _, p := range []string{"/admin/labeling", "/admin/labeling/agreement", "/admin/labeling/quality"} {
		if page := nora.get(p).want(t, http.StatusOK).body; !strings.Contains(page, "No figures yet") {
			t.Errorf("%s: says nothing of there being no figures", p)
		}
	}
	w.must(w.labeling.RefreshDashboard(t.Context(), w.project.ID))
	for p, want := range map[string]string{"/admin/labeling": "nothing came in", "/admin/labeling/agreement": "No task has two rankings yet", "/admin/labeling/quality": "Nothing is ranked yet"} {
		if page := nora.get(p).want(t, http.StatusOK).body; !strings.Contains(page, want) {
			t.Errorf("%s lacks %q", p, want)
		}
	}
	people, _ := w.labeled(12)
	w.addTask(says("One more."), demoAnswers...)
	_, err := w.pool.Exec(t.Context(), `UPDATE prompts SET language = 'fr' WHERE id IN (SELECT prompt_id FROM tasks WHERE done > 0 ORDER BY id LIMIT 5)`) // of prompts from elsewhere
	w.must(err)
	_, err = w.pool.Exec(t.Context(), `DELETE FROM labeling_sums`)
	w.must(err)
	w.must(w.labeling.RefreshDashboard(t.Context(), w.project.ID))
	d, err := w.labeling.Dashboard(t.Context(), w.project.ID)
	w.must(err)
	if len(d.Categories) != 2 || d.Categories[1].Of != "fr" {
		t.Fatalf("categories %+v", d.Categories)
	}
	agreed := func(a labeling.AgreementPart) string {
		return fmt.Sprintf(`<td class="n">%d</td><td class="n">%d</td><td class="n">%.1f%%</td><td class="n">%.3f</td><td class="n">%.3f</td>`, a.Tasks, a.Pairs, 100*a.Pairwise, a.Alpha, a.Tau)
	}
	for p, want := range map[string][]string{
		"/admin/labeling": {"36 of 37", "take until", "mina", `<svg class="plot"`, fmt.Sprintf("%.1f", 100*d.Labelers[0].Agreement.Value), "?labeler=" + people[0].ID},
		"/admin/labeling/agreement": {fmt.Sprintf("%.3f", d.Agreement.Alpha), fmt.Sprintf("%.3f", d.Agreement.Tau), fmt.Sprintf("%.1f", 100*d.Agreement.Pairwise),
			"By category of prompts", `id="categories-title"`, "<bdi>fr</bdi>", agreed(d.Categories[0]), agreed(d.Categories[1])},
		"/admin/labeling/quality":                {"Mean rank of the answer shown", "over 36 rankings", "2.5", "yuki", fmt.Sprintf("%.2f", d.Labelers[0].PlaceTau.Value)},
		"/admin/labeling/people/" + people[1].ID: {"tomas", "12 tasks", "0 skipped"},
	} {
		page := nora.get(p).want(t, http.StatusOK).body
		for _, part := range want {
			if !strings.Contains(page, part) {
				t.Errorf("%s lacks %q", p, part)
			}
		}
		if strings.Contains(page, "NaN") || strings.Contains(page, "%!") {
			t.Errorf("%s shows what is no number", p)
		}
		if found := wild(page); found != nil {
			t.Errorf("%s: %v", p, found)
		}
	}
	for _, p := range []string{"/admin/labeling?project=x", "/admin/labeling/quality?project=01890a5d-ac96-774b-bcce-b302099a8057", "/admin/labeling/people/01890a5d-ac96-774b-bcce-b302099a8057"} {
		nora.get(p).want(t, http.StatusNotFound)
	}
	nora.get("/admin/labeling?from=x").want(t, http.StatusBadRequest)
	nora.get("/admin/labeling?from=100000").want(t, http.StatusOK)
	other, err := w.labeling.EnsureProject(t.Context(), labeling.Project{Name: "other <b>", Instructions: "x"})
	w.must(err)
	if page := nora.get("/admin/labeling?project="+other.ID).want(t, http.StatusOK).body; !strings.Contains(page, "other &lt;b&gt;") || !strings.Contains(page, "/admin/labeling/quality?project="+other.ID) {
		t.Error("the other project is not kept")
	}
	// An analyst changes nothing.
	for _, p := range []string{"/admin/rounds", "/admin/people", "/admin/invitations", "/admin/rollback", "/admin/keys"} {
		nora.form(p).want(t, http.StatusForbidden)
	}
}

// TestTasks: the list, its filters, a preview, and one task with all that was done to it.
func TestTasks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nora := w.as("nora", account.RoleAnalyst)
	if page := nora.get("/admin/labeling/tasks").want(t, http.StatusOK).body; !strings.Contains(page, "Nothing found.") {
		t.Error("an empty list says nothing")
	}
	people, tasks := w.labeled(60)
	page := nora.get("/admin/labeling/tasks").want(t, http.StatusOK).body
	if n := strings.Count(page, "about a fox and a drum."); n != tasksShown || !strings.Contains(page, "before="+tasks[10].ID) {
		t.Errorf("%d tasks on a page", n)
	}
	page = nora.get("/admin/labeling/tasks?before="+tasks[10].ID+"&state=done").want(t, http.StatusOK).body
	if n := strings.Count(page, "about a fox and a drum."); n != 10 || strings.Contains(page, ">Older<") {
		t.Errorf("%d tasks on the second page", n)
	}
	page = nora.get("/admin/labeling/tasks?text=story+7&labeler="+people[0].ID+"&task="+tasks[7].ID).want(t, http.StatusOK).body
	if !strings.Contains(page, "of mina") || strings.Count(page, "Tell story 7 about") != 2 || !strings.Contains(page, "shared the drum with a shy hedgehog") || !strings.Contains(page, "/admin/labeling/tasks/"+tasks[7].ID) {
		t.Error("no preview")
	}
	for _, q := range []string{"state=x", "split=x", "origin=x", "before=x", "text=%3F", "batch=%00", "text=%ff"} {
		nora.get("/admin/labeling/tasks?"+q).want(t, http.StatusBadRequest)
	}
	nora.get("/admin/labeling/tasks?task=x").want(t, http.StatusNotFound)

	rita := w.as("rita", account.RoleReviewer)
	rita.get("/admin/labeling/tasks").want(t, http.StatusForbidden)
	page = rita.get("/admin/labeling/tasks/"+tasks[0].ID).want(t, http.StatusOK).body
	for _, want := range []string{"Tell story 0", "3 of 3", "round 1", "mina", "yuki", "hard to &lt;say&gt;", "Judges where it should not", "tiny-sft", "revision 1", "20s active", ">claimed<", ">submitted<"} {
		if !strings.Contains(page, want) {
			t.Errorf("the task lacks %q", want)
		}
	}
	if found := wild(page); found != nil {
		t.Error(found)
	}
	rita.get("/admin/labeling/tasks/01890a5d-ac96-774b-bcce-b302099a8057").want(t, http.StatusNotFound)
	// A reported task: the reviewer lets it go on, and the history says so.
	_, err := w.pool.Exec(t.Context(), `UPDATE tasks SET held = 'pii' WHERE id = $1`, tasks[1].ID)
	w.must(err)
	if page := nora.get("/admin/labeling/tasks?state=held").want(t, http.StatusOK).body; strings.Count(page, "about a fox and a drum.") != 1 {
		t.Error("the held one is not found")
	}
	rita.form("/admin/held/"+tasks[1].ID+"/release").want(t, http.StatusSeeOther)
	if page := rita.get("/admin/labeling/tasks/"+tasks[1].ID).want(t, http.StatusOK).body; !strings.Contains(page, "labeling.unhold") {
		t.Error("the history lacks the release")
	}
}

// TestPay: the page, and both files; names that would be formulas are none.
func TestPay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nora := w.as("nora", account.RoleAnalyst)
	if page := nora.get("/admin/labeling/pay").want(t, http.StatusOK).body; !strings.Contains(page, "Nobody worked in this period.") || strings.Contains(page, "pay.csv") {
		t.Error("an empty period says nothing")
	}
	people, _ := w.labeled(4)
	_, err := w.pool.Exec(t.Context(), `UPDATE users SET name = '=HYPERLINK("http://evil.example", "小明, ""x""")' WHERE id = $1`, people[0].ID)
	w.must(err)
	page := nora.get("/admin/labeling/pay?tz=Asia/Taipei&cap=1").want(t, http.StatusOK).body
	// Four tasks of 20, 21, 22 and 23 s each: 86 s, of all three 258 s.
	for _, want := range []string{"0.02", "0.07", "up to 1 minutes", "midnight in Asia/Taipei", "pay.csv?cap=1&amp;from="} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	got := nora.get("/admin/labeling/pay.csv").want(t, http.StatusOK)
	if !strings.HasPrefix(got.body, "\ufefflabeler_id,name,") || got.head.Get("Content-Type") != "text/csv; charset=utf-8" || !strings.HasPrefix(got.head.Get("Content-Disposition"), `attachment; filename="pay-20`) {
		t.Errorf("%v %.60q", got.head, got.body)
	}
	if strings.Count(got.body, "\r\n") != 4 || strings.Count(got.body, "\n") != 4 {
		t.Errorf("lines of %q", got.body)
	}
	lines, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(got.body, "\ufeff"))).ReadAll()
	w.must(err)
	if len(lines) != 4 || lines[1][1] != `'=HYPERLINK("http://evil.example", "小明, ""x""")` || lines[1][8] != "4" || lines[1][10] != "0.0239" || lines[2][2] != "tomas@example.com" {
		t.Errorf("%q", lines)
	}
	var e payExport
	nora.get("/admin/labeling/pay.json?from=2026-01-01&to=2026-12-31&tz=Asia/Taipei").want(t, http.StatusOK).into(t, &e)
	if e.From != "2026-01-01" || e.To != "2026-12-31" || e.TimeZone != "Asia/Taipei" || e.CapMinutes != 15 {
		t.Errorf("%+v", e)
	}
	if n := w.count(`SELECT count(*) FROM audit WHERE act = 'labeling.export_pay'`); n != 2 {
		t.Errorf("%d audit rows", n)
	}
	for _, q := range []string{"tz=Mars", "tz=Local", "tz=../../etc/passwd", "from=x", "from=0001-01-01", "to=2026-02-30", "cap=0", "cap=x", "cap=1441", "from=2026-02-02&to=2026-02-01", "from=2020-01-01&to=2026-01-01"} {
		nora.get("/admin/labeling/pay.csv?"+q).want(t, http.StatusBadRequest)
		nora.get("/admin/labeling/pay?"+q).want(t, http.StatusBadRequest)
	}
	for text, want := range map[string]string{"": "", "Ann": "Ann", "-1": "'-1", "@x": "'@x", "+1": "'+1", "\t=1": "'\t=1", "＝1": "'＝1", "a=1": "a=1"} {
		if got := inert(text); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

// TestPayDays: a day is a day of the time zone, also where it has 23 hours.
func TestPayDays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nora := w.as("nora", account.RoleAnalyst)
	people, _ := w.labeled(1)
	set := func(at string) {
		_, err := w.pool.Exec(t.Context(), `ALTER TABLE rankings DISABLE TRIGGER append_only`)
		w.must(err)
		_, err = w.pool.Exec(t.Context(), `UPDATE rankings SET created_at = $2 WHERE labeler_id = $1`, people[0].ID, at)
		w.must(err)
	}
	count := func(q string) int {
		var e payExport
		nora.get("/admin/labeling/pay.json?"+q).want(t, http.StatusOK).into(t, &e)
		n := 0
		for _, l := range e.Labelers {
			if l.LabelerID == people[0].ID {
				n += l.Rankings
			}
		}
		return n
	}
	for _, c := range []struct {
		at, tz, day string
		n           int
	}{
		{"2026-03-28T16:00:00Z", "Asia/Taipei", "2026-03-29", 1}, {"2026-03-28T15:59:59Z", "Asia/Taipei", "2026-03-29", 0}, {"2026-03-28T15:59:59Z", "UTC", "2026-03-28", 1},
		// The clocks of Berlin go forward on that night: the day has 23 hours.
		{"2026-03-28T23:00:00Z", "Europe/Berlin", "2026-03-29", 1}, {"2026-03-29T21:59:59Z", "Europe/Berlin", "2026-03-29", 1}, {"2026-03-29T22:00:00Z", "Europe/Berlin", "2026-03-29", 0},
	} {
		set(c.at)
		if n := count("from=" + c.day + "&to=" + c.day + "&tz=" + c.tz); n != c.n {
			t.Errorf("%s is %d times on %s in %s", c.at, n, c.day, c.tz)
		}
	}
}

// TestLabelingTextStaysText puts every payload into what the labeling pages show.
func TestLabelingTextStaysText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.as("ada", account.RoleOwner)
	all := strings.Join(payloads, "\n")
	task := w.addTask(says(all), append([]string{all}, payloads[:3]...)...)
	mina := w.user("mina", account.RoleLabeler)
	a, err := w.labeling.Claim(t.Context(), w.project.ID, mina.ID)
	w.must(err)
	_, err = w.labeling.Submit(t.Context(), labeling.SubmitInput{AssignmentID: a.ID, LabelerID: mina.ID, IdempotencyKey: "k", Ranks: []int{1, 2, 3, 4}, Comment: all}, nil)
	w.must(err)
	_, err = w.pool.Exec(t.Context(), `UPDATE tasks SET batch = $1`, all)
	w.must(err)
	_, err = w.labeling.EnsureProject(t.Context(), labeling.Project{Name: payloads[0], Instructions: all})
	w.must(err)
	w.must(w.labeling.RefreshDashboard(t.Context(), w.project.ID))
	pages := []string{"/admin/labeling", "/admin/labeling/agreement", "/admin/labeling/quality", "/admin/labeling/pay", "/admin/labeling/tasks", "/admin/labeling/tasks?task=" + task.ID,
		"/admin/labeling/tasks/" + task.ID, "/admin/labeling/people/" + mina.ID, "/admin/people", "/label/guideline"}
	stored := len(pages) // what follows echoes what was typed, as it was typed
	for _, q := range payloads {
		pages = append(pages, "/admin/labeling/tasks?text="+escape(q)+"&batch="+escape(q)+"&labeler="+escape(q)+"&customer="+escape(q), "/admin/labeling/pay?tz="+escape(q), "/join/"+escape(q))
	}
	for i, p := range pages {
		got := ada.get(p)
		if found := wild(got.body); found != nil || got.code >= 500 {
			t.Errorf("%s: %d %v", p, got.code, found)
		}
		if i < stored && strings.ContainsAny(got.body, "\u202e\u200b\u2028\ufeff\u0007\U000e0041") {
			t.Errorf("%s shows characters that cannot be seen", p)
		}
	}
}
