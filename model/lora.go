package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/rankloop/rankloop/model/kernel"
)

// LoRA asks for low-rank adapters (Hu et al. 2021, equation 3): a linear layer
// computes x·W + (Alpha/Rank)·(x·Aᵀ)·Bᵀ with A [Rank,in] and B [out,Rank], and A and B
// alone are trained. B starts at zero, so an adapted model starts as the model itself.
type LoRA struct {
	Rank    int
	Alpha   float64
	Targets []string // last components of module names: "c_attn", "q_proj" ...; empty = the projections to queries, keys and values
}

// scale is Alpha/Rank.
func (l LoRA) scale() float32 { return float32(l.Alpha / float64(l.Rank)) }

// adapter is the low-rank addition to one linear layer. Its products with the batch
// are chains of their own or go on where the layer's chain ended, so that a row's bits
// do not depend on the others here either.
type adapter struct {
	m       *Transformer // whose scratch it uses
	a, b    *Param       // [r,in], [out,r]
	in, out int
	r       int
	scale   float32
}

// down computes u [rows,r] = scale·x·Aᵀ.
func (a *adapter) down(u, x []float32, ldx, rows int) {
	kernel.NT(rows, a.r, a.in, x, ldx, a.a.Data, a.in, u, a.r, false)
	kernel.Scale(u, a.scale)
}

// forward adds u·Bᵀ to y [rows,out].
func (a *adapter) forward(y []float32, ldy int, x []float32, ldx, rows int) {
	u := a.m.scratch(rows * a.r)
	defer a.m.recycle(u)
	a.down(*u, x, ldx, rows)
	kernel.NT(rows, a.out, a.r, *u, a.r, a.b.Data, a.r, y, ldy, true)
}

// up computes du [rows,r] = scale·dy·B, the gradient of x·Aᵀ.
func (a *adapter) up(du, dy []float32, lddy, rows int) {
	kernel.NN(rows, a.r, a.out, dy, lddy, a.b.Data, a.r, du, a.r, false)
	kernel.Scale(du, a.scale)
}

// backX adds du·A to dx [rows,in].
func (a *adapter) backX(dx, dy []float32, lddy, rows int) {
	du := a.m.scratch(rows * a.r)
	defer a.m.recycle(du)
	a.up(*du, dy, lddy, rows)
	kernel.NN(rows, a.in, a.r, *du, a.r, a.a.Data, a.in, dx, a.in, true)
}

// backW adds to the gradients: dB += dyᵀ·u and dA += duᵀ·x.
func (a *adapter) backW(x []float32, ldx int, dy []float32, lddy, rows int) {
	u := a.m.scratch(rows * a.r)
	defer a.m.recycle(u)
	if !a.b.Frozen {
		a.down(*u, x, ldx, rows)
		kernel.TN(a.out, a.r, rows, dy, lddy, *u, a.r, a.b.grad(), a.r, true)
	}
	if !a.a.Frozen {
		a.up(*u, dy, lddy, rows)
		kernel.TN(a.r, a.in, rows, *u, a.r, x, ldx, a.a.grad(), a.in, true)
	}
}

// AddLoRA gives every linear layer that l.Targets names an adapter and freezes all
// other tensors but a scalar head. The new tensors, "<module>.lora_A" [r,in], drawn
// uniformly from ±1/√in (Kaiming's, as PEFT does), and "<module>.lora_B" [out,r], zero,
// stand after the family's. An unknown target, or a rank or alpha out of range, is an
// *InvalidError; a model has one set of adapters at a time.
func (m *Transformer) AddLoRA(l LoRA, seed uint64) error {
	return m.addLoRA(l, func(a *Param, i int) {
		rng := rand.New(rand.NewPCG(seed, adapterStream+uint64(i)))
		bound := 1 / math.Sqrt(float64(a.Shape[1]))
		for j := range a.Data {
			a.Data[j] = float32(bound * (2*rng.Float64() - 1))
		}
	})
}

// adapterStream keeps the adapters' draws apart from those of the body and the head.
const adapterStream = 1 << 33

// addLoRA is AddLoRA with fill for the matrices A; fill nil makes tensors without data.
func (m *Transformer) addLoRA(l LoRA, fill func(a *Param, i int)) error {
	if m.packed != "" {
		return invalid("weights", "packed as %s, they can only be read", m.packed)
	}
	if m.lora != nil {
		return invalid("LoRA", "the model has adapters already; merge them first")
	}
	var linears []*linear
	var known []string
	for _, lin := range m.body.linears() {
		if t := lin.target(); !slices.Contains(known, t) {
			known = append(known, t)
		}
	}
	l.Targets = slices.Clone(l.Targets)
	if len(l.Targets) == 0 {
		for _, t := range known {
			if slices.Contains([]string{"c_attn", "q_proj", "k_proj", "v_proj"}, t) {
				l.Targets = append(l.Targets, t)
			}
		}
	}
	for _, t := range l.Targets {
		if !slices.Contains(known, t) {
			return invalid("Targets", "%q is no linear layer of %s; there are %s", t, m.cfg.Family, strings.Join(known, ", "))
		}
	}
	for _, lin := range m.body.linears() {
		if slices.Contains(l.Targets, lin.target()) {
			linears = append(linears, lin)
		}
	}
	if l.Rank < 1 || l.Rank > maxDim {
		return invalid("Rank", "%d is not in 1..%d", l.Rank, maxDim)
	}
	if !(l.Alpha > 0) || math.IsInf(l.Alpha, 0) {
		return invalid("Alpha", "%g is not a positive number", l.Alpha)
	}
	for _, p := range m.params {
		p.Frozen, p.Grad = p != m.scalarW && p != m.scalarBias, nil
	}
	var added []*Param
	tensor := func(name string, rows, cols int) *Param {
		p := &Param{Name: name, Shape: []int{rows, cols}}
		if fill != nil {
			p.Data = make([]float32, rows*cols)
		}
		added = append(added, p)
		return p
	}
	for i, lin := range linears {
		module := strings.TrimSuffix(lin.w.Name, ".weight")
		a := &adapter{m: m, in: lin.in, out: lin.out, r: l.Rank, scale: l.scale()}
		a.a, a.b = tensor(module+".lora_A", l.Rank, lin.in), tensor(module+".lora_B", lin.out, l.Rank)
		if fill != nil {
			fill(a.a, i)
		}
		lin.w.adapter = a
	}
	at := len(m.params)
	if m.scalar != HeadLM {
		at = slices.Index(m.params, m.scalarW)
	}
	m.params = slices.Insert(m.params, at, added...)
	m.lora = &l
	return nil
}

// target is the last component of the layer's name.
func (l *linear) target() string {
	module := strings.TrimSuffix(l.w.Name, ".weight")
	return module[strings.LastIndexByte(module, '.')+1:]
}

// LoRA returns what the model's adapters were made from, Targets filled in; false
// where it has none.
func (m *Transformer) LoRA() (LoRA, bool) {
	if m.lora == nil {
		return LoRA{}, false
	}
	l := *m.lora
	l.Targets = slices.Clone(l.Targets)
	return l, true
}

// MergeLoRA adds the adapters to the weights, W += (Alpha/Rank)·B·A, and drops them;
// nothing is frozen afterwards. The sum is made in float32 and, in a BF16 model,
// rounded to the nearest. Without adapters it only thaws.
func (m *Transformer) MergeLoRA() {
	m.mustChange("MergeLoRA")
	for _, lin := range m.body.linears() {
		if a := lin.w.adapter; a != nil {
			a.merge(lin)
			lin.w.adapter = nil
		}
	}
	m.params = slices.DeleteFunc(m.params, func(p *Param) bool {
		return strings.HasSuffix(p.Name, ".lora_A") || strings.HasSuffix(p.Name, ".lora_B")
	})
	for _, p := range m.params {
		p.Frozen = false
	}
	m.lora = nil
}

func (a *adapter) merge(l *linear) {
	w, b := l.w.Float32(), slices.Clone(a.b.Data)
	kernel.Scale(b, a.scale)
	if l.outIn {
		kernel.NN(l.out, l.in, a.r, b, a.r, a.a.Data, l.in, w, l.in, true)
	} else {
		kernel.TN(l.in, l.out, a.r, a.a.Data, l.in, transposed(b, l.out, a.r), l.out, w, l.out, true)
	}
	if l.w.Half != nil {
		kernel.Narrow(l.w.Half, w)
	}
}

// transposed returns x [rows,cols] as [cols,rows].
func transposed(x []float32, rows, cols int) []float32 {
	t := make([]float32, len(x))
	for i := range rows {
		for j := range cols {
			t[j*rows+i] = x[i*cols+j]
		}
	}
	return t
}

// copyLoRA gives c, a copy of m's shape, the adapters of m.
func (m *Transformer) copyLoRA(c *Transformer) {
	if m.lora == nil {
		return
	}
	if err := c.addLoRA(*m.lora, func(*Param, int) {}); err != nil {
		panic(fmt.Errorf("a copy of the model: %w", err))
	}
}
