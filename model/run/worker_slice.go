package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

var (
	errFenced  = errors.New("the run went on elsewhere")
	errBusy    = errors.New("another worker is at this slice")
	errTooLong = errors.New("one step took longer than a job may")
	errStopped = errors.New("stopped before a step was done")
)

// slice is the work of one job.
type slice struct {
	worker  *worker
	job     *river.Job[sliceArgs]
	run     Run     // as claimed
	points  []Point // measured and not yet written
	trainer Trainer
	halt    *HaltError // after the last step that was done
}

// work steps, saves and commits. Panics of a Trainer are errors.
func (s *slice) work(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.worker.opt.Logger.Error("panic in a training slice", "run", s.run.ID, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if s.run.restarts > maxRestarts {
		return fmt.Errorf("restarted %d times without getting one slice done: the process dies while it works on this run", s.run.restarts)
	}
	// What runs inside may finish a step after ctx has ended; it stops at once when the run went on elsewhere.
	inside, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stopGrace := context.AfterFunc(ctx, func() {
		time.AfterFunc(stepGrace, func() { cancel(context.Cause(ctx)) })
	})
	defer stopGrace()
	beat := startPulse(inside, s, cancel)
	defer func() { s.points = beat.end() }()

	if err := s.open(inside); err != nil {
		return s.because(inside, err)
	}
	prepared := false
	if err := s.steps(ctx, inside, beat); err != nil {
		return s.because(inside, err)
	}
	step, _ := s.trainer.Progress()
	if s.trainer.Done() && s.halt == nil { // a halted run is finished once it goes on
		prepareErr := s.prepare(inside)
		if prepareErr != nil && (step == s.run.Step || !transient(prepareErr) && inside.Err() == nil) {
			return s.because(inside, prepareErr)
		}
		prepared = prepareErr == nil // else keep the steps done; the next slice prepares again
	}
	if step == s.run.Step && !prepared {
		if beat.paused.Load() {
			return s.worker.store.release(context.WithoutCancel(ctx), s.run, "")
		}
		return errStopped
	}
	return s.commit(ctx, beat, prepared)
}

// because is the reason that the run went on elsewhere or the process stops, where that is behind err.
func (s *slice) because(inside context.Context, err error) error {
	if inside.Err() == nil || errors.Is(err, errTooLong) {
		return err
	}
	if errors.Is(context.Cause(inside), errFenced) {
		return errFenced
	}
	return fmt.Errorf("%w: %w", errStopped, err)
}

// open takes the Trainer from memory or makes and loads it.
func (s *slice) open(ctx context.Context) error {
	if s.trainer = s.worker.held.take(position{s.run.ID, s.run.Epoch, s.run.Step}); s.trainer != nil {
		return nil
	}
	t, err := s.worker.kind.New(ctx, s.run)
	if err != nil {
		return fmt.Errorf("making the trainer: %w", err)
	}
	if s.run.StateFile != "" {
		if err := t.Load(statePath(s.worker.opt.Dir, s.run.StateFile)); err != nil {
			return fmt.Errorf("loading the state of step %d: %w", s.run.Step, err)
		}
	}
	if step, _ := t.Progress(); step != s.run.Step {
		return fmt.Errorf("the trainer is at step %d, the run at step %d", step, s.run.Step)
	}
	s.trainer = t
	return nil
}

// steps steps until the slice is over: done, out of time, paused, or the process stops.
func (s *slice) steps(ctx, inside context.Context, beat *pulse) error {
	begin := time.Now()
	for step := s.run.Step; !s.trainer.Done(); {
		if ctx.Err() != nil || inside.Err() != nil || beat.paused.Load() {
			return context.Cause(inside)
		}
		metrics, err := s.trainer.Step(inside)
		if metrics != nil && errors.As(err, &s.halt) {
			err = nil
		}
		if err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) && inside.Err() != nil {
				return fmt.Errorf("step %d: %w (%v)", step+1, errTooLong, s.worker.Timeout(s.job))
			}
			return fmt.Errorf("step %d: %w", step+1, err)
		}
		now, total := s.trainer.Progress()
		if now <= step {
			return fmt.Errorf("step %d did not advance the trainer", step+1)
		}
		step = now
		beat.add(step, total, metrics)
		if s.halt != nil || time.Since(begin) >= s.worker.slice() {
			return nil
		}
	}
	return nil
}

func (s *slice) prepare(ctx context.Context) error {
	if s.worker.kind.Prepare == nil {
		return nil
	}
	if err := s.worker.kind.Prepare(ctx, s.run, s.trainer); err != nil {
		return fmt.Errorf("preparing the result: %w", err)
	}
	return nil
}

// commit writes the state and then ends the slice in one transaction.
func (s *slice) commit(ctx context.Context, beat *pulse, done bool) error {
	w := s.worker
	next := s.run
	next.Step, next.Total = s.trainer.Progress()
	next.StateFile = ""
	if !done {
		next.StateFile = stateName(next)
		began := time.Now()
		if err := saveState(statePath(w.opt.Dir, next.StateFile), s.trainer.Save); err != nil {
			return fmt.Errorf("saving the state of step %d: %w", next.Step, err)
		}
		w.saveCost.Store(int64(time.Since(began)))
	}
	s.points = beat.end()
	// The slice's work is done: a stopping process still commits it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitLimit)
	defer cancel()
	err := pgx.BeginFunc(ctx, w.store.pool, func(tx pgx.Tx) error {
		var err error
		if next, err = w.store.advanceTx(ctx, tx, s.run, next, s.points, done); err != nil {
			return err
		}
		switch {
		case s.halt != nil:
			if next, err = w.store.haltTx(ctx, tx, next, nil); err != nil {
				return err
			}
			if w.kind.Halted != nil {
				if err := w.kind.Halted(ctx, tx, next, s.halt); err != nil {
					return fmt.Errorf("halting: %w", err)
				}
			}
		case done && w.kind.Finish != nil:
			if err := w.kind.Finish(ctx, tx, next, s.trainer); err != nil {
				return fmt.Errorf("finishing: %w", err)
			}
		case next.State == Running:
			if err := w.store.insertSlice(ctx, tx, next); err != nil {
				return err
			}
		}
		// River's rescuer may have taken the job from us. The run's row is the truth, and it is ours.
		_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, s.job)
		if errors.Is(err, rivertype.ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("committing step %d: %w", next.Step, err)
	}
	s.points = nil
	if next.State == Running {
		w.held.put(position{next.ID, next.Epoch, next.Step}, s.trainer)
	}
	if err := keepOnly(w.opt.Dir, next); err != nil {
		w.opt.Logger.Warn("removing old state files", "run", next.ID, "err", err)
	}
	return nil
}

// holder keeps the Trainer of the slice that was committed last, for the next one.
type holder struct {
	mu      sync.Mutex
	at      position
	trainer Trainer
}

type position struct {
	run         string
	epoch, step int
}

func (h *holder) put(at position, t Trainer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at, h.trainer = at, t
}

// take gives the Trainer away if it is at that position, and forgets it in any case: the memory is needed.
func (h *holder) take(at position) Trainer {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.trainer
	if h.at != at {
		t = nil
	}
	h.trainer = nil
	return t
}

// transient tells errors that may pass by themselves: of connections, of a server that restarts, of a full disk.
func transient(err error) bool {
	var netErr net.Error
	var connect *pgconn.ConnectError
	if errors.As(err, &netErr) || errors.As(err, &connect) || pgconn.SafeToRetry(err) || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, net.ErrClosed) || pgconn.Timeout(err) {
		return true
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		switch pgErr.Code[:2] {
		case "08", "40", "53", "55", "57", "58": // connection, serialisation, resources, locks, operator, system
			return true
		case "25":
			return pgErr.Code == "25006" // read-only: a standby that is about to be promoted
		}
	}
	return false
}
