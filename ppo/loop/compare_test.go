package loop_test

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
)

// addVersions registers a second policy and a reward model, both of other random weights than the one that serves.
func (b *bench) addVersions(t *testing.T) (policy registry.Version) {
	t.Helper()
	ctx, blobs := t.Context(), checkpoint.Dir(b.models)
	serving, err := b.registry.Serving(ctx, loop.Channel)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := blobs.Open(ctx, serving.Digest)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := checkpoint.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, kind := range []string{registry.Policy, registry.Reward} {
		m, err := model.New(cp.Model.Config(), uint64(2+i))
		if err != nil {
			t.Fatal(err)
		}
		out := &checkpoint.Checkpoint{Model: m, Tokenizer: cp.Tokenizer, Card: checkpoint.Card{Kind: kind}}
		if kind == registry.Reward {
			m.AddHead(model.HeadScore, 3)
			out.Card.RewardStd = 1
		}
		dir := filepath.Join(t.TempDir(), kind)
		if err := out.Save(dir, "F32"); err != nil {
			t.Fatal(err)
		}
		digest, err := blobs.Put(ctx, dir)
		if err != nil {
			t.Fatal(err)
		}
		err = pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
			v, err := b.registry.Register(ctx, tx, registry.Version{Kind: kind, Name: kind + "-x", Digest: digest, Parents: []string{serving.ID}})
			if err != nil {
				return err
			}
			if kind == registry.Policy {
				policy = v
				return nil
			}
			return b.registry.Promote(ctx, tx, loop.RewardChannel, v.ID, "test", "")
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return policy
}

// compared waits until a comparison has left the sampling.
func (b *bench) compared(t *testing.T, id string) loop.Comparison {
	t.Helper()
	for {
		c, err := b.loop.Comparison(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if c.Stage == loop.CompareFailed {
			t.Fatalf("failed: %s", c.Error)
		}
		if c.Stage != loop.CompareSample {
			return c
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestComparison: two policies answer held-out prompts, two people judge them without knowing whose is what, and what they said is
// put down to the right one.
func TestComparison(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	a, err := b.registry.Serving(ctx, loop.Channel)
	if err != nil {
		t.Fatal(err)
	}
	policy := b.addVersions(t)
	cfg := loop.DefaultCompare()
	cfg.Project, cfg.Prompts, cfg.Overlap, cfg.MaxTokens, cfg.Seed = b.project.ID, 40, 2, 8, 5
	for field, n := range map[string]loop.NewComparison{
		"b":       {A: a.ID, B: a.ID, Config: cfg},
		"a":       {A: b.project.ID, B: policy.ID, Config: cfg},
		"overlap": {A: a.ID, B: policy.ID, Config: func() loop.CompareConfig { c := cfg; c.Overlap = 0; return c }()},
		"project": {A: a.ID, B: policy.ID, Config: func() loop.CompareConfig { c := cfg; c.Category = "zh-Hant"; return c }()},
		"prompts": {A: a.ID, B: policy.ID, List: " \n", Config: func() loop.CompareConfig { c := cfg; c.Project = ""; return c }()},
	} {
		var wrong *loop.InvalidError
		if _, err := b.loop.StartComparison(ctx, n); !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	c, err := b.loop.StartComparison(ctx, loop.NewComparison{A: a.ID, B: policy.ID, Config: cfg, Actor: "user:ada"})
	if err != nil {
		t.Fatal(err)
	}
	c = b.compared(t, c.ID)
	if c.Stage != loop.CompareJudge || c.Pairs != 10 || c.Answered != 10 || c.Need != 20 || c.Report != nil {
		t.Fatalf("%+v", c)
	}
	b.blind(t, c, a, policy)
	if _, err := b.loop.ComparePairs(ctx, c, 0, 10); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("pairs before the end: %v", err)
	}
	main := b.project
	if b.project, err = b.labeling.Project(ctx, c.ProjectID); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"ann", "bob"} { // shorter is better
		b.judge(t, who)
	}
	if c, _ = b.loop.Comparison(ctx, c.ID); !c.Judged() {
		t.Fatalf("%+v", c)
	}
	if err := b.loop.SettleComparison(ctx, c.ID, main.ID, "user:ada"); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("settled while open: %v", err)
	}
	if err := b.loop.CloseComparison(ctx, c.ID, "user:ada"); err != nil {
		t.Fatal(err)
	}
	if c, err = b.loop.Comparison(ctx, c.ID); err != nil || c.Report == nil || c.ClosedAt == nil {
		t.Fatalf("%+v, %v", c, err)
	}
	b.putDown(t, c)
	b.settled(t, c, main)
}

// judge lets one person judge all pairs that are open to them: the shorter answer is a little better.
func (b *bench) judge(t *testing.T, who string) {
	t.Helper()
	for {
		task, err := b.labeling.Claim(t.Context(), b.project.ID, who)
		if errors.Is(err, labeling.ErrEmpty) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		in := labeling.SubmitInput{AssignmentID: task.ID, LabelerID: who, Ranks: []int{1, 1}, IdempotencyKey: task.ID}
		x, y := utf8.RuneCountInString(task.Answers[0].Text), utf8.RuneCountInString(task.Answers[1].Text)
		switch {
		case x < y:
			in.Ranks, in.Strength = []int{1, 2}, 2
		case y < x:
			in.Ranks, in.Strength = []int{2, 1}, 2
		}
		if _, err := b.labeling.Submit(t.Context(), in, b.loop.RankingSubmitted); err != nil {
			t.Fatal(err)
		}
	}
}

// blind checks that no table but the comparison's own says whose an answer is, and that the sides are mixed.
func (b *bench) blind(t *testing.T, c loop.Comparison, versions ...registry.Version) {
	t.Helper()
	ctx := t.Context()
	for _, v := range versions {
		var n int
		if err := b.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM responses r JOIN tasks t ON t.id = r.task_id WHERE t.project_id = $1 AND r.model_version <> '')
			+ (SELECT count(*) FROM projects WHERE id = $1 AND (name || to_jsonb(projects)::text) LIKE '%' || $2 || '%')`, c.ProjectID, v.Name).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d rows name %s, %v", n, v.Name, err)
		}
	}
	var swapped int
	if err := b.pool.QueryRow(ctx, `SELECT count(*) FROM model_comparison_pairs WHERE comparison_id = $1 AND swapped`, c.ID).Scan(&swapped); err != nil || swapped == 0 || swapped == c.Pairs {
		t.Errorf("%d of %d are swapped, %v", swapped, c.Pairs, err)
	}
	var splits string
	if err := b.pool.QueryRow(ctx, `SELECT string_agg(DISTINCT p.split, ' ') FROM prompts p WHERE p.project_id = $1`, b.project.ID).Scan(&splits); err != nil {
		t.Fatal(err)
	}
	var from string
	if err := b.pool.QueryRow(ctx, `SELECT string_agg(DISTINCT m.split, ' ') FROM prompts p JOIN prompts m ON m.hash = p.hash AND m.project_id = $2 WHERE p.project_id = $1`, c.ProjectID, b.project.ID).Scan(&from); err != nil || from != "test" {
		t.Errorf("prompts of the splits %q are asked, %v", from, err)
	}
}

// putDown checks the report against the pairs: the judge prefers the shorter answer, so each vote is known from the texts.
func (b *bench) putDown(t *testing.T, c loop.Comparison) {
	t.Helper()
	pairs, err := b.loop.ComparePairs(t.Context(), c, 0, 100)
	if err != nil || len(pairs) != 10 {
		t.Fatalf("%d pairs, %v", len(pairs), err)
	}
	sum, proxy, orders := 0.0, 0.0, map[string]int{}
	for _, p := range pairs {
		la, lb := utf8.RuneCountInString(p.A), utf8.RuneCountInString(p.B)
		want := .5
		if lb < la {
			want = 1
		} else if la < lb {
			want = 0
		}
		if len(p.Votes) != 2 || p.Votes[0].B != want || p.Votes[1].B != want || p.LengthA != la || p.LengthB != lb || p.TokensA == 0 || p.RewardA == nil || p.KL == nil || len(p.Messages) != 1 {
			t.Errorf("pair %d: %+v, want %v", p.Position, p, want)
		}
		sum += want / 10
		switch {
		case *p.RewardB > *p.RewardA:
			proxy += .1
		case *p.RewardB == *p.RewardA:
			proxy += .05
		}
		orders[p.First]++
	}
	r := c.Report
	if math.Abs(r.Win.Value-sum) > 1e-9 || math.Abs(r.Reward.Value-proxy) > 1e-9 || r.Judged != 10 || r.Judgements != 20 || r.Judges != 2 || r.Agreement.N > 0 && r.Agreement.Value != 1 || len(orders) != 2 {
		t.Errorf("%+v, want %v and %v", r, sum, proxy)
	}
	if line, err := b.loop.Comparisons(t.Context(), c.B, 10); err != nil || len(line) != 1 || line[0].ID != c.ID {
		t.Errorf("of B: %+v, %v", line, err)
	}
}

// settled checks that judgements are trained on only where somebody says so, once, and what becomes of a comparison afterwards.
func (b *bench) settled(t *testing.T, c loop.Comparison, main labeling.Project) {
	t.Helper()
	ctx := t.Context()
	count := func() (n int) {
		if err := b.pool.QueryRow(ctx, `SELECT count(*) FROM rankings k JOIN tasks t ON t.id = k.task_id WHERE t.project_id = $1`, main.ID).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 0 {
		t.Errorf("%d rankings before anybody said so", n)
	}
	if err := b.loop.ReopenComparison(ctx, c.ID, "user:ada"); err != nil {
		t.Fatal(err)
	}
	if open, err := b.loop.Comparison(ctx, c.ID); err != nil || open.LookedAt == nil || open.Report != nil || open.Stage != loop.CompareJudge {
		t.Errorf("reopened: %+v, %v", open, err)
	}
	for _, act := range []func() error{func() error { return b.loop.LookEarly(ctx, c.ID, "user:ada") }, func() error { return b.loop.CloseComparison(ctx, c.ID, "user:ada") },
		func() error { return b.loop.SettleComparison(ctx, c.ID, "", "user:ada") }} {
		if err := act(); err != nil {
			t.Fatal(err)
		}
	}
	var labelers, splits string
	if err := b.pool.QueryRow(ctx, `SELECT string_agg(DISTINCT k.labeler_id, ' '), string_agg(DISTINCT p.split, ' ') FROM rankings k JOIN tasks t ON t.id = k.task_id JOIN prompts p ON p.id = t.prompt_id
		WHERE t.project_id = $1`, main.ID).Scan(&labelers, &splits); err != nil || labelers != "import:ann import:bob" || splits != "test" {
		t.Errorf("settled by %q in %q, %v", labelers, splits, err)
	}
	c, err := b.loop.Comparison(ctx, c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if imported, err := b.labeling.ImportByID(ctx, c.SettledImport); err != nil || imported.Imported != count() || imported.Actor != "user:ada" {
		t.Errorf("import %+v, %v", imported, err)
	}
	for what, err := range map[string]error{"settled twice": b.loop.SettleComparison(ctx, c.ID, "", "user:ada"), "reopened": b.loop.ReopenComparison(ctx, c.ID, "user:ada"), "looked": b.loop.LookEarly(ctx, c.ID, "user:ada")} {
		if !errors.Is(err, loop.ErrConflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := b.loop.DeleteComparison(ctx, c.ID, "user:ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.loop.Comparison(ctx, c.ID); !errors.Is(err, loop.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	var acts int
	if err := b.pool.QueryRow(ctx, `SELECT count(DISTINCT act) FROM audit WHERE act LIKE 'comparison.%' AND subject = $1`, c.ID).Scan(&acts); err != nil || acts != 6 {
		t.Errorf("%d kinds of acts in the log, %v", acts, err)
	}
}

// TestComparisonByFigures: nobody judges, both ways round; the likeliest answers are the same whichever side a version is on, and
// and too little memory ends it with a reason before anything is loaded.
func TestComparisonByFigures(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	a, err := b.registry.Serving(ctx, loop.Channel)
	if err != nil {
		t.Fatal(err)
	}
	policy := b.addVersions(t)
	cfg := loop.DefaultCompare()
	cfg.Judges, cfg.MaxTokens, cfg.Temperature = loop.JudgesNobody, 8, 0
	list := "say word one\nsay word two\nsay word one\n{\"prompt\": \"a b c\", \"category\": \"letters\"}\n" +
		strings.Repeat("zxqv ", 40) // too long
	said := map[string][]string{} // by version
	for _, ids := range [][2]string{{a.ID, policy.ID}, {policy.ID, a.ID}} {
		c, err := b.loop.StartComparison(ctx, loop.NewComparison{A: ids[0], B: ids[1], Config: cfg, List: list, Actor: "user:ada"})
		if err != nil {
			t.Fatal(err)
		}
		c = b.compared(t, c.ID)
		if c.Stage != loop.CompareClosed || c.Pairs != 4 || c.Report == nil || c.Report.Prompts != 3 || c.Report.Unfit != 1 || c.Report.Reward == nil || c.Report.KL == nil || c.Report.Judged != 0 {
			t.Fatalf("%+v, %+v", c, c.Report)
		}
		if p, err := b.labeling.Project(ctx, c.ProjectID); err != nil || !p.Closed {
			t.Errorf("%+v, %v", p, err)
		}
		pairs, err := b.loop.ComparePairs(ctx, c, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pairs[:3] {
			said[ids[0]], said[ids[1]] = append(said[ids[0]], p.A), append(said[ids[1]], p.B)
		}
	}
	b.free.Store(1000) // of memory
	c, err := b.loop.StartComparison(ctx, loop.NewComparison{A: a.ID, B: policy.ID, Config: cfg, List: list, Actor: "user:ada"})
	if err != nil {
		t.Fatal(err)
	}
	for c.Stage == loop.CompareSample {
		time.Sleep(20 * time.Millisecond)
		if c, err = b.loop.Comparison(ctx, c.ID); err != nil {
			t.Fatal(err)
		}
	}
	if c.Stage != loop.CompareFailed || c.Answered != 0 || !strings.Contains(c.Error, "1e-06 GB are free") || !strings.Contains(c.Error, "--kv-cache") {
		t.Errorf("without memory: %s %q", c.Stage, c.Error)
	}
	for id, texts := range said {
		for i := range 3 {
			if texts[i] != texts[i+3] {
				t.Errorf("%s says %q on one side and %q on the other", id, texts[i], texts[i+3])
			}
		}
	}
}
