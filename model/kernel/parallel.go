package kernel

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
)

// threads is the largest number of goroutines that one Parallel uses, its caller included.
var threads atomic.Int32

// busy is set while a Parallel with more than one goroutine runs.
var busy atomic.Bool

func init() { SetThreads(defaultThreads(os.Getenv("RANKLOOP_THREADS"))) }

// defaultThreads reads RANKLOOP_THREADS; an empty, bad or non-positive value means one thread per processor that Go may use.
func defaultThreads(env string) int {
	if n, err := strconv.Atoi(env); err == nil && n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// SetThreads sets how many goroutines Parallel may use, its caller included. Values below 1 count as 1. No kernel's result depends on it.
func SetThreads(n int) { threads.Store(int32(max(1, min(n, 1<<16)))) }

// Threads returns the value set by SetThreads; at start RANKLOOP_THREADS, else GOMAXPROCS.
func Threads() int { return int(threads.Load()) }

// Parallel calls f on disjoint ranges [lo,hi) that together cover [0,n) and returns when all calls have returned. grain is
// the number of items below which a split is not worth its cost: no range but the last is shorter.
//
// It runs f(0, n) inline when n <= grain, with one thread, and while another Parallel is at work: a nested call, or one from
// another goroutine, so that the machine is never oversubscribed. f must therefore give the same results whatever the ranges.
// A panic in f is raised again in the caller, after all other calls have ended.
func Parallel(n, grain int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	grain = max(grain, 1)
	workers := min(Threads(), (n+grain-1)/grain)
	if workers == 1 || !busy.CompareAndSwap(false, true) {
		f(0, n)
		return
	}
	defer busy.Store(false)
	// Ranges are claimed one by one, about four for each worker, so that a slow core does not hold up the others.
	size := max(grain, (n+4*workers-1)/(4*workers))
	var next atomic.Int64
	var wg sync.WaitGroup
	var once sync.Once
	var failure any
	work := func() {
		defer wg.Done()
		defer func() {
			if r := recover(); r != nil {
				once.Do(func() { failure = r })
				next.Store(int64(n)) // no further ranges
			}
		}()
		for {
			lo := int(next.Add(int64(size))) - size
			if lo >= n {
				return
			}
			f(lo, min(lo+size, n))
		}
	}
	wg.Add(workers)
	for range workers - 1 {
		go work()
	}
	work()
	wg.Wait()
	if failure != nil {
		panic(failure)
	}
}
