package account

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	ledgerMost = 500             // rows of a transaction
	ledgerTime = 5 * time.Second // for one
	ledgerRoom = 10_000          // rows that may wait with nobody waiting for them
	ledgerRest = time.Second     // before the database is tried again
)

// ledger gathers usage that is to be recorded: while a transaction is under way and, where gather is set, for so long before one.
type ledger struct {
	gather time.Duration
	lost   func(error) // hears of rows that nobody waits for and that the database refuses

	mu      sync.Mutex
	waiting []*entry
	busy    bool          // a goroutine writes,
	hurry   chan struct{} // which must not wait for more
}

type entry struct {
	usage Usage
	mark  bool       // no usage: whoever waits wants what came before to be recorded
	done  chan error // nil: nobody waits
}

// GatherUsage lets Note record usage in batches, of what comes in so long a time: a process that dies takes that with it. lost hears why a
// row could not be recorded. Call it before the store is used, and Flush at the end.
func (s *Store) GatherUsage(span time.Duration, lost func(error)) {
	s.ledger.gather, s.ledger.lost = span, lost
}

// Note is Record for those who need not know when the usage is recorded: it returns at once, where GatherUsage was called. What a
// database that cannot be reached does not take is kept for later, up to a bound, beyond which Note waits and fails as Record does.
func (s *Store) Note(ctx context.Context, u Usage) error {
	if s.ledger.gather == 0 || !s.ledger.note(s, u) {
		return s.Record(ctx, u, nil)
	}
	return nil
}

// Flush returns when all that was noted before is recorded; it fails where the database does not take it or ctx ends.
func (s *Store) Flush(ctx context.Context) error {
	s.ledger.mu.Lock()
	busy := s.ledger.busy
	s.ledger.mu.Unlock()
	if !busy {
		return nil
	}
	return wrap("flush usage", s.ledger.add(ctx, s, entry{mark: true}))
}

// note lets a row wait with nobody waiting for it; false where there is no room.
func (l *ledger) note(s *Store, u Usage) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= ledgerRoom {
		return false
	}
	l.push(s, &entry{usage: u})
	return true
}

// add returns when an entry is committed.
func (l *ledger) add(ctx context.Context, s *Store, e entry) error {
	e.done = make(chan error, 1)
	l.mu.Lock()
	l.push(s, &e)
	l.rush()
	l.mu.Unlock()
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// push lets a row wait and sees to it that somebody writes; l.mu is held.
func (l *ledger) push(s *Store, e *entry) {
	l.waiting = append(l.waiting, e)
	if !l.busy {
		l.busy, l.hurry = true, make(chan struct{}, 1)
		go l.write(s)
	}
}

// rush ends the writer's wait for more; l.mu is held.
func (l *ledger) rush() {
	select {
	case l.hurry <- struct{}{}:
	default: // also where nobody writes
	}
}

// write works until nothing waits.
func (l *ledger) write(s *Store) {
	for wait := l.gather; l.more(); {
		if wait > 0 {
			pause(l.hurry, wait)
		}
		wait = l.gather
		part := l.take()
		err := s.recordAll(part)
		var kept []*entry
		for _, e := range part {
			one := err
			if len(part) > 1 && badRow(err) { // one is: the others are not
				one = s.recordAll([]*entry{e})
			}
			switch {
			case e.done != nil:
				e.done <- one
			case one != nil && !badRow(one):
				kept = append(kept, e)
			case one != nil && l.lost != nil:
				l.lost(one)
			}
		}
		if len(kept) > 0 {
			l.mu.Lock()
			l.waiting = append(kept, l.waiting...)
			l.mu.Unlock()
			wait = ledgerRest
		}
	}
}

// more says that something waits; otherwise the writer's work has ended.
func (l *ledger) more() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = len(l.waiting) > 0
	return l.busy
}

// take returns what is written next.
func (l *ledger) take() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.waiting), ledgerMost)
	part := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	if len(l.waiting) > 0 {
		l.rush()
	}
	return part
}

// pause waits so long, or until hurry says not to.
func pause(hurry <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-hurry:
	case <-t.C:
	}
}

// badRow says whether a value was refused, as against a database that cannot be reached.
func badRow(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (strings.HasPrefix(pe.Code, "22") || strings.HasPrefix(pe.Code, "23"))
}

func (s *Store) recordAll(part []*entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), ledgerTime)
	defer cancel()
	var list []Usage
	for _, e := range part {
		if !e.mark {
			list = append(list, e.usage)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return record(ctx, tx, list, nil) })
}
