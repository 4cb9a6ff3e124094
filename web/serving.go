package web

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/token"
)

var (
	// ErrNotServing says that no policy serves yet.
	ErrNotServing = errors.New("web: no policy serves yet")
	// ErrNotServed says that a version neither serves nor is kept.
	ErrNotServed = errors.New("web: that version is not served")
)

// Serving hands out the policy that answers customers.
type Serving interface {
	// Acquire returns the policy that serves now; the caller must call Release once, after its last token. An engine
	// that was replaced is closed only when all who acquired it have released it. ErrNotServing where there is none.
	Acquire() (*Served, error)
	// AcquireFor is Acquire for somebody's request: of the canary, if one is under way and its share takes them in. Counted says whether
	// and where the request counts for its guards.
	AcquireFor(somebody string) (*Served, Counted, error)
	// AcquireVersion is Acquire of the policy of that name or version id, which may be one that served before. ErrNotServed where it is
	// neither.
	AcquireVersion(ref string) (*Served, error)
	// Versions lists what can be acquired, what serves now first.
	Versions() []Version
}

// Version names a policy that can be acquired.
type Version struct {
	ID, Name string
	Created  time.Time
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
	Weights   int64  // bytes that the weights take

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
type Slot struct {
	Keep int // how many of those that served last go on answering who asks for them; set it before the slot is used

	p     atomic.Pointer[Served]
	trial atomic.Pointer[trial] // the canary; nil: none

	mu     sync.Mutex
	former []*Served // kept, the newest first
}

// Set lets s serve (nil: nothing, and nothing is kept) from the next Acquire on. The engine of one that is no longer kept is closed
// when its last request has been answered: by Set itself, which then waits for tokens under way, or by the last Release.
func (l *Slot) Set(s *Served) {
	if s != nil {
		s.refs.Store(1)
	}
	l.mu.Lock()
	gone := l.succeed(l.p.Swap(s), s)
	l.mu.Unlock()
	for _, f := range gone {
		f.Release()
	}
	if s == nil {
		l.SetTrial("", 0, nil)
	}
}

// succeed puts the one that served among those that are kept, and returns those that are not any more; l.mu is held.
func (l *Slot) succeed(old, now *Served) (gone []*Served) {
	all := l.former
	if old != nil {
		all = append([]*Served{old}, all...)
	}
	l.former = nil
	for _, f := range all {
		if now == nil || len(l.former) == l.Keep || f.VersionID == now.VersionID {
			gone = append(gone, f)
		} else {
			l.former = append(l.former, f)
		}
	}
	return gone
}

// all are what can be acquired, what serves now first, the canary last; l.mu is held.
func (l *Slot) all() []*Served {
	s := l.p.Load()
	if s == nil {
		return nil
	}
	all := append([]*Served{s}, l.former...)
	if t := l.trial.Load(); t != nil {
		all = append(all, t.served)
	}
	return all
}

// AcquireVersion implements Serving.
func (l *Slot) AcquireVersion(ref string) (*Served, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all()
	for _, s := range all {
		if (s.VersionID == ref || s.Name == ref) && s.acquire() {
			return s, nil
		}
	}
	if len(all) == 0 {
		return nil, ErrNotServing
	}
	return nil, ErrNotServed
}

// Versions implements Serving.
func (l *Slot) Versions() (out []Version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all() {
		out = append(out, Version{s.VersionID, s.Name, s.Created})
	}
	return out
}

// Memory is what the policies of the slot may take, and how much of it they have not taken yet: keys and values come with requests.
func (l *Slot) Memory() (all, untaken int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all() {
		e := s.Engine.Stats()
		all += s.Weights + int64(e.PagesTotal)*e.PageBytes
		untaken += int64(e.PagesTotal-e.PagesMade) * e.PageBytes
	}
	return all, untaken
}

// Shed lets go of those that served before.
func (l *Slot) Shed() {
	l.mu.Lock()
	gone := l.former
	l.former = nil
	l.mu.Unlock()
	for _, f := range gone {
		f.Release()
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
