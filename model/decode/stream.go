package decode

import (
	"context"
	"sync"
	"time"
)

// Usage counts the tokens of a request.
type Usage struct {
	Prompt     int // of the prompt
	Cached     int // of these, those whose keys and values were there from an earlier request of the customer
	Completion int // of all choices that were drawn, without end-of-text tokens
}

// Stream is the answer to one request, token by token; the tokens of several choices come mixed. One goroutine reads it; who stops
// reading early cancels the context given to Submit.
type Stream struct {
	signal chan struct{} // something has changed

	mu    sync.Mutex
	fresh []Token // not taken yet
	ended bool
	err   error
	usage Usage
	echo  []Token

	taken []Token // the reader's
	at    int

	held  bool      // the engine's: there are tokens that the reader has not been woken for,
	woken time.Time // which it was last
}

func newStream() *Stream { return &Stream{signal: make(chan struct{}, 1)} }

// push adds a token, of which a reader that waits hears by stir. It never waits itself: a slow reader holds up nobody.
func (s *Stream) push(t Token) {
	s.mu.Lock()
	s.fresh = append(s.fresh, t)
	s.mu.Unlock()
	s.held = true
}

// stir wakes the reader for what was pushed, unless it was woken so lately that the tokens of the next step, which comes after so
// long, may be read together with these: that a reader is woken, and what it does then, costs more than a token of a small model.
func (s *Stream) stir(now time.Time, next, gather time.Duration) {
	if s.held && now.Add(next).Sub(s.woken) > gather {
		s.held, s.woken = false, now
		s.wake()
	}
}

func (s *Stream) end(u Usage, err error) {
	s.mu.Lock()
	s.ended, s.usage, s.err = true, u, err
	s.mu.Unlock()
	s.wake()
}

func (s *Stream) setEcho(tokens []Token) {
	s.mu.Lock()
	s.echo = tokens
	s.mu.Unlock()
}

func (s *Stream) wake() {
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

// Next waits for the next token. ok is false after the last one; err says that the answer was cut short, or that ctx ended while
// waiting.
func (s *Stream) Next(ctx context.Context) (t Token, ok bool, err error) {
	for {
		if s.at < len(s.taken) {
			t, s.taken[s.at] = s.taken[s.at], Token{}
			s.at++
			return t, true, nil
		}
		s.mu.Lock()
		s.taken, s.fresh, s.at = s.fresh, s.taken[:0], 0
		ended, cause := s.ended, s.err
		s.mu.Unlock()
		if len(s.taken) > 0 {
			continue
		}
		if ended {
			return Token{}, false, cause
		}
		select {
		case <-s.signal:
		case <-ctx.Done():
			return Token{}, false, ctx.Err()
		}
	}
}

// Ready says that Next will not wait.
func (s *Stream) Ready() bool {
	if s.at < len(s.taken) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.fresh) > 0 || s.ended
}

// Usage is complete once Next has returned ok == false.
func (s *Stream) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage
}

// Echo returns the prompt's tokens with their log-probabilities, where Request.Echo asked for them: once Next has returned a token. The
// first has none; its Logprob is 0.
func (s *Stream) Echo() []Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.echo
}
