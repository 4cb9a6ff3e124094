package model

import "math"

// Attention returns the attention weights [L][H][T][T] of one sequence of at most
// Context tokens: how much of position j's value goes into position i, in row i. Rows
// sum to 1 and are zero beyond their own position, and before the band of a banded layer. It is for looking at a model.
func (m *Transformer) Attention(ids []int32) [][][][]float32 {
	p := m.inspect(ids)
	defer m.put(p)
	return p.attentionWeights()
}

// inspect runs one sequence through all layers and keeps their activations.
func (m *Transformer) inspect(ids []int32) *planes {
	if err := m.CheckIDs(ids); err != nil {
		panic(err)
	}
	if len(ids) > m.cfg.Context {
		panic(invalid("IDs", "%d tokens exceed the context of %d", len(ids), m.cfg.Context))
	}
	p := m.get(true)
	p.add(ids, 0, nil)
	p.addSpan(0, 1, 0, 0)
	p.alloc()
	p.allocHeads()
	p.forward(&p.spans[0])
	return p
}

func (p *planes) attentionWeights() [][][][]float32 {
	c, T := p.m.cfg, p.rows
	D, H, W := c.headDim(), c.Heads, p.m.body.widths().qkv
	scale := 1 / math.Sqrt(float64(D))
	out := make([][][][]float32, len(p.layers))
	for l := range out {
		qkv, lse := p.layers[l].qkv, p.layers[l].lse
		for h := range H {
			head := split(make([]float32, T*T), max(T, 1))
			at := H*D + h/(H/c.KVHeads)*D // of the head's keys
			for i := range T {
				for j := bandStart(i, c.window(l)); j <= i; j++ {
					dot := 0.0
					for d := range D {
						dot += float64(qkv[i*W+h*D+d]) * float64(qkv[j*W+at+d])
					}
					head[i][j] = float32(math.Exp(dot*scale - float64(lse[h*T+i])))
				}
			}
			out[l] = append(out[l], head)
		}
	}
	return out
}
