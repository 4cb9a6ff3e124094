package web

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/token"
)

// ErrNotServing says that no policy serves yet.
var ErrNotServing = errors.New("web: no policy serves yet")

// Serving hands out the policy that answers customers.
type Serving interface {
	// Acquire returns the policy that serves now; the caller must call Release once, after its last token. An engine
	// that was replaced is closed only when all who acquired it have released it. ErrNotServing where there is none.
	Acquire() (*Served, error)
}

// Served is a policy ready to answer.
type Served struct {
	VersionID string // the model version's id
	Name      string // its name
	Created   time.Time
	Engine    *decode.Engine
	Tokenizer token.Tokenizer
	Template  token.ChatTemplate
	Context   int    // positions of the model: prompt and completion together
	Digest    string // of the weights; the system fingerprint is cut from it

	refs atomic.Int64 // 1 for the slot, 1 for each request
}

// Release gives a policy back.
func (s *Served) Release() {
	if s.refs.Add(-1) == 0 {
		s.Engine.Close()
	}
}

// acquire fails when the policy has been closed.
func (s *Served) acquire() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Slot is a Serving whose policy can be swapped while requests run. The zero Slot serves nothing.
type Slot struct{ p atomic.Pointer[Served] }

// Set lets s serve (nil: nothing) from the next Acquire on. The engine it replaces is closed when its last request
// has been answered: by Set itself, which then waits for tokens under way, or by the last Release.
func (l *Slot) Set(s *Served) {
	if s != nil {
		s.refs.Store(1)
	}
	if old := l.p.Swap(s); old != nil {
		old.Release()
	}
}

// Acquire implements Serving.
func (l *Slot) Acquire() (*Served, error) {
	for {
		s := l.p.Load()
		if s == nil {
			return nil, ErrNotServing
		}
		if s.acquire() {
			return s, nil
		}
	}
}
