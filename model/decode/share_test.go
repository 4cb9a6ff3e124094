package decode

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// steps takes an engine without a goroutine on until it has nothing to do, and returns how many steps that took.
func steps(e *Engine) (n int) {
	for e.step() {
		n++
	}
	return n
}

func submit(t *testing.T, e *Engine, r Request) *Stream {
	t.Helper()
	s, err := e.Submit(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func counting(n, from int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32((from + i) % 256)
	}
	return ids
}

// A customer's prompts that begin alike are read once, the answers before them too; another customer's, and those of nobody, are
// read from the beginning.
func TestPrefixesWithinACustomer(t *testing.T) {
	for _, m := range mixModels(t) {
		e := newEngine(m, nil, EngineOptions{Page: 16})
		ask := func(customer string, prompt []int32) (Usage, []int32) {
			s := submit(t, e, Request{Prompt: prompt, Customer: customer, Params: Params{MaxTokens: 20, Temperature: 1, IgnoreEOS: true}})
			steps(e)
			c, _ := read(t, s)
			return s.Usage(), c.IDs
		}
		canary := counting(40, 7)
		first, answer := ask("a", canary)
		if first.Cached != 0 {
			t.Errorf("the first prompt: %+v", first)
		}
		if u, again := ask("a", canary); u.Cached != 32 || !slices.Equal(again, answer) {
			t.Errorf("the same prompt: %+v, answer %v, before %v", u, again, answer)
		}
		history := append(slices.Concat(canary, answer), 1, 2, 3)
		if u, _ := ask("a", history); u.Cached != 48 { // the last token drawn was not fed
			t.Errorf("the conversation goes on: %+v", u)
		}
		for _, other := range []string{"b", "", ""} {
			if u, same := ask(other, canary); u.Cached != 0 || !slices.Equal(same, answer) {
				t.Errorf("customer %q: %+v, answer %v, alone %v", other, u, same, answer)
			}
		}
		if u, _ := ask("a", counting(40, 8)); u.Cached != 0 {
			t.Errorf("another prompt: %+v", u)
		}
		if s := e.Stats(); s.CachedTokens != 32+48 || s.PagesKept == 0 {
			t.Errorf("%+v", s)
		}
		checkPages(t, m.Config().Family, e)
	}
}

// The choices of a prompt read it once, and requests of one customer that come at the same time hold its pages once.
func TestChoicesShareThePrompt(t *testing.T) {
	m := mixModels(t)[0]
	e := newEngine(m, nil, EngineOptions{Page: 16, Chunk: 8})
	p := Params{MaxTokens: 4, Temperature: 1, IgnoreEOS: true}
	submit(t, e, Request{Prompt: counting(64, 0), N: 5, Params: p})
	for range 8 { // the prompt
		e.step()
		if n := len(e.batch.seats); n != 1 {
			t.Fatalf("%d choices read the prompt", n)
		}
	}
	if s := e.Stats(); s.PagesUsed != 4+5 || s.Active != 5 { // the prompt once, and what each goes on with
		t.Errorf("%+v", s)
	}
	if n := steps(e); n != 3 {
		t.Errorf("%d steps for four tokens", n+1)
	}
	checkPages(t, "choices", e)
	for range 3 {
		submit(t, e, Request{Prompt: counting(64, 0), Customer: "a", Params: p})
	}
	for e.step() && e.batch.prefixes.size < 4 {
	}
	steps(e)
	if s := e.Stats(); s.PagesKept != 4 {
		t.Errorf("three like prompts are remembered in %d pages", s.PagesKept)
	}
	checkPages(t, "requests", e)
}

// Memory is asked about before anything is taken, remembered pages make room, and who fits later waits.
func TestMemory(t *testing.T) {
	m := mixModels(t)[0]
	page := m.NewPages(16, 0).PageBytes()
	e := newEngine(m, nil, EngineOptions{Page: 16, Memory: 8 * page})
	p := Params{MaxTokens: 17, Temperature: 1, IgnoreEOS: true}
	if _, err := e.Submit(context.Background(), Request{Prompt: counting(48, 0), N: 6, Params: p}); !errors.Is(err, ErrMemory) {
		t.Errorf("more than there is: %v", err)
	}
	if s := e.Stats(); s.Requests != 0 || s.PagesUsed != 0 {
		t.Errorf("a refused request leaves %+v", s)
	}
	a := submit(t, e, Request{Prompt: counting(48, 0), Customer: "a", Params: p}) // 64 positions
	b := submit(t, e, Request{Prompt: counting(48, 99), Customer: "a", Params: p})
	c := submit(t, e, Request{Prompt: counting(48, 50), Customer: "b", Params: p})
	e.step()
	if s := e.Stats(); s.PagesUsed != 8 || s.Active != 2 || s.Waiting != 1 {
		t.Errorf("two of three fit: %+v", s)
	}
	steps(e)
	for _, s := range []*Stream{a, b, c} {
		if got, _ := read(t, s); len(got.IDs) != 17 {
			t.Errorf("%+v", got)
		}
	}
	if s := e.Stats(); s.PagesKept > 8 || s.PagesUsed != s.PagesKept {
		t.Errorf("%+v", s)
	}
	checkPages(t, "memory", e)
}

// A long prompt holds the others up for no more than a chunk of it: they get a token in each step.
func TestLongPromptsInChunks(t *testing.T) {
	m := mixModels(t)[1]
	e := newEngine(m, nil, EngineOptions{Chunk: 8})
	p := Params{MaxTokens: 40, Temperature: 1, IgnoreEOS: true}
	short := &asked{stream: submit(t, e, Request{Prompt: counting(3, 0), Params: p})}
	e.step()
	long := &asked{stream: submit(t, e, Request{Prompt: counting(80, 0), Params: Params{MaxTokens: 2, IgnoreEOS: true}})}
	short.drain(t)
	for n := 1; len(long.got) == 0; n++ {
		e.step()
		short.drain(t)
		long.drain(t)
		if len(short.got) != n+1 || n > 10 {
			t.Fatalf("after %d steps the short one has %d tokens", n, len(short.got))
		}
	}
	if len(short.got) != 11 {
		t.Errorf("80 tokens in chunks of 8 took %d steps", len(short.got)-1)
	}
}

// Who leaves is gone before the next token, with places and memory.
func TestCancelledWithinAToken(t *testing.T) {
	m := mixModels(t)[0]
	e := newEngine(m, nil, EngineOptions{MaxBatch: 1, Patience: patient})
	ctx, cancel := context.WithCancel(context.Background())
	first, err := e.Submit(ctx, Request{Prompt: counting(5, 0), N: 2, Params: Params{MaxTokens: 50, IgnoreEOS: true}})
	if err != nil {
		t.Fatal(err)
	}
	next := &asked{stream: submit(t, e, Request{Prompt: counting(5, 0), Params: Params{MaxTokens: 3, IgnoreEOS: true}})}
	waits, err := e.Submit(ctx, Request{Prompt: counting(5, 0), Params: Params{MaxTokens: 50}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		e.step()
	}
	cancel()
	e.step()
	if next.drain(t); len(next.got) != 1 {
		t.Errorf("the next request has %d tokens one step later", len(next.got))
	}
	for _, s := range []*Stream{first, waits} {
		for {
			if _, ok, err := s.Next(context.Background()); !ok {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("ends by %v", err)
				}
				break
			}
		}
	}
	steps(e)
	if s := e.Stats(); s.Cancelled != 2 {
		t.Errorf("%+v", s)
	}
	checkPages(t, "cancelled", e)
}

// Keys get like shares of the tokens, however many requests one of them sends, and there is room in the queue for others.
func TestFairness(t *testing.T) {
	m := mixModels(t)[0]
	e := newEngine(m, nil, EngineOptions{MaxBatch: 2, Queue: 32, Patience: patient})
	p := Params{MaxTokens: 5, IgnoreEOS: true}
	greedy, taken := []*asked{}, 0
	for {
		s, err := e.Submit(context.Background(), Request{Prompt: counting(4, 0), Key: "greedy", Params: p})
		if errors.Is(err, ErrBusy) {
			break
		}
		greedy = append(greedy, &asked{stream: s})
		taken++
	}
	if taken != 16 {
		t.Errorf("one key takes %d of 32 places", taken)
	}
	var modest []*asked
	for range 3 {
		modest = append(modest, &asked{stream: submit(t, e, Request{Prompt: counting(4, 0), Key: "modest", Params: p})})
	}
	for over := 0; over < 3; {
		e.step()
		over = 0
		for _, a := range modest {
			if a.drain(t); a.over {
				over++
			}
		}
	}
	ahead := 0
	for _, a := range greedy {
		if a.drain(t); a.over {
			ahead++
		}
	}
	if ahead > 4 {
		t.Errorf("%d requests of the greedy key are answered before the three of the other", ahead)
	}
	steps(e)
	if n := len(e.queue.lines[PriorityAPI.rank()]); n != 0 {
		t.Errorf("%d keys are remembered with nothing to do", n)
	}
}

// Requests of people in the house go before those of customers, and these before rollouts, which pause meanwhile.
func TestPriorities(t *testing.T) {
	m := mixModels(t)[0]
	e := newEngine(m, nil, EngineOptions{MaxBatch: 2, Patience: patient})
	ask := func(p Priority) *asked {
		return &asked{stream: submit(t, e, Request{Prompt: counting(4, 0), N: 2, Priority: p, Params: Params{MaxTokens: 4, IgnoreEOS: true}})}
	}
	all := []*asked{ask(PriorityRollouts)}
	e.step()
	all = append(all, ask(PriorityAPI))
	e.step()
	all = append(all, ask(PriorityLabels))
	var order []int
	for e.step() {
		for i, a := range all {
			if over := a.over; !over {
				if a.drain(t); a.over {
					order = append(order, i)
				}
			}
		}
	}
	if !slices.Equal(order, []int{2, 1, 0}) {
		t.Errorf("they end in the order %v", order)
	}
}

// What is asked of all choices together must make sense.
func TestRefusesChoices(t *testing.T) {
	e := newEngine(mixModels(t)[0], nil, EngineOptions{})
	for _, r := range []Request{{N: -1}, {N: MaxChoices + 1}, {N: 3, BestOf: 2}, {BestOf: MaxChoices + 1}, {Priority: 2}, {Priority: -2}} {
		r.Prompt, r.Params = []int32{1}, Params{MaxTokens: 1}
		var bad *model.InvalidError
		if _, err := e.Submit(context.Background(), r); !errors.As(err, &bad) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
