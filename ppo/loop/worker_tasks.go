package loop

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// maxOrder is how many prompts one order of tasks may ask for.
const maxOrder = 10_000

// OrderTasks lets the serving policy and other engines answer n further prompts of a project outside any round, as often as the project's
// K says and for as many labelers as its overlap says. The work is done by jobs; tasks appear chunk by chunk. Questions
// without answers need no policy: their prompts are offered by themselves.
func (l *Loop) OrderTasks(ctx context.Context, projectID string, n int, actor string) error {
	if n < 1 || n > maxOrder {
		return &InvalidError{"prompts", fmt.Sprintf("%d is not within 1..%d", n, maxOrder)}
	}
	if _, err := l.Registry.Serving(ctx, Channel); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		_, err := l.order(ctx, tx, projectID, n, DefaultConfig().MaxTokens, actor)
		return err
	})
}

// order is OrderTasks within a transaction, of answers of maxTokens at most. It returns the batch of the tasks.
func (l *Loop) order(ctx context.Context, tx pgx.Tx, projectID string, n, maxTokens int, actor string) (string, error) {
	p, err := l.Labeling.Project(ctx, projectID)
	if err != nil {
		return "", err
	}
	if p.K == 0 {
		return "", &InvalidError{"prompts", "tasks of this question show no answers"}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	if err := audit(ctx, tx, actor, "loop.order_tasks", projectID, map[string]any{"prompts": n, "k": p.K, "order": id.String()}); err != nil {
		return "", err
	}
	slow, err := l.slow(ctx, tx)
	if err != nil {
		return "", err
	}
	return id.String(), l.enqueue.insert(ctx, tx, tasksArgs{ProjectID: projectID, Order: id.String(), Prompts: n, MaxTokens: maxTokens, Slow: slow})
}

// tasksArgs answer the next prompts of an order. Order is the batch of its tasks: a job that runs twice adds none twice.
type tasksArgs struct {
	ProjectID string `json:"project_id"`
	Order     string `json:"order"`
	Prompts   int    `json:"prompts"`        // of the whole order
	MaxTokens int    `json:"max_tokens"`     // of an answer, its end included; 0 = the default of a round
	Slow      bool   `json:"slow,omitempty"` // engines elsewhere are asked
}

func (tasksArgs) Kind() string                 { return "loop.tasks" }
func (tasksArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueRollout} }

type tasksWorker struct {
	river.WorkerDefaults[tasksArgs]
	l *Loop
}

// Timeout is that of sampleWorker.
func (w *tasksWorker) Timeout(job *river.Job[tasksArgs]) time.Duration {
	return timeoutOf(job.Args.Slow)
}

// Work answers one chunk and puts the next job into the queue, until the order is filled or the pool is empty.
func (w *tasksWorker) Work(ctx context.Context, job *river.Job[tasksArgs]) error {
	l, order := w.l, job.Args
	p, err := l.Labeling.Project(ctx, order.ProjectID)
	if err != nil {
		return err
	}
	counts, err := l.Labeling.BatchCounts(ctx, p.ID, order.Order)
	if err != nil {
		return err
	}
	want := min(order.Prompts-counts.Tasks, sampleChunk)
	added := 0
	if want > 0 {
		added, err = l.addTasks(ctx, p.ID, order.Order, want, p.K, p.Overlap, cmp.Or(order.MaxTokens, DefaultConfig().MaxTokens), seedOf(uint64(counts.Tasks), order.Order))
		if err != nil {
			return err
		}
	}
	if added == 0 {
		return l.answered(ctx, order.Order)
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		var err error
		if order.Slow, err = l.slow(ctx, tx); err != nil {
			return err
		}
		if err := l.enqueue.insert(ctx, tx, order); err != nil {
			return err
		}
		_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

// probeArgs compare a round's reward model with the rankings of its probe.
type probeArgs struct {
	RoundID string `json:"round_id"`
}

func (probeArgs) Kind() string                 { return "loop.probe" }
func (probeArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueRollout} }

type probeWorker struct {
	river.WorkerDefaults[probeArgs]
	l *Loop
}

// Work measures, and writes what it found unless another job has done so meanwhile.
func (w *probeWorker) Work(ctx context.Context, job *river.Job[probeArgs]) error {
	l := w.l
	r, err := l.Get(ctx, job.Args.RoundID)
	if err != nil || r.Probe != ProbeMeasure {
		return err
	}
	rep, err := l.onPolicy(ctx, r)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		now, err := l.lock(ctx, tx, r.ID)
		if err != nil || now.Probe != ProbeMeasure {
			return err
		}
		if err := l.settleProbe(ctx, tx, now, rep); err != nil {
			return err
		}
		_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}
