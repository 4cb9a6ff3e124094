package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/rankloop/rankloop/model/kernel"
)

// Head names what is read from the final hidden state. Every model has the LM
// head; at most one scalar head comes on top.
type Head uint8

const (
	// HeadLM is the next-token head that every model has.
	HeadLM Head = iota
	// HeadScore is a reward model's head: tensors score.weight [1,C] and, where
	// present, score.bias [1].
	HeadScore
	// HeadValue is a critic's head: tensors value.weight [1,C] and, where present,
	// value.bias [1].
	HeadValue
)

func (h Head) prefix() string {
	switch h {
	case HeadScore:
		return "score"
	case HeadValue:
		return "value"
	}
	panic("model: not a scalar head")
}

// Transformer is a decoder of one family with its weights. Any number of
// goroutines may call Score, Logits and Extend at the same time as long as nobody
// changes the weights; Forward, Backward and AdamW.Step are for one goroutine.
type Transformer struct {
	cfg    Config
	params []*Param
	body   blocks // the family's layers, bound to params

	scalar     Head // HeadLM = no scalar head
	scalarW    *Param
	scalarBias *Param // nil = none

	lora      *LoRA   // what the adapters were made from, nil = none
	mixed     bool    // products round their factors to bfloat16
	sharpness float32 // 1/temperature: the factor of every logit, 0 = 1
	packed    Weights // form of weights that can only be read, empty = none
	recompute bool    // passes keep the inputs of layers only
	drop      dropout

	mu         sync.Mutex
	spare      []*planes    // activation buffers that no pass uses now
	buffers    []*[]float32 // scratch that nobody uses now
	extensions []*extension // steps of decoding, likewise
}

// New makes a transformer with GPT-2's initialisation; the weights are a function
// of cfg and seed.
func New(cfg Config, seed uint64) (*Transformer, error) {
	m, err := NewZero(cfg)
	if err != nil {
		return nil, err
	}
	m.fill(seed)
	return m, nil
}

// NewZero makes a transformer whose weights are all zero, for a loader to fill.
func NewZero(cfg Config) (*Transformer, error) {
	m, err := NewEmpty(cfg)
	if err != nil {
		return nil, err
	}
	for i, data := range kernel.Slab(sizes(m.params, (*Param).size)) {
		m.params[i].Data = data
	}
	return m, nil
}

// sizes lists a number of each tensor.
func sizes(params []*Param, of func(*Param) int) []int {
	out := make([]int, len(params))
	for i, p := range params {
		out[i] = of(p)
	}
	return out
}

// NewEmpty makes a transformer whose tensors have names and shapes but no data: for a
// loader that sets Data or Half of each, and for counting what a shape needs.
func NewEmpty(cfg Config) (*Transformer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.WithDefaults()
	fam := families[cfg.Family]
	m := &Transformer{cfg: cfg}
	for _, s := range fam.specs(cfg) {
		m.params = append(m.params, &Param{Name: s.name, Shape: s.shape})
	}
	m.body = fam.bind(m)
	return m, nil
}

// fill initialises all tensors of the family.
func (m *Transformer) fill(seed uint64) {
	for i, s := range families[m.cfg.Family].specs(m.cfg) {
		s.fill(m.params[i], m.cfg.Layers, seed, i)
	}
}

// AddHead gives the model a fresh scalar head without bias, weights drawn from
// N(0, 1/sqrt(C+1)), in place of any it has. h is HeadScore or HeadValue.
func (m *Transformer) AddHead(h Head, seed uint64) {
	m.DropHead()
	C := m.cfg.Width
	m.scalar, m.scalarW = h, &Param{Name: h.prefix() + ".weight", Shape: []int{1, C}, Data: make([]float32, C)}
	fillNormal(m.scalarW.Data, 1/math.Sqrt(float64(C+1)), seed, headStream)
	m.params = append(m.params, m.scalarW)
}

// headStream keeps the scalar head's draws apart from those of the body.
const headStream = 1 << 32

// AddHeadBias gives the scalar head a bias of zero, if it has none.
func (m *Transformer) AddHeadBias() {
	if m.scalarBias != nil {
		return
	}
	m.scalarBias = &Param{Name: m.scalar.prefix() + ".bias", Shape: []int{1}, Data: make([]float32, 1)}
	m.params = append(m.params, m.scalarBias)
}

// TurnHead makes the present scalar head the head h with the same weights: a
// critic starts from a reward model this way.
func (m *Transformer) TurnHead(h Head) {
	if m.scalar == HeadLM {
		panic("model: no scalar head to turn")
	}
	m.scalar, m.scalarW.Name = h, h.prefix()+".weight"
	if m.scalarBias != nil {
		m.scalarBias.Name = h.prefix() + ".bias"
	}
}

// ScalarHead returns the scalar head, HeadLM where there is none.
func (m *Transformer) ScalarHead() Head { return m.scalar }

// DropHead takes the scalar head away, if there is one.
func (m *Transformer) DropHead() {
	m.params = slices.DeleteFunc(m.params, func(p *Param) bool { return p == m.scalarW || p == m.scalarBias })
	m.scalar, m.scalarW, m.scalarBias = HeadLM, nil, nil
}

// Config returns the shape, defaults filled in.
func (m *Transformer) Config() Config { return m.cfg }

// Params returns the tensors in the family's order, the scalar head last. The
// slice is the caller's, the tensors are the model's.
func (m *Transformer) Params() []*Param { return slices.Clone(m.params) }

// Param returns the tensor of that name, nil where there is none.
func (m *Transformer) Param(name string) *Param {
	for _, p := range m.params {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Trainable returns the tensors that are not frozen, in the order of Params.
func (m *Transformer) Trainable() []*Param {
	return slices.DeleteFunc(m.Params(), func(p *Param) bool { return p.Frozen })
}

// NumParams counts the weights; tied ones count once.
func (m *Transformer) NumParams() int {
	n := 0
	for _, p := range m.params {
		n += p.Len()
	}
	return n
}

// Clone copies shape, weights, adapters, what is frozen, precision, recomputation and dropout;
// gradients are not copied.
func (m *Transformer) Clone() *Transformer {
	defer runtime.KeepAlive(m) // weights may be mapped pages that go with the model
	c := m.share()
	slab := kernel.Slab(sizes(c.params, func(p *Param) int { return len(p.Data) }))
	for i, p := range c.params {
		if p.Data != nil {
			copy(slab[i], p.Data)
			p.Data = slab[i]
		}
		p.Half = slices.Clone(p.Half)
	}
	return c
}

// share is Clone without a copy of the weights: both models have the same.
func (m *Transformer) share() *Transformer {
	c, err := NewEmpty(m.cfg)
	if err != nil {
		panic(err) // m has the same shape
	}
	if m.scalar != HeadLM {
		c.AddHead(m.scalar, 0)
		if m.scalarBias != nil {
			c.AddHeadBias()
		}
	}
	m.copyLoRA(c)
	for i, p := range m.params {
		q := c.params[i]
		q.Data, q.Half, q.Frozen = p.Data, p.Half, p.Frozen
		q.panels, q.byRow = p.panels, p.byRow // nobody writes to them
	}
	c.SetMixed(m.mixed)
	c.sharpness = m.sharpness
	c.recompute, c.drop, c.packed = m.recompute, m.drop, m.packed
	return c
}

// ZeroGrad sets all gradients to zero.
func (m *Transformer) ZeroGrad() {
	for _, p := range m.params {
		clear(p.Grad)
	}
}

// Digest is the SHA-256 over shape, adapters, names and weights, in hexadecimal. Two
// models with the same digest compute the same; BF16 weights count as the float32
// numbers that they stand for.
func (m *Transformer) Digest() string {
	defer runtime.KeepAlive(m)
	h := sha256.New()
	encode := func(v any) {
		if err := json.NewEncoder(h).Encode(v); err != nil {
			panic(err) // validated shapes hold only finite numbers
		}
	}
	encode(m.cfg)
	if m.lora != nil {
		encode(m.lora)
	}
	var buf [4096]byte
	var wide [len(buf) / 4]float32
	for _, p := range m.params {
		encode(struct {
			Name  string
			Shape []int
		}{p.Name, p.Shape})
		if p.panels != nil {
			p = &Param{Data: p.unpack()}
		}
		for at := 0; at < p.Len(); at += len(wide) {
			x := wide[:min(len(wide), p.Len()-at)]
			p.read(x, at)
			for i, v := range x {
				binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
			}
			h.Write(buf[:4*len(x)])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
