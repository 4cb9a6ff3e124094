package loop_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
)

// TestSampleFeedback: an answer that a customer spoke of is put before labelers together with answers of the serving policy, in
// time; once, however often it is spoken of.
func TestSampleFeedback(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	if err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		return b.labeling.JoinPool(ctx, tx, labeling.Answered{CompletionID: "c1", ModelVersion: "former",
			Prompt:  labeling.NewPrompt{ProjectID: b.project.ID, Text: "say a word", Origin: labeling.OriginAPI, CustomerID: "zuzu", APIKeyID: "k", Consent: true},
			Answers: []labeling.NewResponse{{Text: "The customer's answer.", Finish: "stop", ModelVersion: "former"}}})
	}); err != nil {
		t.Fatal(err)
	}
	for _, rating := range []int{1, -1} {
		if _, err := b.labeling.AddFeedback(ctx, labeling.NewFeedback{CompletionID: "c1", CustomerID: "zuzu", Rating: rating}, b.loop.SampleFeedback); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for range 600 {
		var idle bool
		if err := b.pool.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM river.river_job WHERE kind = 'loop.feedback' AND state <> 'completed')`).Scan(&idle); err != nil {
			t.Fatal(err)
		}
		if idle {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("in the queue after %s", time.Since(began).Round(time.Millisecond))
	a, err := b.labeling.Claim(ctx, b.project.ID, "ann")
	if err != nil {
		t.Fatal(err)
	}
	own := 0
	for _, x := range a.Answers {
		if x.Text == "The customer's answer." {
			own++
		}
	}
	if len(a.Answers) != 4 || own != 1 || a.Messages[0].Content != "say a word" {
		t.Errorf("%+v", a)
	}
	list, err := b.labeling.ListFeedback(ctx, labeling.FeedbackFilter{ProjectID: b.project.ID})
	if err != nil || len(list) != 2 || list[0].TaskID != a.TaskID || list[1].TaskID != a.TaskID {
		t.Errorf("%+v %v", list, err)
	}
}
