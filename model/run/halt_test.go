package run

import (
	"context"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A run that must not go on by itself is paused: after the step that says so, or, where that was not done, at the last committed one. It
// goes on to the same end.
func TestHaltedRun(t *testing.T) {
	clean := toyConfig{Steps: 9, Seed: 8}
	for name, c := range map[string]struct {
		change func(*toyConfig)
		step   int
	}{
		"after a step":      {func(c *toyConfig) { c.HaltAt = 5 }, 5},
		"after the last":    {func(c *toyConfig) { c.HaltAt = 9 }, 9},
		"without the step":  {func(c *toyConfig) { c.BalkAt = 5 }, 4},
		"without the first": {func(c *toyConfig) { c.BalkAt = 1 }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.exec(`CREATE TABLE told (run_id uuid, why text)`)
			h := &toyHooks{halted: func(ctx context.Context, tx pgx.Tx, r Run, cause *HaltError) error {
				_, err := tx.Exec(ctx, `INSERT INTO told VALUES ($1, $2)`, r.ID, r.State+": "+cause.Error())
				return err
			}}
			opt := Options{Slice: Unlimited}
			if c.step == 4 {
				opt.Slice = EachStep
			}
			b.work(h, opt)
			cfg := clean
			c.change(&cfg)
			r := b.create(cfg)
			got := b.wait(r.ID, Paused, Done, Failed)
			if got.State != Paused || got.Step != c.step || got.LiveStep != c.step || got.HeartbeatAt != nil {
				t.Fatalf("%+v", got)
			}
			if c.step > 0 {
				if _, err := os.Stat(statePath(b.dir, got.StateFile)); err != nil {
					t.Error(err)
				}
			}
			points, err := b.store.Metrics(t.Context(), r.ID, -1)
			if err != nil || len(points) != c.step {
				t.Errorf("%d points, %v", len(points), err)
			}
			var told string
			b.get(&told, `SELECT why FROM told WHERE run_id = $1`, r.ID)
			if want := "paused: halted: " + map[bool]string{true: "halted", false: "balked"}[cfg.HaltAt > 0]; told != want {
				t.Errorf("the kind was told %q", told)
			}
			b.tx(func(tx pgx.Tx) error { return b.store.Resume(t.Context(), tx, r.ID) })
			b.finished(r, clean)
		})
	}
}
