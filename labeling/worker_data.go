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

type (
	importChore  struct{}
	deliverChore struct{}
)

func (importChore) chore() (string, time.Duration)  { return "labeling.import", dataEvery }
func (deliverChore) chore() (string, time.Duration) { return "labeling.deliver", dataEvery }

// importAll works on uploads until none is left.
func (s *Store) importAll(ctx context.Context, d DataWork) error {
	for {
		run, err := s.takeUpload(ctx)
		if errors.Is(err, ErrEmpty) {
			return nil
		}
		if err == nil {
			err = s.importOne(ctx, d, run)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Store) importOne(ctx context.Context, d DataWork, run ImportRun) error {
	var file io.ReadCloser
	if run.State == "reading" {
		var err error
		if file, err = d.Open(run.File); err != nil {
			return s.failImport(ctx, run.ID, err)
		}
		defer file.Close()
	}
	run, err := s.WorkImport(ctx, run, file)
	if run.State == "done" || run.State == "failed" {
		d.Done(run.File)
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

// deliverAll sends what is due, for the length of a slice.
func (s *Store) deliverAll(ctx context.Context, d DataWork) error {
	for start := time.Now(); time.Since(start) < dataSlice; {
		err := s.DeliverNext(ctx, d.Send)
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
	// Staging cannot be cut into slices shorter than a chunk, and goes on where it was.
	addChore[importChore](workers, 10*time.Minute, func(ctx context.Context) error { return s.importAll(ctx, d) })
	addChore[deliverChore](workers, 0, func(ctx context.Context) error { return s.deliverAll(ctx, d) })
}

// DataJobs are the jobs by the clock of data in and out.
func DataJobs() []*river.PeriodicJob {
	return []*river.PeriodicJob{periodic[importChore](), periodic[deliverChore]()}
}
