package decode

import (
	"context"
	"errors"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// EngineOptions bounds what an engine takes on; zero means the default.
type EngineOptions struct {
	MaxBatch  int // requests decoded at the same time; 32
	Queue     int // requests that may wait for a place; 128
	MaxTokens int // most tokens of one completion; the model's context
}

// Request is one prompt and how to continue it.
type Request struct {
	Prompt []int32
	Params
}

// Engine decodes requests of many callers together.
type Engine struct{}

// NewEngine starts an engine over m, whose weights must not change until Close. tok
// may be nil: then tokens have no Text and stop strings are refused.
func NewEngine(m *model.Transformer, tok token.Tokenizer, opt EngineOptions) *Engine {
	return &Engine{}
}

// Submit queues a request. It fails with ErrBusy where the queue is full, ErrClosed
// after Close, *model.InvalidError where the request cannot be served. The request ends when ctx does.
func (e *Engine) Submit(ctx context.Context, r Request) (*Stream, error) {
	return nil, errors.New("decode: under construction")
}

// Close refuses new requests, waits for those under way and ends the engine.
func (e *Engine) Close() {}

// Stream is the completion of one request as it is decoded.
type Stream struct{}

// Next returns the next token, waiting for it. ok is false after the last one; then
// Finish says why it ended.
func (s *Stream) Next(ctx context.Context) (t Token, ok bool, err error) { return Token{}, false, nil }

// Finish is why the completion ended: "stop" (end of text or a stop string) or "length".
func (s *Stream) Finish() string { return "" }
