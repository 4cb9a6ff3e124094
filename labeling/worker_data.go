package labeling

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// How often imports that were uploaded, and deliveries that are due, are looked for; how
// long one job works on them before it lets go; and the age of a sign of life after which
// an import's worker counts as dead.
const (
	dataEvery  = 2 * time.Second
	dataSlice  = 40 * time.Second
	importDead = 2 * time.Minute
)

// DataWork is what the jobs of data in and out need of the outside.
type DataWork struct {
	Open func(file string) (io.ReadCloser, error)                      // of an upload
	Done func(file string)                                             // it is no longer needed
	Send func(ctx context.Context, d Delivery) (status int, err error) // to a webhook
}

type importArgs struct{}

func (importArgs) Kind() string { return "labeling.import" }

func (importArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: dataEvery}}
}

type deliverArgs struct{}

func (deliverArgs) Kind() string { return "labeling.deliver" }

func (deliverArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: dataEvery}}
}

type importWorker struct {
	river.WorkerDefaults[importArgs]
	store *Store
	work  DataWork
}

// Timeout: staging cannot be cut into slices shorter than a chunk, and goes on where it was.
func (*importWorker) Timeout(*river.Job[importArgs]) time.Duration { return 10 * time.Minute }

func (w *importWorker) Work(ctx context.Context, _ *river.Job[importArgs]) error {
	for {
		run, err := w.store.takeUpload(ctx)
		if errors.Is(err, ErrEmpty) {
			return nil
		}
		if err == nil {
			err = w.one(ctx, run)
		}
		if err != nil {
			return err
		}
	}
}

func (w *importWorker) one(ctx context.Context, run ImportRun) error {
	var file io.ReadCloser
	if run.State == "reading" {
		var err error
		if file, err = w.work.Open(run.File); err != nil {
			return w.store.failImport(ctx, run.ID, err)
		}
		defer file.Close()
	}
	run, err := w.store.WorkImport(ctx, run, file)
	if run.State == "done" || run.State == "failed" {
		w.work.Done(run.File)
		return nil // what is wrong with the file stands in its row
	}
	return err
}

// takeUpload picks the oldest uploaded import that nobody works on.
func (s *Store) takeUpload(ctx context.Context) (ImportRun, error) {
	rows, err := s.pool.Query(ctx, `UPDATE imports SET worked_at = now() WHERE id = (
		SELECT id FROM imports WHERE file <> '' AND state IN ('reading', 'settling') AND (worked_at = created_at OR worked_at < now() - make_interval(secs => $1))
		ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING `+importColumns, importDead.Seconds())
	if err != nil {
		return ImportRun{}, err
	}
	run, err := pgx.CollectExactlyOneRow(rows, scanImport)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrEmpty
	}
	return run, err
}

func (s *Store) failImport(ctx context.Context, id string, why error) error {
	_, err := s.pool.Exec(ctx, `UPDATE imports SET state = 'failed', error = $2, finished_at = now() WHERE id = $1`, id, why.Error())
	return err
}

type deliverWorker struct {
	river.WorkerDefaults[deliverArgs]
	store *Store
	work  DataWork
}

func (w *deliverWorker) Work(ctx context.Context, _ *river.Job[deliverArgs]) error {
	for start := time.Now(); time.Since(start) < dataSlice; {
		err := w.store.DeliverNext(ctx, w.work.Send)
		if errors.Is(err, ErrEmpty) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// AddDataWorkers registers the kinds of jobs of data in and out.
func AddDataWorkers(workers *river.Workers, s *Store, d DataWork) {
	river.AddWorker(workers, &importWorker{store: s, work: d})
	river.AddWorker(workers, &deliverWorker{store: s, work: d})
}

// DataJobs are the jobs by the clock of data in and out.
func DataJobs() []*river.PeriodicJob {
	return []*river.PeriodicJob{
		river.NewPeriodicJob(river.PeriodicInterval(dataEvery), func() (river.JobArgs, *river.InsertOpts) { return importArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true}),
		river.NewPeriodicJob(river.PeriodicInterval(dataEvery), func() (river.JobArgs, *river.InsertOpts) { return deliverArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true}),
	}
}
