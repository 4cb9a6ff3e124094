package model

import "github.com/rankloop/rankloop/model/kernel"

// A BF16 model holds its matrices, embeddings included, as bfloat16, in half the
// memory: Param.Half in place of Param.Data. Vectors (biases, norms, a scalar head)
// and adapters stay float32, as do activations, gradients and moments. It computes to
// the bit what a float32 model with the same, rounded weights computes, because a
// matrix is widened block by block where it is used.
//
// AdamW steps such a weight in float32 and writes it back by stochastic rounding:
// rounded to the nearest, a step below half a unit in the last place (1/512 of the
// weight) would be lost each time, and late in training nearly all are.

// NewBF16 makes what New makes and ToBF16 then rounds, without ever holding the
// weights in float32.
func NewBF16(cfg Config, seed uint64) (*Transformer, error) {
	m, err := NewZeroBF16(cfg)
	if err != nil {
		return nil, err
	}
	m.fill(seed)
	return m, nil
}

// NewZeroBF16 makes a BF16 model whose weights are all zero, for a loader to fill.
func NewZeroBF16(cfg Config) (*Transformer, error) {
	m, err := NewEmpty(cfg)
	if err != nil {
		return nil, err
	}
	for _, p := range m.params {
		if len(p.Shape) >= 2 {
			p.Half = make([]uint16, p.size())
		} else {
			p.Data = kernel.Floats(p.size())
		}
	}
	return m, nil
}

// ToBF16 rounds the matrices of the family to bfloat16, to the nearest and half way to
// the even one. Their gradients are dropped; a BF16 model is left as it is.
func (m *Transformer) ToBF16() {
	for _, p := range m.matrices() {
		if p.Half == nil && p.panels == nil {
			p.Half = make([]uint16, len(p.Data))
			kernel.Narrow(p.Half, p.Data)
			p.Data, p.Grad = nil, nil
		}
	}
}

// BF16 says whether the matrices are held as bfloat16.
func (m *Transformer) BF16() bool { return m.body.head().Half != nil }
