package labeling

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"
)

// sweepEvery is how often leases that ran out are looked for. A slot is free again at
// most this long after its lease's end.
const sweepEvery = 10 * time.Second

// judgeEvery is how often the quarantine rule looks at the projects.
const judgeEvery = 5 * time.Minute

// offerLimit is how many prompts one look at the clock turns into tasks.
const offerLimit = 500

// chore is a kind of job that is done by the clock: at most one in a period, tried once, because the next period's does what
// one has left. River tells kinds apart by types, so each is a type of its own.
type chore interface {
	chore() (kind string, every time.Duration)
}

type choreArgs[C chore] struct{}

func (choreArgs[C]) Kind() string {
	var c C
	kind, _ := c.chore()
	return kind
}

func (choreArgs[C]) InsertOpts() river.InsertOpts {
	var c C
	_, every := c.chore()
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: every}}
}

type choreWorker[C chore] struct {
	river.WorkerDefaults[choreArgs[C]]
	timeout time.Duration // 0: as other jobs
	work    func(context.Context) error
}

func (w *choreWorker[C]) Timeout(*river.Job[choreArgs[C]]) time.Duration { return w.timeout }

func (w *choreWorker[C]) Work(ctx context.Context, _ *river.Job[choreArgs[C]]) error {
	return w.work(ctx)
}

func addChore[C chore](workers *river.Workers, timeout time.Duration, work func(context.Context) error) {
	river.AddWorker(workers, &choreWorker[C]{timeout: timeout, work: work})
}

func periodic[C chore]() *river.PeriodicJob {
	var c C
	_, every := c.chore()
	return river.NewPeriodicJob(river.PeriodicInterval(every), func() (river.JobArgs, *river.InsertOpts) { return choreArgs[C]{}, nil }, &river.PeriodicJobOpts{RunOnStart: true})
}

type (
	sweepChore     struct{}
	judgeChore     struct{}
	dashboardChore struct{}
)

func (sweepChore) chore() (string, time.Duration)     { return "labeling.sweep", sweepEvery }
func (judgeChore) chore() (string, time.Duration)     { return "labeling.judge", judgeEvery }
func (dashboardChore) chore() (string, time.Duration) { return "labeling.dashboard", dashboardEvery }

// AddWorkers registers the room's kinds of jobs. Every process that can lead does so,
// whether or not it works.
func AddWorkers(workers *river.Workers, s *Store) {
	addChore[sweepChore](workers, 0, func(ctx context.Context) error {
		_, swept := s.Sweep(ctx)
		_, offered := s.OfferPrompts(ctx, offerLimit)
		_, old := s.SweepCompletions(ctx, offerLimit)
		return errors.Join(swept, offered, old)
	})
	addChore[judgeChore](workers, 0, s.JudgeAll)
	addChore[dashboardChore](workers, 10*time.Minute, s.RefreshDashboards) // a pass over millions of rankings takes long
}

// PeriodicJobs are the room's jobs by the clock: leases that ran out end, prompts that wait for a demonstration are
// offered, completions that got no feedback are forgotten, labelers are looked at, the figures of the dashboards are computed.
func PeriodicJobs() []*river.PeriodicJob {
	return []*river.PeriodicJob{periodic[sweepChore](), periodic[judgeChore](), periodic[dashboardChore]()}
}
