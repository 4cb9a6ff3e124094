package web

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/rankloop/rankloop/model/decode"
)

// limiter is a token bucket per subject, in memory: full at the start, refilled evenly, a minute from empty to full.
type limiter struct {
	mu      sync.Mutex
	buckets map[string]bucket
	swept   time.Time
	now     func() time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{buckets: map[string]bucket{}, now: now}
}

// take takes one of perMinute tokens. remaining is what is left, reset when the bucket is full again, wait when the
// next token comes where ok is false.
func (l *limiter) take(subject string, perMinute int) (ok bool, remaining int, reset, wait time.Duration) {
	return l.takeN(subject, perMinute, 1)
}

// takeN takes n at once, or none. One that asks for more than there ever are waits in vain.
func (l *limiter) takeN(subject string, perMinute, n int) (ok bool, remaining int, reset, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, size := l.filled(subject, perMinute), float64(perMinute)
	if ok = b.tokens >= float64(n); ok {
		b.tokens -= float64(n)
	} else {
		wait = time.Duration((float64(n) - b.tokens) / size * float64(time.Minute))
	}
	l.buckets[subject] = b
	return ok, int(b.tokens), time.Duration((size - b.tokens) / size * float64(time.Minute)), wait
}

// give puts n back that were taken and not used.
func (l *limiter) give(subject string, perMinute, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.filled(subject, perMinute)
	b.tokens = math.Min(float64(perMinute), b.tokens+float64(n))
	l.buckets[subject] = b
}

// filled is the subject's bucket as it is now; l.mu is held.
func (l *limiter) filled(subject string, perMinute int) bucket {
	now, size := l.now(), float64(perMinute)
	l.sweep(now)
	b, seen := l.buckets[subject]
	if !seen {
		b = bucket{size, now}
	}
	return bucket{math.Min(size, b.tokens+now.Sub(b.at).Minutes()*size), now}
}

// sweep drops the buckets that are full again, once a minute.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	for k, b := range l.buckets {
		if now.Sub(b.at) >= time.Minute {
			delete(l.buckets, k)
		}
	}
}

// turns lets one work at a time while as many wait as its queue has room for.
type turns struct{ busy, waiting chan struct{} }

func newTurns(queue int) turns { return turns{make(chan struct{}, 1), make(chan struct{}, queue)} }

// enter waits for a turn, which ends with leave. Where the queue is full it refuses at once, as decode.ErrBusy.
func (t turns) enter(ctx context.Context) (leave func(), err error) {
	select {
	case t.waiting <- struct{}{}:
	default:
		return nil, fmt.Errorf("%d requests wait already: %w", cap(t.waiting), decode.ErrBusy)
	}
	defer func() { <-t.waiting }()
	select {
	case t.busy <- struct{}{}:
		return func() { <-t.busy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
