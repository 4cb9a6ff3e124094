package kernel

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// background keeps goroutines at work on products in the background until the test ends, and checks their results. working counts
// the items of theirs that run right now, done the products.
func background(t *testing.T, goroutines int) (working, done *atomic.Int64) {
	working, done = new(atomic.Int64), new(atomic.Int64)
	var stop atomic.Bool
	var all sync.WaitGroup
	rng := rand.New(rand.NewPCG(1, 2))
	const M, N, K = 70, 200, 90
	a, b, want := randoms(rng, M*K), randoms(rng, K*N), make([]float32, M*N)
	NN(M, N, K, a, K, b, N, want, N, false)
	for range goroutines {
		all.Go(func() {
			c := make([]float32, M*N)
			for !stop.Load() {
				BeginBackground()
				Parallel(8, 1, func(lo, hi int) {
					working.Add(1)
					time.Now() // a while that is not a kernel
					working.Add(-1)
				})
				NN(M, N, K, a, K, b, N, c, N, false)
				EndBackground()
				if !slices.Equal(c, want) {
					t.Error("a product in the background comes out otherwise")
				}
				done.Add(1)
			}
		})
	}
	t.Cleanup(func() { stop.Store(true); all.Wait() })
	return working, done
}

// patient lets urgent work wait for as long as it takes.
func patient(t *testing.T) {
	before := turns.patience
	turns.patience = time.Hour
	t.Cleanup(func() { turns.patience = before })
}

// While urgent work runs nothing runs in the background, and between two the background gets on; all comes out as without.
func TestUrgent(t *testing.T) {
	patient(t)
	threaded(t, func(t *testing.T, threads int) {
		working, done := background(t, 3)
		rng := rand.New(rand.NewPCG(3, 4))
		const M, N, K = 33, 300, 64
		a, b, c, want := randoms(rng, M*K), randoms(rng, K*N), make([]float32, M*N), make([]float32, M*N)
		NN(M, N, K, a, K, b, N, want, N, false)
		for done.Load() < 200 {
			Urgent(func() {
				before := done.Load()
				for range 3 {
					NN(M, N, K, a, K, b, N, c, N, false)
					Parallel(4, 1, func(lo, hi int) {
						if n := working.Load(); n != 0 {
							t.Errorf("%d items of the background run beside urgent work", n)
						}
					})
				}
				if !slices.Equal(c, want) {
					t.Error("an urgent product comes out otherwise")
				}
				if n := done.Load() - before; n > 3 { // who had ended its last product was not in the background any more
					t.Errorf("%d products were done beside urgent work", n)
				}
			})
		}
	})
}

// Without a pause between urgent works the background goes on all the same.
func TestUrgentStarvesNobody(t *testing.T) {
	patient(t)
	_, done := background(t, 2)
	for range 20 {
		for before := done.Load(); done.Load() == before; {
			Urgent(func() {})
		}
	}
}

// Urgent works of several goroutines follow each other, and one that panics lets the next go on.
func TestUrgentOneByOne(t *testing.T) {
	var in atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				func() {
					defer func() { _ = recover() }()
					Urgent(func() {
						if in.Add(1) != 1 {
							t.Error("two urgent works at once")
						}
						in.Add(-1)
						panic("x")
					})
				}()
			}
		})
	}
	all.Wait()
	settle()
	if turns.state.Load() != turnFree {
		t.Errorf("state %d", turns.state.Load())
	}
}

// settle returns when nobody counts as running any more: helpers may yet look for work.
func settle() {
	for {
		turns.mu.Lock()
		n := turns.running
		turns.mu.Unlock()
		if n == 0 {
			return
		}
		runtime.Gosched()
	}
}

// What does not pause holds urgent work up for a while only.
func TestUrgentGoesOn(t *testing.T) {
	before := turns.patience
	defer func() { turns.patience = before }()
	turns.patience = time.Millisecond
	BeginBackground()
	ran := false
	Urgent(func() { ran = true })
	EndBackground()
	settle()
	if !ran {
		t.Error("it did not begin")
	}
}

// BenchmarkUrgent measures what an urgent work costs where there is no background, and the background where there is nothing
// urgent.
func BenchmarkUrgent(b *testing.B) {
	b.Run("Urgent", func(b *testing.B) {
		for b.Loop() {
			Urgent(func() {})
		}
	})
	b.Run("BeginBackground_EndBackground", func(b *testing.B) {
		for b.Loop() {
			BeginBackground()
			EndBackground()
		}
	})
}

// A pass pauses in its middle, however long it is.
func TestUrgentWithinAPass(t *testing.T) {
	before := turns.patience
	defer func() { turns.patience = before }()
	turns.patience = 20 * time.Second
	defer SetThreads(Threads())
	SetThreads(1) // nobody waits for helpers, which would let urgent work in too
	var stop atomic.Bool
	var all sync.WaitGroup
	a, b := make([]float32, 300*300), make([]float32, 300*300)
	begun := make(chan struct{})
	all.Go(func() {
		BeginBackground()
		defer EndBackground()
		close(begun)
		for c := make([]float32, 300*300); !stop.Load(); {
			NN(300, 300, 300, a, 300, b, 300, c, 300, false)
		}
	})
	<-begun
	for range 5 {
		Urgent(func() {
			turns.mu.Lock()
			defer turns.mu.Unlock()
			if turns.running != 0 {
				t.Errorf("%d go on beside urgent work", turns.running)
				stop.Store(true)
			}
		})
	}
	stop.Store(true)
	all.Wait()
}
