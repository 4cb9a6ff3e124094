package run

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

func TestSliceLengthDoesNotMatter(t *testing.T) {
	cfg := toyConfig{Steps: 60, Seed: 7, Pause: 8 * time.Millisecond, NaNAt: 13}
	for name, tt := range map[string]struct {
		slice    time.Duration
		min, max int // jobs
	}{
		"each step": {EachStep, 60, 60},
		"0.2 s":     {200 * time.Millisecond, 2, 10},
		"unlimited": {Unlimited, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, h := newBench(t), &toyHooks{}
			b.work(h, Options{Slice: tt.slice})
			r := b.create(cfg)
			b.finished(r, cfg)
			var jobs int
			b.get(&jobs, `SELECT count(*) FROM river.river_job WHERE kind = $1`, toyKind)
			if jobs < tt.min || jobs > tt.max {
				t.Errorf("%d slices, want %d to %d", jobs, tt.min, tt.max)
			}
			if h.made.Load() != 1 || h.loaded.Load() != 0 {
				t.Errorf("trainer made %d times, loaded %d times: one worker goes on in memory", h.made.Load(), h.loaded.Load())
			}
		})
	}
}

// A second run on the same worker takes the memory; the first is loaded from its file then.
func TestTwoRunsTakeTurns(t *testing.T) {
	b, h := newBench(t), &toyHooks{}
	one := toyConfig{Steps: 20, Seed: 1, Pause: time.Millisecond}
	two := toyConfig{Steps: 20, Seed: 2, Pause: time.Millisecond}
	r1, r2 := b.create(one), b.create(two)
	b.work(h, Options{Slice: EachStep})
	b.finished(r1, one)
	b.finished(r2, two)
	if h.loaded.Load() < 10 {
		t.Errorf("loaded %d times: the runs did not take turns, the test tests nothing", h.loaded.Load())
	}
}

// A worker that was declared dead goes on working: nothing that it does counts.
func TestZombieWritesNothing(t *testing.T) {
	for name, heartbeat := range map[string]time.Duration{"seen at the commit": time.Hour, "seen at the heartbeat": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := toyConfig{Steps: 30, Seed: 3}
			b := newBench(t)
			r := b.create(cfg)
			stuck, free := make(chan struct{}), make(chan struct{})
			var zombieEnd atomic.Value
			zombie := &toyHooks{
				before: func(ctx context.Context, step int) error {
					if step == 12 {
						close(stuck)
						<-free
					}
					return nil
				},
				finish: func(context.Context, pgx.Tx, Run) error { zombieEnd.Store("finished"); return nil },
			}
			stop := b.work(zombie, Options{Slice: Unlimited, Heartbeat: heartbeat})
			<-stuck
			b.until(func() bool { return heartbeat > time.Second || b.run(r.ID).LiveStep == 11 }, func() string { return "live step" })
			b.until(func() bool { // a heartbeat on its way holds the row, and a reaper passes it by
				if err := b.store.Reap(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
				return b.run(r.ID).Epoch > r.Epoch
			}, func() string { return "the reaper" })
			b.work(&toyHooks{}, Options{})
			b.wait(r.ID, Done)
			before := b.run(r.ID)
			close(free)
			stop() // waits for the zombie's job
			if after := b.run(r.ID); after.Epoch != before.Epoch || after.Step != before.Step || !after.FinishedAt.Equal(*before.FinishedAt) {
				t.Errorf("the zombie changed the run from %+v to %+v", before, after)
			}
			if zombieEnd.Load() != nil && heartbeat < time.Second {
				t.Error("the zombie came to its Finish although its heartbeat told it")
			}
			if before.Epoch != 2 {
				t.Errorf("epoch %d, want 2", before.Epoch)
			}
			b.finished(r, cfg)
		})
	}
}

func TestFailedRun(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg   toyConfig
		hooks *toyHooks
		want  string
		step  int // committed
	}{
		"step": {toyConfig{Steps: 9, FailAt: 5}, &toyHooks{}, "step 5: loss is not finite", 4},
		"panic": {toyConfig{Steps: 9}, &toyHooks{before: func(_ context.Context, step int) error {
			if step == 3 {
				panic("boom")
			}
			return nil
		}}, "panic: boom", 2},
		"prepare": {toyConfig{Steps: 3}, &toyHooks{prepare: func(Run) error { return errors.New("no room in the shelf") }}, "no room in the shelf", 2},
		"finish":  {toyConfig{Steps: 3}, &toyHooks{finish: func(context.Context, pgx.Tx, Run) error { return errors.New("no such round") }}, "no such round", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.exec(`CREATE TABLE told (run_id uuid, why text)`)
			tt.hooks.failed = func(ctx context.Context, tx pgx.Tx, r Run, cause error) error {
				_, err := tx.Exec(ctx, `INSERT INTO told VALUES ($1, $2)`, r.ID, r.State+": "+r.Error)
				return err
			}
			b.work(tt.hooks, Options{Slice: EachStep})
			r := b.create(tt.cfg)
			got := b.wait(r.ID, Failed, Done)
			if got.State != Failed || !strings.Contains(got.Error, tt.want) || got.Step != tt.step || got.FinishedAt == nil {
				t.Errorf("run %+v, want it failed after step %d by %q", got, tt.step, tt.want)
			}
			var told string
			b.get(&told, `SELECT why FROM told WHERE run_id = $1`, r.ID)
			if told != "failed: "+got.Error {
				t.Errorf("the kind was told %q", told)
			}
			var results int
			b.get(&results, `SELECT count(*) FROM results`)
			if results != 0 {
				t.Error("a failed run has a result")
			}
		})
	}
}

// What failed goes on from its last committed step, once the cause is gone.
func TestResumeFailedRun(t *testing.T) {
	cfg := toyConfig{Steps: 9, Seed: 5}
	b := newBench(t)
	var broken atomic.Bool
	broken.Store(true)
	h := &toyHooks{before: func(_ context.Context, step int) error {
		if step == 6 && broken.Load() {
			return errors.New("broken")
		}
		return nil
	}}
	b.work(h, Options{Slice: EachStep})
	r := b.create(cfg)
	b.wait(r.ID, Failed)
	broken.Store(false)
	b.tx(func(tx pgx.Tx) error { return b.store.Resume(t.Context(), tx, r.ID) })
	b.finished(r, cfg)
	if h.loaded.Load() != 1 {
		t.Errorf("loaded %d times, want once", h.loaded.Load())
	}
}

// Errors that pass are tried again and leave no trace.
func TestTransientErrorIsRetried(t *testing.T) {
	cfg := toyConfig{Steps: 4, Seed: 6}
	b := newBench(t)
	var prepared, finished atomic.Int64
	b.work(&toyHooks{
		prepare: func(Run) error {
			if prepared.Add(1) == 1 {
				return &os.PathError{Op: "write", Path: "blob", Err: syscall.ENOSPC}
			}
			return nil
		},
		finish: func(ctx context.Context, tx pgx.Tx, _ Run) error {
			if finished.Add(1) == 1 {
				_, err := tx.Exec(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
				return err
			}
			return nil
		},
	}, Options{Slice: EachStep})
	r := b.create(cfg)
	b.finished(r, cfg)
	if prepared.Load() < 2 || finished.Load() != 2 {
		t.Errorf("prepared %d times, finished %d times", prepared.Load(), finished.Load())
	}
}

func TestPauseResumeCancel(t *testing.T) {
	cfg := toyConfig{Steps: 100000, Pause: time.Millisecond}
	b, h := newBench(t), &toyHooks{}
	opt := Options{Slice: Unlimited, Heartbeat: 20 * time.Millisecond}
	b.work(h, opt)
	r := b.create(cfg)
	act := func(f func(context.Context, pgx.Tx, string) error) {
		t.Helper()
		b.tx(func(tx pgx.Tx) error { return f(t.Context(), tx, r.ID) })
	}
	b.until(func() bool { return b.run(r.ID).LiveStep > 5 }, func() string { return "first steps" })
	act(b.store.Pause)
	b.until(func() bool { return b.run(r.ID).Step > 5 }, func() string { return "the commit of a paused run" })
	paused := b.run(r.ID)
	if paused.State != Paused || paused.StateFile == "" || paused.HeartbeatAt != nil {
		t.Errorf("paused run: %+v", paused)
	}
	time.Sleep(100 * time.Millisecond)
	if again := b.run(r.ID); again.LiveStep != paused.LiveStep {
		t.Errorf("a paused run goes on: %+v", again)
	}
	act(b.store.Resume)
	b.until(func() bool { return b.run(r.ID).LiveStep > paused.Step+5 }, func() string { return "steps after resuming" })
	if h.loaded.Load() != 1 {
		t.Errorf("loaded %d times, want once", h.loaded.Load())
	}
	act(b.store.Cancel)
	cancelled := b.run(r.ID)
	if cancelled.State != Cancelled || cancelled.Epoch != 3 {
		t.Errorf("cancelled run: %+v", cancelled)
	}
	b.until(func() bool {
		var open int
		b.get(&open, `SELECT count(*) FROM river.river_job WHERE kind = $1 AND finalized_at IS NULL`, toyKind)
		return open == 0
	}, func() string { return "the job of a cancelled run to end" })
	if after := b.run(r.ID); after.Step != cancelled.Step || after.State != Cancelled {
		t.Errorf("a cancelled run went on: %+v", after)
	}
	var conflict error
	pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
		conflict = b.store.Pause(t.Context(), tx, r.ID)
		return conflict
	})
	if !errors.Is(conflict, ErrConflict) {
		t.Errorf("pausing a cancelled run: %v, want ErrConflict", conflict)
	}
	// Its state stays for who thinks better of it, and goes when nobody has for long.
	b.sweep(r)
	if _, err := os.Stat(statePath(b.dir, cancelled.StateFile)); err != nil {
		t.Errorf("the state of a cancelled run: %v", err)
	}
	b.exec(`UPDATE runs SET finished_at = now() - interval '31 days'`)
	b.sweep(r)
	if _, err := os.Stat(runDir(b.dir, r.ID)); !os.IsNotExist(err) {
		t.Errorf("files of a cancelled run after the sweep: %v", err)
	}
}

// A stopping process commits its steps; another one goes on from there.
func TestGracefulStopHandsBack(t *testing.T) {
	cfg := toyConfig{Steps: 300, Seed: 8, Pause: 2 * time.Millisecond}
	b, first, second := newBench(t), &toyHooks{}, &toyHooks{}
	r := b.create(cfg)
	stop := b.work(first, Options{Slice: Unlimited, Heartbeat: 20 * time.Millisecond})
	b.until(func() bool { return b.run(r.ID).LiveStep > 20 }, func() string { return "first steps" })
	stop()
	handed := b.run(r.ID)
	if handed.State != Running || handed.Step <= 20 || handed.HeartbeatAt != nil || handed.Epoch != 1 {
		t.Errorf("run after a graceful stop: %+v", handed)
	}
	b.work(second, Options{Slice: Unlimited})
	b.finished(r, cfg)
	if first.loaded.Load() != 0 || second.loaded.Load() != 1 {
		t.Errorf("loaded %d and %d times, want 0 and 1", first.loaded.Load(), second.loaded.Load())
	}
}

// River's periodic job restarts a run whose worker died, and one whose job got lost.
func TestReaper(t *testing.T) {
	cfg := toyConfig{Steps: 5, Seed: 9}
	b := newBench(t)
	dead, lost := b.create(cfg), b.create(cfg)
	// A worker took the job, claimed the run and died.
	b.exec(`UPDATE river.river_job SET state = 'running', attempt = 1, attempted_at = now(), attempted_by = '{dead}' WHERE args->>'run_id' = $1`, dead.ID)
	if _, err := b.store.begin(t.Context(), sliceArgs{RunID: dead.ID, Epoch: 1}, time.Minute); err != nil {
		t.Fatal(err)
	}
	b.exec(`DELETE FROM river.river_job WHERE args->>'run_id' = $1`, lost.ID)
	start := time.Now()
	b.work(&toyHooks{}, Options{DeadAfter: time.Second}, func(c *river.Config) {
		c.Queues[river.QueueDefault] = river.QueueConfig{MaxWorkers: 2}
		c.PeriodicJobs = PeriodicJobs()
	})
	b.finished(dead, cfg)
	b.finished(lost, cfg)
	t.Logf("restarted and finished after %v", time.Since(start))
	if r := b.run(dead.ID); r.Epoch != 2 {
		t.Errorf("dead run's epoch %d, want 2", r.Epoch)
	}
	if r := b.run(lost.ID); r.Epoch != 1 {
		t.Errorf("epoch %d of a run whose job was lost, want 1", r.Epoch)
	}
}

// A worker that died between taking the job and claiming the run is noticed too; a run that waits its turn is let be.
func TestReapStuckAndWaiting(t *testing.T) {
	b := newBench(t)
	stuck, waiting, alive := b.create(toyConfig{}), b.create(toyConfig{}), b.create(toyConfig{})
	b.exec(`UPDATE river.river_job SET state = 'running', attempt = 1, attempted_at = now() - interval '20 s', attempted_by = '{dead}' WHERE args->>'run_id' = $1`, stuck.ID)
	if _, err := b.store.begin(t.Context(), sliceArgs{RunID: alive.ID, Epoch: 1}, time.Minute); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.store.Reap(t.Context(), 15*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]int{stuck.ID: 2, waiting.ID: 1, alive.ID: 1} {
		var jobs int
		b.get(&jobs, `SELECT count(*) FROM river.river_job WHERE args->>'run_id' = $1`, id)
		if r := b.run(id); r.Epoch != want || jobs != want {
			t.Errorf("epoch %d with %d jobs, want %d of both: %+v", r.Epoch, jobs, want, r)
		}
	}
	// River's rescue of a live worker's job must not start a second one.
	if _, err := b.store.begin(t.Context(), sliceArgs{RunID: alive.ID, Epoch: 1}, time.Minute); !errors.Is(err, errBusy) {
		t.Errorf("claiming a run that is worked on: %v, want errBusy", err)
	}
}

// A run that kills its process each time ends some day.
func TestRestartsAreLimited(t *testing.T) {
	b := newBench(t)
	r := b.create(toyConfig{Steps: 3})
	b.exec(`UPDATE runs SET restarts = $1`, maxRestarts+1)
	b.work(&toyHooks{}, Options{})
	if got := b.wait(r.ID, Failed, Done); got.State != Failed || !strings.Contains(got.Error, "process dies") {
		t.Errorf("run %+v", got)
	}
}

// Cancelling the job in River's own UI cancels the run.
func TestJobCancelledByHand(t *testing.T) {
	b := newBench(t)
	b.work(&toyHooks{}, Options{Slice: Unlimited, Heartbeat: 20 * time.Millisecond})
	r := b.create(toyConfig{Steps: 100000, Pause: time.Millisecond})
	b.until(func() bool { return b.run(r.ID).LiveStep > 5 }, func() string { return "first steps" })
	client, err := river.NewClient(riverpgxv5.New(b.pool), &river.Config{Schema: "river"})
	if err != nil {
		t.Fatal(err)
	}
	var id int64
	b.get(&id, `SELECT id FROM river.river_job WHERE kind = $1 AND state = 'running'`, toyKind)
	if _, err := client.JobCancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b.wait(r.ID, Cancelled)
}
