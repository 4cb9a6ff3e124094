package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rankloop/rankloop/labeling"
)

// deadLeases is how many leases run out at once.
const deadLeases = 10_000

// leases is how long it takes to free the slots of many leases that ran out at once, as when a class goes home.
func (l *lab) leases(ctx context.Context) ([]bar, error) {
	store := labeling.NewStore(l.pool)
	n := min(deadLeases, l.Tasks)
	var times []float64
	for range l.Repeats {
		if _, err := l.pool.Exec(ctx, `
			WITH t AS (UPDATE tasks SET open_slots = open_slots - 1 WHERE id IN (SELECT id FROM tasks WHERE project_id = $1 AND open ORDER BY lane, position LIMIT $2) RETURNING id)
			INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline)
			SELECT `+idSQL+`, id, $1, 'absent ' || $3, 'leased', now() - interval '1 second', '{0,1,2,3}', 1 FROM t`, l.project.ID, n, fmt.Sprint(len(times))); err != nil {
			return nil, err
		}
		start := time.Now()
		freed, err := store.Sweep(ctx)
		if err != nil {
			return nil, err
		}
		times = append(times, time.Since(start).Seconds())
		if freed < n { // the server beside us sweeps too
			return nil, fmt.Errorf("%d of %d leases were freed here: the server's own sweep came in between; try again", freed, n)
		}
	}
	return []bar{atMost(fmt.Sprintf("%d leases that ran out, freed", n), median(times), "s", 1, fmt.Sprintf("median of %d", l.Repeats))}, nil
}
