package model

import (
	"fmt"
	"slices"

	"github.com/rankloop/rankloop/model/kernel"
)

// Pass is what the model says about a batch. Rows of Logprobs, Values and Entropy
// have len(IDs)-Start entries, one per response token; fields not asked for are
// nil. The numbers stay valid for as long as the caller likes.
type Pass struct {
	Logprobs [][]float32 // log pi(y_t | x, y_<t), natural logarithm
	Values   [][]float32 // scalar head at the position before response token t, the state y_t is drawn in
	Entropy  [][]float32 // of that next-token distribution, in nats
	Score    []float32   // scalar head at the last token of each sequence

	p     *planes // activations; nil in a Score pass and after Backward
	first []int32 // where each sequence's rows of the heads start, one more at the end
}

// Grads holds the derivatives of a loss by the numbers of a Pass, in the same
// shapes; nil means zero.
type Grads struct {
	Logprobs, Values, Entropy [][]float32
	Score                     []float32
}

// Forward computes what want asks for and keeps the activations for Backward, which
// the caller runs at most once.
func (m *Transformer) Forward(batch []Sequence, want Want) *Pass {
	kernel.BeginBackground()
	defer kernel.EndBackground()
	pass, p := m.beginPass(batch, want, false)
	p.eachSpan(p.forward)
	pass.collect(p, 0, len(batch))
	return pass
}

// ForwardLoss is Forward for log-probabilities whose gradient, that of a next-token loss, is known beforehand: the heads go
// forward and back at once, so that logits are computed a single time and exist for some hundred rows only. Backward is then
// called without a gradient of Logprobs.
func (m *Transformer) ForwardLoss(batch []Sequence, dLogprobs [][]float32) *Pass {
	kernel.BeginBackground()
	defer kernel.EndBackground()
	pass, p := m.beginPass(batch, WantLogprobs, true)
	g := pass.spread(p, Grads{Logprobs: dLogprobs})
	m.allocGrads()
	p.allocBack()
	p.eachSpan(p.throughLayers)
	p.headsAtOnce(g)
	pass.collect(p, 0, len(batch))
	return pass
}

// beginPass lays out a pass that goes backward; atOnce says that its heads go back on the way.
func (m *Transformer) beginPass(batch []Sequence, want Want, atOnce bool) (*Pass, *planes) {
	m.mustChange("Forward")
	pass := m.newPass(batch, want)
	p := m.get(true)
	p.again, p.drop = m.recompute, m.drop
	p.load(batch, want, false)
	p.heads.atOnce = atOnce
	lo := 0
	for _, hi := range m.spanEnds(batch, want, false) {
		p.addSpan(lo, hi, int(pass.first[lo]), int(pass.first[hi]))
		lo = hi
	}
	p.reserve()
	p.alloc()
	p.allocHeads()
	pass.p = p
	return pass, p
}

// Score computes the same numbers as Forward, to the bit, without keeping the
// activations; it drops nothing. Sequences with the same prompt, up to Start, share its rows.
func (m *Transformer) Score(batch []Sequence, want Want) *Pass {
	if order := together(batch); order != nil {
		return m.scoreTogether(batch, want, order)
	}
	return m.score(batch, want)
}

func (m *Transformer) score(batch []Sequence, want Want) *Pass {
	kernel.BeginBackground()
	defer kernel.EndBackground()
	pass := m.newPass(batch, want)
	ends := m.spanEnds(batch, want, true)
	m.each(len(ends), func(a, b int) {
		p := m.get(false)
		for i := a; i < b; i++ {
			lo := 0
			if i > 0 {
				lo = ends[i-1]
			}
			p.clear()
			p.load(batch[lo:ends[i]], want, true)
			p.addSpan(0, ends[i]-lo, 0, p.heads.rows)
			p.alloc()
			p.allocHeads()
			p.forward(&p.spans[0])
			pass.collect(p, lo, ends[i])
		}
		m.put(p)
	})
	return pass
}

// Logits returns the logits [T][V] at every position of one sequence of at most
// Context tokens, for tests and inspection.
func (m *Transformer) Logits(ids []int32) [][]float32 {
	if err := m.CheckIDs(ids); err != nil {
		panic(err)
	}
	if len(ids) > m.cfg.Context {
		panic(invalid("IDs", "%d tokens exceed the context of %d", len(ids), m.cfg.Context))
	}
	p, V := m.get(false), m.cfg.Vocab
	defer m.put(p)
	p.add(ids, 0, nil)
	for t := range ids {
		p.heads.add(t, -1)
	}
	p.addSpan(0, 1, 0, len(ids))
	p.alloc()
	p.allocHeads()
	p.forward(&p.spans[0]) // no want: stops before the heads
	p.hidden(0, len(ids))
	flat := make([]float32, len(ids)*V)
	p.product(flat, 0, len(ids))
	return split(flat, V)
}

// split cuts x into rows of n.
func split(x []float32, n int) [][]float32 {
	rows := make([][]float32, len(x)/n)
	for i := range rows {
		rows[i] = x[i*n : (i+1)*n : (i+1)*n]
	}
	return rows
}

// newPass checks the batch and makes room for the results.
func (m *Transformer) newPass(batch []Sequence, want Want) *Pass {
	if want&(WantValues|WantScore) != 0 && m.scalar == HeadLM {
		panic("model: values or scores asked of a model without a scalar head")
	}
	pass := &Pass{first: make([]int32, len(batch)+1)}
	tokens := 0
	for i, s := range batch {
		if err := m.Check(s, want); err != nil {
			panic(fmt.Errorf("sequence %d: %w", i, err))
		}
		pass.first[i+1] = pass.first[i] + int32(s.headRows(want))
		tokens += len(s.IDs) - s.Start
	}
	rows := func() [][]float32 {
		flat, out := make([]float32, tokens), make([][]float32, len(batch))
		for i, s := range batch {
			n := len(s.IDs) - s.Start
			out[i], flat = flat[:n:n], flat[n:]
		}
		return out
	}
	if want&WantLogprobs != 0 {
		pass.Logprobs = rows()
	}
	if want&WantValues != 0 {
		pass.Values = rows()
	}
	if want&WantEntropy != 0 {
		pass.Entropy = rows()
	}
	if want&WantScore != 0 {
		pass.Score = make([]float32, len(batch))
	}
	return pass
}

// load adds the rows of the sequences and of their heads; share says that sequences may
// share the rows of a prompt.
func (p *planes) load(batch []Sequence, want Want, share bool) {
	p.heads.want = want
	l, lead := leader{want: want}, 0
	for i, s := range batch {
		from, at, n := 0, p.rows, s.fed(want)
		if share {
			from = l.from(s)
		}
		p.add(s.IDs[from:max(n, from)], from, nil)
		g := &p.segs[len(p.segs)-1]
		if from > 0 {
			g.lead, g.past, p.shared = lead+1, from, true
		} else if n >= s.Start {
			lead = i
		}
		row := func(t int) int { // of position t
			if t < from {
				return p.segs[lead].lo + t
			}
			return at + t - from
		}
		if p.drop.on() {
			p.streams = append(p.streams, slices.Repeat([]uint64{s.Stream}, n)...)
		}
		if want&(WantLogprobs|WantValues|WantEntropy) != 0 {
			for t := s.Start; t < len(s.IDs); t++ {
				p.heads.add(row(t-1), s.IDs[t])
			}
		}
		if want&WantScore != 0 {
			p.heads.add(row(n-1), -1)
		}
	}
}

// collect copies what was computed for sequences lo..hi of the batch.
func (pass *Pass) collect(p *planes, lo, hi int) {
	h := &p.heads
	for i := lo; i < hi; i++ {
		at, end := pass.first[i]-pass.first[lo], pass.first[i+1]-pass.first[lo]
		for _, x := range []struct {
			to   [][]float32
			from []float32
		}{{pass.Logprobs, h.logprob}, {pass.Values, h.scalar}, {pass.Entropy, h.entropy}} {
			if x.to != nil {
				copy(x.to[i], x.from[at:end])
			}
		}
		if pass.Score != nil {
			pass.Score[i] = h.scalar[end-1]
		}
	}
}

// throughLayers takes a span from the embedding through all layers.
func (p *planes) throughLayers(s *span) {
	if s.rows() == 0 {
		return
	}
	C := p.m.cfg.Width
	x := p.layers[0].x[s.lo*C : s.hi*C]
	p.m.body.embed(x, p.ids[s.lo:s.hi], p.pos[s.lo:s.hi])
	p.dropRows(x, s.lo, 0, embedding)
	p.fetch(s, 0)
	for l := range p.layers {
		p.m.body.forward(p, s, l)
	}
}

// forward takes a span from the embedding through all layers to the heads.
func (p *planes) forward(s *span) {
	p.throughLayers(s)
	if p.heads.want != 0 {
		p.readHeads(s.outLo, s.outHi)
	}
}

// SetRecompute chooses what Forward keeps for Backward: all activations, or (on) the
// input of each layer alone, from which Backward computes the layer's again, to the
// same bits (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost). It saves
// most of the memory for a third more work.
func (m *Transformer) SetRecompute(on bool) { m.recompute = on }

// Backward adds the gradients of the tensors that are not frozen, given those of the pass's numbers.
// It may be called once, on a pass made by Forward, before the weights change.
func (pass *Pass) Backward(g Grads) {
	p := pass.p
	if p == nil {
		panic("model: Backward on a pass of Score, or for the second time")
	}
	pass.p = nil
	defer p.m.put(p)
	kernel.BeginBackground()
	defer kernel.EndBackground()
	if p.rows == 0 {
		return
	}
	if p.heads.atOnce {
		if g.Logprobs != nil {
			panic("model: the gradient of Logprobs was given to ForwardLoss")
		}
	} else {
		p.m.allocGrads()
		p.allocBack()
		p.backHeads(pass.spread(p, g))
	}
	p.backFinal()
	for l := len(p.layers) - 1; l >= 0; l-- {
		p.eachSpan(func(s *span) {
			if s.rows() == 0 {
				return
			}
			if p.again && l < len(p.layers)-1 { // the last layer's are still there
				p.m.body.forward(p, s, l)
			}
			p.m.body.backward(p, s, l)
		})
		p.m.body.addGrads(p, l)
		p.back.dy, p.back.dx = p.back.dx, p.back.dy
	}
	p.dropRows(p.back.dy, 0, 0, embedding)
	p.m.body.embedGrads(p.back.dy, p.ids, p.pos)
}

// spread lays the gradients of the pass's numbers out by rows of the heads.
func (pass *Pass) spread(p *planes, g Grads) headGrads {
	var out headGrads
	take := func(name string, from [][]float32, has bool, to *[]float32) {
		if from == nil {
			return
		}
		if !has || len(from) != len(pass.first)-1 {
			panic("model: gradient of " + name + " that the pass does not have")
		}
		if *to == nil {
			*to = p.arena.alloc(p.heads.rows)
			clear(*to)
		}
		for i, row := range from {
			at, n := int(pass.first[i]), int(pass.first[i+1]-pass.first[i])
			if pass.Score != nil {
				n-- // the last row is the score's
			}
			if row != nil && len(row) != n {
				panic(fmt.Sprintf("model: gradient of %s of sequence %d has %d entries, the response %d", name, i, len(row), n))
			}
			copy((*to)[at:], row)
		}
	}
	take("Logprobs", g.Logprobs, pass.Logprobs != nil, &out.logprob)
	take("Entropy", g.Entropy, pass.Entropy != nil, &out.entropy)
	take("Values", g.Values, pass.Values != nil, &out.scalar)
	if g.Score != nil {
		if pass.Score == nil || len(g.Score) != len(pass.Score) {
			panic("model: gradient of Score that the pass does not have")
		}
		if out.scalar == nil {
			out.scalar = p.arena.alloc(p.heads.rows)
			clear(out.scalar)
		}
		for i, d := range g.Score {
			out.scalar[pass.first[i+1]-1] += d
		}
	}
	return out
}
