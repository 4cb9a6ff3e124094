package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/web/account"
)

// TestLabelEndpoints walks through what the page and the simulated labelers do.
func TestLabelEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mina := w.as("mina", account.RoleLabeler)
	yuki := w.as("yuki", account.RoleReviewer)
	if got := mina.json(post, "/label/api/claim", nil).want(t, http.StatusNoContent); got.body != "" {
		t.Error(got.body)
	}
	for i := range 4 {
		w.addTask(says(fmt.Sprintf("Tell story %d.", i)), demoAnswers...)
	}
	var a, again task
	got := mina.json(post, "/label/api/claim", nil).want(t, http.StatusOK)
	got.into(t, &a)
	if len(a.Answers) != 4 || a.Answers[0].Key != "A" || a.Messages[0].Role != "user" || a.LeaseSeconds < 1700 || a.Instructions == "" || a.Draft != nil || a.Open != 3 {
		t.Errorf("%+v", a)
	}
	for _, secret := range []string{"tiny-sft", w.version.ID, "model_version", "customer", "response"} {
		if strings.Contains(got.body, secret) {
			t.Errorf("the labeler learns %s", secret)
		}
	}
	mina.json(post, "/label/api/claim", "{}").into(t, &again) // the same task, until it is done
	if again.Assignment != a.Assignment {
		t.Error("a reload gets another task")
	}
	at := "/label/api/assignments/" + a.Assignment
	// Somebody else's assignment is as good as none.
	for _, p := range []string{"/renew", "/release"} {
		yuki.json(post, at+p, nil).want(t, http.StatusNotFound)
	}
	yuki.json(post, at+"/submit", `{"ranks":[1,2,3,4]}`, "Idempotency-Key", "y").want(t, http.StatusNotFound)
	yuki.json(put, at+"/draft", `{"ranks":[1,0,0,0]}`).want(t, http.StatusNotFound)

	mina.json(put, at+"/draft", `{"ranks":[2,0,1,0],"comment":"so far","ratings":[0,7,0,0],"flags":[[],["opinion"],[],[]],"focus":3}`).want(t, http.StatusNoContent)
	mina.json(post, "/label/api/claim", nil).into(t, &again)
	if d := again.Draft; d == nil || d.Ranks[0] != 2 || d.Comment != "so far" || d.Ratings[1] != 7 || d.Focus != 3 || d.Flags[1][0] != "opinion" {
		t.Errorf("draft %+v", again.Draft)
	}
	mina.json(post, at+"/renew", nil).want(t, http.StatusOK)

	// Twenty times the same submit is one ranking.
	body := `{"ranks":[1,2,2,4],"ratings":[7,5,5,1],"flags":[[],[],[],["instruction"]],"comment":"","active_ms":1200,"wall_ms":1500}`
	ids := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var r struct{ Ranking string }
			mina.json(post, at+"/submit", body, "Idempotency-Key", "k1").want(t, http.StatusOK).into(t, &r)
			mu.Lock()
			ids[r.Ranking] = true
			mu.Unlock()
		}()
	}
	wg.Wait()
	if n := w.count(`SELECT count(*) FROM rankings`); n != 1 || len(ids) != 1 {
		t.Errorf("%d rankings, ids %v", n, ids)
	}
	mina.json(post, at+"/submit", `{"ranks":[4,2,2,1]}`, "Idempotency-Key", "k1").want(t, http.StatusConflict)
	mina.json(post, at+"/submit", `{"ranks":[4,2,2,1]}`, "Idempotency-Key", "k2").want(t, http.StatusConflict)
	mina.json(post, at+"/skip", `{"reason":"late"}`).want(t, http.StatusConflict)

	// Undo, and another ranking as the second revision.
	var back task
	mina.json(post, "/label/api/undo", nil).want(t, http.StatusOK).into(t, &back)
	if back.Assignment != a.Assignment || back.State != "reopened" || fmt.Sprint(back.Draft.Ranks) != "[1 2 2 4]" {
		t.Errorf("%+v", back)
	}
	var r struct{ Revision int }
	mina.json(post, at+"/submit", `{"ranks":[4,2,2,1]}`, "Idempotency-Key", "k3").want(t, http.StatusOK).into(t, &r)
	if r.Revision != 2 {
		t.Errorf("revision %d", r.Revision)
	}
	// Skip, report, release.
	mina.json(post, "/label/api/claim", nil).into(t, &a)
	mina.json(post, "/label/api/assignments/"+a.Assignment+"/skip", `{"reason":"unsafe"}`).want(t, http.StatusNoContent)
	ada := w.as("ada", account.RoleAdmin)
	page := ada.get("/admin/held").want(t, http.StatusOK)
	var held string // a labeler is not told it: a gold task would be known by its age
	w.must(w.pool.QueryRow(t.Context(), `SELECT task_id FROM assignments WHERE id = $1`, a.Assignment).Scan(&held))
	if !strings.Contains(page.body, held) || !strings.Contains(page.body, "unsafe") {
		t.Error("the report does not reach the admin")
	}
	ada.form("/admin/held/"+held+"/release").want(t, http.StatusSeeOther)
	mina.json(post, "/label/api/claim", nil).into(t, &a)
	release := "/label/api/assignments/" + a.Assignment + "/release"
	mina.json(post, release+"?until=tomorrow", nil).want(t, http.StatusBadRequest)
	open := func(want int) {
		t.Helper()
		if n := w.count(`SELECT count(*) FROM tasks WHERE open_slots = 1`); n != want {
			t.Errorf("%d open tasks, want %d", n, want)
		}
	}
	var now task
	mina.json(post, "/label/api/claim", nil).into(t, &now) // the same, renewed
	mina.json(post, release+"?until="+url.QueryEscape(a.LeaseUntil.Format(time.RFC3339Nano)), nil).want(t, http.StatusNoContent)
	open(2)
	mina.json(post, release+"?until="+url.QueryEscape(now.LeaseUntil.Format(time.RFC3339Nano)), nil).want(t, http.StatusNoContent)
	open(3)
	mina.json(post, release, nil).want(t, http.StatusNoContent) // it is given back already
	open(3)
}

// TestSimulatedLabelers: the client that stands in for people finds its way through sign-in, claim and submit, twenty at
// once, and takes every task once.
func TestSimulatedLabelers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const people, tasks = 6, 30
	for i := range tasks {
		w.addTask(says(fmt.Sprintf("Tell story %d about a fox.", i)), demoAnswers...)
	}
	done := make(chan int, people)
	for i := range people {
		w.user(fmt.Sprintf("sim%d", i), account.RoleLabeler)
		go func() {
			c := simulate.Client{BaseURL: w.http.URL, World: simulate.Starter(), Labeler: simulate.Labeler{Name: "sim", Email: fmt.Sprintf("sim%d@example.com", i), Password: testPassword, Seed: uint64(i), Temperature: 1}}
			n, err := c.Run(t.Context(), 0)
			if err != nil {
				t.Error(err)
			}
			done <- n
		}()
	}
	total := 0
	for range people {
		total += <-done
	}
	if n := w.count(`SELECT count(*) FROM rankings WHERE NOT surplus`); total != tasks || n != tasks {
		t.Errorf("%d acknowledged, %d stored, %d tasks", total, n, tasks)
	}
}

// TestNextEndpoint: a page that says what it has open gets something else; what is no list of ids is refused.
func TestNextEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mina := w.as("mina", account.RoleLabeler)
	for i := range 2 {
		w.addTask(says(fmt.Sprintf("Tell story %d.", i)), demoAnswers...)
	}
	var a, again, ahead task
	mina.json(post, "/label/api/next", `{"held":[]}`).want(t, http.StatusOK).into(t, &a)
	mina.json(post, "/label/api/next", nil).want(t, http.StatusOK).into(t, &again)
	held := fmt.Sprintf(`{"held":[%q]}`, a.Assignment)
	mina.json(post, "/label/api/next", held).want(t, http.StatusOK).into(t, &ahead)
	if a.Assignment != again.Assignment || ahead.Assignment == a.Assignment || ahead.Draft != nil {
		t.Errorf("%s, then %s, then ahead %s", a.Assignment, again.Assignment, ahead.Assignment)
	}
	mina.json(post, "/label/api/next", fmt.Sprintf(`{"held":[%q,%q]}`, a.Assignment, ahead.Assignment)).want(t, http.StatusNoContent)
	// Released by the page's beacon, which has no body and no JSON.
	mina.do(post, "/label/api/assignments/"+ahead.Assignment+"/release", "", "").want(t, http.StatusNoContent)
	if n := w.count(`SELECT count(*) FROM assignments WHERE state = 'leased'`); n != 1 {
		t.Errorf("%d held", n)
	}
	for _, body := range []string{`{"held":"x"}`, `{"held":["x"]}`, `{"held":[1]}`, `{"held":null,"other":"x"}`, `{"held":[` + strings.Repeat(`"`+a.Assignment+`",`, maxHeldIDs) + `"` + a.Assignment + `"]}`} {
		mina.json(post, "/label/api/next", body).want(t, http.StatusBadRequest)
	}
	mina.json(post, "/label/api/next", `{"project":"01890a5d-ac96-774b-bcce-b302099a8057"}`).want(t, http.StatusNotFound)
	// Letters of flags are the keys that set them: each has one of its own.
	letters := map[string]string{}
	for _, f := range labeling.Flags {
		l := flagLetters[f]
		if len(l) != 1 || letters[l] != "" {
			t.Errorf("flag %s has the key %q, which %q has too", f, l, letters[l])
		}
		letters[l] = f
	}
}
