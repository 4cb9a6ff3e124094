package loop_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestEraseExamples: the examples in a round's report go with the prompts that they show, of newer reports by the prompt's id and of older
// ones by its text; others stay in their order.
func TestEraseExamples(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	add := func(text, customer string) (p labeling.Prompt) {
		t.Helper()
		err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) (err error) {
			p, _, err = b.labeling.AddPrompt(ctx, tx, labeling.NewPrompt{ProjectID: b.project.ID, Messages: []labeling.Message{{Role: "user", Content: text}}, Origin: labeling.OriginAPI, CustomerID: customer, Consent: true})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, second, others := add("what is a secret", "acme"), add("what is another", "acme"), add("what is common", "shop")
	r, err := b.loop.Start(ctx, b.project.ID, "user:ada", func() loop.Config { c := loop.DefaultConfig(); c.Prompts = 4; return c }())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.pool.Exec(ctx, `UPDATE rounds SET report = jsonb_build_object('win_sft', '{}'::jsonb, 'examples', jsonb_build_array(
		jsonb_build_object('prompt', 'kept 1'), jsonb_build_object('prompt_id', $2::text, 'prompt', 'what is a secret', 'after', 'it is'),
		jsonb_build_object('prompt_id', $3::text, 'prompt', 'what is common'), jsonb_build_object('prompt', $4::text))) WHERE id = $1`, r.ID, first.ID, others.ID, second.Text); err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		report, err := b.labeling.Erase(ctx, labeling.Subject{Kind: labeling.SubjectCustomer, ID: "acme"}, "user:ada", dry, labeling.Erasing{})
		if err != nil || report.Rows["round_examples"] != 2 || report.Rows["prompts"] != 2 {
			t.Fatalf("%+v, %v", report.Rows, err)
		}
		if r, err = b.loop.Get(ctx, r.ID); err != nil {
			t.Fatal(err)
		}
		if dry && len(r.Report.Examples) != 4 {
			t.Errorf("a dry run leaves %+v", r.Report.Examples)
		}
	}
	var left []string
	for _, e := range r.Report.Examples {
		left = append(left, e.Prompt)
	}
	if !slices.Equal(left, []string{"kept 1", "what is common"}) {
		t.Errorf("left are %q", left)
	}
}
