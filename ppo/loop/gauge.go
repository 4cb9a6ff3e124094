package loop

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/model/train"
)

const (
	// collectAt is how much garbage, in percent of what is in use, is left before it is collected while models are at work. Their memory is
	// numbers without pointers, cheap to go over; with Go's 100 a stage takes nearly twice what it needs.
	collectAt = 25
	// watchEvery is how often memory is looked at.
	watchEvery = 20 * time.Millisecond
	// noteLimit bounds the writing of what a stage took.
	noteLimit = 10 * time.Second
)

// gauge measures what the stages of rounds take of this process's memory. A stage is many jobs; what it takes is the highest level in any of
// them over the level before the first of them here.
type gauge struct {
	store *Store
	log   *slog.Logger

	mu     sync.Mutex
	floors map[string]floor // by round
	atWork int
	usual  int // garbage that the process is left otherwise, in percent
}

// floor is how much the process held before a stage.
type floor struct {
	stage Stage
	bytes int64
}

// Middleware goes round the jobs of models at work: it keeps garbage low meanwhile, and notes what each stage of a round took of the memory,
// for the forecasts of later rounds. What cannot be noted is logged; no job fails of it.
func (l *Loop) Middleware() rivertype.WorkerMiddleware {
	g := &gauge{store: l.Store, log: l.Log, floors: map[string]floor{}}
	return river.WorkerMiddlewareFunc(func(ctx context.Context, job *rivertype.JobRow, do func(context.Context) error) error {
		if job.Queue != run.Queue && job.Queue != QueueRollout {
			return do(ctx)
		}
		defer g.work()()
		round, stage, err := g.store.stageOf(ctx, job)
		if err != nil {
			if !errors.Is(err, ErrNotFound) {
				g.log.Warn("a stage's memory is not measured", "job", job.ID, "err", err)
			}
			return do(ctx)
		}
		return g.measure(ctx, round, stage, do)
	})
}

// work tightens the collection of garbage until the function that it returns is called; the first of several jobs does, and the last lets go.
func (g *gauge) work() (end func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.atWork++; g.atWork == 1 {
		if g.usual = debug.SetGCPercent(collectAt); g.usual >= 0 && g.usual < collectAt {
			debug.SetGCPercent(g.usual)
		}
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.atWork--; g.atWork == 0 {
			debug.SetGCPercent(g.usual)
		}
	}
}

// measure does a job and notes what it took.
func (g *gauge) measure(ctx context.Context, round string, stage Stage, do func(context.Context) error) error {
	floor, end := g.floor(round, stage), watchMemory()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteLimit)
		defer cancel()
		if err := g.store.noteMemory(ctx, round, stage, end()-floor); err != nil {
			g.log.Warn("a stage's memory is not noted", "round", round, "stage", stage, "err", err)
		}
	}()
	return do(ctx)
}

// floor is what the process held before the stage. What was left by the one before it is given back first.
func (g *gauge) floor(round string, stage Stage) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.floors[round]
	if f.stage != stage {
		debug.FreeOSMemory()
		f = floor{stage, train.Held()}
		g.floors[round] = f
	}
	return f.bytes
}

// watchMemory watches what the process holds until end is called, which returns the most of it in bytes.
func watchMemory() (end func() int64) {
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		most := train.Held()
		for {
			select {
			case <-tick.C:
				most = max(most, train.Held())
			case <-stop:
				done <- max(most, train.Held())
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-done
	}
}

// stageOf is the open stage of the round that a job works for. ErrNotFound where it works for none.
func (s *Store) stageOf(ctx context.Context, job *rivertype.JobRow) (round string, stage Stage, err error) {
	var args struct {
		Round string `json:"round_id"`
		Run   string `json:"run_id"`
	}
	if err := json.Unmarshal(job.EncodedArgs, &args); err != nil {
		return "", "", err
	}
	err = s.pool.QueryRow(ctx, `SELECT round_id, stage FROM round_stages WHERE ended_at IS NULL
		AND round_id = coalesce(nullif($1, '')::uuid, (SELECT round_id FROM runs WHERE id = nullif($2, '')::uuid))`, args.Round, args.Run).Scan(&round, &stage)
	return round, stage, notFound(err)
}

// noteMemory notes that a stage took so many bytes, if that is more than what is noted of it.
func (s *Store) noteMemory(ctx context.Context, round string, stage Stage, bytes int64) error {
	_, err := s.pool.Exec(ctx, `UPDATE round_stages SET memory_bytes = $3 WHERE round_id = $1 AND stage = $2 AND coalesce(memory_bytes, 0) < $3`, round, stage, bytes)
	return err
}
