package labeling

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

func TestWordQuery(t *testing.T) {
	for text, want := range map[string]string{
		"Fox": "'fox':*", "  a fox, and' a \"drum\" ": "'a':* & 'fox':* & 'and':* & 'a':* & 'drum':*", "狐狸 鼓": "'狐狸':* & '鼓':*", "'; DROP TABLE x --": "'drop':* & 'table':* & 'x':*",
		"1 2 3 4 5 6 7 8 9 10": "'1':* & '2':* & '3':* & '4':* & '5':* & '6':* & '7':* & '8':*", "…!": "", `a\b`: "'a':* & 'b':*",
	} {
		if got := wordQuery(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// FuzzTaskFilter: whatever is typed, the database understands what is asked of it.
func FuzzTaskFilter(f *testing.F) {
	for _, s := range []string{"fox", "'", `\`, ":*", "& | ! ( )", "狐狸", "e\u0301", "a'b"} {
		f.Add(s)
	}
	b := setup(f)
	f.Fuzz(func(t *testing.T, text string) {
		filter := TaskFilter{Text: text, CustomerID: text, Batch: text}
		if filter.check() != nil {
			return
		}
		if _, err := b.store.Tasks(b.ctx, b.project.ID, filter, 1); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if _, err := b.store.Tasks(b.ctx, b.project.ID, TaskFilter{Text: text}, 1); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// TestTaskPages: on a large project each filter's pages, walked to their end, are exactly the tasks that a plain query
// finds; no page scans a table from its beginning, the first as little as the thousandth, and none reads much.
func TestTaskPages(t *testing.T) {
	b := setup(t)
	const n = 60_000
	b.bulk(n, false)
	for name, c := range map[string]struct {
		f     TaskFilter
		where string
		limit int
	}{
		"all":               {TaskFilter{}, `true`, 60},
		"open":              {TaskFilter{State: TaskOpen}, `open_slots > 0 AND held = ''`, 60},
		"done":              {TaskFilter{State: TaskDone}, `done = need AND held = ''`, 60},
		"worked":            {TaskFilter{State: TaskWorked}, `false`, 60},
		"held":              {TaskFilter{State: TaskHeld}, `held <> ''`, 20},
		"batch":             {TaskFilter{Batch: "b7"}, `batch = 'b7'`, 100},
		"batch and split":   {TaskFilter{Batch: "b7", Split: Valid}, `batch = 'b7' AND split = 'valid'`, 10},
		"customer":          {TaskFilter{CustomerID: "customer 300"}, `customer_id = 'customer 300'`, 7},
		"labeler":           {TaskFilter{LabelerID: "labeler 3"}, `EXISTS (SELECT FROM assignments a WHERE a.task_id = t.id AND a.labeler_id = 'labeler 3')`, 200},
		"labeler, open":     {TaskFilter{LabelerID: "labeler 0", State: TaskOpen, Origin: OriginAPI}, `origin = 'api' AND open_slots > 0 AND held = '' AND EXISTS (SELECT FROM assignments a WHERE a.task_id = t.id AND a.labeler_id = 'labeler 0')`, 100},
		"rare word":         {TaskFilter{Text: "Zeppelin"}, `text LIKE '%zeppelin%'`, 5},
		"beginning of word": {TaskFilter{Text: "ZEPP fox"}, `text LIKE '%zeppelin%'`, 5},
		"word in a batch":   {TaskFilter{Text: "zeppelin", Batch: "b5"}, `text LIKE '%zeppelin%' AND batch = 'b5'`, 5},
		"number":            {TaskFilter{Text: "prompt 4242"}, `text ~ 'prompt 4242'`, 5},
		"nothing":           {TaskFilter{Batch: "none"}, `false`, 5},
	} {
		t.Run(name, func(t *testing.T) {
			rows, err := b.pool.Query(b.ctx, `SELECT t.id::text FROM tasks t JOIN prompts p ON p.id = t.prompt_id WHERE `+c.where+` ORDER BY t.id DESC`)
			b.ok(err)
			want, err := pgx.CollectRows(rows, pgx.RowTo[string])
			b.ok(err)
			var got []string
			f := c.f
			for page := 1; ; page++ {
				if page == 1 || page == 1000 || f.Before != "" && page%97 == 0 {
					b.checkPlan(t, f, c.limit)
				}
				p, err := b.store.Tasks(b.ctx, b.project.ID, f, c.limit)
				b.ok(err)
				for _, r := range p.Rows {
					got = append(got, r.ID)
				}
				if p.Next == "" {
					break
				}
				if f.Before = p.Next; page > 1100 {
					t.Fatal("it has no end")
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d tasks, want %d", len(got), len(want))
			}
		})
	}
	// A word that everybody uses: the page says that not all was looked at.
	p, err := b.store.Tasks(b.ctx, b.project.ID, TaskFilter{Text: "fox", State: TaskWorked}, 50)
	b.ok(err)
	if len(p.Rows) != 0 || !p.Common {
		t.Errorf("%+v", p)
	}
	// A state that no task is in: each page looks through so many, and says so.
	p, err = b.store.Tasks(b.ctx, b.project.ID, TaskFilter{State: TaskHidden}, 50)
	b.ok(err)
	if len(p.Rows) != 0 || !p.Unfinished || p.Next == "" {
		t.Errorf("%+v", p)
	}
}

// checkPlan reads how the page's statement is carried out.
func (b *bench) checkPlan(t *testing.T, f TaskFilter, limit int) {
	t.Helper()
	sql, args := taskListSQL(b.project.ID, f, limit)
	var raw []byte
	if err := b.pool.QueryRow(b.ctx, `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+sql, append([]any{pgx.QueryExecModeExec}, args...)...).Scan(&raw); err != nil {
		t.Fatal(err)
	}
	var plan []map[string]any
	if err := json.Unmarshal(raw, &plan); err != nil {
		t.Fatal(err)
	}
	top := plan[0]["Plan"].(map[string]any)
	var walk func(node map[string]any)
	walk = func(node map[string]any) {
		if kind := node["Node Type"]; kind == "Seq Scan" {
			t.Errorf("%+v: %s on %s", f, kind, node["Relation Name"])
		}
		children, _ := node["Plans"].([]any)
		for _, child := range children {
			walk(child.(map[string]any))
		}
	}
	walk(top)
	// For each of searchSpan entries: its task and its prompt, a page each and three of an index, are the most.
	if pages := top["Shared Hit Blocks"].(float64) + top["Shared Read Blocks"].(float64); pages > 9*searchSpan {
		t.Errorf("%+v: %g pages of the buffer", f, pages)
	}
}

func TestTaskFilterIsChecked(t *testing.T) {
	b := setup(t)
	for field, f := range map[string]TaskFilter{"state": {State: "x"}, "split": {Split: "x"}, "origin": {Origin: "x"}, "before": {Before: "x"}, "text": {Text: "?!"},
		"batch": {Batch: "\x00"}, "customer": {CustomerID: "\xff"}, "labeler": {LabelerID: "\x00"}} {
		_, err := b.store.Tasks(b.ctx, b.project.ID, f, 10)
		b.invalid(err, field)
	}
	_, err := b.store.Tasks(b.ctx, "x", TaskFilter{}, 10)
	b.is(err, ErrNotFound)
}

// TestTaskDetail: a task that was claimed, submitted, undone, submitted again, skipped by another and reported.
func TestTaskDetail(t *testing.T) {
	b := setup(t)
	task := b.tasks(1, 3, 3, "round 1")[0]
	a := b.claim("ann")
	in := best(a, "k1")
	in.Ratings, in.Flags, in.Comment = make([]int, 3), make([][]string, 3), "not so sure"
	for d, pos := range a.Order {
		in.Ratings[d] = 7 - pos
		if pos == 2 {
			in.Flags[d] = []string{"opinion", "harmful"}
		}
	}
	_, err := b.store.Submit(b.ctx, in, nil)
	b.ok(err)
	again, err := b.store.Reopen(b.ctx, b.project.ID, "ann")
	b.ok(err)
	in = best(again, "k2")
	for d := range in.Ranks {
		in.Ranks[d] = 4 - in.Ranks[d]
	}
	_, err = b.store.Submit(b.ctx, in, nil)
	b.ok(err)
	b.ok(b.store.Skip(b.ctx, b.claim("bob").ID, "bob", "too hard"))
	d, err := b.store.TaskDetail(b.ctx, task.ID)
	b.ok(err)
	if d.State != TaskOpen || d.Batch != "round 1" || d.Prompt.Text != "prompt round 1 0" || len(d.Answers) != 3 || d.Answers[2].Text != "answer 2" || d.ProjectID != b.project.ID {
		t.Errorf("%+v", d)
	}
	if len(d.Work) != 2 || d.Work[1].State != Skipped || d.Work[1].SkipReason != "too hard" || !cmp.Equal(d.Work[0].Order, a.Order) {
		t.Fatalf("work %+v", d.Work)
	}
	r := d.Work[0].Revisions
	if len(r) != 2 || r[0].Counts || !r[1].Counts || fmt.Sprint(r[0].Ranks, r[1].Ranks) != "[1 2 3] [3 2 1]" || r[0].Comment != "not so sure" {
		t.Fatalf("revisions %+v", r)
	}
	if fmt.Sprint(r[0].Ratings) != "[7 6 5]" || !cmp.Equal(r[0].Flags, [][]string{nil, nil, {"harmful", "opinion"}}) || strings.Join(r[1].Flags[2], "") != "" {
		t.Errorf("%v %v", r[0].Ratings, r[0].Flags)
	}
	for _, id := range []string{"x", newKey()} {
		_, err := b.store.TaskDetail(b.ctx, id)
		b.is(err, ErrNotFound)
	}
}
