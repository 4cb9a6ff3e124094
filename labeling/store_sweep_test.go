package labeling

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A sweep that meets a task which somebody else holds touches nothing of it: it does not keep the task's assignment locked
// while the other, who has the task, wants that next. With both sweeping, each half would wait for the other.
func TestSweepLocksTasksFirst(t *testing.T) {
	b := setup(t)
	b.tasks(2, 3, 1, "")
	first, other := b.claim("ann"), b.claim("bo")
	b.expire(first)
	b.expire(other)
	b.tx(func(holder pgx.Tx) error {
		if _, err := holder.Exec(b.ctx, `SELECT FROM tasks WHERE id = $1 FOR NO KEY UPDATE`, first.TaskID); err != nil {
			return err
		}
		b.tx(func(sweeper pgx.Tx) error {
			due, ended, err := sweep(b.ctx, sweeper)
			if err != nil || due != 2 || ended != 1 {
				t.Errorf("due %d, ended %d, %v", due, ended, err)
			}
			_, err = holder.Exec(b.ctx, `SELECT FROM assignments WHERE id = $1 FOR NO KEY UPDATE NOWAIT`, first.ID)
			return err
		})
		return nil
	})
	if n, err := b.store.Sweep(b.ctx); err != nil || n != 1 {
		t.Errorf("the next sweep ended %d, %v", n, err)
	}
	b.sound()
}

// Sweeps, claims, drafts and releases at once on tasks whose leases keep running out: none of them is given up as a deadlock.
func TestSweepsAtOnce(t *testing.T) {
	b := setup(t, func(p *Project) { p.Overlap = 3 })
	b.tasks(12, 2, 3, "")
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	var working sync.WaitGroup
	for range 2 {
		working.Go(func() {
			for ctx.Err() == nil {
				_, err := b.pool.Exec(ctx, `UPDATE assignments SET lease_until = now() - interval '1 second' WHERE id IN (
					SELECT id FROM assignments WHERE state = 'leased' ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)`)
				if err == nil {
					_, err = b.store.Sweep(ctx)
				}
				if err != nil && ctx.Err() == nil {
					t.Errorf("sweep: %v", err)
				}
			}
		})
	}
	var claiming sync.WaitGroup
	for _, who := range []string{"ann", "bo", "carl", "dora"} {
		claiming.Go(func() {
			for range 60 {
				a, err := b.store.Claim(b.ctx, b.project.ID, who)
				if errors.Is(err, ErrEmpty) || errors.Is(err, ErrConflict) {
					continue
				}
				if err == nil {
					err = b.store.Release(b.ctx, a.ID, who)
				}
				if err != nil {
					t.Errorf("claim: %v", err)
				}
			}
		})
	}
	claiming.Wait()
	cancel()
	working.Wait()
	b.sound()
}
