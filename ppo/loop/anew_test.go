package loop_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestDataComesAndGoes: a run that is taken up from its state goes on with what was there when it began, whatever has come since; where
// something was taken back it begins anew without that, says so, and not for ever.
func TestDataComesAndGoes(t *testing.T) {
	for _, stage := range []loop.Stage{loop.StageReward, loop.StagePPO} {
		t.Run(string(stage), func(t *testing.T) {
			b := newBench(t)
			ctx := t.Context()
			c := smallRound()
			if stage == loop.StageReward {
				c.Reward.Epochs = 5000
			} else {
				c.PPO.Iterations = 5000
			}
			r, err := b.loop.Start(ctx, b.project.ID, "test", c)
			if err != nil {
				t.Fatal(err)
			}
			b.until(t, r.ID, is(loop.StageRank))
			b.rank(t)
			b.until(t, r.ID, is(stage))
			runs := run.NewStore(b.pool)
			current := func() run.Run {
				t.Helper()
				now, err := b.loop.View(ctx, r.ID)
				if err != nil || now.Stage != stage {
					t.Fatalf("%s: %s, %v", now.Stage, now.Error, err)
				}
				v, err := runs.Get(ctx, map[loop.Stage]string{loop.StageReward: now.RewardRunID, loop.StagePPO: now.PPORunID}[stage])
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			when := func(f func(run.Run) bool) run.Run {
				t.Helper()
				for {
					if v := current(); f(v) {
						return v
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
			atRest := func() run.Run { // with a state on disk that nobody holds in memory
				t.Helper()
				when(func(v run.Run) bool { return v.Step > 0 })
				if err := b.loop.Pause(ctx, r.ID, "ada"); err != nil {
					t.Fatal(err)
				}
				return when(func(v run.Run) bool { return v.State == run.Paused && v.HeartbeatAt == nil })
			}
			resume := func() {
				t.Helper()
				if err := b.loop.Resume(ctx, r.ID, "ada"); err != nil {
					t.Fatal(err)
				}
			}

			first := atRest()
			err = pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
				for _, text := range []string{"a prompt of later", "and one more"} {
					n := labeling.NewPrompt{ProjectID: b.project.ID, Messages: []labeling.Message{{Role: "user", Content: text}}, Origin: labeling.OriginImport, Split: labeling.Train}
					if _, _, err := b.labeling.AddPrompt(ctx, tx, n); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			resume()
			if went := when(func(v run.Run) bool { return v.Step > first.Step || v.ID != first.ID }); went.ID != first.ID {
				t.Fatal("it began anew because prompts came")
			}

			gone := 0
			takeBack := func() {
				t.Helper()
				tag, err := b.pool.Exec(ctx, `UPDATE prompts SET hidden_at = now() WHERE id = (SELECT id FROM prompts WHERE split = 'train' AND usable ORDER BY id LIMIT 1)`)
				if err != nil || tag.RowsAffected() != 1 {
					t.Fatal(tag, err)
				}
				gone++
			}
			for range 3 {
				before := atRest()
				takeBack()
				resume()
				v := when(func(v run.Run) bool { return v.ID != before.ID && v.Step > 0 })
				if old, err := runs.Get(ctx, before.ID); err != nil || old.State != run.Failed || v.State != run.Running && v.State != run.Queued {
					t.Fatalf("the former run is %s, the new one %s, %v", old.State, v.State, err)
				}
			}
			alarms, err := b.loop.Alarms(ctx, r.ID, 10)
			if err != nil || len(alarms) != gone || !strings.Contains(alarms[0].Message, "began anew after step") {
				t.Errorf("%+v, %v", alarms, err)
			}
			var acts int
			if err := b.pool.QueryRow(ctx, `SELECT count(*) FROM audit WHERE act = 'round.anew'`).Scan(&acts); err != nil || acts != gone {
				t.Errorf("%d audit rows, %v", acts, err)
			}
			times, err := b.loop.StageTimes(ctx, r.ID)
			if err != nil || !times[len(times)-1].Broken {
				t.Errorf("the time of the stage counts: %+v, %v", times, err)
			}

			atRest()
			takeBack()
			resume()
			if r = b.until(t, r.ID, is(loop.StageFailed)); !strings.Contains(r.Error, "belongs to another run") {
				t.Errorf("it failed of %s", r.Error)
			}
			failed := r
			if err := b.loop.Retry(ctx, r.ID, "ada"); err != nil {
				t.Fatal(err)
			}
			when(func(v run.Run) bool {
				return v.ID != failed.PPORunID && v.ID != failed.RewardRunID && v.State == run.Running && v.Step > 0
			})
		})
	}
}
