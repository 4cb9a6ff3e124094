package web

import (
	"math"
	"sync"
	"time"
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
	l.mu.Lock()
	defer l.mu.Unlock()
	now, size := l.now(), float64(perMinute)
	l.sweep(now)
	b, seen := l.buckets[subject]
	if !seen {
		b = bucket{size, now}
	}
	b.tokens = math.Min(size, b.tokens+now.Sub(b.at).Minutes()*size)
	b.at = now
	if ok = b.tokens >= 1; ok {
		b.tokens--
	} else {
		wait = time.Duration((1 - b.tokens) / size * float64(time.Minute))
	}
	l.buckets[subject] = b
	return ok, int(b.tokens), time.Duration((size - b.tokens) / size * float64(time.Minute)), wait
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
