package labeling

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// join keeps an answered request of a customer who consents.
func (b *bench) join(id, customer, text string, texts ...string) {
	b.Helper()
	a := Answered{CompletionID: id, EndUser: "user of " + id, ModelVersion: "policy 3",
		Prompt: NewPrompt{ProjectID: b.project.ID, Text: text, Origin: OriginAPI, CustomerID: customer, APIKeyID: "key-" + customer, Consent: true}}
	for i, t := range texts {
		a.Answers = append(a.Answers, NewResponse{Text: t, TokenIDs: []int32{int32(i), 9}, TokenizerDigest: "toy", ModelVersion: "policy 3", Finish: "stop"})
	}
	b.tx(func(tx pgx.Tx) error { return b.store.JoinPool(b.ctx, tx, a) })
}

func (b *bench) say(n NewFeedback) Feedback {
	b.Helper()
	f, err := b.store.AddFeedback(b.ctx, n, nil)
	b.ok(err)
	return f
}

// balanced: a task needs as many rankings as it has and may still get.
func (b *bench) balanced() {
	b.Helper()
	if n := b.count(`SELECT count(*) FROM tasks t WHERE need <> open_slots + done + (SELECT count(*) FROM assignments a WHERE a.task_id = t.id AND a.state = 'leased')
		OR done <> (SELECT count(*) FROM assignments a WHERE a.task_id = t.id AND a.ranking_id IS NOT NULL AND NOT a.surplus)`); n != 0 {
		b.Errorf("%d tasks are counted wrong", n)
	}
}

// TestFeedbackTeaches: a preference becomes a comparison, a correction a demonstration, and labelers are asked about the very
// answers that the customer saw.
func TestFeedbackTeaches(t *testing.T) {
	b := setup(t)
	b.join("c1", "zuzu", "Name a bird.", "Robin.", "Cod.", "Robin.")
	f := b.say(NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Choice: 0, Preferred: true, Correction: "A robin is a bird.", Tags: []string{"short", "short", "animals"}, Comment: "mail me: ann@example.com"})
	if f.TaskID == "" || f.RankingID == "" || f.DemonstrationID == "" || f.ModelVersion != "policy 3" || f.EndUser != "user of c1" || fmt.Sprint(f.Tags) != "[animals short]" || strings.Contains(f.Comment, "@") {
		t.Errorf("%+v", f)
	}
	r, err := b.store.Ranking(b.ctx, f.RankingID)
	b.ok(err)
	if fmt.Sprint(r.Ranks) != "[1 3 1]" || r.LabelerID != "customer:zuzu" || r.Surplus {
		t.Errorf("%+v", r)
	}
	pairs, err := b.store.Comparisons(b.ctx, r.ID)
	b.ok(err)
	for _, p := range pairs {
		if p.LoserID != r.ResponseIDs[1] {
			t.Errorf("%+v: the second answer lost to the others", p)
		}
	}
	if len(pairs) != 2 {
		t.Errorf("%d comparisons", len(pairs))
	}
	demos, err := b.store.Demonstrations(b.ctx, b.project.ID, time.Time{}, 10)
	b.ok(err)
	if len(demos) != 1 || demos[0].Response != "A robin is a bird." || demos[0].Origin != OriginCustomer || demos[0].LabelerID != "customer:zuzu" {
		t.Errorf("%+v", demos)
	}
	// A labeler is asked about the same answers at once; the customer's word is a ranking beside.
	a := b.claim("ann")
	if a.TaskID != f.TaskID || len(a.Answers) != 3 {
		t.Errorf("%+v", a)
	}
	b.balanced()
	b.submit(a)
	b.balanced()
	if snap := b.snapshot(); snap.N != 2 {
		t.Errorf("%d rankings in the snapshot", snap.N)
	}
	// Another mind: frozen by now. Another correction takes the place of the first.
	var frozen *FrozenError
	if _, err := b.store.AddFeedback(b.ctx, NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Choice: 1, Preferred: true}, nil); !errors.As(err, &frozen) {
		t.Errorf("a frozen preference was changed: %v", err)
	}
	b.say(NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Correction: "The robin."})
	if demos, err = b.store.Demonstrations(b.ctx, b.project.ID, time.Time{}, 10); err != nil || len(demos) != 1 || demos[0].Response != "The robin." {
		t.Errorf("%+v %v", demos, err)
	}
}

// TestFeedbackChanges: a later preference is the next revision, and a tie says that no answer is better.
func TestFeedbackChanges(t *testing.T) {
	b := setup(t)
	b.join("c1", "zuzu", "Name a bird.", "Robin.", "Cod.")
	first := b.say(NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Choice: 1, Preferred: true})
	second := b.say(NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Tied: true})
	r, err := b.store.Ranking(b.ctx, second.RankingID)
	b.ok(err)
	if r.Revision != 2 || fmt.Sprint(r.Ranks) != "[1 1]" || second.TaskID != first.TaskID {
		t.Errorf("%+v", r)
	}
	b.balanced()
	if n := b.count(`SELECT count(*) FROM assignments WHERE ranking_id = $1`, r.ID); n != 1 {
		t.Error("the second does not stand")
	}
	if n := b.count(`SELECT done FROM labelers WHERE labeler_id = 'customer:zuzu'`); n != 1 {
		t.Errorf("counted %d times", n)
	}
}

// TestFeedbackOnce: the same words, or the same key, are one feedback; many at once too.
func TestFeedbackOnce(t *testing.T) {
	b := setup(t)
	b.join("c1", "zuzu", "Name a bird.", "Robin.", "Cod.")
	n := NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Rating: -1, Comment: "a fish"}
	var ids sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			f, err := b.store.AddFeedback(b.ctx, n, nil)
			if err != nil {
				t.Error(err)
			}
			ids.Store(f.ID, true)
		})
	}
	all.Wait()
	seen := 0
	ids.Range(func(any, any) bool { seen++; return true })
	if seen != 1 || b.count(`SELECT count(*) FROM feedback`) != 1 || b.count(`SELECT count(*) FROM tasks`) != 1 {
		t.Errorf("%d feedbacks, %d rows", seen, b.count(`SELECT count(*) FROM feedback`))
	}
	n.IdempotencyKey = "k"
	first := b.say(n)
	if again := b.say(n); again.ID != first.ID || !again.Replayed || first.Replayed || again.Comment != "a fish" {
		t.Errorf("%+v, then %+v", first, again)
	}
	n.Comment = "another"
	b.is(second(b.store.AddFeedback(b.ctx, n, nil)), ErrConflict)
}

// TestFeedbackSamples: one answer alone cannot be ranked; further ones are sampled and the task made of all.
func TestFeedbackSamples(t *testing.T) {
	b := setup(t)
	b.join("c1", "zuzu", "Name a bird.", "Robin.")
	asked := ""
	f, err := b.store.AddFeedback(b.ctx, NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Rating: 1}, func(_ context.Context, _ pgx.Tx, batch string) error {
		asked = batch
		return nil
	})
	b.ok(err)
	if f.TaskID != "" || asked == "" || f.PromptID == "" {
		t.Fatalf("%+v, asked for %q", f, asked)
	}
	p, given, err := b.store.FeedbackAnswers(b.ctx, asked)
	b.ok(err)
	if len(given) != 1 || given[0].Text != "Robin." || given[0].ModelVersion != "policy 3" || len(given[0].TokenIDs) != 2 || p.ID != f.PromptID {
		t.Errorf("%+v %+v", p, given)
	}
	b.tx(func(tx pgx.Tx) error {
		_, err := b.store.AddTask(b.ctx, tx, p.ID, append(given, answers(3)...), 1, asked)
		return err
	})
	list, err := b.store.ListFeedback(b.ctx, FeedbackFilter{ProjectID: b.project.ID, Rating: 1})
	b.ok(err)
	if len(list) != 1 || list[0].TaskID == "" {
		t.Errorf("%+v", list)
	}
	for _, batch := range []string{"", "feedback:", "feedback:x", "round", "feedback:01890a5d-ac96-774b-bcce-b302099a8057"} {
		_, _, err := b.store.FeedbackAnswers(b.ctx, batch)
		b.is(err, ErrNotFound)
	}
}

// TestFeedbackConsent: without consent nothing is kept; withdrawn consent hides at once, and comes back with it.
func TestFeedbackConsent(t *testing.T) {
	b := setup(t)
	b.tx(func(tx pgx.Tx) error {
		err := b.store.JoinPool(b.ctx, tx, Answered{CompletionID: "c0", Answers: answers(2), Prompt: NewPrompt{ProjectID: b.project.ID, Text: "x", Origin: OriginAPI, CustomerID: "zuzu"}})
		b.invalid(err, "consent")
		return nil
	})
	b.join("c1", "zuzu", "Name a bird.", "Robin.", "Cod.")
	n := NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Rating: 1}
	other := n
	other.CustomerID = "bo"
	b.is(second(b.store.AddFeedback(b.ctx, other, nil)), ErrNotFound)
	b.say(n)
	consent := func(yes bool) {
		b.tx(func(tx pgx.Tx) error { return second(b.store.SetConsent(b.ctx, tx, "zuzu", "key-zuzu", yes)) })
	}
	consent(false)
	n.Comment = "more"
	b.is(second(b.store.AddFeedback(b.ctx, n, nil)), ErrNotFound)
	b.is(second(b.store.Claim(b.ctx, b.project.ID, "ann")), ErrEmpty)
	list, err := b.store.ListFeedback(b.ctx, FeedbackFilter{ProjectID: b.project.ID})
	b.ok(err)
	if len(list) != 0 {
		t.Errorf("%+v is shown", list)
	}
	consent(true)
	b.say(n)
	b.claim("ann")
}

// TestFeedbackPool: a prompt that begins as another does is not offered by itself, but taken when its customer speaks of it;
// above the customer's cap, what was said is kept and no more.
func TestFeedbackPool(t *testing.T) {
	b := setup(t, func(p *Project) { p.PromptCap = 2 })
	long := strings.Repeat("You are a helpful assistant. ", 20)
	for i, id := range []string{"c1", "c2", "c3"} {
		b.join(id, "zuzu", fmt.Sprintf("%s Question %d", long, i), "yes", "no")
	}
	if n := b.count(`SELECT count(*) FROM prompts`); n != 1 {
		t.Fatalf("%d prompts are in the pool", n)
	}
	if f := b.say(NewFeedback{CompletionID: "c2", CustomerID: "zuzu", Rating: -1}); f.TaskID == "" {
		t.Errorf("%+v", f)
	}
	if f := b.say(NewFeedback{CompletionID: "c3", CustomerID: "zuzu", Choice: 1, Preferred: true}); f.TaskID != "" || f.PromptID != "" || f.RankingID != "" {
		t.Errorf("%+v", f)
	}
	if n := b.count(`SELECT count(*) FROM prompt_sources WHERE completion_id = 'c2' AND end_user = 'user of c2' AND model_version = 'policy 3' AND api_key_id = 'key-zuzu' AND consent`); n != 1 {
		t.Error("the source of the second is not known")
	}
}

// TestFeedbackRedacts: what labelers see of an answer holds no personal data, and no tokens that spell it.
func TestFeedbackRedacts(t *testing.T) {
	b := setup(t)
	b.join("c1", "zuzu", "Write to ann@example.com", "Dear ann@example.com", "Hello.")
	b.say(NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Rating: 1, Correction: "Dear bob@example.com"})
	if dump := b.dumpAll("redactions"); strings.Contains(dump, "ann@") || strings.Contains(dump, "bob@") {
		t.Error("an address is left")
	}
	a := b.claim("ann")
	text := fmt.Sprint(a.Messages, a.Answers)
	if strings.Contains(text, "@") || !strings.Contains(text, "Dear [EMAIL]") {
		t.Error(text)
	}
	if n := b.count(`SELECT count(*) FROM responses WHERE token_ids IS NOT NULL AND text LIKE 'Dear%'`); n != 0 {
		t.Error("the tokens spell the address")
	}
}

// TestFeedbackBounds refuses what cannot be meant.
func TestFeedbackBounds(t *testing.T) {
	b := setup(t)
	b.join("c1", "zuzu", "Name a bird.", "Robin.")
	for _, c := range []struct {
		n     NewFeedback
		field string
	}{
		{NewFeedback{}, ""}, {NewFeedback{Comment: "  "}, ""}, {NewFeedback{Rating: 2}, "rating"}, {NewFeedback{Rating: 1, Choice: 1}, "choice"}, {NewFeedback{Rating: 1, Choice: -1}, "choice"},
		{NewFeedback{Preferred: true}, "preferred"}, {NewFeedback{Preferred: true, Tied: true}, "tied"}, {NewFeedback{Correction: "Robin."}, "correction"}, {NewFeedback{Correction: " \n"}, "correction"},
		{NewFeedback{Correction: strings.Repeat("x", 40_000)}, "correction"}, {NewFeedback{Comment: "\x00"}, "comment"}, {NewFeedback{Comment: strings.Repeat("x", 11_000)}, "comment"},
		{NewFeedback{Tags: []string{""}}, "tags"}, {NewFeedback{Tags: []string{"a\nb"}}, "tags"}, {NewFeedback{Tags: []string{strings.Repeat("x", 51)}}, "tags"}, {NewFeedback{Tags: make([]string, 17)}, "tags"},
		{NewFeedback{Rating: 1, IdempotencyKey: strings.Repeat("x", 201)}, "idempotency_key"},
	} {
		c.n.CompletionID, c.n.CustomerID = "c1", "zuzu"
		b.invalid(second(b.store.AddFeedback(b.ctx, c.n, nil)), c.field)
	}
	b.invalid(second(b.store.ListFeedback(b.ctx, FeedbackFilter{Kind: "x"})), "kind")
	b.invalid(second(b.store.ListFeedback(b.ctx, FeedbackFilter{Before: "x"})), "before")
	if n := b.count(`SELECT count(*) FROM feedback`); n != 0 {
		t.Errorf("%d were stored", n)
	}
}

// TestFeedbackQuestions: each question is asked with as many answers as it takes.
func TestFeedbackQuestions(t *testing.T) {
	for question, want := range map[string]int{QuestionPairwise: 2, QuestionRating: 1, QuestionEdit: 1, QuestionDemonstration: 0, QuestionRanking: 3} {
		t.Run(question, func(t *testing.T) {
			b := setup(t, func(p *Project) { p.Question, p.K = question, want })
			b.join("c1", "zuzu", "Name a bird.", "Cod.", "Robin.", "Eel.")
			f := b.say(NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Choice: 1, Preferred: true})
			task, err := b.store.Task(b.ctx, f.TaskID)
			b.ok(err)
			if len(task.ResponseIDs) != want || (f.RankingID != "") != (want >= 2) {
				t.Errorf("%+v of %+v", task, f)
			}
			b.balanced()
		})
	}
}

// TestErasePart: a completion, or all of one of the customer's users, goes with what became of it; the rest stays.
func TestErasePart(t *testing.T) {
	b := setup(t)
	b.join("c1", "zuzu", "Name a bird.", "Robin.", "Cod.")
	b.join("c2", "zuzu", "Name a bird.", "Crow.", "Eel.") // the same prompt once more
	b.join("c3", "zuzu", "Name a fish.", "Cod.", "Owl.")
	b.join("c4", "bo", "Name a fish.", "Eel.", "Owl.")
	for _, id := range []string{"c1", "c2", "c3"} {
		b.say(NewFeedback{CompletionID: id, CustomerID: "zuzu", Preferred: true, Correction: "It is " + id})
	}
	b.say(NewFeedback{CompletionID: "c4", CustomerID: "bo", Preferred: true, Correction: "It is c4"})
	b.crowd("ann")
	was := b.dump()
	b.is(second(b.store.Erase(b.ctx, PartOf("completion", "bo", "c1"), "x", false, Erasing{})), ErrNotFound)
	preview, err := b.store.Erase(b.ctx, PartOf("completion", "zuzu", "c1"), "x", true, Erasing{})
	b.ok(err)
	if b.dump() != was {
		t.Fatal("the dry run changed something")
	}
	r, err := b.store.Erase(b.ctx, PartOf("completion", "zuzu", "c1"), "x", false, Erasing{})
	b.ok(err)
	if fmt.Sprint(r.Rows) != fmt.Sprint(preview.Rows) || r.Rows["prompts"] != 0 || r.Rows["tasks"] != 1 || r.Rows["demonstrations"] != 1 || r.Rows["feedback"] != 1 || r.Rows["kept_completions"] != 1 {
		t.Errorf("%+v", r)
	}
	if left := b.dump(); strings.Contains(left, "Robin") || strings.Contains(left, "It is c1") || !strings.Contains(left, "Crow") || !strings.Contains(left, "Name a bird") {
		t.Errorf("left:\n%s", left)
	}
	if n := b.count(`SELECT tasks FROM prompts WHERE text = 'Name a bird.'`); n != 1 {
		t.Errorf("the prompt counts %d tasks", n)
	}
	if r, err = b.store.Erase(b.ctx, PartOf("user", "zuzu", "user of c2"), "x", false, Erasing{}); err != nil || r.Rows["prompts"] != 1 {
		t.Errorf("%+v %v", r, err)
	}
	if left := b.dump(); strings.Contains(left, "Name a bird") || strings.Contains(left, "Crow") || !strings.Contains(left, "It is c3") {
		t.Errorf("left:\n%s", left)
	}
	b.balanced()
	// The whole customer: its word on another's prompt too.
	if r, err = b.store.Erase(b.ctx, Subject{"customer", "bo"}, "x", false, Erasing{}); err != nil || r.Rows["demonstrations"] != 1 {
		t.Errorf("%+v %v", r, err)
	}
	if left := b.dump(); strings.Contains(left, "It is c4") || strings.Contains(left, "customer:bo") || !strings.Contains(left, "It is c3") {
		t.Errorf("left:\n%s", left)
	}
	b.balanced()
	for _, s := range []Subject{{"completion", "x"}, {"user", "/x"}, {"source", "x/"}, {"nobody", "x"}} {
		b.invalid(second(b.store.Erase(b.ctx, s, "x", true, Erasing{})), "subject")
	}
}

// TestSweepCompletions: what nobody spoke of is forgotten in time, what was spoken of stays.
func TestSweepCompletions(t *testing.T) {
	b := setup(t)
	for _, id := range []string{"c1", "c2", "c3"} {
		b.join(id, "zuzu", "Question "+id, "yes", "no")
	}
	b.say(NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Rating: 1})
	b.sql(`UPDATE kept_completions SET created_at = now() - interval '31 days' WHERE completion_id <> 'c3'`)
	n, err := b.store.SweepCompletions(b.ctx, 10)
	b.ok(err)
	if n != 1 || b.count(`SELECT count(*) FROM kept_completions WHERE completion_id <> 'c2'`) != 2 {
		t.Errorf("%d forgotten", n)
	}
	if b.count(`SELECT count(*) FROM prompts`) != 3 {
		t.Error("a prompt was forgotten")
	}
}
