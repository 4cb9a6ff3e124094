package web

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/web/account"
)

// TestReportAndReview: a report frees the lease and holds the task at once; a reviewer finds it and decides.
func TestReportAndReview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.addTask(says("Call <b>0123</b>."), "A.", "B.", "C.")
	mina, rita := w.as("mina", account.RoleLabeler), w.as("rita", account.RoleReviewer)
	var a task
	mina.json(post, "/label/api/claim", nil).want(t, http.StatusOK).into(t, &a)
	path := "/label/api/assignments/" + a.Assignment + "/report"
	mina.json(post, path, map[string]any{"kind": "rude"}).want(t, http.StatusBadRequest)
	mina.json(post, path, map[string]any{"kind": "other"}).want(t, http.StatusBadRequest)
	rita.json(post, path, map[string]any{"kind": "pii"}).want(t, http.StatusNotFound)
	mina.json(post, path, map[string]any{"kind": "pii", "text": "a number <i>x</i>"}).want(t, http.StatusNoContent)
	mina.json(post, "/label/api/claim", nil).want(t, http.StatusNoContent)
	mina.get("/review").want(t, http.StatusForbidden)
	if page := rita.get("/review").want(t, http.StatusOK); !strings.Contains(page.body, "/review/"+first.ID) {
		t.Fatal("the report is not in the queue")
	}
	page := rita.get("/review/"+first.ID).want(t, http.StatusOK)
	if !strings.Contains(page.body, "a number &lt;i&gt;x&lt;/i&gt;") || wild(page.body) != nil {
		t.Errorf("the case shows %v", wild(page.body))
	}
	rita.form("/review/"+first.ID, "decision", "accept", "ranks", "1 x").want(t, http.StatusBadRequest)
	rita.form("/review/"+first.ID, "decision", "accept", "ranks", "2 1 3", "note", "B is safe").want(t, http.StatusSeeOther)
	if n := w.count(`SELECT count(*) FROM rankings WHERE ranks = '{2,1,3}'`); n != 1 {
		t.Errorf("%d rankings by the reviewer", n)
	}
	rita.get("/review/"+strings.Repeat("0", 8)+"-0000-7000-8000-000000000000").want(t, http.StatusNotFound)
}

// TestCordOnThePage: any labeler stops the training with a reason; only an admin lets it go on.
func TestCordOnThePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mina, ada := w.as("mina", account.RoleLabeler), w.as("ada", account.RoleAdmin)
	if page := mina.get("/label").want(t, http.StatusOK); !strings.Contains(page.body, `action="/label/cord"`) {
		t.Fatal("no cord on the page")
	}
	mina.form("/label/cord", "reason", " ").want(t, http.StatusBadRequest)
	mina.form("/label/cord", "reason", "it learns <b>insults</b>").want(t, http.StatusSeeOther)
	mina.form("/label/cord", "reason", "again").want(t, http.StatusConflict)
	if page := ada.get("/admin").want(t, http.StatusOK); !strings.Contains(page.body, "Training is stopped.") || !strings.Contains(page.body, "it learns &lt;b&gt;insults") {
		t.Error("the admin is not told")
	}
	ada.form("/admin/rounds").want(t, http.StatusConflict)
	mina.form("/admin/cord/release").want(t, http.StatusForbidden)
	ada.form("/admin/cord/release").want(t, http.StatusSeeOther)
	ada.form("/admin/cord/release").want(t, http.StatusNotFound)
	ada.form("/admin/rounds").want(t, http.StatusSeeOther)
}

// TestQualityPage: settings, gold tasks, quarantine; and nothing that a labeler gets tells a gold task from another.
func TestQualityPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var tasks []labeling.Task
	for _, p := range []string{"one", "two", "three"} {
		tasks = append(tasks, w.addTask(says(p), "A.", "B."))
	}
	mina, ada := w.as("mina", account.RoleLabeler), w.as("ada", account.RoleAdmin)
	ada.form("/admin/quality/gold", "task", tasks[0].ID, "stage", "stream", "ranks", "1 2", "explanation", "A <b>").want(t, http.StatusSeeOther)
	ada.form("/admin/quality/gold", "task", tasks[1].ID, "stage", "stream", "ranks", "1").want(t, http.StatusBadRequest)
	ada.form("/admin/quality/settings", "gold_rate", "0.5", "quarantine", "automatic", "control_after", "0").want(t, http.StatusSeeOther)
	ada.form("/admin/quality/settings", "gold_rate", "0.9").want(t, http.StatusBadRequest)
	ada.form("/admin/quality/settings", "gold_rate", "much").want(t, http.StatusBadRequest)
	shapes := map[string]int{}
	for range 3 {
		var a task
		got := mina.json(post, "/label/api/claim", nil)
		if got.code == http.StatusNoContent {
			break // the draw was not for gold
		}
		got.want(t, http.StatusOK).into(t, &a)
		if a.Open != 20 && a.Open != 0 {
			t.Errorf("%d open tasks are told exactly", a.Open)
		}
		var keys map[string]any
		got.into(t, &keys)
		shapes[strings.Join(slices.Sorted(maps.Keys(keys)), " ")]++
		if strings.Contains(got.body, "gold") || strings.Contains(got.body, "control") {
			t.Errorf("the task tells: %s", got.body)
		}
		mina.json("POST", "/label/api/assignments/"+a.Assignment+"/submit", map[string]any{"ranks": []int{1, 2}}, "Idempotency-Key", a.Assignment).want(t, http.StatusOK)
	}
	if len(shapes) != 1 {
		t.Errorf("tasks of %d shapes", len(shapes))
	}
	u, err := w.accounts.UserByEmail(t.Context(), "mina@example.com")
	w.must(err)
	page := ada.get("/admin/quality").want(t, http.StatusOK)
	if !strings.Contains(page.body, "mina@example.com") || !strings.Contains(page.body, "A &lt;b&gt;") || wild(page.body) != nil {
		t.Errorf("page: %v", wild(page.body))
	}
	mina.form("/admin/quality/quarantine", "labeler", u.ID, "reason", "x").want(t, http.StatusForbidden)
	ada.form("/admin/quality/quarantine", "labeler", u.ID, "reason", "").want(t, http.StatusBadRequest)
	ada.form("/admin/quality/quarantine", "labeler", u.ID, "reason", "places").want(t, http.StatusSeeOther)
	mina.json(post, "/label/api/claim", nil).want(t, http.StatusNoContent)
	ada.form("/admin/quality/restore", "labeler", u.ID).want(t, http.StatusSeeOther)
	ada.form("/admin/quality/restore", "labeler", u.ID).want(t, http.StatusConflict)
}

// TestQualifyPages: practice is explained at once, the test at its end; who passed is served.
func TestQualifyPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addTask(says("work"), "A.", "B.")
	practice, test := w.addTask(says("practice"), "good one", "bad one"), w.addTask(says("test"), "good two", "bad two")
	mina, ada := w.as("mina", account.RoleLabeler), w.as("ada", account.RoleAdmin)
	ada.form("/admin/quality/gold", "task", practice.ID, "stage", "practice", "ranks", "1 2", "explanation", "good is <b>good</b>").want(t, http.StatusSeeOther)
	ada.form("/admin/quality/gold", "task", test.ID, "stage", "test", "ranks", "1 2", "flagged", "0 1", "explanation", "secret until the end").want(t, http.StatusSeeOther)
	ada.form("/admin/quality/settings", "qualify", "yes", "retry_hours", "0").want(t, http.StatusSeeOther)
	mina.json(post, "/label/api/claim", nil).want(t, http.StatusForbidden)
	// answer fills in the page's form; right or reversed.
	answer := func(page answer, id string, right bool) answer {
		t.Helper()
		ranks := []string{"1", "2"}
		flags := []string{"", "yes"}
		if strings.Index(page.body, "good ") > strings.Index(page.body, "bad ") {
			ranks, flags = []string{"2", "1"}, []string{"yes", ""}
		}
		if !right {
			ranks[0], ranks[1] = ranks[1], ranks[0]
		}
		return mina.form("/label/qualify/"+id, "rank0", ranks[0], "rank1", ranks[1], "flag0", flags[0], "flag1", flags[1])
	}
	page := mina.get("/label/qualify").want(t, http.StatusOK)
	if !strings.Contains(page.body, "Practice 1 of 1") || wild(page.body) != nil {
		t.Fatalf("%.900s", page.body)
	}
	if got := answer(page, practice.ID, true).want(t, http.StatusOK); !strings.Contains(got.body, "good is &lt;b&gt;good") {
		t.Error("practice is not explained")
	}
	if page = mina.get("/label/qualify").want(t, http.StatusOK); !strings.Contains(page.body, "Begin the test") {
		t.Fatalf("%.900s", page.body)
	}
	for try, right := range []bool{false, true} {
		page = mina.form("/label/qualify").want(t, http.StatusOK)
		if !strings.Contains(page.body, "Test 1 of 1") || strings.Contains(page.body, "secret until the end") {
			t.Fatalf("try %d: %.900s", try, page.body)
		}
		answer(page, test.ID, right).want(t, http.StatusSeeOther)
		page = mina.get("/label/qualify").want(t, http.StatusOK)
		if strings.Contains(page.body, "You are qualified") != right || !strings.Contains(page.body, "secret until the end") {
			t.Errorf("try %d: %.900s", try, page.body)
		}
	}
	answer(page, test.ID, true).want(t, http.StatusConflict)
	mina.json(post, "/label/api/claim", nil).want(t, http.StatusOK)
}
