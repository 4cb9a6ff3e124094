package model

import "errors"

var errSoon = errors.New("model: under construction")

type planes struct{}
type blocks interface{}
type family struct {
	specs    func(Config) []spec
	bind     func(*Transformer) blocks
	validate func(Config) error
}

var families = map[string]family{"gpt2": {specs: func(Config) []spec { return nil }, bind: func(*Transformer) blocks { return nil }, validate: func(Config) error { return nil }}}

func (m *Transformer) Forward(batch []Sequence, want Want) *Pass { panic(errSoon) }
func (m *Transformer) Score(batch []Sequence, want Want) *Pass   { panic(errSoon) }
func (p *Pass) Backward(g Grads)                                 { panic(errSoon) }
func (m *Transformer) Logits(ids []int32) [][]float32            { panic(errSoon) }

// AdamW is the optimizer.
type AdamW struct{ Beta1, Beta2, Eps, Decay, Clip float32 }

func NewAdamW() *AdamW                                                     { return &AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Clip: 1} }
func (o *AdamW) Step(m *Transformer, lr float32) (norm float64, err error) { return 0, errSoon }
func (o *AdamW) State() (step int, m, v [][]float32)                       { return 0, nil, nil }
func (o *AdamW) SetState(step int, m, v [][]float32)                       {}

// Cache holds the keys and values of one sequence.
type Cache struct{}

func (m *Transformer) NewCache() *Cache                                  { return &Cache{} }
func (c *Cache) Len() int                                                { return 0 }
func (c *Cache) Fork(n int) []*Cache                                     { return nil }
func (m *Transformer) Extend(caches []*Cache, ids [][]int32) [][]float32 { panic(errSoon) }
