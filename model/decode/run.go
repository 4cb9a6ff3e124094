package decode

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// flow is a request on its way through the engine.
type flow struct {
	Request
	*Stream
	ctx   context.Context
	line  *line
	order uint64
	// latest is the step in which it begins at the latest, if it is a program's: who would make it begin later is refused.
	latest int64

	seats  []*seat // its choices
	forks  int     // pages promised to those that have yet to get the prompt from the first
	usage  Usage
	echoed []Token
}

// seat is one choice under way.
type seat struct {
	row
	of     *flow
	choice int
	ids    []int32 // prompt and completion
	text   *writer // nil without a tokenizer
	end    *prefix // of what is remembered of ids; nil: nothing is
	shared int     // pages up to there

	kept []Token // where the best choices are to be found yet
	sum  float64 // of their log-probabilities
}

// batch is what the engine's goroutine works on.
type batch struct {
	m        *model.Transformer
	opt      EngineOptions
	pages    *model.Pages
	prefixes *prefixes
	promised int     // pages that flows under way have yet to take
	flows    []*flow // under way, by priority and then as they came

	caches []*model.Cache // of the step
	ids    [][]int32
	all    []bool
	begins []int // where in the prompt what is fed begins
	lasts  []int // the token of what is fed whose logits the next one is drawn from; -1: none yet
	seats  []*seat
	spare  []*model.Cache
	each   func(i, t int, logits []float32, value float32)
	work   func()
}

func newBatch(m *model.Transformer, opt EngineOptions) *batch {
	pages := m.NewPages(opt.Page, opt.Memory)
	b := &batch{m: m, opt: opt, pages: pages, prefixes: newPrefixes(pages)}
	b.each = b.hear
	b.work = func() { m.ExtendValues(b.caches, b.ids, b.all, b.each) }
	return b
}

// positions is how many keys and values a choice has in the end: the last token drawn is not fed.
func (b *batch) positions(r *Request) int {
	return len(r.Prompt) + min(r.MaxTokens, b.m.Config().Context+1-len(r.Prompt)) - 1
}

// need is how many pages a request takes where nothing of it is remembered; fork how many of them each choice after the first.
func (b *batch) need(r *Request) int {
	return b.pages.Need(b.positions(r)) + (r.choices()-1)*b.fork(r)
}

func (b *batch) fork(r *Request) int {
	return b.pages.Need(b.positions(r)) - len(r.Prompt)/b.pages.Positions()
}

// run is the engine's one goroutine.
func (e *Engine) run() {
	defer close(e.done)
	for {
		if e.step() {
			runtime.Gosched() // those who read get to it now: between two steps no processor may become idle
			continue
		}
		e.mu.Lock()
		idle, closed := e.queue.size == 0, e.closed
		e.mu.Unlock()
		switch {
		case idle && closed:
			return
		case idle:
			<-e.wake
		}
	}
}

// step takes the requests under way one token on, and says whether there are any.
func (e *Engine) step() bool {
	e.admit()
	if len(e.batch.flows) == 0 {
		return false
	}
	e.batch.plan()
	start := time.Now()
	model.Urgent(e.batch.work)
	e.deliver(time.Since(start))
	return true
}

// admit ends the requests whose callers have gone, and lets those that wait begin as far as there are places and memory.
func (e *Engine) admit() {
	b := e.batch
	e.mu.Lock()
	defer e.mu.Unlock()
	b.flows = slices.DeleteFunc(b.flows, func(f *flow) bool {
		err := f.ctx.Err()
		if err != nil {
			e.leave(f, err)
		}
		return err != nil
	})
	for _, f := range e.queue.cancelled() {
		e.stats.Cancelled++
		f.Stream.end(f.usage, f.ctx.Err())
	}
	for rank := range priorities {
		for {
			f := e.queue.next(rank)
			if f == nil || !b.place(f) || !e.begin(f) {
				break
			}
			e.queue.begin(f)
			f.line.served += int64(len(f.Prompt) - f.usage.Cached)
			e.stats.PromptTokens += int64(f.usage.Prompt)
			e.stats.CachedTokens += int64(f.usage.Cached)
			at, _ := slices.BinarySearchFunc(b.flows, f.Priority, func(g *flow, p Priority) int {
				if g.Priority <= p { // after those of its own priority
					return -1
				}
				return 1
			})
			b.flows = slices.Insert(b.flows, at, f)
		}
	}
	e.count()
}

// count writes down what is held.
func (e *Engine) count() {
	b := e.batch
	e.forecast.look(b.flows)
	e.stats.Active = 0
	for _, f := range b.flows {
		e.stats.Active += len(f.seats)
	}
	e.stats.PagesKept = b.prefixes.size
	e.stats.PagesUsed, e.stats.PagesMade = b.pages.Total()-b.pages.Free(), b.pages.Made()
}

// leave ends a flow early or in the end; e.mu is held.
func (e *Engine) leave(f *flow, err error) {
	b := e.batch
	for _, s := range f.seats {
		b.release(s)
	}
	b.promised -= f.forks
	f.seats, f.forks = nil, 0
	e.queue.done(f)
	if err != nil {
		e.stats.Cancelled++
	}
	f.Stream.end(f.usage, err)
}

// place says whether there is a place for a flow: those of lower priority do not count, as they pause.
func (b *batch) place(f *flow) bool {
	n := 0
	for _, g := range b.flows {
		if g.Priority <= f.Priority {
			n += len(g.seats)
		}
	}
	return n == 0 || n+f.choices() <= b.opt.MaxBatch
}

// begin gives a flow its seats and memory, false where there is not enough.
func (e *Engine) begin(f *flow) bool {
	b := e.batch
	var held []*model.Page
	var end *prefix
	if f.Customer != "" {
		ids := f.Prompt[:len(f.Prompt)-1] // the last is fed, because its logits are wanted
		if f.Request.Echo {
			ids = nil
		}
		held, end = b.prefixes.find(f.Customer, ids)
	}
	c := b.cache()
	c.Begin(held)
	forks := (f.choices() - 1) * b.fork(&f.Request)
	for need := b.pages.Need(b.positions(&f.Request)) - len(held) + forks; b.pages.Free()-b.promised < need; {
		if !b.prefixes.evict() {
			c.Release()
			b.spare = append(b.spare, c)
			return false
		}
	}
	c.Reserve(b.positions(&f.Request))
	b.promised += forks
	f.forks, f.usage.Cached = forks, c.Len()
	if f.Request.Echo {
		f.echoed = make([]Token, len(f.Prompt))
		f.echoed[0].ID = f.Prompt[0]
	}
	for i := range f.choices() {
		s := &seat{row: *newRow(b.m, f.Prompt, f.Params, e.EOS(), uint64(f.First+i)), of: f, choice: i}
		s.ids = append(make([]int32, 0, len(f.Prompt)+s.room), f.Prompt...)
		if e.tok != nil {
			s.text = &writer{stream: token.NewStream(e.tok), stop: f.Stop}
		}
		if i == 0 {
			s.cache, s.feed, s.end, s.shared = c, f.Prompt[c.Len():], end, len(held)
		} else {
			f.seats[0].twins = append(f.seats[0].twins, &s.row)
		}
		f.seats = append(f.seats, s)
	}
	return true
}

func (b *batch) cache() *model.Cache {
	if n := len(b.spare); n > 0 {
		c := b.spare[n-1]
		b.spare = b.spare[:n-1]
		return c
	}
	return b.pages.NewCache()
}

func (b *batch) release(s *seat) {
	if s.cache != nil {
		s.cache.Release()
		b.spare = append(b.spare, s.cache)
		s.cache = nil
	}
}

// plan chooses what the next step feeds: a token of each choice under way, and a chunk of prompts in the order of the flows.
func (b *batch) plan() {
	b.caches, b.ids, b.all, b.seats = b.caches[:0], b.ids[:0], b.all[:0], b.seats[:0]
	b.begins, b.lasts = b.begins[:0], b.lasts[:0]
	chunk := b.opt.Chunk
	for _, f := range b.flows {
		for _, s := range f.seats {
			s.fresh = false
			if s.cache == nil || len(b.seats) == b.opt.MaxBatch {
				continue
			}
			n := 1
			if len(s.ids) == len(f.Prompt) { // the prompt is being read
				if n = min(len(s.feed), chunk); n == 0 {
					continue
				}
				chunk -= n
			}
			b.caches, b.ids, b.seats = append(b.caches, s.cache), append(b.ids, s.feed[:n]), append(b.seats, s)
			b.all = append(b.all, f.Request.Echo && len(s.ids) == len(f.Prompt))
			last := n - 1
			if n < len(s.feed) {
				last = -1
			}
			b.begins, b.lasts = append(b.begins, len(f.Prompt)-len(s.feed)), append(b.lasts, last)
		}
	}
}

// hear takes the logits after token t of what seat i was fed. It is called for several at a time and in any order, also for those of
// one seat, so that it must not look at what take changes.
func (b *batch) hear(i, t int, logits []float32, value float32) {
	s := b.seats[i]
	if b.all[i] {
		if at := b.begins[i] + t + 1; at < len(s.of.Prompt) {
			s.of.echoed[at] = describe(s.of.Prompt[at], logits, model.LogSumExp(logits), &s.p)
		}
	}
	if t == b.lasts[i] {
		s.take(logits, value)
	}
}

// deliver passes the tokens of a step on.
func (e *Engine) deliver(took time.Duration) {
	b := e.batch
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Steps++
	e.stats.Busy += took
	e.forecast.took(took)
	for i, s := range b.seats {
		if !s.fresh {
			s.feed = s.feed[len(b.ids[i]):]
		}
		b.remember(s)
		if s.fresh && len(s.twins) > 0 {
			b.split(s)
		}
	}
	b.flows = slices.DeleteFunc(b.flows, func(f *flow) bool {
		f.seats = slices.DeleteFunc(f.seats, func(s *seat) bool {
			if !s.fresh || !e.write(s) {
				return false
			}
			b.release(s)
			return f.BestOf <= max(f.N, 1)
		})
		open := slices.ContainsFunc(f.seats, func(s *seat) bool { return s.finish == "" })
		if !open {
			f.best()
			e.leave(f, nil)
		}
		return !open
	})
	e.stir()
	e.count()
}

// stir wakes those who read, see Stream.stir. Who pauses, for others go first, is not made to wait for what comes after.
func (e *Engine) stir() {
	now, fed := time.Now(), 0
	for _, f := range e.batch.flows {
		next := e.forecast.step
		if fed += len(f.seats); fed > e.opt.MaxBatch {
			next = e.opt.Gather
		}
		f.Stream.stir(now, next, e.opt.Gather)
	}
}

// remember lets the customer's later requests find the pages of s that are full now.
func (b *batch) remember(s *seat) {
	if s.end == nil {
		return
	}
	for n := b.pages.Positions(); (s.shared+1)*n <= s.cache.Len(); s.shared++ {
		s.end = b.prefixes.add(s.end, s.ids[s.shared*n:(s.shared+1)*n], s.cache.Page(s.shared))
		if s.end.page != s.cache.Page(s.shared) {
			s.cache.Replace(s.shared, s.end.page)
		}
	}
}

// split gives the other choices what the first has read of the prompt.
func (b *batch) split(s *seat) {
	f := s.of
	b.promised -= f.forks
	f.forks, s.twins = 0, nil
	for _, t := range f.seats[1:] {
		t.end, t.shared = s.end, s.shared
		if t.finish != "" {
			continue
		}
		t.cache = b.cache()
		t.cache.CopyFrom(s.cache)
		t.cache.Reserve(b.positions(&f.Request))
	}
}

// write passes the newest token of s on and says whether the choice has ended.
func (e *Engine) write(s *seat) bool {
	f, t := s.of, s.last
	t.Choice = s.choice
	s.ids = append(s.ids, t.ID)
	if s.text != nil {
		var stopped bool
		if s.finish != FinishStop { // the end-of-text token has no text
			t.Text, stopped = s.text.next(t.ID)
		}
		if s.finish != "" && !stopped {
			var rest string
			rest, stopped = s.text.flush()
			t.Text += rest
		}
		if stopped {
			s.finish = FinishStop
		}
	}
	t.Finish = s.finish
	f.line.served += 2
	e.stats.Completions++
	if t.ID != s.eos {
		f.usage.Completion++
	}
	if f.echoed != nil {
		f.setEcho(f.echoed)
		f.echoed = nil
	}
	if s.finish != "" {
		e.forecast.ended(s)
	}
	if f.BestOf > max(f.N, 1) {
		s.kept, s.sum = append(s.kept, t), s.sum+float64(t.Logprob)
	} else {
		f.push(t)
	}
	return s.finish != ""
}

// best passes on the choices with the largest mean log-probability of a token, the best first; of like ones the first drawn.
func (f *flow) best() {
	if f.BestOf <= max(f.N, 1) {
		return
	}
	slices.SortStableFunc(f.seats, func(s, t *seat) int {
		return cmp.Compare(t.sum/float64(len(t.kept)), s.sum/float64(len(s.kept)))
	})
	for i, s := range f.seats[:max(f.N, 1)] {
		for _, t := range s.kept {
			t.Choice = i
			f.push(t)
		}
	}
}
