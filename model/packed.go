package model

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/rankloop/rankloop/model/kernel"
)

// Weights is a form in which a model's matrices are kept for reading only, for the decoder and for scoring.
type Weights string

const (
	// WeightsFloat32 keeps them as they are.
	WeightsFloat32 Weights = "float32"
	// WeightsBF16 rounds them to bfloat16, half the memory.
	WeightsBF16 Weights = "bf16"
	// WeightsInt8 rounds those of matrix products to eight bits with one scale per output, a quarter of the memory, and embeddings
	// that are not the LM head too to bfloat16.
	WeightsInt8 Weights = "int8"
)

// ParseWeights returns the form of that name.
func ParseWeights(name string) (Weights, error) {
	switch w := Weights(name); w {
	case WeightsFloat32, WeightsBF16, WeightsInt8:
		return w, nil
	}
	return "", invalid("weights", "%q is none of float32, bf16, int8", name)
}

func (w Weights) form() kernel.Form {
	switch w {
	case WeightsBF16:
		return kernel.FormBF16
	case WeightsInt8:
		return kernel.FormInt8
	}
	return kernel.FormFloat32
}

// Pack lays the matrices out in form w for reading only ([kernel.Panels]): tokens cost the time of reading them once from
// memory, in that form, and batches need no copies of blocks. Score, Logits, Extend and Clone go on as before, with the bits of the
// unpacked model where w is WeightsFloat32, and those of the model in mixed precision where it is WeightsBF16; Forward, AdamW.Step, adapters and
// saving need a model that is not packed. A tensor's float32 data is let go as soon as it is laid out. Adapters are merged first.
func (m *Transformer) Pack(w Weights) {
	if m.packed != "" {
		panic("model: packed already")
	}
	m.MergeLoRA()
	form, linears, head := w.form(), m.body.linears(), m.body.head()
	size := kernel.PanelsSize(form, m.cfg.Width, m.cfg.Vocab)
	for _, l := range linears {
		size += kernel.PanelsSize(form, l.in, l.out)
	}
	room := kernel.Floats(size)
	for _, l := range linears {
		p, x := l.w, l.w.Float32()
		if l.outIn {
			p.panels, p.byRow = kernel.PanelsNT(form, l.out, l.in, x, l.in, room), true
		} else {
			p.panels = kernel.PanelsNN(form, l.in, l.out, x, l.out, room)
		}
		room = room[kernel.PanelsSize(form, l.in, l.out):]
		p.release()
	}
	head.panels, head.byRow = kernel.PanelsNT(form, m.cfg.Vocab, m.cfg.Width, head.Float32(), m.cfg.Width, room), true
	head.release()
	if w != WeightsFloat32 {
		m.ToBF16() // what is left of the matrices: embeddings
	}
	m.packed = w
}

// PackedBytes is the memory that the weights of this shape, without scalar heads, take once they are packed in form w; 0 for a shape that Validate refuses.
func (c Config) PackedBytes(w Weights) (bytes int64) {
	m, err := NewEmpty(c)
	if err != nil {
		return 0
	}
	form, head := w.form(), m.body.head()
	packed := map[*Param]bool{head: true}
	bytes = kernel.PanelsBytes(form, m.cfg.Width, m.cfg.Vocab)
	for _, l := range m.body.linears() {
		packed[l.w] = true
		bytes += kernel.PanelsBytes(form, l.in, l.out)
	}
	for _, p := range m.params {
		switch {
		case packed[p]:
		case w != WeightsFloat32 && len(p.Shape) >= 2:
			bytes += 2 * int64(p.size())
		default:
			bytes += 4 * int64(p.size())
		}
	}
	return bytes
}

// PackedCopy returns a copy that is packed in form w; m stays as it is. Copied is what is not packed, so of the matrices there is
// one more set in memory, in the form of w.
func (m *Transformer) PackedCopy(w Weights) *Transformer {
	if m.lora != nil { // they are merged in place
		c := m.Clone()
		c.Pack(w)
		return c
	}
	defer runtime.KeepAlive(m)
	c := m.share()
	c.Pack(w)
	for _, p := range c.params {
		p.Data = slices.Clone(p.Data)
	}
	return c
}

// Packed is the form of a model that can only be read, empty where it can be trained.
func (m *Transformer) Packed() Weights { return m.packed }

// mustChange panics where the model can only be read.
func (m *Transformer) mustChange(what string) {
	if m.packed != "" {
		panic(fmt.Sprintf("model: %s of a model whose weights are packed as %s", what, m.packed))
	}
}

// release lets go of everything but the panels.
func (p *Param) release() { p.Data, p.Half, p.Grad, p.Frozen = nil, nil, nil, true }

// Bytes is the memory that the tensor takes.
func (p *Param) Bytes() int64 {
	if p.panels != nil {
		return p.panels.Bytes()
	}
	return 4*int64(len(p.Data)) + 2*int64(len(p.Half))
}

// unpack returns the weights that the panels stand for, in the tensor's own layout.
func (p *Param) unpack() []float32 {
	w, out := p.panels, make([]float32, p.size())
	column := make([]float32, w.K)
	for j := range w.N {
		if p.byRow {
			w.Column(out[j*w.K:], j)
			continue
		}
		w.Column(column, j)
		for k, v := range column {
			out[k*w.N+j] = v
		}
	}
	return out
}
