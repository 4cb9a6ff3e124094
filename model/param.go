package model

import (
	"math"
	"math/rand/v2"
)

// Param is one named tensor of a model. Names and shapes are those of the Hugging
// Face checkpoint of the family, so a checkpoint is the list of its Params.
type Param struct {
	Name  string
	Shape []int
	Data  []float32 // row-major
	Grad  []float32 // same layout; nil until the first Backward
}

// initKind says how a fresh tensor is filled.
type initKind uint8

const (
	initNormal   initKind = iota // N(0, 0.02)
	initResidual                 // N(0, 0.02/sqrt(2L)): the projections that write to the residual stream
	initOne
	initZero
)

// spec describes a tensor of a family: its name, shape and initialisation.
type spec struct {
	name  string
	shape []int
	init  initKind
}

func (s spec) size() int {
	n := 1
	for _, d := range s.shape {
		n *= d
	}
	return n
}

// fill initialises data; i is the tensor's place in the model, so that every
// tensor draws from a stream of its own.
func (s spec) fill(data []float32, layers int, seed uint64, i int) {
	switch s.init {
	case initOne:
		for j := range data {
			data[j] = 1
		}
	case initNormal:
		fillNormal(data, 0.02, seed, uint64(i))
	case initResidual:
		fillNormal(data, 0.02/math.Sqrt(2*float64(layers)), seed, uint64(i))
	case initZero:
		clear(data)
	}
}

func fillNormal(data []float32, std float64, seed, stream uint64) {
	rng := rand.New(rand.NewPCG(seed, stream))
	for j := range data {
		data[j] = float32(std * rng.NormFloat64())
	}
}

// grad returns the gradient of p, allocating it at first use.
func (p *Param) grad() []float32 {
	if p.Grad == nil {
		p.Grad = make([]float32, len(p.Data))
	}
	return p.Grad
}
