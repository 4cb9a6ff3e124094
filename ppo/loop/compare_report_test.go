package loop

import (
	"errors"
	"math"
	"testing"

	"github.com/rankloop/rankloop/labeling"
)

// TestCompareReport: figures counted by hand.
func TestCompareReport(t *testing.T) {
	score := func(x float64) *float64 { return &x }
	pairs := []ComparePair{
		{State: "answered", First: "a", Category: "story", LengthA: 10, LengthB: 20, TokensA: 2, TokensB: 4, RewardA: score(1), RewardB: score(2), KL: score(.5)}, // B, B
		{State: "answered", First: "b", Category: "story", LengthA: 10, LengthB: 10, TokensA: 2, TokensB: 2, RewardA: score(1), RewardB: score(0), KL: score(1)},  // B, A
		{State: "answered", First: "b", Category: "verse", LengthA: 30, LengthB: 20, TokensA: 6, TokensB: 4, RewardA: score(3), RewardB: score(0)},                // A
		{State: "answered", First: "a", Category: "verse", LengthA: 10, LengthB: 30, TokensA: 2, TokensB: 6, RewardA: score(1), RewardB: score(1)},                // B
		{State: "answered", First: "a", LengthA: 40, LengthB: 40, TokensA: 8, TokensB: 8},                                                                         // nobody
		{State: "unfit", First: "a"},
		{State: "asked", First: "a"},
	}
	for i, votes := range [][][]int{{{2, 1}, {2, 1}}, {{1, 2}, {2, 1}}, {{2, 1}}, {{2, 1}}} { // ranks of the task's first and second answer
		for j, ranks := range votes {
			pairs[i].vote(labeling.LabelerRanking{LabelerID: []string{"ann", "bob"}[j], Ranks: ranks, Strength: 2})
		}
	}
	r := compareReport(pairs, 1)
	is := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	// Means of the prompts: 1, 1/2, 0, 1.
	is("win", r.Win.Value, 2.5/4)
	if r.Prompts != 5 || r.Unfit != 1 || r.Judged != 4 || r.Judgements != 6 || r.Judges != 2 || r.WinsB != 4 || r.WinsA != 2 || r.Ties != 0 {
		t.Errorf("counts: %+v", r)
	}
	is("reward on all", r.Reward.Value, (1+0+0+.5)/4)
	is("reward agrees", r.RewardAgrees.Value, (1+1+.5)/3) // the second prompt has no preference of people
	is("agreement", r.Agreement.Value, .5)
	is("kl", r.KL.Value, .75)
	is("length of A", r.LengthA.Value, 100./5)
	is("tokens of B", r.TokensB.Value, 24./5)
	if r.Shared != 2 || len(r.Slices) != 2 || r.Slices[0].Name != "story" || r.Slices[0].Win.Value != .75 || r.Slices[1].Win.Value != .5 {
		t.Errorf("slices: %+v", r)
	}
	if !(r.Win.Low < r.Win.Value && r.Win.Value < r.Win.High && r.LengthControlled.Low < r.LengthControlled.High) {
		t.Errorf("intervals: %+v, %+v", r.Win, r.LengthControlled)
	}
	c := Comparison{A: "x", B: "y", Report: &r}
	if b, ok := c.WinOf("y"); !ok || b != r.Win {
		t.Errorf("win of B: %+v", b)
	}
	if a, _ := c.WinOf("x"); a.Value != 1-r.Win.Value || a.Low != 1-r.Win.High || c.Other("x") != "y" || c.Other("y") != "x" {
		t.Errorf("win of A: %+v", a)
	}
	none := compareReport(nil, 1)
	if none.Win != (Estimate{}) || none.Reward != nil || len(none.Slices) != 0 {
		t.Errorf("nothing: %+v", none)
	}
}

// TestListedPrompts: lines of text and of JSON; what cannot be read is named by its line.
func TestListedPrompts(t *testing.T) {
	got, err := ListedPrompts("\ufeffName a bird.\r\n\n  {\"prompt\": \"Say {a}.\", \"category\": \"short\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}, {\"role\": \"user\", \"content\": \"c\"}]}")
	if err != nil || len(got) != 3 || got[0].Messages[0].Content != "Name a bird." || got[1].Category != "short" || got[1].Messages[0].Content != "Say {a}." || len(got[2].Messages) != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, list := range []string{"ok\n{\"promt\": \"x\"}", "a\n{\"prompt\": \"\"}", "b\n{\"prompt\": \"x\", \"messages\": [{\"role\": \"user\", \"content\": \"y\"}]}", "c\n{"} {
		var wrong *InvalidError
		if _, err := ListedPrompts(list); !errors.As(err, &wrong) || wrong.Field != "prompts" || wrong.Reason[:6] != "line 2" {
			t.Errorf("%q: %v", list, err)
		}
	}
}
