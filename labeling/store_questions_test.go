package labeling

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// asked is what a labeler does with a task of a question, twice, and what must follow.
type asked struct {
	question      string
	k             int
	messages      []Message
	draft         Draft
	first, second func(a *Assignment, in *SubmitInput) // second is the edit after undo
	pairs         [2]int                               // comparisons of each
	demonstration [2]string                            // "" = none
	completions   [2]int                               // of the snapshot's item
}

func byPosition(a *Assignment, ranks ...int) (out []int) {
	for _, pos := range a.Order {
		out = append(out, ranks[pos])
	}
	return out
}

var allQuestions = []asked{
	{question: QuestionRanking, k: 3, draft: Draft{Ranks: []int{0, 1, 0}, Focus: 1},
		first:  func(a *Assignment, in *SubmitInput) { in.Ranks = byPosition(a, 1, 2, 2) },
		second: func(a *Assignment, in *SubmitInput) { in.Ranks = byPosition(a, 3, 2, 1) },
		pairs:  [2]int{2, 3}, completions: [2]int{3, 3}},
	{question: QuestionPairwise, k: 2, draft: Draft{Ranks: []int{2, 1}, Strength: 2, Comment: "so far"},
		first:  func(a *Assignment, in *SubmitInput) { in.Ranks, in.Strength = byPosition(a, 2, 1), 3 },
		second: func(a *Assignment, in *SubmitInput) { in.Ranks = []int{1, 1} },
		pairs:  [2]int{1, 0}, completions: [2]int{2, 2}},
	{question: QuestionRating, k: 1, draft: Draft{Ratings: []int{3}},
		first: func(_ *Assignment, in *SubmitInput) {
			in.Ratings, in.Flags = []int{5}, [][]string{{"opinion"}}
		},
		second: func(_ *Assignment, in *SubmitInput) { in.Ratings = []int{2} }, completions: [2]int{1, 1}},
	{question: QuestionEdit, k: 1, draft: Draft{Text: "half a sen", Ratings: []int{2}},
		first: func(_ *Assignment, in *SubmitInput) { in.Text, in.Ratings = "answer 0, improved", []int{2} },
		second: func(_ *Assignment, in *SubmitInput) {
			in.Text, in.Ratings = "answer 0", []int{6} // as it was
		},
		pairs: [2]int{1, 0}, demonstration: [2]string{"answer 0, improved", ""}, completions: [2]int{2, 1}},
	{question: QuestionDemonstration, k: 0, draft: Draft{Text: "half a sen"},
		first:         func(_ *Assignment, in *SubmitInput) { in.Text = "the ideal answer" },
		second:        func(_ *Assignment, in *SubmitInput) { in.Text = "理想的答案" },
		demonstration: [2]string{"the ideal answer", "理想的答案"}, completions: [2]int{1, 1}},
	{question: QuestionMultiturn, k: 3, messages: []Message{{"user", "hi"}, {"assistant", "hello"}, {"user", "and now?"}},
		draft:  Draft{Ranks: []int{0, 3, 1}},
		first:  func(a *Assignment, in *SubmitInput) { in.Ranks = byPosition(a, 1, 1, 3) },
		second: func(a *Assignment, in *SubmitInput) { in.Ranks = byPosition(a, 1, 2, 3) },
		pairs:  [2]int{2, 3}, completions: [2]int{3, 3}},
}

// asks makes a project of the question, with its usual number of answers.
func asks(question string) func(*Project) {
	return func(p *Project) { p.Question, p.K = question, 0 }
}

// Every question goes the same way: claim, draft, submit, replay, undo, a second revision, a snapshot that freezes it.
func TestEveryQuestion(t *testing.T) {
	if len(allQuestions) != len(questions) {
		t.Fatalf("%d questions are tested, there are %d", len(allQuestions), len(questions))
	}
	for _, q := range allQuestions {
		t.Run(q.question, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(p *Project) { p.Question, p.K = q.question, q.k })
			if q.messages == nil {
				q.messages = []Message{{"user", "Say something."}}
			}
			p, _, err := b.add(NewPrompt{Messages: q.messages, Origin: OriginImport, Split: Train, Language: "zh-Hant"})
			b.ok(err)
			task := b.task(p, q.k, 1, "r")

			a := b.claim("ann")
			if a.Question != q.question || len(a.Answers) != q.k || a.Language != "zh-Hant" {
				t.Fatalf("claimed %+v", a)
			}
			b.ok(b.store.SaveDraft(b.ctx, a.ID, "ann", q.draft))
			if d := b.claim("ann").Draft; d == nil || fmt.Sprint(*d) != fmt.Sprint(q.draft) {
				t.Errorf("draft %+v, want %+v", d, q.draft)
			}
			in := SubmitInput{AssignmentID: a.ID, LabelerID: "ann", IdempotencyKey: "k1"}
			q.first(a, &in)
			r, err := b.store.Submit(b.ctx, in, nil)
			b.ok(err)
			again, err := b.store.Submit(b.ctx, in, nil)
			b.ok(err)
			if again.ID != r.ID {
				t.Errorf("replay is %s, not %s", again.ID, r.ID)
			}
			other := in
			q.second(a, &other)
			_, err = b.store.Submit(b.ctx, other, nil)
			b.is(err, ErrConflict)
			b.follows(q, 0, task, r)

			re, err := b.store.Reopen(b.ctx, b.project.ID, "ann")
			b.ok(err)
			if d := re.Draft; d.Text != in.Text || d.Strength != in.Strength || in.Ratings != nil && !slices.Equal(d.Ratings, in.Ratings) {
				t.Errorf("reopened with %+v, submitted %+v", d, in)
			}
			b.ok(b.store.SaveDraft(b.ctx, a.ID, "ann", *re.Draft)) // what is given out is taken back
			second := SubmitInput{AssignmentID: a.ID, LabelerID: "ann", IdempotencyKey: "k2"}
			q.second(a, &second)
			r2, err := b.store.Submit(b.ctx, second, nil)
			b.ok(err)
			if r2.Revision != 2 {
				t.Errorf("revision %d", r2.Revision)
			}
			b.follows(q, 1, task, r2)

			re, err = b.store.ReopenAssignment(b.ctx, a.ID, "ann")
			b.ok(err)
			if re.Draft.Text != second.Text {
				t.Errorf("reopened with text %q, submitted %q", re.Draft.Text, second.Text)
			}
			b.ok(b.store.Release(b.ctx, a.ID, "ann"))
			snap := b.freeze("round 1")
			items, err := b.store.SnapshotItems(b.ctx, snap.ID)
			b.ok(err)
			if len(items) != 1 || len(items[0].Completions) != q.completions[1] || items[0].Rankings[0].RankingID != r2.ID {
				t.Errorf("snapshot holds %+v", items)
			}
			_, err = b.store.ReopenAssignment(b.ctx, a.ID, "ann")
			var frozen *FrozenError
			if !errors.As(err, &frozen) || frozen.Snapshot != "round 1" {
				t.Errorf("reopened after the snapshot: %v", err)
			}
			past, err := b.store.History(b.ctx, b.project.ID, "ann", "", 10)
			b.ok(err)
			if len(past) != 1 || past[0].ID != r2.ID || past[0].Snapshot != "round 1" || past[0].Revision != 2 || len(past[0].Ranks) != q.k {
				t.Errorf("history %+v", past)
			}
			b.sound()
		})
	}
}

func (b *bench) freeze(name string) (snap Snapshot) {
	b.Helper()
	b.tx(func(tx pgx.Tx) (err error) {
		snap, err = b.store.Snapshot(b.ctx, tx, b.project.ID, SnapshotFilter{Name: name})
		return err
	})
	return snap
}

// follows checks what a submit of the question leaves behind, and what a snapshot would hold of it.
func (b *bench) follows(q asked, n int, task Task, r Ranking) {
	b.Helper()
	pairs, err := b.store.Comparisons(b.ctx, r.ID)
	b.ok(err)
	if len(pairs) != q.pairs[n] {
		b.Errorf("%d comparisons, want %d", len(pairs), q.pairs[n])
	}
	if q.question == QuestionEdit && len(pairs) == 1 && pairs[0] != (Comparison{r.ID, r.ID, task.ResponseIDs[0]}) {
		b.Errorf("comparison %+v: the text must win", pairs[0])
	}
	if len(r.Ranks) != len(r.ResponseIDs) {
		b.Errorf("ranks %v of %v", r.Ranks, r.ResponseIDs)
	}
	list, err := b.store.Demonstrations(b.ctx, b.project.ID, time.Time{}, 10)
	b.ok(err)
	want := 0
	if q.demonstration[n] != "" {
		want = 1
	}
	if len(list) != want || want == 1 && (list[0].Response != q.demonstration[n] || list[0].LabelerID != "ann" || list[0].Origin != OriginLabeler) {
		b.Errorf("demonstrations %+v, want %q", list, q.demonstration[n])
	}
}

// Two labelers edit the same answer: each text stands in an item of its own, above the original, with the original's ids.
func TestEditsInSnapshot(t *testing.T) {
	b := setup(t, asks(QuestionEdit))
	b.task(b.prompt("one"), 1, 3, "")
	b.task(b.prompt("two"), 1, 1, "")
	for i, who := range []string{"ann", "bob", "cid", "ann"} {
		a := b.claim(who)
		in := SubmitInput{AssignmentID: a.ID, LabelerID: who, IdempotencyKey: newKey(), Text: fmt.Sprintf("%s's %d", who, i)}
		if who == "cid" {
			in.Text, in.Ratings = a.Answers[0].Text, []int{7}
		}
		_, err := b.store.Submit(b.ctx, in, nil)
		b.ok(err)
	}
	snap := b.freeze("s")
	items, err := b.store.SnapshotItems(b.ctx, snap.ID)
	b.ok(err)
	var got []string
	for _, it := range items {
		s := it.Prompt
		for _, c := range it.Completions {
			s += "|" + c.Text
		}
		got = append(got, fmt.Sprint(s, it.Rankings[0].Ranks, len(it.Rankings)))
		if len(it.Completions) == 2 && (len(it.Completions[0].TokenIDs) == 0 || it.Completions[1].ResponseID != it.Rankings[0].RankingID) {
			t.Errorf("item %+v", it)
		}
	}
	want := []string{"one|answer 0|ann's 0[2 1] 1", "one|answer 0|bob's 1[2 1] 1", "one|answer 0[1] 1", "two|answer 0|ann's 3[2 1] 1"}
	if !slices.Equal(got, want) {
		t.Errorf("items\n%q, want\n%q", got, want)
	}
	agreement, err := b.store.Agreement(b.ctx, b.project.ID, "")
	b.ok(err)
	if agreement.Pairs != 0 {
		t.Errorf("edits of different texts agree: %+v", agreement)
	}
	b.sound()
}

// A pairwise ranking carries its strength into the snapshot, a rating its number; a plain ranking neither.
func TestSnapshotExtras(t *testing.T) {
	for question, want := range map[string]LabelerRanking{
		QuestionPairwise: {LabelerID: "ann", Ranks: []int{1, 2}, Strength: 4}, QuestionRating: {LabelerID: "ann", Ranks: []int{1}, Ratings: []int{6}},
		QuestionRanking: {LabelerID: "ann", Ranks: []int{1, 2}},
	} {
		b := setup(t, asks(question))
		k := 2
		if question == QuestionRating {
			k = 1
		}
		b.task(b.prompt("one"), k, 1, "")
		a := b.claim("ann")
		in := best(a, "k")
		in.Strength, in.Ratings = want.Strength, []int{6, 6}[:k]
		_, err := b.store.Submit(b.ctx, in, nil)
		b.ok(err)
		items, err := b.store.SnapshotItems(b.ctx, b.freeze("s").ID)
		b.ok(err)
		got := items[0].Rankings[0]
		got.RankingID = ""
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, want %+v", question, got, want)
		}
	}
}

// A question takes the answers it is about and no others; a multi-turn one wants a conversation.
func TestTasksFitTheQuestion(t *testing.T) {
	for _, q := range questions {
		b := setup(t, asks(q.name))
		p, _, err := b.add(NewPrompt{Messages: []Message{{"user", "a"}, {"assistant", "b"}, {"user", "c"}}, Origin: OriginImport})
		b.ok(err)
		for k := range MaxAnswers + 2 {
			b.tx(func(tx pgx.Tx) error {
				_, err := b.store.AddTask(b.ctx, tx, p.ID, answers(k), 1, "")
				if fits := k >= q.min && k <= q.max; fits != (err == nil) {
					t.Errorf("%s with %d answers: %v", q.name, k, err)
				}
				return nil
			})
		}
		b.tx(func(tx pgx.Tx) error {
			_, err := b.store.AddTask(b.ctx, tx, b.prompt("alone").ID, answers(q.k), 1, "")
			if (q.name == QuestionMultiturn) != (err != nil) {
				t.Errorf("%s about a single turn: %v", q.name, err)
			}
			return nil
		})
	}
}

// Prompts of a demonstration project become tasks by themselves, but for those kept for tests and those answered already.
func TestOfferPrompts(t *testing.T) {
	b := setup(t, asks(QuestionDemonstration), func(p *Project) { p.Overlap = 2 })
	b.prompt("one")
	_, _, err := b.add(NewPrompt{Text: "kept", Origin: OriginImport, Split: Test})
	b.ok(err)
	_, _, err = b.store.WritePrompt(b.ctx, WrittenPrompt{ProjectID: b.project.ID, LabelerID: "ann", Kind: KindPlain, Text: "answered", Answer: "so"})
	b.ok(err)
	for _, want := range []int{1, 0} {
		n, err := b.store.OfferPrompts(b.ctx, 10)
		b.ok(err)
		if n != want {
			t.Errorf("%d tasks made, want %d", n, want)
		}
	}
	a := b.claim("bob")
	if a.Messages[0].Content != "one" || len(a.Answers) != 0 {
		t.Errorf("claimed %+v", a)
	}
	if n := b.count(`SELECT need FROM tasks`); n != 2 {
		t.Errorf("%d labelers wanted, want the project's 2", n)
	}
	b.sound()
}
