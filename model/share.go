package model

import (
	"encoding/binary"
	"slices"

	"github.com/rankloop/rankloop/model/kernel"
)

// In a pass that does not go backward, sequences that answer one prompt share its rows: the prompt goes through the layers with
// the first of them, and the others see its keys and values. Since a row's bits depend on what it sees alone, they are the
// same.

// leastShared is the length of prompts that are worth it, in tokens.
const leastShared = 8

// shares says whether s, which is fed so many tokens, may take the rows of its prompt from lead.
func (s Sequence) shares(lead Sequence, fed int) bool {
	return s.Start == lead.Start && s.Start >= leastShared && fed >= s.Start && slices.Equal(s.IDs[:s.Start], lead.IDs[:s.Start])
}

// leader goes through a batch and says from where on each sequence is fed.
type leader struct {
	want  Want
	lead  Sequence // the newest that was fed from its beginning
	known bool
}

// from is the first token of s that has to be fed: the one after its prompt where the newest lead has that.
func (l *leader) from(s Sequence) int {
	if fed := s.fed(l.want); l.known && s.shares(l.lead, fed) {
		return s.Start
	} else if fed >= s.Start {
		l.lead, l.known = s, true
	}
	return 0
}

// together lists the sequences so that those with the same prompt follow each other, in the order of the first of each; nil where no
// two have the same.
func together(batch []Sequence) []int {
	first, group, order := map[string]int{}, make([]int, len(batch)), make([]int, len(batch))
	var key []byte
	for i, s := range batch {
		key = key[:0]
		for _, id := range s.IDs[:s.Start] {
			key = binary.LittleEndian.AppendUint32(key, uint32(id))
		}
		if _, ok := first[string(key)]; !ok {
			first[string(key)] = i
		}
		group[i], order[i] = first[string(key)], i
	}
	if len(first) == len(batch) {
		return nil
	}
	slices.SortStableFunc(order, func(a, b int) int { return group[a] - group[b] })
	return order
}

// scoreTogether is Score of a batch in another order.
func (m *Transformer) scoreTogether(batch []Sequence, want Want, order []int) *Pass {
	sorted := make([]Sequence, len(batch))
	for i, from := range order {
		sorted[i] = batch[from]
	}
	pass := m.score(sorted, want)
	for _, rows := range []*[][]float32{&pass.Logprobs, &pass.Values, &pass.Entropy} {
		if *rows != nil {
			*rows = restored(*rows, order)
		}
	}
	if pass.Score != nil {
		pass.Score = restored(pass.Score, order)
	}
	return pass
}

// restored puts what is in the given order back into that of the batch.
func restored[T any](x []T, order []int) []T {
	out := make([]T, len(x))
	for i, to := range order {
		out[to] = x[i]
	}
	return out
}

// attendShared is the attention of segment g whose first positions are rows of another; q [T,qkv] and o [T,C].
func (w *attending) attendShared(g *segment, q, o []float32) {
	p, s := w.p, w.s
	c := p.m.cfg
	D, H, KV, W := c.headDim(), c.Heads, c.KVHeads, p.m.body.widths().qkv
	T, KW := g.hi-g.lo, 2*KV*D
	kv := p.m.scratch((g.past + T) * KW) // keys and values stand side by side
	defer p.m.recycle(kv)
	before := w.qkv[(p.segs[g.lead-1].lo-s.lo)*W:]
	for t := range g.past {
		copy((*kv)[t*KW:(t+1)*KW], before[t*W+H*D:])
	}
	for t := range T {
		copy((*kv)[(g.past+t)*KW:(g.past+t+1)*KW], q[t*W+H*D:])
	}
	kernel.Attention(o, c.Width, nil, q, W, *kv, KW, (*kv)[KV*D:], KW, T, g.past+T, H, KV, D, c.window(w.l), c.attentionScale())
}
