package model

import "github.com/rankloop/rankloop/model/kernel"

// dropout is what SetDropout asked for, in the form the masks are made from.
type dropout struct {
	seed  uint64
	limit uint32  // an element is dropped where 32 random bits are below; 0 = off
	scale float32 // of the others
}

// site is a place in the network where dropout acts.
type site uint64

const (
	embedding site = iota // the sum of the embeddings
	weights               // attention's weights
	attention             // what attention adds to the residual stream
	mlp                   // what the MLP adds to it
)

// SetDropout makes passes of Forward drop elements with probability p in [0,1) and
// scale the others by 1/(1-p) (Srivastava et al. 2014), at GPT-2's places in every
// family: the sum of the embeddings, the attention weights, and what attention and MLP
// add to the residual stream. Each mask is a function of seed, [Sequence].Stream, layer,
// place, position and channel (or head and key) alone, so it depends neither on the rest
// of the batch nor on threads or recomputation. Score, Logits and Extend never drop.
// p = 0 turns it off; it panics on a p out of range.
func (m *Transformer) SetDropout(p float32, seed uint64) {
	if !(p >= 0 && p < 1) {
		panic(invalid("dropout", "%g is not in [0,1)", p))
	}
	limit := float64(p) * (1 << 32)
	m.drop = dropout{seed: seed, limit: uint32(limit), scale: float32(1 / (1 - float64(p)))}
}

func (d *dropout) on() bool { return d.limit > 0 }

// key is the random stream of one row: a position of a sequence, at a place of a layer.
func (p *planes) key(l int, at site, row int) uint64 {
	k := kernel.Random(p.drop.seed, p.streams[row])
	k = kernel.Random(k, uint64(l)<<8|uint64(at))
	return kernel.Random(k, uint64(p.pos[row]))
}

// dropRows drops elements of x [n,C], the rows from lo on.
func (p *planes) dropRows(x []float32, lo, l int, at site) {
	if !p.drop.on() {
		return
	}
	C := p.m.cfg.Width
	kernel.Parallel(len(x)/C, 32, func(a, b int) {
		for r := a; r < b; r++ {
			kernel.Drop(x[r*C:(r+1)*C], p.key(l, at, lo+r), 0, p.drop.limit, p.drop.scale)
		}
	})
}

// mask is the dropout of the attention weights of the sequence whose rows start at lo;
// nil = none.
func (p *planes) mask(l, lo int) kernel.Mask {
	if !p.drop.on() {
		return nil
	}
	return func(h, i, j int, w []float32) {
		kernel.Drop(w, kernel.Random(p.key(l, weights, lo+i), uint64(h)), j, p.drop.limit, p.drop.scale)
	}
}

// addBranch computes y = res + what branch makes of x, all [n,·] rows of span s; y is
// not res where elements are dropped.
func (p *planes) addBranch(s *span, l int, at site, branch *linear, y, res, x []float32) {
	n := s.rows()
	if !p.drop.on() {
		branch.forwardAdd(y, res, x, branch.in, n, p.ahead)
		return
	}
	branch.forward(y, branch.out, x, branch.in, n, p.ahead)
	p.dropRows(y, s.lo, l, at)
	addTo(y, res)
}

// backBranch is the gradient of what a branch made, given dy [n,C] of the sum, the rows
// of span s: dy itself unless elements were dropped.
func (p *planes) backBranch(s *span, l int, at site, dy []float32) []float32 {
	if !p.drop.on() {
		return dy
	}
	d := rowsOf(p.back.branch[at], p.rows, s.lo, s.hi)
	copy(d, dy)
	p.dropRows(d, s.lo, l, at)
	return d
}

// branchGrad is what backBranch left of all rows, where dy is that of the sum.
func (p *planes) branchGrad(at site, dy []float32) []float32 {
	if !p.drop.on() {
		return dy
	}
	return p.back.branch[at]
}
