package labeling

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestParse is the table of what each question takes and refuses. texts are the answers in the task's own order; where
// there are two, the second is shown first.
func TestParse(t *testing.T) {
	long := strings.Repeat("x", maxWritten+1)
	for _, c := range []struct {
		question string
		in       SubmitInput
		field    string // of the error, "" = taken
		want     string // ranks text strength demonstration
	}{
		{QuestionRanking, SubmitInput{Ranks: []int{2, 1}}, "", "[1 2] '' 0 false"},
		{QuestionRanking, SubmitInput{Ranks: []int{1, 1}}, "", "[1 1] '' 0 false"},
		{QuestionRanking, SubmitInput{Ranks: []int{1}}, "ranks", ""},
		{QuestionRanking, SubmitInput{Ranks: []int{1, 2}, Text: "t"}, "text", ""},
		{QuestionRanking, SubmitInput{Ranks: []int{1, 2}, Strength: 1}, "strength", ""},

		{QuestionPairwise, SubmitInput{Ranks: []int{1, 2}, Strength: 4}, "", "[2 1] '' 4 false"},
		{QuestionPairwise, SubmitInput{Ranks: []int{2, 1}, Strength: 1}, "", "[1 2] '' 1 false"},
		{QuestionPairwise, SubmitInput{Ranks: []int{1, 1}}, "", "[1 1] '' 0 false"},
		{QuestionPairwise, SubmitInput{Ranks: []int{2, 2}}, "", "[1 1] '' 0 false"},
		{QuestionPairwise, SubmitInput{Ranks: []int{1, 2}}, "strength", ""},
		{QuestionPairwise, SubmitInput{Ranks: []int{1, 2}, Strength: 5}, "strength", ""},
		{QuestionPairwise, SubmitInput{Ranks: []int{1, 2}, Strength: -1}, "strength", ""},
		{QuestionPairwise, SubmitInput{Ranks: []int{1, 1}, Strength: 2}, "strength", ""},
		{QuestionPairwise, SubmitInput{Ranks: []int{0, 1}, Strength: 2}, "ranks", ""},
		{QuestionPairwise, SubmitInput{Strength: 2}, "ranks", ""},
		{QuestionPairwise, SubmitInput{Ranks: []int{1, 2}, Strength: 1, Text: "t"}, "text", ""},

		{QuestionRating, SubmitInput{Ratings: []int{7}}, "", "[1] '' 0 false"},
		{QuestionRating, SubmitInput{Ratings: []int{1}, Ranks: []int{1}}, "", "[1] '' 0 false"},
		{QuestionRating, SubmitInput{}, "ratings", ""},
		{QuestionRating, SubmitInput{Ratings: []int{0}}, "ratings", ""},
		{QuestionRating, SubmitInput{Ratings: []int{8}}, "ratings", ""},
		{QuestionRating, SubmitInput{Ratings: []int{3, 3}}, "ratings", ""},
		{QuestionRating, SubmitInput{Ratings: []int{3}, Ranks: []int{1, 2}}, "ranks", ""},
		{QuestionRating, SubmitInput{Ratings: []int{3}, Flags: [][]string{{"made up"}}}, "flags", ""},
		{QuestionRating, SubmitInput{Ratings: []int{3}, Text: "t"}, "text", ""},
		{QuestionRating, SubmitInput{Ratings: []int{3}, Strength: 1}, "strength", ""},
		{QuestionRating, SubmitInput{Ratings: []int{3}, WallMS: -1}, "active_ms", ""},

		{QuestionEdit, SubmitInput{Text: "better"}, "", "[2 1] 'better' 0 true"},
		{QuestionEdit, SubmitInput{Text: "first", Ratings: []int{7}}, "", "[1] '' 0 false"}, // left as it was
		{QuestionEdit, SubmitInput{Text: "first"}, "ratings", ""},
		{QuestionEdit, SubmitInput{}, "text", ""},
		{QuestionEdit, SubmitInput{Text: " \n"}, "text", ""},
		{QuestionEdit, SubmitInput{Text: "a\x00b"}, "text", ""},
		{QuestionEdit, SubmitInput{Text: long}, "text", ""},
		{QuestionEdit, SubmitInput{Text: "better", Strength: 1}, "strength", ""},
		{QuestionEdit, SubmitInput{Text: "better", Ratings: []int{9}}, "ratings", ""},

		{QuestionDemonstration, SubmitInput{Text: "ideal"}, "", "[1] 'ideal' 0 true"},
		{QuestionDemonstration, SubmitInput{Text: "理想的答案"}, "", "[1] '理想的答案' 0 true"},
		{QuestionDemonstration, SubmitInput{}, "text", ""},
		{QuestionDemonstration, SubmitInput{Text: "\t"}, "text", ""},
		{QuestionDemonstration, SubmitInput{Text: "\xff"}, "text", ""},
		{QuestionDemonstration, SubmitInput{Text: long}, "text", ""},
		{QuestionDemonstration, SubmitInput{Text: "ideal", Ranks: []int{1}}, "ranks", ""},
		{QuestionDemonstration, SubmitInput{Text: "ideal", Strength: 1}, "strength", ""},
		{QuestionDemonstration, SubmitInput{Text: "ideal", Comment: "\x00"}, "comment", ""},
		{QuestionDemonstration, SubmitInput{Text: "ideal", ActiveMS: -1}, "active_ms", ""},

		{QuestionMultiturn, SubmitInput{Ranks: []int{2, 1}}, "", "[1 2] '' 0 false"},
		{QuestionMultiturn, SubmitInput{Ranks: []int{1, 2}, Text: "t"}, "text", ""},
	} {
		q, err := questionNamed(c.question)
		if err != nil {
			t.Fatal(err)
		}
		k := min(q.max, 2)
		order, texts := []int{1, 0}[2-max(k, 1):][:k], []string{"first", "second"}[:k]
		if k == 1 {
			order = []int{0}
		}
		s, err := q.parse(c.in, order, texts)
		var wrong *InvalidError
		switch {
		case c.field != "" && (!errors.As(err, &wrong) || wrong.Field != c.field):
			t.Errorf("%s %+v: %v, want an error of %s", c.question, c.in, err, c.field)
		case c.field == "" && err != nil:
			t.Errorf("%s %+v: %v", c.question, c.in, err)
		case c.field == "":
			if got := fmt.Sprintf("%v '%s' %d %v", s.ranks, s.text, s.strength, s.demonstration); got != c.want {
				t.Errorf("%s %+v: %s, want %s", c.question, c.in, got, c.want)
			}
		}
	}
}

func TestDrafts(t *testing.T) {
	for _, c := range []struct {
		question string
		k        int
		d        Draft
		field    string
	}{
		{QuestionRanking, 3, Draft{Ranks: []int{0, 2, 0}, Focus: 2}, ""},
		{QuestionRanking, 3, Draft{Text: "x"}, "text"},
		{QuestionRanking, 3, Draft{Strength: 1}, "strength"},
		{QuestionPairwise, 2, Draft{Ranks: []int{1, 2}, Strength: 3}, ""},
		{QuestionPairwise, 2, Draft{Strength: 5}, "strength"},
		{QuestionPairwise, 2, Draft{Text: "x"}, "text"},
		{QuestionRating, 1, Draft{Ratings: []int{4}}, ""},
		{QuestionRating, 1, Draft{Ratings: []int{8}}, "ratings"},
		{QuestionRating, 1, Draft{Text: "x"}, "text"},
		{QuestionEdit, 1, Draft{Text: ""}, ""},
		{QuestionEdit, 1, Draft{Text: "half a sen"}, ""},
		{QuestionEdit, 1, Draft{Text: "\x00"}, "text"},
		{QuestionEdit, 1, Draft{Strength: 1}, "strength"},
		{QuestionDemonstration, 0, Draft{Text: "half a sen"}, ""},
		{QuestionDemonstration, 0, Draft{Ranks: []int{1}}, "draft"},
		{QuestionDemonstration, 0, Draft{Focus: 1}, "focus"},
		{QuestionDemonstration, 0, Draft{Text: strings.Repeat("x", maxWritten+1)}, "text"},
		{QuestionMultiturn, 2, Draft{Ranks: []int{1, 0}}, ""},
	} {
		q, err := questionNamed(c.question)
		if err != nil {
			t.Fatal(err)
		}
		err = q.draft(c.d, c.k)
		var wrong *InvalidError
		if (c.field == "") != (err == nil) || err != nil && (!errors.As(err, &wrong) || wrong.Field != c.field) {
			t.Errorf("%s %+v: %v, want an error of %q", c.question, c.d, err, c.field)
		}
	}
}

// The table is whole: names are unique, the usual number of answers is a possible one.
func TestQuestionTable(t *testing.T) {
	seen := map[string]bool{}
	for _, q := range questions {
		if seen[q.name] || q.parse == nil || q.draft == nil || q.k < q.min || q.k > q.max || q.max > MaxAnswers {
			t.Errorf("%+v", q)
		}
		seen[q.name] = true
	}
	if _, _, _, ok := AnswerCount("essay"); ok {
		t.Error("essay is a question")
	}
}

func TestWrittenPrompts(t *testing.T) {
	base := func(change func(*WrittenPrompt)) WrittenPrompt {
		w := WrittenPrompt{Kind: KindPlain, Text: "Write a rhyme."}
		change(&w)
		return w
	}
	few := func(w *WrittenPrompt) {
		w.Kind, w.Pairs, w.Query = KindFewShot, []Pair{{"happy", "glad"}, {"big", "large"}}, "small"
	}
	for name, c := range map[string]struct {
		w     WrittenPrompt
		field string
	}{
		"plain":          {base(func(*WrittenPrompt) {}), ""},
		"few-shot":       {base(few), ""},
		"user-based":     {base(func(w *WrittenPrompt) { w.Kind, w.UseCaseID = KindUserBased, "x" }), ""},
		"kind":           {base(func(w *WrittenPrompt) { w.Kind = "other" }), "kind"},
		"blank":          {base(func(w *WrittenPrompt) { w.Text = " " }), "text"},
		"NUL":            {base(func(w *WrittenPrompt) { w.Text = "a\x00" }), "messages[0].content"},
		"long":           {base(func(w *WrittenPrompt) { w.Text = strings.Repeat("x", maxWritten+1) }), "text"},
		"language":       {base(func(w *WrittenPrompt) { w.Language = "English" }), "language"},
		"other language": {base(func(w *WrittenPrompt) { w.Language = "fr" }), "language"},
		"own language":   {base(func(w *WrittenPrompt) { w.Language = "zh-Hant" }), ""},
		"pairs of plain": {base(func(w *WrittenPrompt) { few(w); w.Kind = KindPlain }), "pairs"},
		"no pairs":       {base(func(w *WrittenPrompt) { few(w); w.Pairs = nil }), "pairs"},
		"half a pair":    {base(func(w *WrittenPrompt) { few(w); w.Pairs[1].Answer = "" }), "pairs"},
		"too many pairs": {base(func(w *WrittenPrompt) { few(w); w.Pairs = make([]Pair, maxPairs+1) }), "pairs"},
		"no query":       {base(func(w *WrittenPrompt) { few(w); w.Query = "" }), "query"},
		"no case":        {base(func(w *WrittenPrompt) { w.Kind = KindUserBased }), "use_case"},
		"stray case":     {base(func(w *WrittenPrompt) { w.UseCaseID = "x" }), "use_case"},
		"blank answer":   {base(func(w *WrittenPrompt) { w.Answer = "  " }), "text"},
	} {
		err := c.w.check(Project{Question: QuestionRanking, Languages: []string{"en", "zh-Hant"}})
		var wrong *InvalidError
		if (c.field == "") != (err == nil) || err != nil && (!errors.As(err, &wrong) || wrong.Field != c.field) {
			t.Errorf("%s: %v, want an error of %q", name, err, c.field)
		}
	}
	got := fmt.Sprint(base(few).Conversation())
	if want := "[{user Write a rhyme.\n\nhappy} {assistant glad} {user big} {assistant large} {user small}]"; got != want {
		t.Errorf("conversation %s, want %s", got, want)
	}
	if err := base(func(*WrittenPrompt) {}).check(Project{Question: QuestionMultiturn}); err == nil {
		t.Error("a single turn passes as a conversation")
	}
	if err := base(few).check(Project{Question: QuestionMultiturn}); err != nil {
		t.Error(err)
	}
}
