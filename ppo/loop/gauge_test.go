package loop_test

import (
	"context"
	"encoding/json"
	"errors"
	"runtime/debug"
	"testing"

	"github.com/riverqueue/river/rivertype"

	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestMemoryOfStages: the most that any job of a stage took is noted with the stage, whether the job ended well, badly or in a panic; garbage is
// kept low for as long as one is at work; jobs of no round are done all the same.
func TestMemoryOfStages(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	r, err := b.loop.Start(ctx, b.project.ID, "test", smallRound())
	if err != nil {
		t.Fatal(err)
	}
	r = b.until(t, r.ID, is(loop.StageRank)) // nothing is at work now
	usual := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(usual) })
	round, err := json.Marshal(map[string]string{"round_id": r.ID})
	if err != nil {
		t.Fatal(err)
	}
	const megabyte, slack = 1 << 20, 24 << 20
	var held []byte
	job := func(size int, end func() error) func(context.Context) error {
		return func(context.Context) error {
			held = make([]byte, size)
			for i := 0; i < len(held); i += 4096 {
				held[i] = 1
			}
			if at := debug.SetGCPercent(25); at != 25 {
				t.Errorf("garbage of %d%% while a job is at work", at)
			}
			return end()
		}
	}
	broken := errors.New("the disk is full")
	middleware := b.loop.Middleware()
	do := func(queue string, args []byte, size int, end func() error) (err error) {
		defer func() {
			held = nil
			if p := recover(); p != nil {
				err = broken
			}
		}()
		return middleware.Work(ctx, &rivertype.JobRow{ID: 1, Queue: queue, EncodedArgs: args}, func(ctx context.Context) error { return job(size, end)(ctx) })
	}
	noted := func() int64 {
		t.Helper()
		times, err := b.loop.StageTimes(ctx, r.ID)
		if err != nil || times[len(times)-1].Stage != loop.StageRank {
			t.Fatalf("%+v, %v", times, err)
		}
		return times[len(times)-1].Memory
	}
	ok, fails, panics := func() error { return nil }, func() error { return broken }, func() error { panic("out of range") }
	for _, c := range []struct {
		name  string
		queue string
		args  []byte
		size  int
		end   func() error
		least int64 // noted afterwards
		fails bool
	}{
		{"of no round", run.Queue, []byte(`{"run_id":"00000000-0000-4000-8000-000000000000"}`), megabyte, ok, 0, false},
		{"with arguments that cannot be read", run.Queue, []byte(`{"run_id":7}`), megabyte, ok, 0, false},
		{"of the round", loop.QueueRollout, round, 96 * megabyte, ok, 96 * megabyte, false},
		{"a smaller one", loop.QueueRollout, round, 8 * megabyte, ok, 96 * megabyte, false},
		{"one that fails", loop.QueueRollout, round, 160 * megabyte, fails, 160 * megabyte, true},
		{"one that panics", loop.QueueRollout, round, 224 * megabyte, panics, 224 * megabyte, true},
	} {
		debug.FreeOSMemory() // of the job before
		before := noted()
		if err := do(c.queue, c.args, c.size, c.end); (err != nil) != c.fails || c.fails && !errors.Is(err, broken) {
			t.Errorf("%s: %v", c.name, err)
		}
		got := noted()
		if got < c.least-slack || got > 2*c.least+slack || got < before { // the race detector takes as much again
			t.Errorf("%s: %d MB noted, before it %d MB", c.name, got/megabyte, before/megabyte)
		}
		if at := debug.SetGCPercent(100); at != 100 {
			t.Errorf("%s: garbage of %d%% afterwards", c.name, at)
		}
	}
}
