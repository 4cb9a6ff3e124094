package loop

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/rankloop/rankloop/labeling"
)

// SampleFeedback has the serving policy answer the prompt of a feedback's task, in the caller's transaction: there are fewer
// answers than labelers can compare. It does not wait behind the rollouts of a round, because a customer has just spoken.
func (l *Loop) SampleFeedback(ctx context.Context, tx pgx.Tx, batch string) error {
	return l.enqueue.insert(ctx, tx, feedbackArgs{Batch: batch})
}

// feedbackArgs make the task of a batch (labeling.FeedbackAnswers). A job that runs twice makes one.
type feedbackArgs struct {
	Batch string `json:"batch"`
}

func (feedbackArgs) Kind() string { return "loop.feedback" }

type feedbackWorker struct {
	river.WorkerDefaults[feedbackArgs]
	l *Loop
}

// Work samples as many answers as the customer's lack to the project's K, and asks the labelers about all of them.
func (w *feedbackWorker) Work(ctx context.Context, job *river.Job[feedbackArgs]) error {
	l, batch := w.l, job.Args.Batch
	prompt, answers, err := l.Labeling.FeedbackAnswers(ctx, batch)
	if errors.Is(err, labeling.ErrNotFound) {
		return nil // its customer has withdrawn, or was erased
	}
	if err != nil {
		return err
	}
	p, err := l.Labeling.Project(ctx, prompt.ProjectID)
	if err != nil {
		return err
	}
	if made, err := l.Labeling.BatchCounts(ctx, p.ID, batch); err != nil || made.Tasks > 0 {
		return err
	}
	if more := p.K - len(answers); more > 0 {
		serving, err := l.Registry.Serving(ctx, Channel)
		if err != nil {
			return err
		}
		c := DefaultConfig()
		sampled, err := l.answer(ctx, Round{InitVersionID: serving.ID, Config: Config{K: more, MaxTokens: c.MaxTokens, Seed: seedOf(0, batch)}}, []labeling.Prompt{prompt}, 0)
		if err != nil {
			return err
		}
		answers = append(answers, sampled[0]...)
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		_, err := l.Labeling.AddTask(ctx, tx, prompt.ID, answers, p.Overlap, batch)
		if err != nil && !errors.Is(err, labeling.ErrConflict) && !errors.Is(err, labeling.ErrNotFound) {
			return err
		}
		_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}
