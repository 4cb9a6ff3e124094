package model

import (
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/model/kernel"
)

// Param is one named tensor of a model. Names and shapes are those of the Hugging
// Face checkpoint of the family, so a checkpoint is the list of its Params.
type Param struct {
	Name   string
	Shape  []int
	Data   []float32 // row-major; nil where Half holds the weights
	Half   []uint16  // the weights of a matrix of a BF16 model, the upper halves of float32, instead of Data
	Grad   []float32 // same layout; nil until the first Backward
	Frozen bool      // gets no gradient and is not stepped

	mixed   bool           // rounded to bfloat16 where it is used
	panels  *kernel.Panels // the weights of a packed model, instead of Data and Half
	byRow   bool           // the rows of Shape are the outputs of panels
	adapter *adapter       // low-rank addition to a linear layer's matrix, nil = none
}

// Len is the number of elements.
func (p *Param) Len() int {
	if p.panels != nil {
		return p.size()
	}
	return max(len(p.Data), len(p.Half))
}

// Float32 returns the weights: Data itself, or a widened copy of Half or of what is packed.
func (p *Param) Float32() []float32 {
	switch {
	case p.panels != nil:
		return p.unpack()
	case p.Half == nil:
		return p.Data
	}
	out := make([]float32, len(p.Half))
	kernel.Widen(out, p.Half)
	return out
}

// size is the number of elements that Shape asks for.
func (p *Param) size() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// read copies the elements from at on to dst; the tensor is not packed.
func (p *Param) read(dst []float32, at int) {
	if p.Half != nil {
		kernel.Widen(dst, p.Half[at:])
		return
	}
	copy(dst, p.Data[at:])
}

// row copies row i of a matrix with rows of len(dst) to dst.
func (p *Param) row(dst []float32, i int) {
	if p.panels != nil {
		p.panels.Column(dst, i)
		return
	}
	p.read(dst, i*len(dst))
	if p.mixed {
		kernel.RoundBF16(dst)
	}
}

// addRow adds row i to dst.
func (p *Param) addRow(dst []float32, i int) {
	if p.Half != nil {
		kernel.AddWidened(dst, p.Half[i*len(dst):])
		return
	}
	if p.mixed {
		kernel.AddRounded(dst, p.Data[i*len(dst):])
		return
	}
	kernel.Add(dst, p.Data[i*len(dst):])
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

// fill initialises p; i is the tensor's place in the model, so that every tensor draws
// from a stream of its own.
func (s spec) fill(p *Param, layers int, seed uint64, i int) {
	rng := rand.New(rand.NewPCG(seed, uint64(i)))
	std := 0.02
	if s.init == initResidual {
		std = 0.02 / math.Sqrt(2*float64(layers))
	}
	p.write(func(x []float32) {
		switch s.init {
		case initOne:
			for j := range x {
				x[j] = 1
			}
		case initZero:
			clear(x)
		default:
			normals(x, std, rng)
		}
	})
}

// write sets all elements, which f delivers piece by piece from the first on, so that
// a BF16 tensor needs no whole float32 copy.
func (p *Param) write(f func(x []float32)) {
	if p.Half == nil {
		f(p.Data)
		return
	}
	piece := make([]float32, min(len(p.Half), 1<<16))
	for h := p.Half; len(h) > 0; {
		x := piece[:min(len(piece), len(h))]
		f(x)
		kernel.Narrow(h[:len(x)], x)
		h = h[len(x):]
	}
}

func fillNormal(data []float32, std float64, seed, stream uint64) {
	normals(data, std, rand.New(rand.NewPCG(seed, stream)))
}

func normals(x []float32, std float64, rng *rand.Rand) {
	for j := range x {
		x[j] = float32(std * rng.NormFloat64())
	}
}

// grad returns the gradient of p, allocating it at first use; nil where p is frozen.
func (p *Param) grad() []float32 {
	if p.Frozen {
		return nil
	}
	if p.Grad == nil {
		p.Grad = kernel.Floats(p.Len())
	}
	return p.Grad
}
