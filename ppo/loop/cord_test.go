package loop_test

import (
	"errors"
	"testing"
	"time"

	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestCord: while the cord is pulled no run takes a step and no round starts; released, the round goes on where it stood.
func TestCord(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	c := smallRound()
	c.Promotion = loop.PromoteByHand
	r, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	b.until(t, r.ID, is(loop.StageRank))
	var invalid *loop.InvalidError
	if err := b.loop.PullCord(ctx, b.project.ID, "user:ann", "  "); !errors.As(err, &invalid) || invalid.Field != "reason" {
		t.Fatalf("without a reason: %v", err)
	}
	if err := b.loop.ReleaseCord(ctx, b.project.ID, "user:ada"); !errors.Is(err, loop.ErrNotFound) {
		t.Fatalf("released what was not pulled: %v", err)
	}
	if err := b.loop.PullCord(ctx, b.project.ID, "user:ann", "the answers praise the shortest"); err != nil {
		t.Fatal(err)
	}
	if err := b.loop.PullCord(ctx, b.project.ID, "user:bob", "me too"); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("pulled twice: %v", err)
	}
	if got, err := b.loop.Cord(ctx, b.project.ID); err != nil || got.Actor != "user:ann" || got.Reason != "the answers praise the shortest" {
		t.Fatalf("%+v %v", got, err)
	}
	b.rank(t) // people may go on; what they rank starts a run that waits
	r = b.until(t, r.ID, is(loop.StageReward))
	runs := run.NewStore(b.pool)
	for range 10 {
		v, err := runs.Get(ctx, r.RewardRunID)
		if err != nil || v.State != run.Paused || v.Step != 0 {
			t.Fatalf("the run goes on: %+v %v", v, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := b.loop.ReleaseCord(ctx, b.project.ID, "user:ada"); err != nil {
		t.Fatal(err)
	}
	r = b.until(t, r.ID, func(s loop.Stage) bool { return s == loop.StagePPO || s == loop.StageEvaluate || s == loop.StageDecide })
	// Pulled in the middle of a run, and before the next round.
	if err := b.loop.PullCord(ctx, b.project.ID, "user:ann", "again"); err != nil {
		t.Fatal(err)
	}
	if err := b.loop.Cancel(ctx, r.ID, "user:ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.loop.Start(ctx, b.project.ID, "test", c); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("a round starts while the cord is pulled: %v", err)
	}
	if err := b.loop.ReleaseCord(ctx, b.project.ID, "user:ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.loop.Start(ctx, b.project.ID, "test", c); err != nil {
		t.Fatal(err)
	}
	alarms, err := b.loop.Alarms(ctx, "", 10)
	if err != nil || len(alarms) != 2 || alarms[0].Kind != "cord" {
		t.Fatalf("%+v %v", alarms, err)
	}
	var acts int
	if err := b.pool.QueryRow(ctx, `SELECT count(*) FROM audit WHERE act IN ('round.cord', 'round.cord_release')`).Scan(&acts); err != nil || acts != 4 {
		t.Fatalf("%d audit rows, %v", acts, err)
	}
}
