package labeling

import (
	"encoding/hex"
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
// per labeler an assignment, a ranking and its comparisons. The same answers in another
// order are another task. A labeler's same ranking of the same answers is a duplicate;
// another one is rejected, because one of them must be wrong.
func (t *settler) rankings() error {
	byPrompt, err := t.tasksOf()
	if err != nil {
		return err
	}
	var tasks []*answeredTask
	var list []ranked
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
		}
		labeler := importedLabeler(it.rec.Labeler)
		if ranks, ok := task.by[labeler]; ok {
			if !slices.Equal(ranks, it.rec.Ranks) {
				it.wrong = invalid("ranks", "the same labeler has ranked the same answers otherwise")
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
	if err := t.addTasks(tasks, byPrompt); err != nil {
		return err
	}
	return t.addRankings(list)
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

// tasksOf are the tasks of the prompts that rankings are about, with their answers and the
// ranks that labelers known from files gave.
func (t *settler) tasksOf() (map[string][]*answeredTask, error) {
	var prompts []string
	for _, it := range t.items {
		if it.rec.Kind == Ranked && it.wrong == nil {
			prompts = append(prompts, it.prompt)
		}
	}
	byPrompt, byID := map[string][]*answeredTask{}, map[string]*answeredTask{}
	rows, err := t.tx.Query(t.ctx, `SELECT id, prompt_id FROM tasks WHERE prompt_id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, prompts)
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
	if rows, err = t.tx.Query(t.ctx, `SELECT task_id, id, text FROM responses WHERE task_id = ANY($1) ORDER BY task_id, position`, ids); err != nil {
		return nil, err
	}
	if _, err = pgx.ForEachRow(rows, []any{&id, &response, &text}, func() error {
		byID[id].responses, byID[id].texts = append(byID[id].responses, response), append(byID[id].texts, text)
		return nil
	}); err != nil {
		return nil, err
	}
	if rows, err = t.tx.Query(t.ctx, `SELECT a.task_id, a.labeler_id, k.ranks FROM assignments a JOIN rankings k ON k.id = a.ranking_id
		WHERE a.task_id = ANY($1) AND starts_with(a.labeler_id, $2)`, ids, imported); err != nil {
		return nil, err
	}
	_, err = pgx.ForEachRow(rows, []any{&id, &labeler, &ranks}, func() error {
		byID[id].by[labeler], ranks = ranks, nil
		return nil
	})
	return byPrompt, err
}

func (t *settler) addTasks(tasks []*answeredTask, byPrompt map[string][]*answeredTask) error {
	err := t.copy("tasks", []string{"id", "project_id", "prompt_id", "k", "need", "open_slots", "done"}, len(tasks), func(i int) []any {
		a := tasks[i]
		return []any{a.id, t.project.ID, a.prompt, len(a.texts), a.joined, 0, a.joined}
	})
	if err != nil {
		return err
	}
	var rows [][]any
	var found []int
	var at []*answeredTask
	for _, a := range tasks {
		for i, text := range a.texts {
			view, raw := Sanitize(text)
			var ids []int32
			digest := ""
			if rec := a.fresh.rec; rec.CompletionIDs != nil && len(rec.CompletionIDs[i]) > 0 {
				ids, digest = rec.CompletionIDs[i], rec.Tokenizer
			}
			rows = append(rows, []any{a.responses[i], a.prompt, a.id, i, view, raw, ids, digest})
			if a.fresh.answers != nil && a.fresh.answers[i] != nil {
				found, at = append(found, i), append(at, a)
			}
		}
	}
	if err := t.copy("responses", []string{"id", "prompt_id", "task_id", "position", "text", "raw", "token_ids", "tokenizer_digest"}, len(rows),
		func(i int) []any { return rows[i] }); err != nil {
		return err
	}
	if err := t.redacted("response", len(found), func(i int) (string, []Find, any) {
		return at[i].responses[found[i]], findsAt("response", at[i].fresh.answers[found[i]]), nil
	}); err != nil {
		return err
	}
	var joined, prompts []string
	var more []int
	for _, list := range byPrompt {
		for _, a := range list {
			if a.fresh != nil {
				prompts = append(prompts, a.prompt)
			} else if a.joined > 0 {
				joined, more = append(joined, a.id), append(more, a.joined)
			}
		}
	}
	if _, err := t.tx.Exec(t.ctx, `UPDATE prompts p SET tasks = p.tasks + u.n FROM (SELECT id, count(*) n FROM unnest($1::uuid[]) id GROUP BY id) u WHERE p.id = u.id`, prompts); err != nil {
		return err
	}
	_, err = t.tx.Exec(t.ctx, `UPDATE tasks t SET need = t.need + u.n, done = t.done + u.n FROM unnest($1::uuid[], $2::int[]) u(id, n) WHERE t.id = u.id`, joined, more)
	return err
}

func (t *settler) addRankings(list []ranked) error {
	if len(list) == 0 {
		return nil
	}
	if _, err := t.tx.Exec(t.ctx, `SET CONSTRAINTS assignments_ranking_id_fkey DEFERRED`); err != nil {
		return err
	}
	now := t.run.CreatedAt
	err := t.copy("assignments", []string{"id", "task_id", "project_id", "labeler_id", "state", "lease_until", "display_order", "guideline", "ranking_id", "closed_at"},
		len(list), func(i int) []any {
			r := list[i]
			order := make([]int16, len(r.rec.Ranks)) // nobody was shown another one
			for j := range order {
				order[j] = int16(j)
			}
			return []any{r.assignment, r.task.id, t.project.ID, r.labeler, Submitted, now, order, t.project.Guideline, r.ranking, now}
		})
	if err != nil {
		return err
	}
	err = t.copy("rankings", []string{"id", "project_id", "task_id", "assignment_id", "labeler_id", "revision", "ranks", "idempotency_key", "request_hash", "guideline", "surplus"},
		len(list), func(i int) []any {
			r := list[i]
			ranks := make([]int16, len(r.rec.Ranks))
			for j, v := range r.rec.Ranks {
				ranks[j] = int16(v)
			}
			hash := r.rec.identity()
			return []any{r.ranking, t.project.ID, r.task.id, r.assignment, r.labeler, 1, ranks, r.task.id + " " + hex.EncodeToString(hash[:]), hash[:], t.project.Guideline, false}
		})
	if err != nil {
		return err
	}
	var pairs [][3]string
	done := map[string]int{}
	for _, r := range list {
		done[r.labeler]++
		for _, p := range Pairs(r.rec.Ranks) {
			pairs = append(pairs, [3]string{r.ranking, r.task.responses[p[0]], r.task.responses[p[1]]})
		}
	}
	if err := t.copy("comparisons", []string{"ranking_id", "winner_id", "loser_id"}, len(pairs), func(i int) []any {
		return []any{pairs[i][0], pairs[i][1], pairs[i][2]}
	}); err != nil {
		return err
	}
	ids, people, of := make([]string, len(list)), make([]string, len(list)), make([]string, len(list))
	for i, r := range list {
		ids[i], people[i], of[i] = r.ranking, r.labeler, r.task.id
	}
	if _, err := t.tx.Exec(t.ctx, `SELECT audit_append(u.who, 'labeling.submit', u.id, jsonb_build_object('task', u.task, 'import', $4::text))
		FROM unnest($1::text[], $2::text[], $3::text[]) u(id, who, task)`, ids, people, of, t.run.ID); err != nil {
		return err
	}
	names := make([]string, 0, len(done))
	for name := range done {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare) // locks in one order
	counts := make([]int, len(names))
	for i, name := range names {
		counts[i] = done[name]
	}
	_, err = t.tx.Exec(t.ctx, `INSERT INTO labelers (project_id, labeler_id, done) SELECT $1, * FROM unnest($2::text[], $3::int[])
		ON CONFLICT (project_id, labeler_id) DO UPDATE SET done = labelers.done + excluded.done`, t.project.ID, names, counts)
	return err
}
