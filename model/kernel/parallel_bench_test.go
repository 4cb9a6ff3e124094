package kernel

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkParallelLoss measures what two goroutines lose against halving the time of one, with bodies and pauses of so many µs.
func BenchmarkParallelLoss(b *testing.B) {
	defer SetThreads(Threads())
	SetThreads(2)
	spin := func(d time.Duration) {
		for start := time.Now(); time.Since(start) < d; {
		}
	}
	for _, pause := range []time.Duration{0, 20, 500} {
		for _, body := range []time.Duration{2, 10, 100, 1000} {
			b.Run(fmt.Sprintf("pause%d/body%d", pause, body), func(b *testing.B) {
				var total time.Duration
				for b.Loop() {
					spin(pause * time.Microsecond)
					start := time.Now()
					Parallel(8, 1, func(lo, hi int) { spin(body * time.Microsecond * time.Duration(hi-lo) / 8) })
					total += time.Since(start)
				}
				b.ReportMetric(float64(total.Nanoseconds())/float64(b.N)-float64(body*1000/2), "lost-ns")
			})
		}
	}
}
