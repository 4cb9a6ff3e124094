package model

import "github.com/rankloop/rankloop/model/kernel"

// NumParams counts the weights of the family's tensors; tied ones count once, a scalar
// head is not included. It is 0 for a shape that Validate refuses.
func (c Config) NumParams() int64 {
	m, err := NewEmpty(c)
	if err != nil {
		return 0
	}
	return m.count(func(*Param) int64 { return 1 })
}

// count adds up the elements of all tensors, each times what each says.
func (m *Transformer) count(each func(p *Param) int64) int64 {
	n := int64(0)
	for _, p := range m.params {
		n += int64(p.size()) * each(p)
	}
	return n
}

// FLOPs counts the floating-point operations per token of a sequence of T tokens, a
// multiply-add being two: 2 for each weight of a matrix product, the LM head's
// included, and 4·C in each layer for each position that a query sees, half of it for
// the scores and half for the sum of values. Training costs three times the forward
// pass. This is the count of Hoffmann et al. 2022 (Chinchilla), appendix F, without its
// products with one-hot embeddings and its softmax; Kaplan et al. 2020, table 1, agrees
// but for attention, of which it counts the scores alone. Both count the whole T×T
// square; here a token sees itself and those before it, (T+1)/2 on average, in a banded
// layer at most Window of them.
func (c Config) FLOPs(T int) (forward, train float64) {
	m, err := NewEmpty(c)
	if err != nil || T < 1 {
		return 0, 0
	}
	c = m.cfg
	products := float64(c.Vocab) * float64(c.Width) // of the LM head
	for _, l := range m.body.linears() {
		products += float64(l.in) * float64(l.out)
	}
	seen := 0.0
	for l := range c.Layers {
		seen += meanSeen(T, c.window(l))
	}
	forward = 2*products + 4*float64(c.Width)*seen
	return forward, 3 * forward
}

// meanSeen is the mean over T positions of how many positions each sees.
func meanSeen(T, window int) float64 {
	t, w := float64(T), float64(T)
	if window > 0 {
		w = min(w, float64(window))
	}
	return w - w*(w-1)/(2*t) // Σ min(i,w) / t over i in 1..t
}

// MemoryPlan says what is to be done with a model.
type MemoryPlan struct {
	Tokens    int   // tokens that are fed at once: of a micro-batch, or of all sequences that are decoded together
	Longest   int   // of the longest sequence; 0 = Tokens, at most Context
	Train     bool  // with gradients and moments; otherwise decoding and scoring
	BF16      bool  // matrices in bfloat16
	Recompute bool  // see SetRecompute
	EMA       bool  // a second, averaged copy of what is trained, in float32
	LoRA      *LoRA // train adapters only; nil = all weights
	Dropout   bool  // see SetDropout
}

// Memory is what a plan takes, in bytes.
type Memory struct {
	Weights     int64 // the tensors, and the averaged copy where there is one
	Gradients   int64 // of what is trained
	Moments     int64 // AdamW's two
	Activations int64 // the buffers of a pass and its scratch
	Cache       int64 // keys and values while decoding
}

// Total adds them up.
func (m Memory) Total() int64 {
	return m.Weights + m.Gradients + m.Moments + m.Activations + m.Cache
}

// Memory says what the plan takes of this shape, from the layout code that the passes
// themselves use, without allocating any of it. What the garbage collector has not yet
// returned comes on top (GOMEMLIMIT bounds it), as do the tokens and what attention
// works in, a few rows of the longest sequence per thread. It is all zero for a shape that Validate refuses or adapters that do not fit.
func (c Config) Memory(plan MemoryPlan) Memory {
	m, err := NewEmpty(c)
	if err != nil {
		return Memory{}
	}
	c = m.cfg
	if plan.LoRA != nil {
		if err := m.addLoRA(*plan.LoRA, nil); err != nil {
			return Memory{}
		}
	}
	family := len(families[c.Family].specs(c))
	var out Memory
	for i, p := range m.params {
		width := int64(4)
		if plan.BF16 && i < family && len(p.Shape) >= 2 {
			width = 2
		}
		out.Weights += width * int64(p.size())
	}
	trained := m.count(func(p *Param) int64 {
		if p.Frozen {
			return 0
		}
		return 4
	})
	if plan.EMA {
		out.Weights += trained
	}
	tokens := max(plan.Tokens, 0)
	longest := plan.Longest
	if longest <= 0 {
		longest = tokens
	}
	longest = min(longest, c.Context, tokens)
	if plan.Train {
		out.Gradients, out.Moments = trained, 2*trained
		out.Activations = 4 * (m.passSize(tokens, longest, plan) + m.scratchSize(tokens))
		return out
	}
	rows, threads := min(tokens, max(longest, m.spanRows(tokens))), int64(1)
	if !m.wide() && rows > 0 { // each thread takes a span at a time
		threads = int64(min(kernel.Threads(), (tokens+rows-1)/rows))
	}
	out.Activations = 4 * threads * (m.passSize(rows, longest, plan) + m.scratchSize(rows))
	out.Cache = 4 * 2 * int64(c.Layers) * int64(tokens) * int64(c.KVHeads*c.headDim())
	return out
}

// passSize is the number of floats that a pass over rows lays out, in sequences of
// longest tokens, the heads read at every row.
func (m *Transformer) passSize(rows, longest int, plan MemoryPlan) int64 {
	if rows == 0 {
		return 0
	}
	p := &planes{m: m, keep: plan.Train, again: plan.Train && plan.Recompute, rows: rows}
	if plan.Train && plan.Dropout {
		p.drop.limit = 1
	}
	p.heads.rows, p.heads.want, p.heads.atOnce = rows, WantLogprobs, plan.Train
	for at := 0; at < rows; at += longest {
		end, last := min(at+longest, rows), len(p.spans)-1
		if last >= 0 && end-p.spans[last].lo <= m.spanRows(rows) {
			p.spans[last].hi = end
			continue
		}
		p.spans = append(p.spans, span{lo: at, hi: end})
	}
	return int64(p.measure())
}

// scratchSize is the number of floats of the buffers beside a pass: logits of some rows,
// adapters' inner products.
func (m *Transformer) scratchSize(rows int) int64 {
	n := int64(m.cfg.Vocab) * int64(min(rows, headRows))
	if m.lora != nil {
		n += int64(rows) * int64(m.lora.Rank)
	}
	return n
}
