package loop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/run"
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

// evaluated is a round that was evaluated, with the kind and the run that did it.
func (b *bench) evaluated(t *testing.T) (loop.Round, run.Kind, run.Run) {
	t.Helper()
	ctx := t.Context()
	c := smallRound()
	c.Promotion, c.EvalPrompts, c.EvalSamples = loop.PromoteByHand, 70, 2
	r, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	b.until(t, r.ID, is(loop.StageRank))
	b.rank(t)
	r = b.until(t, r.ID, is(loop.StageDecide))
	v, err := run.NewStore(b.pool).Get(ctx, r.EvaluateRunID)
	if err != nil {
		t.Fatal(err)
	}
	kinds := b.loop.Kinds()
	return r, kinds[slices.IndexFunc(kinds, func(k run.Kind) bool { return k.Name == loop.KindEvaluate })], v
}

// TestErasureReachesEvaluation: what an evaluation writes to disk holds nobody's words, and neither an erasure before its report nor one
// while the report is written leaves an example behind.
func TestErasureReachesEvaluation(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		for i := range 80 {
			n := labeling.NewPrompt{ProjectID: b.project.ID, Messages: []labeling.Message{{Role: "user", Content: fmt.Sprintf("my secret %d", i)}},
				Origin: labeling.OriginAPI, CustomerID: []string{"acme", "shop", "mill"}[i%3], Consent: true, Split: labeling.Test}
			if _, _, err := b.labeling.AddPrompt(ctx, tx, n); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE prompts SET hidden_at = now() WHERE customer_id IS NULL AND split = 'test'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r, kind, v := b.evaluated(t)
	trainer, err := kind.New(ctx, v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trainer.Step(ctx); err != nil || trainer.Done() {
		t.Fatalf("a chunk of 70 prompts is all: %v", err)
	}
	dir := t.TempDir()
	if err := trainer.Save(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	state, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Report.Examples {
		for _, words := range []string{e.Prompt, e.SFT, e.After} {
			quoted, err := json.Marshal(words)
			if err != nil {
				t.Fatal(err)
			}
			if text := quoted[1 : len(quoted)-1]; len(text) > 3 && bytes.Contains(state, text) {
				t.Errorf("the state holds %q", words)
			}
		}
	}

	// Gone on with from there, it shows what the uninterrupted one did.
	if trainer, err = kind.New(ctx, v); err == nil {
		err = trainer.Load(dir)
	}
	for err == nil && !trainer.Done() {
		_, err = trainer.Step(ctx)
	}
	if err == nil {
		err = kind.Prepare(ctx, v, trainer)
	}
	if err != nil {
		t.Fatal(err)
	}
	report := func() (list []loop.Example) {
		t.Helper()
		got, err := b.loop.Get(ctx, r.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got.Report.Examples
	}
	finish := func(tx pgx.Tx) error { return kind.Finish(ctx, tx, v, trainer) }
	before := report()
	if err := pgx.BeginFunc(ctx, b.pool, finish); err != nil {
		t.Fatal(err)
	}
	if again := report(); len(again) != 12 || !slices.Equal(again, before) {
		t.Errorf("shown are %+v, before %+v", again, before)
	}

	erase := func(ctx context.Context, customer string) error {
		_, err := b.labeling.Erase(ctx, labeling.Subject{Kind: labeling.SubjectCustomer, ID: customer}, "user:ada", false, labeling.Erasing{})
		return err
	}
	if err := erase(ctx, "acme"); err != nil {
		t.Fatal(err)
	}
	if err := pgx.BeginFunc(ctx, b.pool, finish); err != nil {
		t.Fatal(err)
	}
	if n := len(report()); n != 8 {
		t.Errorf("%d examples after an erasure before the report, want 8 of 12", n)
	}
	if _, err := b.pool.Exec(ctx, `UPDATE rounds SET report = NULL WHERE id = $1`, r.ID); err != nil {
		t.Fatal(err)
	}
	erased := make(chan error, 1)
	err = pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		if err := finish(tx); err != nil {
			return err
		}
		go func() { erased <- erase(ctx, "shop") }()
		for waiting := 0; waiting == 0 && len(erased) == 0; { // for this transaction; one that does not wait is found out below
			if err := b.pool.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()`).Scan(&waiting); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-erased; err != nil {
		t.Fatal(err)
	}
	if list := report(); len(list) != 4 {
		t.Errorf("%d examples after an erasure beside the report, want 4 of 12: %+v", len(list), list)
	}
}
