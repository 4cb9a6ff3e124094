package decode

import (
	"math/rand/v2"

	"github.com/rankloop/rankloop/model"
)

// TopToken is one of the likeliest tokens of a step.
type TopToken struct {
	ID      int32
	Logprob float32
}

// Token is one sampled token.
type Token struct {
	ID      int32
	Logprob float32    // under the untouched distribution (temperature 1, no filter)
	Top     []TopToken // the likeliest tokens, the likeliest first (Params.Logprobs of them)
	Text    string     // what may be shown after this token: whole characters, nothing of a stop text
	Choice  int        // of the request
	Finish  string     // of the last token of a choice: FinishStop or FinishLength
}

// Why a completion ended.
const (
	FinishStop   = "stop"   // the end-of-text token or a stop text
	FinishLength = "length" // MaxTokens, or the model's context
)

// row is one completion under way.
type row struct {
	p      Params
	eos    int32 // -1 = nothing ends the text
	room   int   // tokens that may still be sampled
	cache  *model.Cache
	feed   []int32 // tokens that the cache has yet to be fed: the prompt, then each sampled one
	counts map[int32]int
	rng    *rand.Rand

	one    [1]int32
	last   Token   // the newest token
	value  float32 // of the scalar head at the position before it
	finish string  // set when the completion has ended
	fresh  bool    // last came in the newest step
	twins  []*row  // rows with the same prompt that have yet to get their first token
	twin   bool    // r is such a row of another
}

func newRow(m *model.Transformer, prompt []int32, p Params, eos int32, stream uint64) *row {
	r := &row{
		p: p, eos: eos, feed: prompt, rng: rand.New(rand.NewPCG(p.Seed, stream)),
		// The last token sampled need not be fed.
		room: min(p.MaxTokens, m.Config().Context+1-len(prompt)),
	}
	if p.IgnoreEOS {
		r.eos = -1
	}
	if p.PresencePenalty != 0 || p.FrequencyPenalty != 0 {
		r.counts = map[int32]int{}
	}
	return r
}

// take draws the next token of r, and of its twins, from the logits. value is the scalar head's at the same position.
func (r *row) take(logits []float32, value float32) {
	for _, t := range r.twins {
		t.take(logits, value)
	}
	s := samplers.Get().(*sampler)
	id, lse := s.draw(logits, &r.p, r.counts, r.rng)
	samplers.Put(s)
	r.last, r.fresh = describe(id, logits, lse, &r.p), true
	r.value = value
	if r.counts != nil {
		r.counts[id]++
	}
	r.room--
	switch {
	case id == r.eos:
		r.finish = FinishStop
	case r.room == 0:
		r.finish = FinishLength
	}
	r.one[0] = id
	r.feed = r.one[:]
}

// describe is token id under the distribution of the logits, of which model.LogSumExp says lse.
func describe(id int32, logits []float32, lse float32, p *Params) Token {
	t := Token{ID: id, Logprob: logits[id] - lse}
	if p.Logprobs > 0 {
		t.Top = top(logits, lse, min(p.Logprobs, len(logits)))
	}
	return t
}

// stepper takes rows through the model, one token a step.
type stepper struct {
	m      *model.Transformer
	caches []*model.Cache // of the rows of the step
	ids    [][]int32
	lead   []*row
	spare  []*model.Cache // of rows that have ended
}

// cache returns an empty cache.
func (s *stepper) cache() *model.Cache {
	if n := len(s.spare); n > 0 {
		c := s.spare[n-1]
		s.spare = s.spare[:n-1]
		c.Reset()
		return c
	}
	return s.m.NewCache()
}

// share gives r all of its prompt but the last token from a cache that begins with it; the last is fed, because its logits
// are wanted.
func (s *stepper) share(r *row, from *model.Cache) {
	n := len(r.feed) - 1
	r.cache = s.cache()
	r.cache.Reserve(len(r.feed) + r.room - 1)
	r.cache.CopyPrefix(from, n)
	r.feed = r.feed[n:]
}

// release takes the cache of a row that has ended.
func (s *stepper) release(r *row) {
	if r.cache != nil {
		s.spare = append(s.spare, r.cache)
		r.cache = nil
	}
}

// chunk is how much of a prompt is fed in one step, so that a long one does not hold
// up the rows that are under way for long.
const chunk = 256

// step gives every row its next token, unless its prompt is longer than chunk: then
// it takes some steps until row.fresh. Twins are fed with their lead.
func (s *stepper) step(rows []*row) {
	s.caches, s.ids, s.lead = s.caches[:0], s.ids[:0], s.lead[:0]
	for _, r := range rows {
		r.fresh = false
		if r.twin {
			continue
		}
		if r.cache == nil {
			r.cache = s.cache()
			r.cache.Reserve(len(r.feed) + r.room - 1)
		}
		s.caches, s.ids, s.lead = append(s.caches, r.cache), append(s.ids, r.feed[:min(chunk, len(r.feed))]), append(s.lead, r)
	}
	model.BeginBackground() // nobody waits for rollouts
	defer model.EndBackground()
	s.m.ExtendValues(s.caches, s.ids, nil, func(i, _ int, logits []float32, value float32) {
		if r := s.lead[i]; len(r.feed) > chunk {
			r.feed = r.feed[chunk:]
		} else {
			r.take(logits, value)
		}
	})
	for _, r := range s.lead {
		if !r.fresh {
			continue
		}
		for _, t := range r.twins {
			t.twin = false
			t.cache = s.cache()
			t.cache.Reserve(r.cache.Len() + t.room)
			t.cache.CopyFrom(r.cache)
		}
		r.twins = nil
	}
}
