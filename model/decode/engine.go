package decode

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

var (
	// ErrBusy says that the engine's queue is full; try again later.
	ErrBusy = errors.New("decode: busy")
	// ErrClosed says that the engine takes no more requests.
	ErrClosed = errors.New("decode: closed")
)

// EngineOptions bounds what an engine takes on; zero means the default.
type EngineOptions struct {
	MaxBatch  int // requests decoded at the same time; 32
	Queue     int // requests that may wait for a place; 128, at least 1
	MaxTokens int // most tokens of one completion; the model's context
}

// Request is one prompt and how to continue it.
type Request struct {
	Prompt []int32
	Params
}

// Engine decodes the requests of many callers together: each step gives every
// request under way one token, and requests join and leave between steps. Its
// methods may be called from any goroutine.
type Engine struct {
	m   *model.Transformer
	tok token.Tokenizer
	opt EngineOptions

	mu     sync.Mutex // guards closed, and the queue's end
	closed bool
	queue  chan *Stream
	done   chan struct{}
}

// NewEngine starts an engine over m, whose weights must not change before Close. tok
// may be nil: then tokens have no Text and stop texts are refused. Completions end at
// tok's end-of-text token, without tok at the model's (Config.EOS).
func NewEngine(m *model.Transformer, tok token.Tokenizer, opt EngineOptions) *Engine {
	if opt.MaxBatch <= 0 {
		opt.MaxBatch = 32
	}
	if opt.Queue <= 0 {
		opt.Queue = 128
	}
	if opt.MaxTokens <= 0 {
		opt.MaxTokens = m.Config().Context
	}
	e := &Engine{m: m, tok: tok, opt: opt, queue: make(chan *Stream, opt.Queue), done: make(chan struct{})}
	go e.run()
	return e
}

// EOS is the token that ends a completion, -1 = none.
func (e *Engine) EOS() int32 {
	if e.tok != nil && e.tok.EOS() >= 0 {
		return e.tok.EOS()
	}
	return int32(e.m.Config().EOS)
}

// Submit queues a request. It fails with ErrBusy where the queue is full, ErrClosed
// after Close, and *model.InvalidError where the request cannot be served. When ctx
// ends before the completion does, so does the completion, with ctx's error.
func (e *Engine) Submit(ctx context.Context, r Request) (*Stream, error) {
	if err := r.Validate(e.m.Config().Vocab); err != nil {
		return nil, err
	}
	if r.MaxTokens > e.opt.MaxTokens {
		return nil, invalid("MaxTokens", "%d is more than %d", r.MaxTokens, e.opt.MaxTokens)
	}
	if len(r.Stop) > 0 && e.tok == nil {
		return nil, invalid("Stop", "the model has no tokenizer")
	}
	if err := checkPrompt(e.m, r.Prompt); err != nil {
		return nil, err
	}
	s := &Stream{
		ctx: ctx, row: newRow(e.m, slices.Clone(r.Prompt), r.Params, e.EOS(), 0),
	}
	s.tokens = make(chan Token, s.row.room)
	if e.tok != nil {
		s.text = &writer{stream: token.NewStream(e.tok), stop: r.Stop}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	select {
	case e.queue <- s:
		return s, nil
	default:
		return nil, fmt.Errorf("%w: %d requests are waiting", ErrBusy, e.opt.Queue)
	}
}

// Close refuses new requests, waits until those taken on are done, and ends the
// engine. It may be called more than once.
func (e *Engine) Close() {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		close(e.queue)
	}
	e.mu.Unlock()
	<-e.done
}

// run is the engine's one goroutine.
func (e *Engine) run() {
	defer close(e.done)
	s := stepper{m: e.m}
	var active []*Stream
	var rows []*row
	queue := e.queue
	for {
		if len(active) == 0 {
			if queue == nil {
				return
			}
			next, ok := <-queue
			if !ok {
				return
			}
			active = append(active, next)
		}
	admit:
		for queue != nil && len(active) < e.opt.MaxBatch {
			select {
			case next, ok := <-queue:
				if !ok {
					queue = nil
					break admit
				}
				active = append(active, next)
			default:
				break admit
			}
		}
		kept := 0
		rows = rows[:0]
		for _, a := range active {
			if err := a.ctx.Err(); err != nil {
				s.release(a.row)
				a.end("", err)
				continue
			}
			active[kept] = a
			rows = append(rows, a.row)
			kept++
		}
		clear(active[kept:])
		active = active[:kept]
		if kept == 0 {
			continue
		}
		s.step(rows)
		kept = 0
		for _, a := range active {
			if a.deliver() {
				s.release(a.row)
				continue
			}
			active[kept] = a
			kept++
		}
		clear(active[kept:])
		active = active[:kept]
		runtime.Gosched() // those who read get to it now: between two steps no processor may become idle
	}
}

// Stream is the completion of one request, token by token. One goroutine reads it;
// who stops reading early cancels the context given to Submit.
type Stream struct {
	ctx    context.Context
	row    *row
	text   *writer // nil without a tokenizer
	tokens chan Token

	finish string // set before tokens is closed, as is err
	err    error
}

// deliver passes the newest token on and says whether the completion has ended.
func (s *Stream) deliver() (ended bool) {
	if !s.row.fresh {
		return false
	}
	t, finish := s.row.last, s.row.finish
	if s.text != nil {
		var stopped bool
		if finish != FinishStop { // the end-of-text token has no text
			t.Text, stopped = s.text.next(t.ID)
		}
		if finish != "" && !stopped {
			var rest string
			rest, stopped = s.text.flush()
			t.Text += rest
		}
		if stopped {
			finish = FinishStop
		}
	}
	s.tokens <- t // holds a whole completion: never waits
	if finish != "" {
		s.end(finish, nil)
	}
	return finish != ""
}

func (s *Stream) end(finish string, err error) {
	s.finish, s.err = finish, err
	close(s.tokens)
}

// Next waits for the next token. ok is false after the last one; err says that the
// completion was cut short, or that ctx ended while waiting.
func (s *Stream) Next(ctx context.Context) (t Token, ok bool, err error) {
	select {
	case t, ok = <-s.tokens:
		if !ok {
			return Token{}, false, s.err
		}
		return t, true, nil
	case <-ctx.Done():
		return Token{}, false, ctx.Err()
	}
}

// Finish says why the completion ended, FinishStop or FinishLength. It may be called
// once Next has returned ok == false; it is empty after an error.
func (s *Stream) Finish() string { return s.finish }
