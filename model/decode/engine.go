package decode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

var (
	// ErrBusy says that the engine's queue is full, or the key's share of it, or that the wait would be long; try again later. What
	// Submit returns is a *BusyError.
	ErrBusy = errors.New("decode: busy")
	// ErrMemory says that a request needs more memory for keys and values than the engine has.
	ErrMemory = errors.New("decode: not enough memory")
	// ErrClosed says that the engine takes no more requests.
	ErrClosed = errors.New("decode: closed")
)

// Priority says who waits for an answer. Requests of a lower number go first, and others pause where there are not enough places.
type Priority int8

const (
	// PriorityLabels is that of people at work in the house: who labels, who tries a policy out.
	PriorityLabels Priority = -1
	// PriorityAPI is that of customers.
	PriorityAPI Priority = 0
	// PriorityRollouts is that of samples that nobody waits for.
	PriorityRollouts Priority = 1

	priorities = 3
)

// rank counts priorities from 0.
func (p Priority) rank() int { return int(p - PriorityLabels) }

// EngineOptions bounds what an engine takes on; zero means the default.
type EngineOptions struct {
	MaxBatch  int   // choices decoded in one step; 32
	Queue     int   // choices that may wait for a place; 128
	MaxTokens int   // most tokens of one completion; the model's context
	Memory    int64 // bytes for keys and values; 1 GiB, at least one text as long as the context
	Page      int   // positions of a page of it, a multiple of 16; 32
	Chunk     int   // most tokens of prompts that are read in one step; 128
	// Patience is how long a request of PriorityAPI may have to wait for a place, as a share of the time that its own answer takes;
	// one that would wait longer is refused. Where many of a key are refused the others of it may wait less. 0.25
	Patience float64
	// Gather is how long tokens may wait to be read together with those that come after them; the first of an answer and those of
	// slow models do not wait. 5 ms: more often than any screen shows
	Gather time.Duration
}

func (o EngineOptions) withDefaults(context int) EngineOptions {
	set := func(x *int, to int) {
		if *x <= 0 {
			*x = to
		}
	}
	set(&o.MaxBatch, 32)
	set(&o.Queue, 128)
	set(&o.MaxTokens, context)
	set(&o.Chunk, 128)
	if o.Memory <= 0 {
		o.Memory = 1 << 30
	}
	set(&o.Page, 32)
	if o.Patience <= 0 {
		o.Patience = .25
	}
	if o.Gather <= 0 {
		o.Gather = 5 * time.Millisecond
	}
	return o
}

// CacheBytes is what an engine with these options keeps at most for keys and values of a model of that shape.
func (o EngineOptions) CacheBytes(c model.Config) (int64, error) {
	m, err := model.NewEmpty(c)
	if err != nil {
		return 0, err
	}
	return o.withDefaults(c.Context).room(m), nil
}

// room is Memory, or what one text as long as the context takes.
func (o EngineOptions) room(m *model.Transformer) int64 {
	probe := m.NewPages(o.Page, 0)
	return max(o.Memory, int64(probe.Need(m.Config().Context))*probe.PageBytes())
}

// MaxChoices is the largest Request.N and Request.BestOf.
const MaxChoices = 128

// Request is one prompt and how to continue it.
type Request struct {
	Prompt []int32
	Params
	N      int // choices; 0 is 1
	BestOf int // choices that are drawn, of which the N with the largest mean log-probability are given; 0 is N
	First  int // choice i draws from the random numbers (Seed, First+i)
	// Echo asks for the log-probabilities of the prompt's tokens too, with as many others as Params.Logprobs says.
	Echo     bool
	Customer string // whose requests may share what they begin with; empty: nobody's
	Key      string // between whom places are dealt out fairly
	Priority Priority
}

func (r *Request) choices() int { return max(r.N, r.BestOf, 1) }

// Engine decodes the requests of many callers together: each step gives every
// request under way one token, and requests join and leave between steps. Its
// methods may be called from any goroutine.
type Engine struct {
	m   *model.Transformer
	tok token.Tokenizer
	opt EngineOptions

	wake chan struct{} // something waits, or closed
	done chan struct{}

	mu       sync.Mutex // guards what follows
	closed   bool
	queue    *queue
	forecast forecast
	stats    Stats

	batch *batch // the goroutine's alone
}

// Stats is what an engine is doing and has done.
type Stats struct {
	Active, Waiting                         int // choices under way, and those that wait
	Places, Queue                           int // of these, the most of a step and the most that may wait
	PagesUsed, PagesKept, PagesTotal        int // held; of these, remembered for what begins alike, which makes room where no request uses it; of all
	PagesMade                               int // that memory was taken for so far
	PageBytes                               int64
	Requests, Refused, Cancelled            int64 // taken on; sent away busy; left by their callers
	PromptTokens, CachedTokens, Completions int64 // tokens of prompts; of these, not read again; written
	Steps                                   int64
	Busy                                    time.Duration // time spent in steps: Completions/Busy is the speed
}

// NewEngine starts an engine over m, whose weights must not change before Close. tok
// may be nil: then tokens have no Text and stop texts are refused. Completions end at
// tok's end-of-text token, without tok at the model's (Config.EOS).
func NewEngine(m *model.Transformer, tok token.Tokenizer, opt EngineOptions) *Engine {
	e := newEngine(m, tok, opt)
	go e.run()
	return e
}

func newEngine(m *model.Transformer, tok token.Tokenizer, opt EngineOptions) *Engine {
	opt = opt.withDefaults(m.Config().Context)
	opt.Memory = opt.room(m)
	e := &Engine{m: m, tok: tok, opt: opt, queue: newQueue(opt.Queue), wake: make(chan struct{}, 1), done: make(chan struct{}), batch: newBatch(m, opt)}
	e.forecast = forecast{places: opt.MaxBatch, chunk: opt.Chunk, context: m.Config().Context, patience: opt.Patience, refused: map[string]float64{}}
	e.stats.Places, e.stats.Queue = opt.MaxBatch, opt.Queue
	e.stats.PagesTotal, e.stats.PageBytes = e.batch.pages.Total(), e.batch.pages.PageBytes()
	return e
}

// EOS is the token that ends a completion, -1 = none.
func (e *Engine) EOS() int32 {
	if e.tok != nil && e.tok.EOS() >= 0 {
		return e.tok.EOS()
	}
	return int32(e.m.Config().EOS)
}

// Stats returns what the engine is doing and has done.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Waiting = e.queue.size
	return s
}

// check reports why a request cannot be served.
func (e *Engine) check(r *Request) error {
	if err := r.Validate(e.m.Config().Vocab); err != nil {
		return err
	}
	switch {
	case r.MaxTokens > e.opt.MaxTokens:
		return invalid("MaxTokens", "%d is more than %d", r.MaxTokens, e.opt.MaxTokens)
	case len(r.Stop) > 0 && e.tok == nil:
		return invalid("Stop", "the model has no tokenizer")
	case r.N < 0 || r.N > MaxChoices:
		return invalid("N", "%d is not in 1..%d", r.N, MaxChoices)
	case r.BestOf < 0 || r.BestOf > MaxChoices || r.BestOf > 0 && r.BestOf < r.N:
		return invalid("BestOf", "%d is not in N..%d", r.BestOf, MaxChoices)
	case r.Priority < PriorityLabels || r.Priority > PriorityRollouts:
		return invalid("Priority", "%d is not known", r.Priority)
	}
	return checkPrompt(e.m, r.Prompt)
}

// Submit queues a request. It fails with ErrBusy where the queue is full or the request would wait too long (see
// EngineOptions.Patience), ErrMemory where the request needs more memory than there is, ErrClosed after Close, and *model.InvalidError
// where the request makes no sense: before anything is allocated or computed. When ctx ends before the answer does, so does the
// answer, at the next token, with ctx's error.
func (e *Engine) Submit(ctx context.Context, r Request) (*Stream, error) {
	streams, err := e.SubmitAll(ctx, []Request{r})
	if err != nil {
		return nil, err
	}
	return streams[0], nil
}

// SubmitAll is Submit of requests of one key and priority that belong together: all of them are queued, or none. What they wait for
// each other does not count.
func (e *Engine) SubmitAll(ctx context.Context, rs []Request) ([]*Stream, error) {
	for i := range rs {
		r := &rs[i]
		if err := e.check(r); err != nil {
			return nil, err
		}
		if need := e.batch.need(r); need > e.batch.pages.Total() {
			return nil, fmt.Errorf("%w: %d choices of %d tokens and what they answer need %d pages, there are %d", ErrMemory, r.choices(), len(r.Prompt), need, e.batch.pages.Total())
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	latest, err := e.room(rs)
	if err != nil {
		e.stats.Refused++
		return nil, err
	}
	out := make([]*Stream, len(rs))
	for i, r := range rs {
		r.Prompt = slices.Clone(r.Prompt)
		f := &flow{Request: r, ctx: ctx, Stream: newStream(), usage: Usage{Prompt: len(r.Prompt)}, latest: latest}
		e.queue.push(f)
		e.stats.Requests++
		out[i] = f.Stream
	}
	e.nudge()
	return out, nil
}

func (e *Engine) nudge() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Close refuses new requests, waits until those taken on are done, and ends the
// engine. It may be called more than once.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.nudge()
	e.mu.Unlock()
	<-e.done
}
