package run

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// pulse is the goroutine that keeps a run's heartbeat while a slice works on it. It also writes the metrics so far, and
// brings the news that the run is paused or went on elsewhere.
type pulse struct {
	slice  *slice
	cancel context.CancelCauseFunc // of the work
	stop   context.CancelFunc      // of the goroutine
	done   chan struct{}
	paused atomic.Bool

	mu      sync.Mutex
	pending []Point
	step    int
	total   int
}

func startPulse(ctx context.Context, s *slice, cancel context.CancelCauseFunc) *pulse {
	ctx, stop := context.WithCancel(ctx)
	p := &pulse{slice: s, cancel: cancel, stop: stop, done: make(chan struct{}), step: s.run.Step, total: s.run.Total}
	go p.loop(ctx)
	return p
}

func (p *pulse) loop(ctx context.Context) {
	defer close(p.done)
	ticker := time.NewTicker(p.slice.worker.opt.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.beat(ctx)
		}
	}
}

// beat writes one heartbeat. While the database is away the work goes on; whether it counts is seen at the commit.
func (p *pulse) beat(ctx context.Context) {
	p.mu.Lock()
	points, step, total := p.pending, p.step, p.total
	p.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	state, err := p.slice.worker.store.heartbeat(limited, p.slice.run, step, total, points)
	switch {
	case errors.Is(err, errFenced):
		p.cancel(errFenced)
		return
	case err != nil:
		if ctx.Err() == nil {
			p.slice.worker.opt.Logger.Warn("heartbeat", "run", p.slice.run.ID, "err", err)
		}
		return
	case state == Paused:
		p.paused.Store(true)
	}
	p.mu.Lock()
	p.pending = p.pending[len(points):]
	p.mu.Unlock()
}

// add notes what a step measured, to be written by the next heartbeat or with the commit.
func (p *pulse) add(step, total int, m Metrics) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = append(p.pending, Point{Step: step, At: time.Now(), Metrics: m})
	p.step, p.total = step, total
}

// end stops the heartbeat and returns what it has not written. It may be called more than once.
func (p *pulse) end() []Point {
	p.stop()
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending
}
