package web

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

// comparedTo writes a comparison of the version that serves with another one, answered and judged once by a labeler, as its job leaves it.
func (w *world) comparedTo(other registry.Version, labeler account.User, prompt string, answers ...string) loop.Comparison {
	w.Helper()
	ctx := w.Context()
	cfg := loop.DefaultCompare()
	cfg.Seed, cfg.Judges = 3, loop.JudgesRoom
	line, err := json.Marshal(map[string]string{"prompt": prompt, "category": "story"})
	w.must(err)
	list := string(line) + "\nTell another one.\nToo long a prompt."
	c, err := w.loop.StartComparison(ctx, loop.NewComparison{A: w.version.ID, B: other.ID, Config: cfg, List: list, Actor: "user:" + labeler.ID})
	w.must(err)
	w.must(pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		for i := range 2 {
			var id string
			if err := tx.QueryRow(ctx, `SELECT prompt_id::text FROM model_comparison_pairs WHERE comparison_id = $1 AND position = $2`, c.ID, i).Scan(&id); err != nil {
				return err
			}
			task, err := w.labeling.AddTask(ctx, tx, id, []labeling.NewResponse{{Text: answers[0]}, {Text: answers[1]}}, 1, c.ID)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `UPDATE model_comparison_pairs SET state = 'answered', task_id = $3, a_tokens = 40, b_tokens = 30, a_length = 220, b_length = 170, a_reward = 0.2, b_reward = 0.8, kl = 4.5
				WHERE comparison_id = $1 AND position = $2`, c.ID, i, task.ID); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `UPDATE model_comparison_pairs SET state = 'unfit' WHERE comparison_id = $1 AND position = 2`, c.ID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE model_comparisons SET stage = 'judge' WHERE id = $1`, c.ID); err != nil {
			return err
		}
		return w.labeling.CloseComparison(ctx, tx, c.ProjectID, false)
	}))
	a, err := w.labeling.Claim(ctx, c.ProjectID, labeler.ID)
	w.must(err)
	_, err = w.labeling.Submit(ctx, labeling.SubmitInput{AssignmentID: a.ID, LabelerID: labeler.ID, IdempotencyKey: a.ID, Ranks: []int{1, 2}, Strength: 3}, nil)
	w.must(err)
	c, err = w.loop.Comparison(ctx, c.ID)
	w.must(err)
	return c
}

// comparisons are the pages of two comparisons of a round's policy: one that is being judged and was looked at early, and a closed one.
func (w *world) comparisons(r loop.Round, labeler account.User, prompt string, answers ...string) (judged, closed string) {
	w.Helper()
	v, err := w.registry.Get(w.Context(), r.PolicyVersionID)
	w.must(err)
	first, second := w.comparedTo(v, labeler, prompt, answers...), w.comparedTo(v, labeler, prompt, answers...)
	w.must(w.loop.LookEarly(w.Context(), first.ID, "system"))
	w.must(w.loop.CloseComparison(w.Context(), second.ID, "system"))
	return comparePath + "/" + first.ID, comparePath + "/" + second.ID
}

// pairOfVersions registers two policies with weights of their own, and lets the loop's jobs run.
func (w *world) pairOfVersions() (a, b registry.Version) {
	w.Helper()
	ctx, tok := w.Context(), token.GPT2()
	blobs := checkpoint.Dir(w.TempDir())
	w.loop.Blobs = blobs
	var made []registry.Version
	for i, name := range []string{"quiet-otter", "loud-heron"} {
		m, err := model.New(model.Config{Family: "gpt2", Vocab: tok.Vocab(), Context: 96, Layers: 1, Width: 16, Heads: 2, KVHeads: 2, Hidden: 32,
			NormEps: 1e-5, Tied: true, BOS: -1, EOS: int(tok.EOS())}, uint64(10+i))
		w.must(err)
		dir := filepath.Join(w.TempDir(), name)
		w.must((&checkpoint.Checkpoint{Model: m, Tokenizer: tok, Card: checkpoint.Card{Kind: "policy"}}).Save(dir, "F32"))
		digest, err := blobs.Put(ctx, dir)
		w.must(err)
		made = append(made, w.register(registry.Version{Kind: registry.Policy, Name: name, Digest: digest}))
	}
	workers := river.NewWorkers()
	w.loop.AddWorkers(workers)
	client, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{Schema: "river", Workers: workers, Queues: map[string]river.QueueConfig{loop.QueueRollout: {MaxWorkers: 1}}})
	w.must(err)
	w.loop.SetClient(client)
	w.must(client.Start(ctx))
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := client.StopAndCancel(ctx); err != nil {
			w.Error(err)
		}
	})
	return made[0], made[1]
}

// TestAdmin5Compare is journey 5 of admins: an admin starts a comparison of two versions, two labelers judge every pair by keys alone, and the result is
// shown. Until then nothing that anybody can read says whose an answer is.
func TestAdmin5Compare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("ada", account.RoleOwner)
	mina := w.as("mina", account.RoleLabeler)
	w.user("tomas", account.RoleLabeler)
	a, bVersion := w.pairOfVersions()
	b := w.open(1280, 900, false)
	b.signIn("ada@example.com")
	b.visit("/admin/models/" + bVersion.ID)
	b.do(chromedp.Click(chromedp.CSS(`a[href="/admin/compare?b=` + bVersion.ID + `"]`)))
	b.until(`document.readyState === "complete" && document.getElementById("b") && document.getElementById("b").value === "` + bVersion.ID + `"`)
	eval[bool](b, `document.getElementById("a").value = "`+a.ID+`"; document.getElementById("project").value = ""; document.getElementById("overlap").value = "2"; document.getElementById("max_tokens").value = "12"; true`)
	start := chromedp.Click(chromedp.CSS(`form[action="/admin/compare"] .btn.primary`))
	b.allow("400")
	b.do(start)
	b.until(`document.querySelector("[role=alert]") && document.querySelector("[role=alert]").textContent.includes("one a line") && document.getElementById("a").value === "` + a.ID + `"`) // what was chosen is kept
	eval[bool](b, `document.getElementById("list").value = [0, 1, 2, 3, 4, 5].map((i) => JSON.stringify({prompt: "Tell story " + i + " about a fox.", category: i % 2 ? "odd" : "even"})).join("\n"); true`)
	b.do(start)
	b.until(`document.getElementById("comparison") && document.getElementById("comparison").dataset.stage === "judge"`) // by itself
	b.shot("judging")
	var id, project string
	w.must(w.pool.QueryRow(t.Context(), `SELECT id::text, project_id::text FROM model_comparisons`).Scan(&id, &project))
	page := "/admin/compare/" + id
	ada := w.anon()
	ada.login("ada@example.com", testPassword).want(t, http.StatusSeeOther)
	for _, path := range []string{"/pairs", "/pairs.csv", "/pairs.json"} {
		ada.get(page+path).want(t, http.StatusConflict)
	}
	if body := ada.get(page).want(t, 200).body; strings.Contains(body, "won against") {
		t.Error("the result is shown before the end")
	}
	w.blind(ada, mina, project, a, bVersion)
	if body := mina.get("/label?project="+w.project.ID).want(t, 200).body; !strings.Contains(body, `href="/label?project=`+project+`"`) {
		t.Error("the page of another project does not say that a comparison waits")
	}

	for _, who := range []string{"mina", "tomas"} {
		tab := w.open(1280, 900, false)
		tab.signIn(who + "@example.com")
		tab.until(`document.querySelectorAll(".choices li").length === 2`) // the usual project, and the comparison
		tab.do(chromedp.Click(chromedp.CSS(`.choices a[href="/label?project=` + project + `"]`)))
		for i := range 6 {
			tab.until(workOpen)
			if html := eval[string](tab, `document.documentElement.outerHTML`); strings.Contains(html, a.ID) || strings.Contains(html, bVersion.ID) || strings.Contains(html, a.Name) || strings.Contains(html, bVersion.Name) {
				t.Error("the page names a version")
			}
			tab.keys(map[bool]string{true: "2", false: "5"}[i < 4])
			tab.send()
			tab.until(fmt.Sprintf(`document.getElementById("progress").textContent.startsWith("%d ")`, i+1) + ` || !document.getElementById("empty").hidden`)
		}
		tab.until(`!document.getElementById("empty").hidden`)
		tab.allow("404") // a page that is left open asks for more, and the comparison is closed then
	}
	if body := mina.get("/label?project="+w.project.ID).want(t, 200).body; strings.Contains(body, "/label?project="+project) {
		t.Error("the page of another project says that the comparison waits, and nothing is open")
	}
	b.until(`document.getElementById("comparison").dataset.judged === "true"`)
	b.do(chromedp.Click(chromedp.CSS(`details:has(form[action$="/close"]) > summary`)))
	b.do(chromedp.Click(chromedp.CSS(`form[action$="/close"] button`)))
	b.until(`document.body.innerText.includes("won against") && document.body.innerText.includes("Length-controlled")`)
	b.axe()
	b.fitsWidth()
	b.wholeShot("closed")
	b.result(w, id)
	for _, part := range []string{"odd", "even", "%"} { // by slice, with intervals
		b.until(`document.getElementById("main").innerText.includes("` + part + `")`)
	}
	b.click(`a[href$="/pairs"]`) // to what was said
	b.until(`location.pathname.endsWith("/pairs") && document.getElementById("main").innerText.includes("` + a.Name + `") && document.getElementById("main").innerText.includes("fox")`)
	b.axe()
	b.size(360, 740)
	b.fitsWidth()
	b.visit(page)
	b.fitsWidth()
	b.size(1280, 900)
	ada.get(page+"/pairs").want(t, 200)
	got := ada.get(page+"/pairs.csv").want(t, 200)
	if rows, err := csv.NewReader(strings.NewReader(got.body)).ReadAll(); err != nil || len(rows) != 13 || !strings.Contains(got.head.Get("Content-Disposition"), "comparison-1.csv") {
		t.Errorf("CSV: %s", got.body)
	}
}

// result checks what the page shows against what is stored: by keys, the left answer won four times and two were ties, of each judge.
func (b *tab) result(w *world, id string) {
	b.Helper()
	c, err := w.loop.Comparison(w.Context(), id)
	w.must(err)
	var first [2]int // wins of A and B as the rankings and the sides say
	rows, err := w.pool.Query(w.Context(), `SELECT (k.ranks[1] < k.ranks[2]) = p.swapped FROM rankings k JOIN model_comparison_pairs p ON p.task_id = k.task_id WHERE k.ranks[1] <> k.ranks[2]`)
	w.must(err)
	var winsB bool
	_, err = pgx.ForEachRow(rows, []any{&winsB}, func() error {
		first[map[bool]int{true: 1}[winsB]]++
		return nil
	})
	w.must(err)
	r := c.Report
	if r.WinsA != first[0] || r.WinsB != first[1] || r.Ties != 4 || r.Judgements != 12 || r.Judges != 2 || len(r.Slices) != 2 {
		b.Errorf("%+v, want wins %v", r, first)
	}
	if !strings.Contains(eval[string](b, `document.body.innerText`), fmt.Sprintf("12: B won %d, ties 4, A won %d; by 2 people", first[1], first[0])) {
		b.Error("the page says something else than the report")
	}
}

// blind looks for anything that says whose an answer is, where people can read before the end: what a labeler is sent, and the pages
// of labeling that an admin has.
func (w *world) blind(ada, mina *browser, project string, versions ...registry.Version) {
	w.Helper()
	var seen []string
	var answers []struct {
		Key, Text string
	}
	for range 6 {
		got := mina.json(post, "/label/api/claim", map[string]string{"project": project}).want(w.T, 200)
		seen = append(seen, got.body)
		var task struct {
			Assignment string
			Answers    []struct{ Key, Text string }
		}
		got.into(w.T, &task)
		answers = append(answers, task.Answers...)
		mina.json(post, "/label/api/assignments/"+task.Assignment+"/release", nil)
	}
	seen = append(seen, mina.get("/label?project="+project).want(w.T, 200).body, mina.get("/label/projects").want(w.T, 200).body)
	seen = append(seen, ada.get("/admin/labeling/tasks?project="+project).want(w.T, 200).body, ada.get("/admin/labeling?project="+project).want(w.T, 200).body)
	rows, err := w.pool.Query(w.Context(), `SELECT id::text FROM tasks WHERE project_id = $1`, project)
	w.must(err)
	tasks, err := pgx.CollectRows(rows, pgx.RowTo[string])
	w.must(err)
	for _, id := range tasks {
		seen = append(seen, ada.get("/admin/labeling/tasks/"+id).want(w.T, 200).body)
	}
	if len(seen) != 16 || len(answers) != 12 {
		w.Errorf("only %d pages and %d answers were looked at", len(seen), len(answers))
	}
	for _, body := range seen {
		for _, v := range versions {
			if strings.Contains(body, v.ID) || strings.Contains(body, v.Name) || strings.Contains(body, v.Digest) {
				w.Errorf("%s is named in %.300s", v.Name, body)
			}
		}
	}
	for _, a := range answers {
		if a.Key != "A" && a.Key != "B" {
			w.Errorf("an answer is called %q", a.Key)
		}
	}
}
