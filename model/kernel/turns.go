package kernel

import (
	"sync"
	"sync/atomic"
	"time"
)

// Work that somebody waits for, a step of the decoder that serves, goes before work that nobody waits for, training and
// rollouts: Urgent asks those who are at work in the background to pause, which they do within a block of a product, and has all
// threads for itself. Between two urgent works the background gets to do at least a block each, so that neither starves.
//
// Nobody is told apart by who they are: before the urgent work begins, the background has paused, so whoever calls a kernel
// then is the urgent work. What does not pause in time only makes it slower.

// BeginBackground marks the calling goroutine as one that gives way to urgent work until EndBackground: it pauses here and inside
// of kernels. It must not be called twice without an EndBackground between.
func BeginBackground() { turns.enter() }

// EndBackground ends what BeginBackground began.
func EndBackground() { turns.leave() }

// Urgent calls f once the background has paused, which resumes when f returns. One f runs at a time.
func Urgent(f func()) {
	turns.one.Lock()
	defer turns.one.Unlock()
	turns.take()
	defer turns.give()
	f()
}

const (
	turnFree  = iota // the background works
	turnAsked        // the background is asked to pause
	turnTaken        // urgent work is under way
)

// turn says whose turn it is.
type turn struct {
	one   sync.Mutex // of the urgent work under way
	state atomic.Int32

	mu      sync.Mutex
	running int // goroutines at work in the background, helpers included
	paused  int // goroutines that wait for the next round
	round   int // counts the urgent works
	resume  *sync.Cond

	quiet    chan struct{} // running has come down to nothing
	timer    *time.Timer
	patience time.Duration // how long urgent work waits for the background to pause before it begins beside it
}

var turns = newTurn()

func newTurn() *turn {
	t := &turn{quiet: make(chan struct{}, 1), timer: time.NewTimer(time.Hour), patience: 10 * time.Millisecond}
	t.timer.Stop()
	t.resume = sync.NewCond(&t.mu)
	return t
}

// pause stands in the middle of kernels: it waits while urgent work is to be done.
func pause() {
	if turns.state.Load() == turnAsked {
		turns.pause()
	}
}

func (t *turn) pause() {
	t.mu.Lock()
	if t.state.Load() == turnAsked {
		t.drop()
		t.wait()
	}
	t.mu.Unlock()
}

func (t *turn) enter() {
	t.mu.Lock()
	if t.state.Load() == turnFree {
		t.running++
	} else {
		t.wait()
	}
	t.mu.Unlock()
}

func (t *turn) leave() {
	t.mu.Lock()
	t.drop()
	t.mu.Unlock()
}

// drop counts one less at work; t.mu is held.
func (t *turn) drop() {
	t.running--
	if t.running <= 0 && t.state.Load() == turnAsked {
		select {
		case t.quiet <- struct{}{}:
		default:
		}
	}
}

// wait returns when the urgent work is done, from when on the caller counts as running; t.mu is held.
func (t *turn) wait() {
	t.paused++
	for round := t.round; round == t.round; {
		t.resume.Wait()
	}
}

// take asks the background to pause and waits for that.
func (t *turn) take() {
	t.mu.Lock()
	select {
	case <-t.quiet: // of before
	default:
	}
	if t.running > 0 {
		t.state.Store(turnAsked)
		t.mu.Unlock()
		t.timer.Reset(t.patience)
		select {
		case <-t.quiet:
		case <-t.timer.C:
		}
		t.timer.Stop()
		t.mu.Lock()
	}
	t.state.Store(turnTaken)
	t.mu.Unlock()
}

// give lets the background go on. Who has paused counts as running at once: the next urgent work waits until they have had a turn.
func (t *turn) give() {
	t.mu.Lock()
	t.running, t.paused = t.running+t.paused, 0
	t.round++
	t.state.Store(turnFree)
	t.resume.Broadcast()
	t.mu.Unlock()
}
