package model

import (
	"maps"
	"slices"
)

// family is a row of the table of families.
type family struct {
	specs    func(Config) []spec         // the tensors, in checkpoint order
	bind     func(m *Transformer) blocks // the layers over the tensors of m
	validate func(Config) error          // what only this family demands
	defaults func(*Config)               // what only this family fills in; nil = nothing
	takes    []string                    // the fields of Config that not every family knows
}

// families is the table: a new family is a file family_<name>.go and its row here.
var families = map[string]family{
	"gpt1":  {gpt1Specs, bindGPT1, validateGPT1, defaultsGPT2, nil},
	"gpt2":  {gpt2Specs, bindGPT2, validateGPT2, defaultsGPT2, nil},
	"gpt3":  {gpt2Specs, bindGPT2, validateGPT3, defaultsGPT3, []string{"Window"}},
	"llama": {llamaSpecs, bindLlama, validateLlama, nil, []string{"KVHeads", "QKVBias", "RopeTheta", "RopeScaling"}},
}

func familyNames() []string { return slices.Sorted(maps.Keys(families)) }

// blocks are the layers of a family. Rows lo..hi of span s in the activations p go
// through them independently of all other rows but those of their own sequence.
type blocks interface {
	// widths of the activations that differ between families.
	widths() widths
	// embed writes the first residual stream x [n,C] of tokens ids at positions pos.
	embed(x []float32, ids, pos []int32)
	// forward takes span s through layer l: from its x to its next.
	forward(p *planes, s *span, l int)
	// backward takes span s back through layer l: from p.back.dy to p.back.dx, leaving
	// what addGrads needs in p.back.
	backward(p *planes, s *span, l int)
	// addGrads adds the gradients of layer l's tensors, over all rows of p.
	addGrads(p *planes, l int)
	// embedGrads adds the gradients of the embeddings from dx [n,C].
	embedGrads(dx []float32, ids, pos []int32)
	// final is the norm before the heads; nil = none.
	final() *norm
	// head is the LM head's matrix [V,C].
	head() *Param
	// linears are the linear layers of all layers, in checkpoint order.
	linears() []*linear
}

// widths are per-row sizes of activations: qkv of the queries, keys and values side
// by side, pre of what enters the MLP's nonlinearity, up of its gate's partner.
type widths struct{ qkv, pre, up int }
