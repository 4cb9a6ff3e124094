package loop_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestOrderTasks: the serving policy answers as many prompts as were ordered, as the project's question wants it, and no
// more than the pool has.
func TestOrderTasks(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	count := func(project string) (n int) {
		if err := b.pool.QueryRow(ctx, `SELECT count(*) FROM tasks WHERE project_id = $1`, project).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	wait := func(project string, n int) {
		t.Helper()
		idle := func() (idle bool) {
			if err := b.pool.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM river.river_job WHERE kind = 'loop.tasks' AND state <> 'completed')`).Scan(&idle); err != nil {
				t.Fatal(err)
			}
			return idle
		}
		for range 600 {
			if idle() {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if got := count(project); got != n || !idle() {
			t.Fatalf("%d tasks, want %d", got, n)
		}
	}
	// 40 prompts of which 30 are not kept for tests: more than one chunk would take them, and there are no more.
	if err := b.loop.OrderTasks(ctx, b.project.ID, 7, "user:admin"); err != nil {
		t.Fatal(err)
	}
	wait(b.project.ID, 7)
	if err := b.loop.OrderTasks(ctx, b.project.ID, 1000, "user:admin"); err != nil {
		t.Fatal(err)
	}
	wait(b.project.ID, 37)

	p, err := b.labeling.CreateProject(ctx, labeling.Project{Name: "dialogue", Question: labeling.QuestionMultiturn, K: 3, Overlap: 2}, "user:admin")
	if err != nil {
		t.Fatal(err)
	}
	if err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		for _, messages := range [][]labeling.Message{{{Role: "user", Content: "alone"}}, {{Role: "user", Content: "a"}, {Role: "assistant", Content: "b"}, {Role: "user", Content: "c"}}} {
			if _, _, err := b.labeling.AddPrompt(ctx, tx, labeling.NewPrompt{ProjectID: p.ID, Messages: messages, Origin: labeling.OriginImport, Split: labeling.Train}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.loop.OrderTasks(ctx, p.ID, 5, "user:admin"); err != nil {
		t.Fatal(err)
	}
	wait(p.ID, 1)
	a, err := b.labeling.Claim(ctx, p.ID, "ann")
	if err != nil || len(a.Answers) != 3 || len(a.Messages) != 3 {
		t.Errorf("%+v, %v", a, err)
	}
	d, err := b.labeling.CreateProject(ctx, labeling.Project{Name: "write", Question: labeling.QuestionDemonstration}, "user:admin")
	if err != nil {
		t.Fatal(err)
	}
	var wrong *loop.InvalidError
	for _, err := range []error{b.loop.OrderTasks(ctx, d.ID, 5, "user:admin"), b.loop.OrderTasks(ctx, p.ID, 0, "user:admin"), b.loop.OrderTasks(ctx, p.ID, 1e6, "user:admin")} {
		if !errors.As(err, &wrong) {
			t.Errorf("taken: %v", err)
		}
	}
	if err := b.loop.OrderTasks(ctx, "01890a5d-ac96-774b-bcce-b302099a8057", 5, "user:admin"); !errors.Is(err, labeling.ErrNotFound) {
		t.Error(err)
	}
}
