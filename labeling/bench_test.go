package labeling

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// The unit is one cycle: claim, fetch, submit a ranking of four, each durable on its own.

// BenchmarkCycle: sixteen connections, as many labelers, overlap 3.
func BenchmarkCycle(b *testing.B) {
	s := setup(b)
	s.tasks(b.N/3+100, 4, 3, "bench")
	s.sql(`ANALYZE`)
	var next atomic.Int64
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		labeler := fmt.Sprint("labeler ", next.Add(1))
		for pb.Next() {
			a, err := s.store.Claim(s.ctx, s.project.ID, labeler)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := s.store.Submit(s.ctx, best(a, newKey()), nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cycles/s")
}

// BenchmarkSolo: one labeler with 5,000 tasks behind that others have left open.
func BenchmarkSolo(b *testing.B) {
	s := setup(b)
	const behind = 5000
	s.tasks(behind+b.N+1, 4, 3, "bench")
	s.sql(`INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline)
		SELECT gen_random_uuid(), id, project_id, 'ann', 'skipped', now(), '{0,1,2,3}', 1 FROM tasks ORDER BY position LIMIT $1`, behind)
	s.sql(`ANALYZE`)
	s.submit(s.claim("ann")) // finds the end of what is behind
	b.ResetTimer()
	for range b.N {
		if _, err := s.store.ClaimNext(s.ctx, s.project.ID, "ann"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.sql(`UPDATE assignments SET state = 'skipped' WHERE state = 'leased'`)
		b.StartTimer()
	}
}
