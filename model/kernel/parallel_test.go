package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestParallelCovers(t *testing.T) {
	threaded(t, func(t *testing.T, threads int) {
		for _, n := range []int{0, 1, 2, 7, 100, 1001} {
			for _, grain := range []int{0, 1, 3, 50, 2000} {
				seen := make([]atomic.Int32, n)
				var calls atomic.Int32
				Parallel(n, grain, func(lo, hi int) {
					calls.Add(1)
					if hi-lo < grain && hi != n || lo >= hi {
						t.Errorf("n %d, grain %d: range [%d,%d)", n, grain, lo, hi)
					}
					for i := lo; i < hi; i++ {
						seen[i].Add(1)
					}
				})
				for i := range seen {
					if seen[i].Load() != 1 {
						t.Fatalf("n %d, grain %d, %d threads: item %d done %d times", n, grain, threads, i, seen[i].Load())
					}
				}
				if c := calls.Load(); n > 0 && (n <= grain || threads == 1) && c != 1 {
					t.Fatalf("n %d, grain %d, %d threads: %d calls", n, grain, threads, c)
				}
			}
		}
	})
}

// Inside a Parallel another one runs inline; after it, and after a panic in it, the next one is parallel again.
func TestParallelNested(t *testing.T) {
	defer SetThreads(Threads())
	SetThreads(3)
	for range 3 {
		var total, inner atomic.Int64
		Parallel(30, 1, func(lo, hi int) {
			calls := 0
			Parallel(10, 1, func(l, h int) {
				calls++
				inner.Add(int64(h - l))
			})
			if calls != 1 {
				t.Errorf("a nested call was split into %d", calls)
			}
			total.Add(int64(hi - lo))
		})
		if total.Load() != 30 || inner.Load()%10 != 0 {
			t.Fatal(total.Load(), inner.Load())
		}
		func() {
			defer func() {
				if r := recover(); r != "out" {
					t.Errorf("recovered %v", r)
				}
			}()
			Parallel(100, 1, func(lo, hi int) {
				if lo >= 20 {
					panic("out")
				}
			})
		}()
		// Both goroutines must be inside at once for this to end.
		var both sync.WaitGroup
		both.Add(2)
		Parallel(2, 1, func(lo, hi int) {
			both.Done()
			both.Wait()
		})
	}
}

// Who helps goes on to the next Parallel, and ends where none comes.
func TestParallelHelpersEnd(t *testing.T) {
	defer SetThreads(Threads())
	for _, n := range []int{2, 5} {
		SetThreads(n)
		for range 500 {
			var sum atomic.Int64
			Parallel(20, 1, func(lo, hi int) { sum.Add(int64(hi - lo)) })
			if sum.Load() != 20 {
				t.Fatal(sum.Load())
			}
		}
		// One that comes late joins the last job for a moment, and finds nothing to do.
		crew := &crews[0]
		for crew.inside.Load() > 0 || crew.looking.Load() > 0 {
			runtime.Gosched()
		}
		if crew.work != nil {
			t.Errorf("%d threads: the last job is still held on to", n)
		}
	}
}

// Several goroutines may call at once; one of them gets the threads.
func TestParallelTogether(t *testing.T) {
	defer SetThreads(Threads())
	SetThreads(2)
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 200 {
				var n atomic.Int64
				Parallel(50, 2, func(lo, hi int) { n.Add(int64(hi - lo)) })
				if n.Load() != 50 {
					t.Error(n.Load())
				}
			}
		}()
	}
	wg.Wait()
}

func TestDefaultThreads(t *testing.T) {
	for env, want := range map[string]int{"3": 3, "": runtime.GOMAXPROCS(0), "x": runtime.GOMAXPROCS(0), "0": runtime.GOMAXPROCS(0), "-2": runtime.GOMAXPROCS(0)} {
		if got := defaultThreads(env); got != want {
			t.Errorf("defaultThreads(%q) = %d, want %d", env, got, want)
		}
	}
	defer SetThreads(Threads())
	SetThreads(-5)
	if Threads() != 1 {
		t.Error(Threads())
	}
}

// counting is work that is kept.
type counting struct{ items atomic.Int64 }

func (c *counting) Run(lo, hi int) { c.items.Add(int64(hi - lo)) }

// Nothing is allocated for work that is kept, whoever helps.
func TestParallelWork(t *testing.T) {
	threaded(t, func(t *testing.T, threads int) {
		var c counting
		const runs = 200
		if n := testing.AllocsPerRun(runs, func() { ParallelWork(64, 1, &c) }); n >= 1 { // a helper that begins anew is allocated
			t.Errorf("%d threads: %g allocations", threads, n)
		}
		if got := c.items.Load(); got != 64*(runs+1) {
			t.Errorf("%d threads: %d items", threads, got)
		}
	})
}

// Jobs of other sizes follow each other without a pause, so that helpers of one are still there when the next begins.
func TestParallelInARow(t *testing.T) {
	defer SetThreads(Threads())
	for _, n := range []int{2, 3, 8} {
		SetThreads(n)
		for i := range 20000 {
			var c counting
			items := 1 + (i*7919)%97
			if ParallelWork(items, 1+i%5, &c); c.items.Load() != int64(items) {
				t.Fatalf("%d threads, job %d: %d of %d items", n, i, c.items.Load(), items)
			}
		}
	}
}

func BenchmarkParallelWork(b *testing.B) {
	var c counting
	b.ReportAllocs()
	for b.Loop() {
		ParallelWork(64, 1, &c)
	}
}
