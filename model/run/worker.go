package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Queue is the River queue of all slices; a process that trains configures it with MaxWorkers 1.
const Queue = "train"

// Slice lengths of Options.
const (
	DefaultSlice = 30 * time.Second
	EachStep     = time.Nanosecond  // a slice of one step
	Unlimited    = 1000 * time.Hour // until the run is done
	maxSlice     = 10 * time.Minute // to which a slice grows where writing the state is slow
	minTimeout   = 10 * time.Minute // of a job: a step that takes longer hangs
	saveShare    = 20               // a slice is at least so many times as long as writing the state took: 5%
	stepGrace    = 10 * time.Second // that a step begun gets when the process stops
	commitLimit  = 60 * time.Second // for the last transaction of a slice
	busyPause    = 2 * time.Second  // before a rescued job looks again
	maxRestarts  = 20               // without one committed step in between
	maxAttempts  = 10               // of one job, for errors that may pass
)

// Factory makes the Trainer of a run at step 0. Load follows where the run has a state.
type Factory func(ctx context.Context, r Run) (Trainer, error)

// Finish is called in the run's last transaction: it registers the model version, advances the round. What it writes is
// there exactly when the run is done.
type Finish func(ctx context.Context, tx pgx.Tx, r Run, t Trainer) error

// Kind is a kind of run and what it does.
type Kind struct {
	Name string // "reward.train", "ppo.train", "sft.train", "pretrain.train"
	New  Factory
	// Prepare does what must be done before Finish and outside its transaction, as publishing a blob. It may be called
	// again after a crash and must then come to the same. Optional.
	Prepare func(ctx context.Context, r Run, t Trainer) error
	// Finish is optional.
	Finish Finish
	// Failed is called in the transaction that marks the run failed, so that a round can react. Optional.
	Failed func(ctx context.Context, tx pgx.Tx, r Run, cause error) error
	// Halted is called in the transaction that pauses a run because of a HaltError. Optional.
	Halted func(ctx context.Context, tx pgx.Tx, r Run, cause *HaltError) error
}

// Options of the workers.
type Options struct {
	Dir       string        // state is kept in Dir/run; all processes that train share it
	Slice     time.Duration // 0: DefaultSlice, or longer where writing the state takes over 5% of it. Results never depend on it
	Heartbeat time.Duration // 0: 1 s
	DeadAfter time.Duration // age of a heartbeat that gets a run restarted; 0: 15 s
	Logger    *slog.Logger  // nil: slog.Default()
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&o.Slice, DefaultSlice)
	set(&o.Heartbeat, time.Second)
	set(&o.DeadAfter, 15*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// sliceArgs are the arguments of a slice's job. The kind is the run's, so that each kind of run is a kind of job: one
// worker type, registered once per kind.
type sliceArgs struct {
	RunID string `json:"run_id"`
	Epoch int    `json:"epoch"`
	Step  int    `json:"step"`
	kind  string
}

func (a sliceArgs) Kind() string { return a.kind }

// InsertOpts makes a slice unique by all its arguments while it is not finished.
func (sliceArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		Queue:       Queue,
		MaxAttempts: maxAttempts,
		UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
			rivertype.JobStateRetryable, rivertype.JobStateScheduled,
		}},
	}
}

// AddWorkers registers a worker for each kind and for the reaper's job. Every process that can lead River must register
// all of them, whatever queues it works on: a leader throws jobs of a kind away that it does not know.
func AddWorkers(workers *river.Workers, s *Store, kinds []Kind, opt Options) {
	opt = opt.withDefaults()
	held := &holder{}
	for _, kind := range kinds {
		river.AddWorkerArgs(workers, sliceArgs{kind: kind.Name}, &worker{kind: kind, store: s, opt: opt, held: held})
	}
	river.AddWorker(workers, &reapWorker{store: s, opt: opt})
}

// worker does the slices of one kind.
type worker struct {
	river.WorkerDefaults[sliceArgs]
	kind     Kind
	store    *Store
	opt      Options
	held     *holder
	saveCost atomic.Int64 // nanoseconds that writing the state took last
}

// slice is how long a slice works before it writes the state.
func (w *worker) slice() time.Duration {
	if w.opt.Slice != DefaultSlice {
		return w.opt.Slice // chosen
	}
	return max(DefaultSlice, min(maxSlice, saveShare*time.Duration(w.saveCost.Load())))
}

// Timeout is twice the slice, or ten minutes: dead workers are the reaper's business, the timeout is for a step that hangs.
func (w *worker) Timeout(*river.Job[sliceArgs]) time.Duration { return max(minTimeout, 2*w.slice()) }

// NextRetry waits 2, 4, 8, 16, then 30 s after errors that may pass.
func (w *worker) NextRetry(job *river.Job[sliceArgs]) time.Time {
	return time.Now().Add(min(30*time.Second, time.Second<<min(job.Attempt, 5)))
}

// Work does one slice.
func (w *worker) Work(ctx context.Context, job *river.Job[sliceArgs]) error {
	job.Args.kind = w.kind.Name
	r, err := w.store.begin(ctx, job.Args, w.opt.DeadAfter)
	switch {
	case errors.Is(err, errFenced):
		return nil // the run is elsewhere, or ended: this job is left over
	case errors.Is(err, errBusy):
		return river.JobSnooze(busyPause) // rescued by River from a worker that lives
	}
	if err != nil {
		return err
	}
	s := &slice{worker: w, job: job, run: r}
	err = s.work(ctx)
	var halt *HaltError
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitLimit)
	defer cancel()
	switch {
	case errors.Is(err, errFenced):
		return nil
	case errors.Is(context.Cause(ctx), rivertype.ErrJobCancelledRemotely): // by hand, in River's UI
		cancelErr := pgx.BeginFunc(after, w.store.pool, func(tx pgx.Tx) error { return w.store.Cancel(after, tx, r.ID) })
		if errors.Is(cancelErr, ErrConflict) {
			cancelErr = nil // it was over just then
		}
		return errors.Join(err, cancelErr)
	case err == nil:
		return nil
	case errors.As(err, &halt):
		return w.halt(after, r, s.points, halt)
	case errors.Is(err, errStopped):
		return errors.Join(w.store.release(after, r, ""), river.JobSnooze(0))
	case transient(err) && job.Attempt < job.MaxAttempts:
		w.opt.Logger.Warn("training slice failed, will be tried again", "run", r.ID, "kind", r.Kind, "attempt", job.Attempt, "err", err)
		return errors.Join(errors.New(errorText(err)), w.store.release(after, r, errorText(err)))
	}
	w.opt.Logger.Error("training run failed", "run", r.ID, "kind", r.Kind, "step", r.Step, "err", err)
	if failErr := w.fail(after, r, s.points, err); failErr != nil {
		return fmt.Errorf("marking run %s failed (%w): %w", r.ID, err, failErr)
	}
	return river.JobCancel(errors.New(errorText(err))) // River stores the text too
}

// fail marks the run failed and tells the kind, in one transaction.
func (w *worker) fail(ctx context.Context, r Run, points []Point, cause error) error {
	return pgx.BeginFunc(ctx, w.store.pool, func(tx pgx.Tx) error {
		failed, err := w.store.failTx(ctx, tx, r, points, cause)
		if errors.Is(err, errFenced) {
			return nil
		}
		if err != nil || w.kind.Failed == nil {
			return err
		}
		return w.kind.Failed(ctx, tx, failed, cause)
	})
}

// halt pauses the run at its last committed step and tells the kind, in one transaction.
func (w *worker) halt(ctx context.Context, r Run, points []Point, cause *HaltError) error {
	return pgx.BeginFunc(ctx, w.store.pool, func(tx pgx.Tx) error {
		halted, err := w.store.haltTx(ctx, tx, r, points)
		if errors.Is(err, errFenced) {
			return nil
		}
		if err != nil || w.kind.Halted == nil {
			return err
		}
		return w.kind.Halted(ctx, tx, halted, cause)
	})
}

// reapArgs are the arguments of the reaper's periodic job.
type reapArgs struct{}

func (reapArgs) Kind() string { return "run.reap" }

// InsertOpts make the job unique by period, not by state: a reaper that was killed at work stays "running" for River until
// it is rescued, and must not keep the next one out.
func (reapArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: reapEvery}}
}

// reapEvery is the pause between two looks for dead runs.
const reapEvery = 5 * time.Second

// PeriodicJobs are River's periodic jobs of this package: the reaper.
func PeriodicJobs() []*river.PeriodicJob {
	return []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(reapEvery),
		func() (river.JobArgs, *river.InsertOpts) { return reapArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true})}
}

// sweepEvery is the pause between two sweeps of state files.
const sweepEvery = 10 * time.Minute

type reapWorker struct {
	river.WorkerDefaults[reapArgs]
	store *Store
	opt   Options
	swept atomic.Int64 // when, in Unix seconds
}

func (w *reapWorker) Timeout(*river.Job[reapArgs]) time.Duration { return 30 * time.Second }

func (w *reapWorker) Work(ctx context.Context, _ *river.Job[reapArgs]) error {
	if err := w.store.Reap(ctx, w.opt.DeadAfter); err != nil {
		return err
	}
	if now := time.Now(); now.Sub(time.Unix(w.swept.Load(), 0)) > sweepEvery {
		w.swept.Store(now.Unix())
		return w.store.Sweep(ctx, w.opt.Dir)
	}
	return nil
}
