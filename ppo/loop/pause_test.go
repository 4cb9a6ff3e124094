package loop_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestPause: a paused round samples nothing, starts nothing and takes no step, whatever its stage; resumed it goes on to its end.
func TestPause(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	c := smallRound()
	c.Promotion = loop.PromoteByHand
	r, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	still := func(stage loop.Stage) loop.Round {
		t.Helper()
		first, err := b.loop.View(ctx, r.ID)
		if err != nil || first.Stage != stage || first.PausedAt == nil {
			t.Fatalf("%s, paused %v, %v: want %s", first.Stage, first.PausedAt, err, stage)
		}
		for range 10 {
			time.Sleep(50 * time.Millisecond)
			if err := b.loop.AdvanceWaiting(ctx); err != nil {
				t.Fatal(err)
			}
		}
		now, err := b.loop.View(ctx, r.ID)
		if err != nil || now.Stage != stage {
			t.Fatalf("it went on to %s, %v", now.Stage, err)
		}
		return now
	}
	act := func(what string, f func() error) {
		t.Helper()
		if err := f(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	pause := func() error { return b.loop.Pause(ctx, r.ID, "ada") }
	resume := func() error { return b.loop.Resume(ctx, r.ID, "ada") }
	b.until(t, r.ID, is(loop.StageRank))
	act("pause", pause)
	if err := pause(); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("paused twice: %v", err)
	}
	b.rank(t) // people may go on
	still(loop.StageRank)
	if err := b.loop.Proceed(ctx, r.ID, "ada"); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("a paused round proceeds: %v", err)
	}
	act("resume", resume)
	if err := resume(); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("resumed twice: %v", err)
	}
	r = b.until(t, r.ID, func(s loop.Stage) bool { return s == loop.StageReward || s == loop.StagePPO })
	act("pause", pause)
	// The step that is under way may be a run's last: then the next stage's run waits.
	runs := run.NewStore(b.pool)
	var v run.Run
	for v.State != run.Paused || v.HeartbeatAt != nil {
		time.Sleep(20 * time.Millisecond)
		if r, err = b.loop.View(ctx, r.ID); err != nil {
			t.Fatal(err)
		}
		id := map[loop.Stage]string{loop.StageReward: r.RewardRunID, loop.StagePPO: r.PPORunID, loop.StageEvaluate: r.EvaluateRunID}[r.Stage]
		if v, err = runs.Get(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	step, stage := v.Step, r.Stage
	still(stage)
	if v, err = runs.Get(ctx, v.ID); err != nil || v.State != run.Paused || v.Step != step {
		t.Fatalf("the run is %s at step %d, was at %d, %v", v.State, v.Step, step, err)
	}
	// The cord does not set a round to work that a person has paused.
	act("pull", func() error { return b.loop.PullCord(ctx, b.project.ID, "user:ann", "look at this") })
	act("release", func() error { return b.loop.ReleaseCord(ctx, b.project.ID, "user:ada") })
	still(stage)
	act("resume", resume)
	r = b.until(t, r.ID, is(loop.StageDecide))
	if err := pause(); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("paused while a person decides: %v", err)
	}
	act("decide", func() error { return b.loop.Decide(ctx, r.ID, "ada", false) })
	if err := pause(); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("paused after its end: %v", err)
	}
	var acts int
	if err := b.pool.QueryRow(ctx, `SELECT count(*) FROM audit WHERE act IN ('round.pause', 'round.resume')`).Scan(&acts); err != nil || acts != 4 {
		t.Errorf("%d audit rows, %v", acts, err)
	}
}

// TestRetry: a round that failed goes on in the stage that failed, once what was wrong is mended.
func TestRetry(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	if _, err := b.pool.Exec(ctx, `UPDATE prompts SET hidden_at = now()`); err != nil {
		t.Fatal(err)
	}
	c := smallRound()
	c.Promotion = loop.PromoteByHand
	r, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.loop.Retry(ctx, r.ID, "ada"); err == nil {
		t.Fatal("a round is tried again that has not failed")
	}
	if r = b.until(t, r.ID, is(loop.StageFailed)); r.BrokeAt != loop.StageSample {
		t.Fatalf("it broke in %q", r.BrokeAt)
	}
	if _, err := b.pool.Exec(ctx, `UPDATE prompts SET hidden_at = NULL`); err != nil {
		t.Fatal(err)
	}
	if err := b.loop.Retry(ctx, r.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	if r = b.until(t, r.ID, is(loop.StageRank)); r.Error != "" || r.EndedAt != nil || r.BrokeAt != "" {
		t.Fatalf("it still counts as failed: %+v", r)
	}
	away := b.models + ".away"
	if err := os.Rename(b.models, away); err != nil {
		t.Fatal(err)
	}
	b.rank(t)
	if r = b.until(t, r.ID, is(loop.StageFailed)); r.BrokeAt != loop.StageReward {
		t.Fatalf("it broke in %q: %s", r.BrokeAt, r.Error)
	}
	if err := os.Rename(away, b.models); err != nil {
		t.Fatal(err)
	}
	other, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.loop.Retry(ctx, r.ID, "ada"); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("two rounds are open: %v", err)
	}
	if err := b.loop.Cancel(ctx, other.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	if err := b.loop.Retry(ctx, r.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	if r = b.until(t, r.ID, is(loop.StageDecide)); r.Report == nil {
		t.Fatal("no report")
	}
}
