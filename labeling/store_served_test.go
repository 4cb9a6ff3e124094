package labeling

import (
	"errors"
	"fmt"
	"testing"
)

// TestServedGuess: a store that remembers a claim answers a submit as one that reads the lease does, whatever became of the lease in
// between.
func TestServedGuess(t *testing.T) {
	for name, meanwhile := range map[string]func(b *bench, other *Store, a *Assignment) error{
		"nothing":  func(*bench, *Store, *Assignment) error { return nil },
		"expired":  func(b *bench, other *Store, a *Assignment) error { b.expire(a); return second(other.Sweep(b.ctx)) },
		"released": func(b *bench, other *Store, a *Assignment) error { return other.Release(b.ctx, a.ID, "ann") },
		"skipped":  func(b *bench, other *Store, a *Assignment) error { return other.Skip(b.ctx, a.ID, "ann", "dull") },
		"quarantined": func(b *bench, other *Store, a *Assignment) error {
			return second(other.Quarantine(b.ctx, b.project.ID, "ann", "random", "user:x"))
		},
		"submitted": func(b *bench, other *Store, a *Assignment) error {
			return second(other.Submit(b.ctx, best(a, "key"), nil))
		},
		"submitted otherwise": func(b *bench, other *Store, a *Assignment) error {
			in := best(a, "other")
			in.Comment = "otherwise"
			return second(other.Submit(b.ctx, in, nil))
		},
		"submitted and reopened": func(b *bench, other *Store, a *Assignment) error {
			return errors.Join(second(other.Submit(b.ctx, best(a, "first"), nil)), second(other.Reopen(b.ctx, b.project.ID, "ann")))
		},
		"filled by another": func(b *bench, other *Store, a *Assignment) error {
			b.expire(a)
			if _, err := other.Sweep(b.ctx); err != nil {
				return err
			}
			for {
				o, err := other.ClaimNext(b.ctx, b.project.ID, "bob")
				if errors.Is(err, ErrEmpty) {
					return nil
				}
				if err == nil {
					_, err = other.Submit(b.ctx, best(o, newKey()), nil)
				}
				if err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var outcomes [2]string
			for i := range outcomes {
				b := setup(t)
				b.settings(func(q *QualitySettings) { q.ControlAfter = 0 })
				b.tasks(3, 3, 1, "")
				b.submit(b.claim("ann")) // the first claim makes the labeler's row
				a := b.claim("ann")
				store := b.store
				if i == 1 {
					store = NewStore(b.pool)
				} else if known := len(store.served.now); known != 1 {
					t.Fatalf("%d claims are remembered", known)
				}
				b.ok(meanwhile(b, NewStore(b.pool), a))
				r, err := store.Submit(b.ctx, best(a, "key"), nil)
				if err != nil && !errors.Is(err, ErrConflict) {
					t.Fatal(err)
				}
				outcomes[i] = fmt.Sprint(r.Revision, r.Surplus, r.Ranks, err == nil, b.text(`SELECT string_agg(state || surplus || coalesce(done, 0) || open_slots || need, ' ' ORDER BY a.id)
					FROM tasks t JOIN assignments a ON a.task_id = t.id`), b.count(`SELECT done FROM labelers WHERE labeler_id = 'ann'`))
				if len(store.served.now) > 0 {
					t.Error("what was submitted is still remembered")
				}
				b.sound()
			}
			if outcomes[0] != outcomes[1] {
				t.Errorf("remembered: %s\nread:       %s", outcomes[0], outcomes[1])
			}
		})
	}
}

// TestServedIsBounded: of many claims the last are remembered, and each for its own labeler only.
func TestServedIsBounded(t *testing.T) {
	var s served
	last := 3*servedMany - 1
	for i := range last + 1 {
		s.add(&Assignment{ID: fmt.Sprint(i), LabelerID: "ann", Order: []int{1, 0}}, place{lane: 1, position: int64(i)})
	}
	if n := len(s.now) + len(s.older); n != 2*servedMany {
		t.Errorf("%d are remembered, want %d", n, 2*servedMany)
	}
	if _, ok := s.take(fmt.Sprint(last), "bob"); ok {
		t.Error("a lease was given to another labeler")
	}
	l, ok := s.take(fmt.Sprint(last), "ann")
	if !ok || l.id != fmt.Sprint(last) || l.state != Leased || fmt.Sprint(l.order) != "[1 0]" || l.place.position != int64(last) {
		t.Errorf("remembered %+v", l)
	}
	if _, ok = s.take(fmt.Sprint(last), "ann"); ok {
		t.Error("a lease was given twice")
	}
	if _, ok = s.take("0", "ann"); ok {
		t.Error("the oldest is still remembered")
	}
}

// TestSubmitReadsNothing: where the same process served the claim, a submit does not read the lease first, and the watermark is at the
// claim's place.
func TestSubmitReadsNothing(t *testing.T) {
	b := setup(t)
	b.settings(func(q *QualitySettings) { q.ControlAfter = 0 })
	b.tasks(6, 4, 1, "")
	b.submit(b.claim("ann"))
	pool := b.oneConnection()
	reads := func() (n int) {
		b.ok(pool.QueryRow(b.ctx, `SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%now.request_hash%' AND statement NOT LIKE '%pg_prepared%'`).Scan(&n))
		return n
	}
	for range 4 {
		a := b.claim("ann")
		b.submit(a)
		if at, is := b.count(`SELECT position FROM tasks WHERE id = $1`, a.TaskID), b.count(`SELECT position FROM labelers WHERE labeler_id = 'ann'`); at != is {
			t.Errorf("watermark at %d after a claim at %d", is, at)
		}
	}
	if n := reads(); n != 0 {
		t.Errorf("%d statements read leases", n)
	}
	a := b.claim("ann")
	b.store = NewStore(pool)
	b.submit(a)
	if n := reads(); n != 1 {
		t.Errorf("%d statements read leases where the claim is not known", n)
	}
	b.sound()
}
