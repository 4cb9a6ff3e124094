package labeling

import (
	"context"
	"time"

	"github.com/riverqueue/river"
)

// sweepEvery is how often leases that ran out are looked for. A slot is free again at
// most this long after its lease's end.
const sweepEvery = 10 * time.Second

// offerLimit is how many prompts one look at the clock turns into tasks.
const offerLimit = 500

type sweepArgs struct{}

func (sweepArgs) Kind() string { return "labeling.sweep" }

func (sweepArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: sweepEvery}}
}

type sweepWorker struct {
	river.WorkerDefaults[sweepArgs]
	store *Store
}

func (w *sweepWorker) Work(ctx context.Context, _ *river.Job[sweepArgs]) error {
	if _, err := w.store.Sweep(ctx); err != nil {
		return err
	}
	_, err := w.store.OfferPrompts(ctx, offerLimit)
	return err
}

// judgeEvery is how often the quarantine rule looks at the projects.
const judgeEvery = 5 * time.Minute

type judgeArgs struct{}

func (judgeArgs) Kind() string { return "labeling.judge" }

func (judgeArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: judgeEvery}}
}

type judgeWorker struct {
	river.WorkerDefaults[judgeArgs]
	store *Store
}

func (w *judgeWorker) Work(ctx context.Context, _ *river.Job[judgeArgs]) error {
	return w.store.JudgeAll(ctx)
}

// AddWorkers registers the room's kinds of jobs. Every process that can lead does so,
// whether or not it works.
func AddWorkers(workers *river.Workers, s *Store) {
	river.AddWorker(workers, &sweepWorker{store: s})
	river.AddWorker(workers, &judgeWorker{store: s})
}

// PeriodicJobs are the room's jobs by the clock: leases that ran out end, prompts that wait for a demonstration are offered,
// labelers are looked at.
func PeriodicJobs() []*river.PeriodicJob {
	every := func(d time.Duration, args river.JobArgs) *river.PeriodicJob {
		return river.NewPeriodicJob(river.PeriodicInterval(d), func() (river.JobArgs, *river.InsertOpts) { return args, nil },
			&river.PeriodicJobOpts{RunOnStart: true})
	}
	return []*river.PeriodicJob{every(sweepEvery, sweepArgs{}), every(judgeEvery, judgeArgs{})}
}
