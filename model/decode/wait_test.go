package decode

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// patient lets requests wait as long as the queue has room.
const patient = 1e6

// arrival is a request of a load: in which step it came, how long it might wait, and in which step its first token came.
type arrival struct {
	asked
	came, bound, begun int
}

// load sends requests in steps, and follows those that are taken on.
type load struct {
	*testing.T
	e              *Engine
	rng            *rand.Rand
	now            int
	all            []*arrival
	tokens         map[string]int // by key, written
	taken, refused map[string]int
	after          []time.Duration // what the refused were told
}

func newLoad(t *testing.T, seed uint64, opt EngineOptions) *load {
	return &load{T: t, e: newEngine(mixModels(t)[3], nil, opt), rng: rand.New(rand.NewPCG(seed, 3)), tokens: map[string]int{}, taken: map[string]int{}, refused: map[string]int{}}
}

func (l *load) ask(key string, tokens int) {
	l.Helper()
	r := Request{Prompt: counting(1+l.rng.IntN(8), l.rng.IntN(256)), Key: key, Params: Params{MaxTokens: tokens, IgnoreEOS: true}}
	a := &arrival{asked: asked{Request: r, leave: -1}, came: l.now, bound: l.e.forecast.bound([]Request{r})}
	var busy *BusyError
	s, err := l.e.Submit(context.Background(), r)
	switch {
	case errors.As(err, &busy) && errors.Is(err, ErrBusy):
		l.refused[key]++
		l.after = append(l.after, busy.After)
	case err != nil:
		l.Fatal(err)
	default:
		l.taken[key]++
		a.stream = s
		l.all = append(l.all, a)
	}
}

func (l *load) step() bool {
	busy := l.e.step()
	l.now++
	for _, a := range l.all {
		n := len(a.got)
		if a.drain(l.T); n == 0 && len(a.got) > 0 {
			a.begun = l.now
		}
		l.tokens[a.Key] += len(a.got) - n
	}
	return busy
}

// rest lets all that were taken on end.
func (l *load) rest() {
	l.Helper()
	for l.step() {
	}
	for i, a := range l.all {
		if !a.over || len(a.got) != a.MaxTokens {
			l.Fatalf("request %d of %s has %d of %d tokens in the end", i, a.Key, len(a.got), a.MaxTokens)
		}
	}
}

// Who is taken on begins within the bound, whatever the load, and the places are not empty for it.
func TestWaitIsBounded(t *testing.T) {
	for seed := range uint64(12) {
		places := 4 + int(seed%5)
		l := newLoad(t, seed, EngineOptions{MaxBatch: places})
		over := 1.5 + 3*l.rng.Float64() // times what can be served
		const steps = 600
		for due := 0.0; l.now < steps; l.step() {
			for ; due <= 0; due += 24 / (over * float64(places)) * 2 * l.rng.Float64() {
				l.ask("k", 8+l.rng.IntN(33))
			}
			due--
		}
		if got, want := l.tokens["k"], int(.9*steps*float64(places)); got < want {
			t.Errorf("seed %d: %.1f times the load: %d tokens, want %d", seed, over, got, want)
		}
		l.rest()
		waited := 0
		for _, a := range l.all {
			wait := a.begun - a.came - 1
			waited = max(waited, wait)
			if wait > a.bound {
				t.Errorf("seed %d: a request of %d tokens waits for %d steps, the bound is %d", seed, a.MaxTokens, wait, a.bound)
			}
		}
		if waited == 0 || l.refused["k"] == 0 {
			t.Errorf("seed %d: nobody waited, or none was refused: %d and %v", seed, waited, l.refused)
		}
	}
}

// Where most are sent away lately, those who are taken on hardly wait and the places stay full; once that is over, a burst may wait again.
func TestQueueDoesNotStand(t *testing.T) {
	for seed := range uint64(6) {
		const places, answer, steps = 8, 48, 900
		l := newLoad(t, seed, EngineOptions{MaxBatch: places})
		before := 0 // tokens of the first third
		for due := 0.0; l.now < steps; l.step() {
			for ; due <= 0; due += answer / (4. * places) * 2 * l.rng.Float64() {
				l.ask("k", answer)
			}
			if due--; l.now == steps/3 {
				before = l.tokens["k"]
			}
		}
		if got, want := l.tokens["k"]-before, int(.9*(steps-steps/3)*places); got < want {
			t.Errorf("seed %d: %d tokens, want %d", seed, got, want)
		}
		l.rest()
		for _, a := range l.all {
			if wait := a.begun - a.came - 1; a.came > steps/3 && wait > shortWait/2 {
				t.Errorf("seed %d: a request waits for %d steps", seed, wait)
			}
		}
		first := l.e.forecast.bound([]Request{{Key: "other", Params: Params{MaxTokens: answer, IgnoreEOS: true}}})
		if own := l.e.forecast.bound([]Request{{Key: "k", Params: Params{MaxTokens: answer, IgnoreEOS: true}}}); first != shortWait || own != first {
			t.Errorf("seed %d: afterwards requests may wait for %d and %d steps", seed, own, first)
		}
	}
}

// Who is taken on of many keys does not wait for those of other keys that come later either, though these may be let in before: keys
// that all send as much are all refused much, and the places stay full.
func TestWaitOfManyKeys(t *testing.T) {
	for _, keys := range []int{2, 8, 40} {
		const places, answer, steps = 8, 48, 1200
		l := newLoad(t, uint64(keys), EngineOptions{MaxBatch: places, Queue: 4 * places})
		asked := 0
		for due := 0.0; l.now < steps; l.step() {
			for ; due <= 0; due += answer / (4. * places) * 2 * l.rng.Float64() {
				asked++
				l.ask(strconv.Itoa(asked%keys), answer)
			}
			due--
		}
		tokens := 0
		for _, n := range l.tokens {
			tokens += n
		}
		if want := int(.95 * steps * places); tokens < want {
			t.Errorf("%d keys: %d tokens, want %d", keys, tokens, want)
		}
		l.rest()
		long := 0
		for _, a := range l.all {
			if wait := a.begun - a.came - 1; wait > shortWait {
				long++
				if wait > 2*shortWait {
					t.Errorf("%d keys: a request waits for %d steps", keys, wait)
				}
			}
		}
		if 50*long > len(l.all) {
			t.Errorf("%d keys: %d of %d requests wait for more than %d steps", keys, long, len(l.all), shortWait)
		}
	}
}

// A key that sends far more than can be served is refused much of it; one that sends less than its share is let in before it, and seldom
// refused: where no place will be free in time. What was taken on of the greedy key is answered all the same.
func TestWaitIsFair(t *testing.T) {
	for seed := range uint64(6) {
		l := newLoad(t, seed, EngineOptions{MaxBatch: 4})
		asked := 0
		for ; l.now < 800; l.step() {
			if l.now%3 == 0 {
				l.ask("greedy", 20+l.rng.IntN(20))
			}
			if l.now%24 == 12+l.rng.IntN(3) {
				asked++
				l.ask("modest", 24)
			}
		}
		if l.refused["greedy"] < l.taken["greedy"] || l.taken["greedy"] < 50 {
			t.Errorf("seed %d: greedy: %d taken, %d refused", seed, l.taken["greedy"], l.refused["greedy"])
		}
		if l.refused["modest"]*4 > asked {
			t.Errorf("seed %d: %d of %d requests of the modest key are refused", seed, l.refused["modest"], asked)
		}
		l.rest()
	}
}

// Answers that end early are foretold to do so; who is refused is told when to come again; people wait; what belongs together comes
// together or not at all.
func TestWhoWaits(t *testing.T) {
	l := newLoad(t, 1, EngineOptions{MaxBatch: 2, Queue: 40})
	for range 2 {
		l.ask("a", 80)
	}
	l.step()
	l.e.forecast.step = 10 * time.Millisecond
	l.ask("b", 40)
	if len(l.after) != 1 || l.after[0] < 500*time.Millisecond || l.after[0] > 800*time.Millisecond {
		t.Errorf("told to come again after %v", l.after)
	}
	r := Request{Prompt: counting(3, 0), Key: "c", Params: Params{MaxTokens: 40, IgnoreEOS: true}}
	for priority, taken := range map[Priority]bool{PriorityLabels: true, PriorityAPI: false, PriorityRollouts: true} {
		r.Priority = priority
		s, err := l.e.Submit(context.Background(), r)
		if (err == nil) != taken {
			t.Errorf("priority %d: %v", priority, err)
		}
		if s != nil {
			l.all = append(l.all, &arrival{asked: asked{Request: r, stream: s, leave: -1}})
		}
	}
	l.rest()
	r.Priority = PriorityAPI
	before := l.e.Stats().Requests
	for n, taken := range map[int]bool{9: true, 41: false} { // alone on the engine; with more than may wait
		rs := make([]Request, n)
		for i := range rs {
			rs[i] = r
			rs[i].Key = strconv.Itoa(n)
		}
		list, err := l.e.SubmitAll(context.Background(), rs)
		if (err == nil) != taken {
			t.Errorf("%d together: %v", n, err)
		}
		for _, s := range list {
			l.all = append(l.all, &arrival{asked: asked{Request: r, stream: s, leave: -1}})
		}
	}
	if n := l.e.Stats().Requests - before; n != 9 {
		t.Errorf("%d are taken on", n)
	}
	l.rest()
	checkPages(t, "in the end", l.e)
}

// How long answers are is learned from those that ended.
func TestLengthIsLearned(t *testing.T) {
	m := mixModels(t)[0]
	e := newEngine(m, nil, EngineOptions{})
	ends := map[int32]float32{256: 100} // at once
	for range 20 {
		submit(t, e, Request{Prompt: counting(3, 0), Params: Params{MaxTokens: 40, LogitBias: ends}})
	}
	steps(e)
	r := Request{Prompt: counting(3, 0), Params: Params{MaxTokens: 80}}
	if n := e.forecast.writing(&r); n != 2 {
		t.Errorf("an answer of at most 80 tokens is foretold to have %d", n)
	}
	r.IgnoreEOS = true
	if n := e.forecast.writing(&r); n != 80 {
		t.Errorf("one that does not end is foretold to have %d", n)
	}
}
