package main

import (
	"context"
	"fmt"
	"time"
)

// What a working process does by itself, whichever process leads the job queue: a dead leader must not delay them.
const (
	choreEvery = time.Second      // audit rows are sealed, dead runs are looked for
	sweepEvery = time.Minute      // sessions that are over are removed
	deadAfter  = 15 * time.Second // age of a heartbeat after which a run is restarted
	stopLimit  = 25 * time.Second // for jobs under way when the process is told to stop
)

// startWorkers takes jobs and does the chores until stop is called, which lets jobs under way end between two steps.
func (a *app) startWorkers(deadAfter time.Duration) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	if err := a.client.Start(ctx); err != nil {
		cancel()
		return nil, fmt.Errorf("start workers: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.chores(ctx, deadAfter)
	}()
	return func() {
		limit, end := context.WithTimeout(context.Background(), stopLimit)
		defer end()
		if err := a.client.StopAndCancel(limit); err != nil {
			a.log.Warn("workers did not stop in time", "error", err)
		}
		cancel()
		<-done
	}, nil
}

// chores seals the audit log's hash chain, moves on rounds whose rankings are in, the canary and planned promotions, and restarts runs whose
// worker died, each second until ctx ends; each minute it removes what is over of people's sign-ins.
func (a *app) chores(ctx context.Context, deadAfter time.Duration) {
	tick := time.NewTicker(choreEvery)
	defer tick.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			if err := a.accounts.Sweep(ctx); err != nil && ctx.Err() == nil {
				a.log.Warn("sessions that are over could not be removed", "error", err)
			}
			continue
		case <-tick.C:
		}
		if _, err := a.db.Jobs.Exec(ctx, `SELECT audit_seal()`); err != nil && ctx.Err() == nil {
			a.log.Warn("audit log could not be sealed", "error", err)
		}
		if err := a.loop.AdvanceWaiting(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("rounds that wait could not be looked at", "error", err)
		}
		if err := a.loop.WatchCanary(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("the canary could not be looked at", "error", err)
		}
		if err := a.loop.PromoteDue(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("planned promotions could not be looked at", "error", err)
		}
		if err := a.runs.Reap(ctx, deadAfter); err != nil && ctx.Err() == nil {
			a.log.Warn("dead runs could not be looked for", "error", err)
		}
	}
}
