package model

import (
	"slices"

	"github.com/rankloop/rankloop/model/kernel"
)

// planes are the activations of a set of packed rows: one matrix per quantity, a
// row per token. A pass that will go backward keeps those of every layer; one that
// will not uses one set for all layers.
type planes struct {
	m     *Transformer
	keep  bool // for a pass that goes backward
	again bool // keeps the inputs of layers only: Backward computes the rest again
	rows  int  // N

	drop dropout // of a pass that trains

	ids, pos []int32   // [N] token and its position in its sequence
	streams  []uint64  // [N] its sequence's masks, where elements are dropped
	segs     []segment // one per sequence with rows
	spans    []span    // what goes through the layers together
	narrowed span      // the rest of one, see narrow
	shared   bool      // some segments have a lead

	ahead *kernel.Ahead // what products fetch meanwhile; nil: nothing
	store kernel.Ahead  // of ahead

	layers []acts    // [L]
	last   []float32 // [N,C] output of the last layer
	back   backActs
	behind behind

	heads   heads
	reading reading
	from    []fed // [R] what the rows of the heads are, of a decoder's step
	arena   arena
}

// segment is the run of rows of one sequence. With a cache, its rows follow the
// past positions that the cache holds.
type segment struct {
	lo, hi int
	cache  *Cache
	heads  heading

	lead int // 1 + the segment whose first rows stand for the past positions of this one; 0 = none
	past int
}

// acts are one layer's activations. In a pass without backward x, mid and next are
// one matrix, and so are the layers; in one that computes again the layers share all
// but x and next.
type acts struct {
	x            []float32 // [n,C] residual stream before the layer
	n1           []float32 // [n,C] its norm
	mean1, rstd1 []float32 // [n]
	qkv          []float32 // [n,qkv]
	att          []float32 // [n,C] attention's output
	lse          []float32 // per sequence [H][T], one after the other
	mid          []float32 // [n,C] residual stream between attention and MLP
	n2           []float32 // [n,C]
	mean2, rstd2 []float32 // [n]
	pre          []float32 // [n,pre] what enters the nonlinearity
	up           []float32 // [n,up] what the gate multiplies
	act          []float32 // [n,F] what leaves it
	next         []float32 // [n,C] residual stream after the layer
}

// backActs are the gradients of one layer's activations, used for all layers.
type backActs struct {
	dy             []float32 // [n,C] of the layer's output
	mid, dx        []float32 // [n,C] of the stream between attention and MLP, of the layer's input
	norm           []float32 // [n,C] of a norm's output
	att            []float32 // [n,C]
	qkv            []float32 // [n,qkv]
	pre, up        []float32 // [n,pre], [n,up]
	share1, share2 []float32 // [shares][2C] of the norms' weights and biases
	head           []float32 // [R,C] of what the heads read
	headShare      []float32 // [shares][2C] of the final norm's weights and biases

	branch [mlp + 1][]float32 // [n,C] of what attention and MLP add, where elements are dropped
}

// get takes planes from the model's spare ones. Those that keep the activations of
// whole batches are large and few, so the two sorts are not mixed.
func (m *Transformer) get(keep bool) *planes {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := len(m.spare) - 1; i >= 0; i-- {
		if p := m.spare[i]; p.keep == keep {
			m.spare = slices.Delete(m.spare, i, i+1)
			p.clear()
			return p
		}
	}
	return &planes{m: m, keep: keep}
}

// put gives planes back.
func (m *Transformer) put(p *planes) {
	m.mu.Lock()
	defer m.mu.Unlock()
	limit := maxSpare
	if p.keep {
		limit = 1
	}
	for _, q := range m.spare {
		if q.keep == p.keep {
			limit--
		}
	}
	if limit > 0 {
		m.spare = append(m.spare, p)
	}
}

// maxSpare bounds the buffers that a model holds on to while nobody uses them.
const maxSpare = 8

// clear takes back what p held, for a new set of rows.
func (p *planes) clear() {
	p.rows, p.ahead, p.again, p.shared, p.behind.on, p.drop, p.streams = 0, nil, false, false, false, dropout{}, p.streams[:0]
	p.ids, p.pos, p.segs, p.spans = p.ids[:0], p.pos[:0], p.segs[:0], p.spans[:0]
	p.heads.clear()
	p.arena.reset()
}

// add appends a sequence's tokens, which stand at positions from past on.
func (p *planes) add(ids []int32, past int, c *Cache) {
	p.ids = append(p.ids, ids...)
	for t := range ids {
		p.pos = append(p.pos, int32(past+t))
	}
	p.segs = append(p.segs, segment{lo: p.rows, hi: p.rows + len(ids), cache: c})
	p.rows += len(ids)
}

// reserve makes the slab as large as the whole pass needs it, on the way back too: a
// large pass then takes its memory once, and lets go of a smaller slab before. One that
// follows a smaller slab has room to spare: passes of slightly more rows each would
// otherwise leave a slab of garbage behind at every step. Room that is never used takes
// no memory of the machine.
func (p *planes) reserve() {
	n := p.measure()
	if n <= len(p.arena.slab) {
		return
	}
	n = max(n, len(p.arena.slab)*5/4)
	p.layers, p.last, p.back, p.behind = nil, nil, backActs{}, behind{}
	p.heads = heads{want: p.heads.want, atOnce: p.heads.atOnce, rows: p.heads.rows, at: p.heads.at, target: p.heads.target}
	p.arena.slab = nil
	p.arena.slab = kernel.Floats(n)
}

// measure is the number of floats that the pass lays out.
func (p *planes) measure() int {
	dry := planes{m: p.m, keep: p.keep, again: p.again, drop: p.drop, rows: p.rows, spans: slices.Clone(p.spans), arena: arena{dry: true}}
	dry.heads.want, dry.heads.atOnce, dry.heads.rows = p.heads.want, p.heads.atOnce, p.heads.rows
	dry.alloc()
	dry.allocHeads()
	if p.keep {
		dry.allocBack()
		for range 3 { // gradients of the pass's numbers
			dry.arena.alloc(dry.heads.rows)
		}
	}
	return dry.arena.used
}

// alloc lays out the matrices of the rows added.
func (p *planes) alloc() {
	c, w, n, a := p.m.cfg, p.m.body.widths(), p.rows, &p.arena
	if cap(p.layers) < c.Layers {
		p.layers = make([]acts, c.Layers)
	}
	p.layers = p.layers[:c.Layers]
	x := a.alloc(n * c.Width)
	for l := range p.layers {
		if l > 0 && !p.keep {
			p.layers[l] = p.layers[0]
			continue
		}
		if l > 0 && p.again {
			p.layers[l] = p.layers[0]
			p.layers[l].x, p.layers[l].next = x, a.alloc(n*c.Width)
			x = p.layers[l].next
			continue
		}
		t := acts{
			x: x, n1: a.alloc(n * c.Width), mean1: a.alloc(n), rstd1: a.alloc(n),
			qkv: a.alloc(n * w.qkv), att: a.alloc(n * c.Width), lse: a.alloc(n * c.Heads),
			n2: a.alloc(n * c.Width), mean2: a.alloc(n), rstd2: a.alloc(n),
			pre: a.alloc(n * w.pre), up: a.alloc(n * w.up), act: a.alloc(n * c.Hidden),
			mid: x, next: x,
		}
		if p.keep {
			t.mid, t.next = a.alloc(n*c.Width), a.alloc(n*c.Width)
			x = t.next
		}
		p.layers[l] = t
	}
	p.last = x
	if p.leavesOut() {
		p.allocBehind()
		p.last = p.behind.acts.next
	}
}

// allocBack lays out the gradients.
func (p *planes) allocBack() {
	c, w, n, a := p.m.cfg, p.m.body.widths(), p.rows, &p.arena
	shares := 0
	for i := range p.spans {
		p.spans[i].share = shares
		shares += parts(p.spans[i].rows())
	}
	p.back = backActs{
		dy: a.alloc(n * c.Width), mid: a.alloc(n * c.Width), dx: a.alloc(n * c.Width),
		norm: a.alloc(n * c.Width), att: a.alloc(n * c.Width), qkv: a.alloc(n * w.qkv),
		pre: a.alloc(n * w.pre), up: a.alloc(n * w.up),
		share1: a.alloc(shares * 2 * c.Width), share2: a.alloc(shares * 2 * c.Width),
		head: a.alloc(p.heads.rows * c.Width), headShare: a.alloc(parts(p.heads.rows) * 2 * c.Width),
	}
	if p.behind.on {
		p.allocBackBehind()
	}
	if p.drop.on() {
		p.back.branch[attention], p.back.branch[mlp] = a.alloc(n*c.Width), a.alloc(n*c.Width)
	}
}

// rowsOf returns rows lo..hi of a matrix with n rows.
func rowsOf(x []float32, n, lo, hi int) []float32 {
	w := len(x) / n
	return x[lo*w : hi*w]
}

// at returns layer l's activations of span s.
func (p *planes) at(l int, s *span) acts { return p.layers[l].cut(p.rows, s.lo, s.hi) }

// cut returns those of rows lo to hi of n.
func (a *acts) cut(n, lo, hi int) acts {
	cut := func(x []float32) []float32 { return rowsOf(x, n, lo, hi) }
	return acts{
		x: cut(a.x), n1: cut(a.n1), mean1: cut(a.mean1), rstd1: cut(a.rstd1), qkv: cut(a.qkv), att: cut(a.att),
		lse: a.lse, mid: cut(a.mid), n2: cut(a.n2), mean2: cut(a.mean2), rstd2: cut(a.rstd2),
		pre: cut(a.pre), up: cut(a.up), act: cut(a.act), next: cut(a.next),
	}
}

// backAt returns the gradients of span s.
func (p *planes) backAt(s *span) backActs {
	b, cut := &p.back, func(x []float32) []float32 { return rowsOf(x, p.rows, s.lo, s.hi) }
	w := 2 * p.m.cfg.Width
	lo, hi := s.share*w, (s.share+parts(s.rows()))*w
	return backActs{
		dy: cut(b.dy), mid: cut(b.mid), dx: cut(b.dx), norm: cut(b.norm), att: cut(b.att),
		qkv: cut(b.qkv), pre: cut(b.pre), up: cut(b.up),
		share1: b.share1[lo:hi], share2: b.share2[lo:hi],
	}
}

// addTo adds x to dst.
func addTo(dst, x []float32) {
	kernel.Parallel(len(dst), 1<<14, func(lo, hi int) { kernel.Add(dst[lo:hi], x[lo:hi]) })
}

// scatterRows adds row r of dx [n,C] to row at[r] of dst, in the order of r; dst nil
// takes nothing.
func scatterRows(dst, dx []float32, at []int32, C int) {
	if dst == nil {
		return
	}
	kernel.Parallel(C, 32, func(lo, hi int) {
		for r, i := range at {
			kernel.Add(dst[int(i)*C+lo:int(i)*C+hi], dx[r*C+lo:r*C+hi])
		}
	})
}
