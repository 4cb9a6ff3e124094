package loop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/rankloop/rankloop/labeling"
)

// QueueRollout is River's queue for sampling answers.
const QueueRollout = "rollout"

// Inserter puts jobs into River's queue within a transaction.
type Inserter struct{ client *river.Client[pgx.Tx] }

func (i Inserter) insert(ctx context.Context, tx pgx.Tx, args river.JobArgs) error {
	if i.client == nil {
		return errors.New("loop: no job client is set")
	}
	_, err := i.client.InsertTx(ctx, tx, args, nil)
	return err
}

// SetClient gives the loop the client that its jobs go to.
func (l *Loop) SetClient(c *river.Client[pgx.Tx]) { l.enqueue = Inserter{c} }

// AddWorkers registers the loop's jobs. The training kinds are registered with model/run by Kinds.
func (l *Loop) AddWorkers(w *river.Workers) {
	river.AddWorker(w, &sampleWorker{l: l})
	river.AddWorker(w, &tasksWorker{l: l})
	river.AddWorker(w, &feedbackWorker{l: l})
	river.AddWorker(w, &probeWorker{l: l})
	river.AddWorker(w, &compareWorker{l: l})
	river.AddWorker(w, &advanceWorker{l: l})
	river.AddWorker(w, &tickWorker{l: l})
}

// PeriodicJobs are the clock of the schedules.
func PeriodicJobs() []*river.PeriodicJob {
	return []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(time.Minute),
		func() (river.JobArgs, *river.InsertOpts) { return tickArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true})}
}

// sampleArgs answer the next prompts of a round.
type sampleArgs struct {
	RoundID string `json:"round_id"`
	Slow    bool   `json:"slow,omitempty"` // engines elsewhere are asked
}

func (sampleArgs) Kind() string                 { return "loop.sample" }
func (sampleArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueRollout} }

type sampleWorker struct {
	river.WorkerDefaults[sampleArgs]
	l *Loop
}

// Timeout is longer than other jobs' where engines elsewhere are asked; else a job whose worker died is found sooner.
func (w *sampleWorker) Timeout(job *river.Job[sampleArgs]) time.Duration {
	return timeoutOf(job.Args.Slow)
}

// Work answers one chunk of prompts and puts the next job into the queue, until the round has as many as it wants or the
// pool is empty. A job that runs twice adds no prompt twice: a task is unique by prompt and round.
func (w *sampleWorker) Work(ctx context.Context, job *river.Job[sampleArgs]) error {
	l, id := w.l, job.Args.RoundID
	r, err := l.Get(ctx, id)
	if err != nil {
		return err
	}
	if r.Stage != StageSample || r.PausedAt != nil {
		return nil
	}
	counts, err := l.Labeling.BatchCounts(ctx, r.ProjectID, r.ID)
	if err != nil {
		return err
	}
	want := min(r.Config.Prompts-counts.Tasks, sampleChunk)
	var prompts []labeling.Prompt
	if want > 0 {
		if prompts, err = l.Labeling.PromptsForBatch(ctx, r.ProjectID, r.ID, want); err != nil {
			return err
		}
	}
	if len(prompts) == 0 {
		return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
			if counts.Tasks == 0 {
				if err := l.fail(ctx, tx, id, "no prompts may be ranked: import some, or let customers opt in"); err != nil {
					return err
				}
			} else if err := l.advance(ctx, tx, id); err != nil {
				return err
			}
			_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
			return err
		})
	}
	responses, err := l.answer(ctx, r, prompts, counts.Tasks)
	if err != nil {
		return err
	}
	worth, err := l.worth(ctx, prompts, responses)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		now, err := l.lock(ctx, tx, id)
		if err != nil || now.Stage != StageSample || now.PausedAt != nil {
			return err
		}
		scores := map[string]float64{}
		for i, p := range prompts {
			overlap := 1
			if r.Config.shared(counts.Tasks + i) {
				overlap = r.Config.Overlap
			}
			t, err := l.Labeling.AddTask(ctx, tx, p.ID, responses[i], overlap, r.ID)
			if err != nil && !errors.Is(err, labeling.ErrConflict) {
				return fmt.Errorf("task for prompt %s: %w", p.ID, err)
			}
			if err == nil && worth != nil {
				scores[t.ID] = worth[i]
			}
		}
		if err := l.Labeling.ScoreTasks(ctx, tx, scores); err != nil {
			return err
		}
		slow, err := l.slow(ctx, tx)
		if err != nil {
			return err
		}
		if err := l.enqueue.insert(ctx, tx, sampleArgs{RoundID: id, Slow: slow}); err != nil {
			return err
		}
		_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

// answer collects the round's K answers to each prompt: those of other engines where there are such, and the rest from the policy the
// round started with.
func (l *Loop) answer(ctx context.Context, r Round, prompts []labeling.Prompt, offset int) ([][]labeling.NewResponse, error) {
	seed := seedOf(r.Config.Seed, fmt.Sprintf("sample %d %d", r.Number, offset))
	responses, err := l.askEngines(ctx, prompts, r.Config.K, seed)
	if err != nil {
		return nil, err
	}
	missing := map[int][]int{} // prompts by how many answers they lack
	for i := range prompts {
		if n := r.Config.K - len(responses[i]); n > 0 {
			missing[n] = append(missing[n], i)
		}
	}
	if len(missing) == 0 {
		return responses, nil
	}
	version, cp, err := l.open(ctx, r.InitVersionID)
	if err != nil {
		return nil, err
	}
	eos, digest := cp.Model.Config().EOS, cp.Tokenizer.Digest()
	for _, n := range slices.Sorted(maps.Keys(missing)) {
		ids := make([][]int32, len(missing[n]))
		for j, i := range missing[n] {
			if ids[j], err = promptIDs(cp.Tokenizer, l.Template, prompts[i]); err != nil {
				return nil, err
			}
		}
		out, err := l.sampleAnswers(ctx, cp, ids, n, r.Config.MaxTokens, seed)
		if err != nil {
			return nil, err
		}
		for j, i := range missing[n] {
			for _, a := range out[j] {
				responses[i] = append(responses[i], labeling.NewResponse{Text: responseText(cp.Tokenizer, a, eos), TokenIDs: a.IDs,
					TokenizerDigest: digest, ModelVersion: version.ID, Finish: a.Finish})
			}
		}
	}
	return responses, nil
}

// AddTasks lets the serving policy answer n further prompts k times each, for need labelers, outside any round: for practice,
// for calibration, or so that there is something to rank between two rounds. Rankings of such tasks count like any other.
func (l *Loop) AddTasks(ctx context.Context, projectID, batch string, n, k, need, maxTokens int, seed uint64) error {
	_, err := l.addTasks(ctx, projectID, batch, n, k, need, maxTokens, seed)
	return err
}

// addTasks is AddTasks, and says how many it added.
func (l *Loop) addTasks(ctx context.Context, projectID, batch string, n, k, need, maxTokens int, seed uint64) (added int, err error) {
	serving, err := l.Registry.Serving(ctx, Channel)
	if err != nil {
		return 0, err
	}
	prompts, err := l.Labeling.PromptsForBatch(ctx, projectID, batch, n)
	if err != nil || len(prompts) == 0 {
		return 0, err
	}
	responses, err := l.answer(ctx, Round{InitVersionID: serving.ID, Config: Config{K: k, MaxTokens: maxTokens, Seed: seed}}, prompts, 0)
	if err != nil {
		return 0, err
	}
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		for i, p := range prompts {
			switch _, err := l.Labeling.AddTask(ctx, tx, p.ID, responses[i], need, batch); {
			case err == nil:
				added++
			case !errors.Is(err, labeling.ErrConflict):
				return fmt.Errorf("task for prompt %s: %w", p.ID, err)
			}
		}
		return nil
	})
	return added, err
}

// advanceArgs move a round on if what its stage waits for has come.
type advanceArgs struct {
	RoundID string `json:"round_id"`
}

func (advanceArgs) Kind() string { return "loop.advance" }

type advanceWorker struct {
	river.WorkerDefaults[advanceArgs]
	l *Loop
}

func (w *advanceWorker) Work(ctx context.Context, job *river.Job[advanceArgs]) error {
	return pgx.BeginFunc(ctx, w.l.pool, func(tx pgx.Tx) error {
		if err := w.l.advance(ctx, tx, job.Args.RoundID); err != nil {
			return err
		}
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

// tickArgs start the rounds whose schedule is due, and move on an open round whose event was missed.
type tickArgs struct{}

func (tickArgs) Kind() string { return "loop.tick" }

type tickWorker struct {
	river.WorkerDefaults[tickArgs]
	l *Loop
}

func (w *tickWorker) Work(ctx context.Context, _ *river.Job[tickArgs]) error { return w.l.Tick(ctx) }

// Tick starts the rounds that are due. A schedule that cannot start leaves an alarm and waits for its next time.
func (l *Loop) Tick(ctx context.Context) error {
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		due, err := l.due(ctx, tx)
		if err != nil {
			return err
		}
		for _, sc := range due {
			// In a savepoint, so that one schedule's failure does not undo the others.
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
				if ok, err := l.worthwhile(ctx, tx, sc); !ok || err != nil {
					return err
				}
				_, err := l.start(ctx, tx, sc.ProjectID, "schedule "+sc.ID, sc.Config)
				return err
			})
			var invalid *InvalidError
			if errors.Is(err, ErrConflict) || errors.As(err, &invalid) {
				err = l.AddAlarm(ctx, tx, Alarm{Kind: "schedule", Message: fmt.Sprintf("schedule %q did not start a round: %v", sc, err), Actor: "system"})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// AdvanceWaiting looks at the rounds that wait for rankings. Two rankings that complete a batch at the same moment do not
// see each other in their transactions, so whoever works looks again, each second.
func (l *Loop) AdvanceWaiting(ctx context.Context) error {
	waiting, err := l.waiting(ctx)
	if err != nil {
		return err
	}
	for _, id := range waiting {
		if err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error { return l.advance(ctx, tx, id) }); err != nil {
			return err
		}
	}
	return nil
}
