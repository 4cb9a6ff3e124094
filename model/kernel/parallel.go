package kernel

import (
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
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

// linger is how long a goroutine that has run out of ranges looks for the next Parallel before it ends: about as long as it
// takes until another one runs. Measured on a virtual machine with two cores (BenchmarkParallelLoss): a goroutine that is started
// while its processor sleeps begins after 80 to 110 µs and costs its starter up to 20 µs; one that looks begins after 0.3 µs. So
// never more time is spent on looking than on what it saves, and the short products of a pass are split without waking anyone.
const linger = 100 * time.Microsecond

// parallelWork is the number of multiply-adds that are worth a second goroutine that is looking: about a microsecond.
const parallelWork = 1 << 16

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
	j := &job{f: f, n: int64(n), size: int64(max(grain, (n+4*workers-1)/(4*workers)))}
	j.seats.Store(int32(workers - 1))
	newest.Store(j)
	for range int32(workers-1) - looking.Load() {
		looking.Add(1)
		go help()
	}
	j.work()
	j.wait()
	j.f = nil // it may hold on to much
	if j.failure != nil {
		panic(*j.failure)
	}
}

// job is one Parallel under way.
type job struct {
	f       func(lo, hi int)
	n, size int64
	next    atomic.Int64 // item that has yet to be claimed
	seats   atomic.Int32 // helpers that may still join
	inside  atomic.Int32 // helpers that claim ranges
	failed  atomic.Bool
	failure *any // what the first panic raised
	asleep  atomic.Bool
	done    chan struct{} // wakes the caller that is asleep
}

var (
	newest  atomic.Pointer[job]
	looking atomic.Int32 // helpers that look at newest, or will as soon as they run
)

// work claims ranges until there are none.
func (j *job) work() {
	defer func() {
		if r := recover(); r != nil {
			if j.failed.CompareAndSwap(false, true) {
				j.failure = &r
			}
			j.next.Store(j.n) // no further ranges
		}
	}()
	for {
		lo := j.next.Add(j.size) - j.size
		if lo >= j.n {
			return
		}
		j.f(int(lo), int(min(lo+j.size, j.n)))
	}
}

// wait returns when no helper is inside. All ranges have been claimed: who joins later does nothing.
func (j *job) wait() {
	if j.inside.Load() == 0 || watch(func() bool { return j.inside.Load() == 0 }) {
		return
	}
	j.done = make(chan struct{}, 1)
	j.asleep.Store(true)
	if j.inside.Load() != 0 {
		<-j.done
	}
}

// help takes part in the newest job, and in what comes after it as long as that comes soon.
func help() {
	var last *job
	for {
		watch(func() bool { return newest.Load() != last })
		j := newest.Load()
		if j == last {
			looking.Add(-1)
			// Who made a job before that counted on this helper.
			if j = newest.Load(); j == last {
				return
			}
			looking.Add(1)
		}
		j.join()
		last = j
	}
}

// join claims ranges of j, if it has a seat left.
func (j *job) join() {
	if j.seats.Add(-1) < 0 {
		return
	}
	looking.Add(-1)
	j.inside.Add(1)
	j.work()
	looking.Add(1)
	if j.inside.Add(-1) == 0 && j.asleep.Load() {
		select {
		case j.done <- struct{}{}:
		default:
		}
	}
}

// watch looks until ready, and gives up after a while. In between it lets other goroutines run.
func watch(ready func() bool) bool {
	for start := time.Now(); time.Since(start) < linger; runtime.Gosched() {
		for range 200 {
			if ready() {
				return true
			}
		}
	}
	return false
}
