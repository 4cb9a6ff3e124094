package web

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/model/registry"
)

// trial is a canary in a slot.
type trial struct {
	id     string // of the canary
	share  float64
	served *Served
}

// Counted says for which canary a request counts, and on which side. The zero value is for none.
type Counted struct {
	Canary string // its id
	ByIt   bool   // the canary answers; else what serves
}

// servingPerCanary is how many requests of what serves are counted for each one of the canary: more would tell the guards little.
const servingPerCanary = 10

// SetTrial lets a canary answer its share of the requests from the next AcquireFor on; nil: there is none. The same one may be given
// another share.
func (l *Slot) SetTrial(id string, share float64, s *Served) {
	var next *trial
	if s != nil {
		next = &trial{id, share, s}
	}
	l.mu.Lock()
	old := l.trial.Load()
	if next != nil && (old == nil || old.served != s) {
		s.refs.Store(1)
	}
	l.trial.Store(next)
	l.mu.Unlock()
	if old != nil && old.served != s {
		old.served.Release()
	}
}

// Recall lets a version serve that the slot holds, the canary or one that served before, without loading it again; false where it
// holds no such version.
func (l *Slot) Recall(versionID string) bool {
	l.mu.Lock()
	var s *Served
	t := l.trial.Load()
	if t != nil && t.served.VersionID == versionID {
		s = t.served
	} else if i := slices.IndexFunc(l.former, func(f *Served) bool { return f.VersionID == versionID }); i >= 0 {
		s = l.former[i]
		l.former = slices.Delete(l.former, i, i+1)
	}
	if s == nil {
		l.mu.Unlock()
		return false
	}
	gone := l.succeed(l.p.Swap(s), s)
	if t != nil && t.served == s {
		l.trial.Store(nil)
	}
	l.mu.Unlock()
	for _, f := range gone {
		f.Release()
	}
	return true
}

// AcquireFor implements Serving.
func (l *Slot) AcquireFor(somebody string) (*Served, Counted, error) {
	t := l.trial.Load()
	if t != nil && registry.Takes(t.id, somebody, t.share) && t.served.acquire() {
		return t.served, Counted{t.id, true}, nil
	}
	s, err := l.Acquire()
	if t == nil || rand.Float64()*(1-t.share) > servingPerCanary*t.share {
		return s, Counted{}, err
	}
	return s, Counted{Canary: t.id}, err
}

// Observation is how a request was answered while a canary was under way. The texts are for a reward model and are not kept.
type Observation struct {
	registry.Observation
	Sequences []model.Sequence // each prompt with each answer
	Tokenizer string           // digest of the tokenizer of Sequences
}

// heard is what was heard of a choice.
type heard struct {
	ids    []int32
	text   bool // there is some
	finish string
}

// hear takes a token of a request that is counted.
func (j *job) hear(t decode.Token) {
	if j.counted.Canary == "" {
		return
	}
	if j.heard == nil {
		j.heard = make([]heard, j.choices())
	}
	h := &j.heard[t.Choice]
	h.ids = append(h.ids, t.ID)
	h.text = h.text || strings.TrimSpace(t.Text) != ""
	h.finish = t.Finish
}

// observe tells the guards of a canary how a request was answered. One whose client left says nothing.
func (s *server) observe(j *job) {
	if s.Observe == nil || j.counted.Canary == "" || j.mute || j.finish == "cancelled" {
		return
	}
	o := Observation{Tokenizer: j.Tokenizer.Digest()}
	o.CanaryID, o.Canary, o.Milliseconds = j.counted.Canary, j.counted.ByIt, int(time.Since(j.started).Milliseconds())
	o.Failed = j.finish == "error"
	j.counted = Counted{} // once
	for i, h := range j.heard {
		o.Empty = o.Empty || !h.text
		o.Cut = o.Cut || h.finish == decode.FinishLength
		o.Repeating = o.Repeating || repeating(h.ids)
		prompt := j.prompts[i/j.n].TokenIDs
		o.Sequences = append(o.Sequences, model.Sequence{IDs: slices.Concat(prompt, h.ids), Start: len(prompt)})
	}
	s.Observe(o)
}

// An answer repeats itself when less than half of its runs of four tokens are new ones. Short answers say nothing of that.
const (
	repeatRun   = 4
	repeatShort = 24 // tokens
)

func repeating(ids []int32) bool {
	if len(ids) < repeatShort {
		return false
	}
	seen := map[[repeatRun]int32]bool{}
	for i := 0; i+repeatRun <= len(ids); i++ {
		seen[[repeatRun]int32(ids[i:i+repeatRun])] = true
	}
	return 2*len(seen) < len(ids)-repeatRun+1
}
