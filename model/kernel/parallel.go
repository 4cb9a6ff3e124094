package kernel

import (
	"math"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

// threads is the largest number of goroutines that one Parallel uses, its caller included.
var threads atomic.Int32

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

// Work is what ParallelWork deals out. A caller that must not allocate keeps it in memory that it has already, where a function
// that closes over its operands would be made anew each time.
type Work interface {
	Run(lo, hi int) // items lo to hi
}

type workFunc func(lo, hi int)

func (f workFunc) Run(lo, hi int) { f(lo, hi) }

// Parallel calls f on disjoint ranges [lo,hi) that together cover [0,n) and returns when all calls have returned. grain is
// the number of items below which a split is not worth its cost: no range but the last is shorter.
//
// It runs f(0, n) inline when n <= grain, with one thread, and while another Parallel is at work: a nested call, or one from
// another goroutine, so that the machine is never oversubscribed. f must therefore give the same results whatever the ranges.
// A panic in f is raised again in the caller, after all other calls have ended.
func Parallel(n, grain int, f func(lo, hi int)) { ParallelWork(n, grain, workFunc(f)) }

// ParallelWork is Parallel of w.Run.
func ParallelWork(n, grain int, w Work) {
	if n <= 0 {
		return
	}
	pause()
	grain = max(grain, 1)
	workers, crew := min(Threads(), (n+grain-1)/grain), &crews[0]
	if turns.state.Load() == turnTaken {
		crew = &crews[1]
	}
	if workers == 1 || n > math.MaxInt32 || !crew.busy.CompareAndSwap(false, true) {
		w.Run(0, n)
		return
	}
	defer crew.busy.Store(false)
	crew.open(w, n, grain, workers)
	crew.claim(crew.number())
	crew.wait()
	if failure := crew.close(); failure != nil {
		panic(*failure)
	}
}

// crews are the Parallel under way, of which there is one at a time, and those who help with it; and the one of urgent work, as
// that of the background may have paused in the middle.
var crews [2]job

// job is a Parallel, and after its end the next one: helpers of before may still look at it.
type job struct {
	busy   atomic.Bool // a Parallel with more than one goroutine runs
	urgent bool        // of urgent work: its helpers do not count as the background

	state    atomic.Uint64 // the job's number, and below it the next item that has yet to be claimed; nothing else decides about claims
	n, grain atomic.Int32  // items, and how many of them are claimed at once at least
	workers  atomic.Int32  // like these of the number that state had before and after it was read
	work     Work          // of who has claimed an item

	seats   atomic.Int32        // helpers that may still join
	inside  atomic.Int32        // helpers that may have claimed items
	looking atomic.Int32        // helpers that look for a new number, or will as soon as they run
	failure atomic.Pointer[any] // what the first panic raised
	asleep  atomic.Bool         // the caller, until done wakes it
	done    chan struct{}
}

func init() {
	for i := range crews {
		crews[i].done, crews[i].urgent = make(chan struct{}, 1), i == 1
	}
}

const (
	oneJob  = 1 << 32
	noItems = oneJob - 1 // a next item that is beyond all
)

func (j *job) number() uint64 { return j.state.Load() / oneJob }

// open makes j a new job and sees to it that there are helpers.
func (j *job) open(w Work, n, grain, workers int) {
	next := (j.number() + 1) * oneJob
	j.state.Store(next + noItems) // who read what the former job is like claims nothing any more
	j.work = w
	j.n.Store(int32(n))
	j.grain.Store(int32(grain))
	j.workers.Store(int32(workers))
	j.asleep.Store(false)
	j.seats.Store(int32(workers - 1))
	j.state.Store(next)
	for range int32(workers-1) - j.looking.Load() {
		j.looking.Add(1)
		go j.help()
	}
}

// claim works on items of a job as long as there are any. What is claimed at once is a share of what is left, so that memory is read in
// long runs at first, and at the end a slow core does not hold up the others.
func (j *job) claim(number uint64) {
	defer func() {
		if r := recover(); r != nil {
			raised := r
			j.failure.CompareAndSwap(nil, &raised)
			j.state.Store(number*oneJob + noItems) // no further items
		}
	}()
	for {
		if !j.urgent { // a helper of urgent work that comes late must not wait for the next: that would wait for it
			pause()
		}
		s := j.state.Load()
		lo, n, share := int64(s%oneJob), int64(j.n.Load()), 2*int64(j.workers.Load())
		if s/oneJob != number || lo >= n {
			return
		}
		hi := min(lo+max(int64(j.grain.Load()), (n-lo+share-1)/share), n)
		if j.state.CompareAndSwap(s, number*oneJob+uint64(hi)) {
			j.work.Run(int(lo), int(hi))
		}
	}
}

// wait returns when no helper is inside. All items have been claimed: who joins later finds none.
func (j *job) wait() {
	if j.inside.Load() == 0 || watch(func() bool { return j.inside.Load() == 0 }) {
		return
	}
	if !j.urgent { // the helpers may have paused, and who waits for them is not at work
		turns.leave()
		defer turns.enter()
	}
	j.asleep.Store(true)
	for j.inside.Load() != 0 {
		<-j.done
	}
}

// close lets go of the work and returns what a panic in it raised.
func (j *job) close() *any {
	j.work = nil
	return j.failure.Swap(nil)
}

// help takes part in the newest job, and in what comes after it as long as that comes soon.
func (j *job) help() {
	last := uint64(0)
	for {
		watch(func() bool { return j.number() != last })
		number := j.number()
		if number == last {
			j.looking.Add(-1)
			// Who opened a job before that counted on this helper.
			if number = j.number(); number == last {
				return
			}
			j.looking.Add(1)
		}
		last = j.join(number)
	}
}

// join works on a job, if there is a seat left, and returns its number: by then it may be a newer one.
func (j *job) join(number uint64) uint64 {
	if j.seats.Add(-1) < 0 {
		return number
	}
	j.looking.Add(-1)
	j.inside.Add(1)
	number = j.number()
	if j.urgent {
		j.claim(number)
	} else {
		turns.enter()
		j.claim(number)
		turns.leave()
	}
	j.looking.Add(1)
	if j.inside.Add(-1) == 0 && j.asleep.Load() {
		select {
		case j.done <- struct{}{}:
		default:
		}
	}
	return number
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
