package labeling

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// answeredTask is a task that imported rankings join: one that is there, or a new one.
type answeredTask struct {
	id        string
	prompt    string
	responses []string // ids
	texts     []string
	fresh     *settling // whose record it is made of; nil: it was there
	by        map[string][]int
	joined    int // rankings added now
}

// ranked is a ranking that is new.
type ranked struct {
	*settling
	task                *answeredTask
	labeler             string
	assignment, ranking string
}

// rankings writes what rankings became: tasks without open slots, their responses, and
// per labeler an assignment and a ranking. The same answers in another
// order are another task. A labeler's same ranking of the same answers is a duplicate;
// another one is rejected, because one of them must be wrong.
func (t *settler) rankings() error {
	fresh := make(map[string]bool, len(t.added))
	for _, it := range t.added {
		fresh[it.prompt] = true
	}
	var known []string
	for _, it := range t.items {
		if it.rec.Kind == Ranked && it.wrong == nil && !fresh[it.prompt] {
			known = append(known, it.prompt)
		}
	}
	byPrompt, err := answeredTasks(t.ctx, t.tx, known, " ORDER BY id FOR NO KEY UPDATE")
	if err != nil {
		return err
	}
	var tasks []*answeredTask
	var list []ranked
	tasksOf := map[string]int{} // new ones by prompt
	for _, it := range t.items {
		if it.rec.Kind != Ranked || it.wrong != nil {
			continue
		}
		at := slices.IndexFunc(byPrompt[it.prompt], func(a *answeredTask) bool { return slices.Equal(a.texts, it.rec.Completions) })
		var task *answeredTask
		if at >= 0 {
			task = byPrompt[it.prompt][at]
		} else {
			task = &answeredTask{prompt: it.prompt, texts: it.rec.Completions, fresh: it, by: map[string][]int{}}
			if err := task.name(); err != nil {
				return err
			}
			byPrompt[it.prompt] = append(byPrompt[it.prompt], task)
			tasks = append(tasks, task)
			tasksOf[it.prompt]++
		}
		labeler := importedLabeler(it.rec.Labeler)
		if ranks, ok := task.by[labeler]; ok {
			if !slices.Equal(ranks, it.rec.Ranks) {
				it.wrong = errContradicts()
			}
			continue
		}
		task.by[labeler] = it.rec.Ranks
		task.joined++
		it.fresh = true
		r := ranked{settling: it, task: task, labeler: labeler}
		if r.assignment, err = newID(); err != nil {
			return err
		}
		if r.ranking, err = newID(); err != nil {
			return err
		}
		list = append(list, r)
	}
	for _, it := range t.added {
		it.tasks = tasksOf[it.prompt]
		delete(tasksOf, it.prompt)
	}
	if err := t.trust(func() error {
		for _, write := range []func() error{t.addPrompts, func() error { return t.addTasks(tasks) }, func() error { return t.addRankings(list) }} {
			if err := write(); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := t.moveTasks(tasksOf, byPrompt); err != nil {
		return err
	}
	return t.countLabelers(list)
}

// name gives ids to a task and its responses.
func (a *answeredTask) name() (err error) {
	if a.id, err = newID(); err != nil {
		return err
	}
	for range a.texts {
		id, err := newID()
		if err != nil {
			return err
		}
		a.responses = append(a.responses, id)
	}
	return nil
}

// answeredTasks are the tasks of prompts, with their answers and the ranks that labelers known from files gave.
func answeredTasks(ctx context.Context, q querier, prompts []string, lock string) (map[string][]*answeredTask, error) {
	byPrompt, byID := map[string][]*answeredTask{}, map[string]*answeredTask{}
	rows, err := q.Query(ctx, `SELECT id, prompt_id FROM tasks WHERE prompt_id = ANY($1)`+lock, prompts)
	if err != nil {
		return nil, err
	}
	var id, prompt, response, text, labeler string
	var ranks []int
	if _, err = pgx.ForEachRow(rows, []any{&id, &prompt}, func() error {
		a := &answeredTask{id: id, prompt: prompt, by: map[string][]int{}}
		byID[id] = a
		byPrompt[prompt] = append(byPrompt[prompt], a)
		return nil
	}); err != nil || len(byID) == 0 {
		return byPrompt, err
	}
	ids := make([]string, 0, len(byID))
	for id := range byID {
		ids = append(ids, id)
	}
	if rows, err = q.Query(ctx, `SELECT task_id, id, text FROM responses WHERE task_id = ANY($1) ORDER BY task_id, position`, ids); err != nil {
		return nil, err
	}
	if _, err = pgx.ForEachRow(rows, []any{&id, &response, &text}, func() error {
		byID[id].responses, byID[id].texts = append(byID[id].responses, response), append(byID[id].texts, text)
		return nil
	}); err != nil {
		return nil, err
	}
	if rows, err = q.Query(ctx, `SELECT a.task_id, a.labeler_id, k.ranks FROM assignments a JOIN rankings k ON k.id = a.ranking_id
		WHERE a.task_id = ANY($1) AND starts_with(a.labeler_id, $2)`, ids, imported); err != nil {
		return nil, err
	}
	_, err = pgx.ForEachRow(rows, []any{&id, &labeler, &ranks}, func() error {
		byID[id].by[labeler], ranks = ranks, nil
		return nil
	})
	return byPrompt, err
}

// answer is a response of a task that is new.
type answer struct {
	task *answeredTask
	at   int
}

func (t *settler) addTasks(tasks []*answeredTask) error {
	err := t.copy("tasks", []string{"id", "project_id", "prompt_id", "k", "need", "open_slots", "done"}, len(tasks), func(b copyRow, i int) copyRow {
		a := tasks[i]
		return b.uuid(a.id).uuid(t.project.ID).uuid(a.prompt).int2(len(a.texts)).int4(a.joined).int4(0).int4(a.joined)
	})
	if err != nil {
		return err
	}
	var all, found []answer
	for _, a := range tasks {
		for i := range a.texts {
			all = append(all, answer{a, i})
			if a.fresh.answers != nil && a.fresh.answers[i] != nil {
				found = append(found, answer{a, i})
			}
		}
	}
	if err := t.copy("responses", []string{"id", "prompt_id", "task_id", "position", "text", "raw", "token_ids", "tokenizer_digest"}, len(all),
		func(b copyRow, i int) copyRow {
			a, at := all[i].task, all[i].at
			view, raw := Sanitize(a.texts[at])
			var ids []int32
			digest := ""
			if rec := a.fresh.rec; rec.CompletionIDs != nil && len(rec.CompletionIDs[at]) > 0 {
				ids, digest = rec.CompletionIDs[at], rec.Tokenizer
			}
			return b.uuid(a.responses[at]).uuid(a.prompt).uuid(a.id).int2(at).text(view).bytes(raw).int4s(ids).text(digest)
		}); err != nil {
		return err
	}
	return t.redacted("response", len(found), func(i int) (string, []Find, any) {
		a, at := found[i].task, found[i].at
		return a.responses[at], findsAt("response", a.fresh.answers[at]), nil
	})
}

// moveTasks moves the counters of prompts and tasks that were there: more tasks, more rankings.
func (t *settler) moveTasks(tasksOf map[string]int, byPrompt map[string][]*answeredTask) error {
	update := func(statement string, by map[string]int) error {
		if len(by) == 0 {
			return nil
		}
		ids, more := make([]string, 0, len(by)), make([]int, 0, len(by))
		for id, n := range by {
			ids, more = append(ids, id), append(more, n)
		}
		_, err := t.tx.Exec(t.ctx, statement, ids, more)
		return err
	}
	if err := update(`UPDATE prompts p SET tasks = p.tasks + u.n FROM unnest($1::uuid[], $2::int[]) u(id, n) WHERE p.id = u.id`, tasksOf); err != nil {
		return err
	}
	joined := map[string]int{}
	for _, list := range byPrompt {
		for _, a := range list {
			if a.fresh == nil && a.joined > 0 {
				joined[a.id] = a.joined
			}
		}
	}
	return update(`UPDATE tasks t SET need = t.need + u.n, done = t.done + u.n FROM unnest($1::uuid[], $2::int[]) u(id, n) WHERE t.id = u.id`, joined)
}

// addRankings writes assignments and rankings. The idempotency key of a ranking that nobody submitted is where it
// stood: "import ID LINE.PART".
func (t *settler) addRankings(list []ranked) error {
	if len(list) == 0 {
		return nil
	}
	now := t.run.CreatedAt
	err := t.copy("assignments", []string{"id", "task_id", "project_id", "labeler_id", "state", "lease_until", "display_order", "guideline", "ranking_id", "closed_at"},
		len(list), func(b copyRow, i int) copyRow {
			r := list[i]
			order := make([]int, len(r.rec.Ranks)) // nobody was shown another one
			for j := range order {
				order[j] = j
			}
			b = b.uuid(r.assignment).uuid(r.task.id).uuid(t.project.ID).text(r.labeler).text(Submitted).at(now)
			return b.int2s(order).int4(t.project.Guideline).uuid(r.ranking).at(now)
		})
	if err != nil {
		return err
	}
	return t.copy("rankings", []string{"id", "project_id", "task_id", "assignment_id", "labeler_id", "revision", "ranks", "idempotency_key", "request_hash", "guideline", "surplus"},
		len(list), func(b copyRow, i int) copyRow {
			r := list[i]
			hash := r.rec.identity()
			b = b.uuid(r.ranking).uuid(t.project.ID).uuid(r.task.id).uuid(r.assignment).text(r.labeler).int4(1).int2s(r.rec.Ranks)
			return b.text(fmt.Sprintf("import %s %d.%d", t.run.ID, r.line, r.part)).bytes(hash[:]).int4(t.project.Guideline).bool(false)
		})
}

// countLabelers moves the counters of those who ranked.
func (t *settler) countLabelers(list []ranked) error {
	done := map[string]int{}
	for _, r := range list {
		done[r.labeler]++
	}
	names := sortedKeys(done, strings.Compare) // locks in one order
	counts := make([]int, len(names))
	for i, name := range names {
		counts[i] = done[name]
	}
	_, err := t.tx.Exec(t.ctx, `INSERT INTO labelers (project_id, labeler_id, done) SELECT $1, * FROM unnest($2::text[], $3::int[])
		ON CONFLICT (project_id, labeler_id) DO UPDATE SET done = labelers.done + excluded.done`, t.project.ID, names, counts)
	return err
}
