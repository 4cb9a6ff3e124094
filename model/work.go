package model

import (
	"math"

	"github.com/rankloop/rankloop/model/kernel"
)

// What a decoder's step deals out to the threads lies in its span and its planes, so that a token allocates nothing.

// activation is the work of a nonlinearity on rows of F elements: dst = GELU(x), or SiLU(x)·up where there is a gate.
type activation struct {
	dst, x, up []float32
	F          int
}

// activate computes dst [n,F] from x [n,F] and up [n,F], nil without a gate.
func (s *span) activate(dst, x, up []float32, n, F int) {
	s.activation = activation{dst, x, up, F}
	kernel.ParallelWork(n, 1+activationWork/F, &s.activation)
}

// activationWork is the number of elements that are worth a goroutine.
const activationWork = 1 << 13

// Run computes rows lo to hi.
func (w *activation) Run(lo, hi int) {
	lo, hi = lo*w.F, hi*w.F
	if w.up == nil {
		kernel.GELU(w.dst[lo:hi], w.x[lo:hi])
		return
	}
	kernel.SiLU(w.dst[lo:hi], w.x[lo:hi])
	kernel.Mul(w.dst[lo:hi], w.up[lo:hi])
}

// attending is the work of attention on the sequences of a span.
type attending struct {
	p        *planes
	s        *span
	l        int
	out, qkv []float32 // [n,C] and [n,qkv] of the span
}

// attend runs causal attention over every sequence of span s: out [n,C] from qkv
// [n,qkv], the span's rows. A sequence with a cache first writes its keys and values
// there and then sees the past ones too.
func (p *planes) attend(s *span, l int, out, qkv []float32) {
	s.attending = attending{p, s, l, out, qkv}
	kernel.ParallelWork(s.segHi-s.segLo, attendGrain(p, s), &s.attending)
	p.fetch(s, l+1)
}

// aheadMost is how many numbers are fetched ahead of attention: they must stay in the second-level cache, beside weights that pass through it.
const aheadMost = 1 << 18

// fetch lets products fetch the keys and values that attention of layer l will read.
func (p *planes) fetch(s *span, l int) {
	if p.ahead == nil {
		return
	}
	p.ahead.Clear()
	if l == p.m.cfg.Layers {
		return
	}
	for left, i := aheadMost, s.segLo; i < s.segHi && left > 0; i++ {
		left -= p.segs[i].cache.ahead(p.ahead, l, left)
	}
}

// Run takes sequences lo to hi of the span through attention.
func (w *attending) Run(lo, hi int) {
	p, s := w.p, w.s
	c := p.m.cfg
	D, H, KV, W := c.headDim(), c.Heads, c.KVHeads, p.m.body.widths().qkv
	// All are written before any is read: who reads what he has just written waits until it has reached the cache.
	for i := s.segLo + lo; i < s.segLo+hi; i++ {
		if g := &p.segs[i]; g.cache != nil {
			x := w.qkv[(g.lo-s.lo)*W:]
			g.cache.store(w.l, x[H*D:], x[(H+KV)*D:], W, g.hi-g.lo)
		}
	}
	for i := s.segLo + lo; i < s.segLo+hi; i++ {
		g := &p.segs[i]
		T := g.hi - g.lo
		if T == 0 {
			continue
		}
		q := w.qkv[(g.lo-s.lo)*W:]
		o := w.out[(g.lo-s.lo)*c.Width : (g.hi-s.lo)*c.Width]
		if g.cache != nil {
			g.heads = heading{p, g, w.l, o, q}
			kernel.ParallelWork(KV, 1+cachedWork/(T*(g.cache.n+T)*D), &g.heads)
			continue
		}
		if g.lead > 0 {
			w.attendShared(g, q, o)
			continue
		}
		var lse []float32
		if p.keep {
			lse = p.layers[w.l].lse[g.lo*H : g.hi*H]
		}
		kernel.AttentionMasked(p.mask(w.l, g.lo), o, c.Width, lse, q, W, q[H*D:], W, q[(H+KV)*D:], W, T, T, H, KV, D, c.window(w.l), c.attentionScale())
	}
}

// cachedWork is the number of elements of keys that are worth a goroutine: they come from far away, where a token's weights have
// passed through the caches since they were read last.
const cachedWork = 1 << 14

// heading is the work of attention on the heads of one sequence with a cache.
type heading struct {
	p      *planes
	g      *segment
	l      int
	out, q []float32 // [T,C] and [T,qkv] of the sequence
}

// Run takes the query heads of key heads lo to hi through attention.
func (w *heading) Run(lo, hi int) {
	c, cache := w.p.m.cfg, w.g.cache
	D, H, KV, W, T := c.headDim(), c.Heads, c.KVHeads, w.p.m.body.widths().qkv, w.g.hi-w.g.lo
	h := lo * (H / KV) * D
	kernel.AttentionCached(w.out[h:], c.Width, w.q[h:], W, cache.paged(w.l, lo), T, cache.n+T,
		(hi-lo)*(H/KV), hi-lo, D, c.window(w.l), c.attentionScale())
}

// attentionScale is what scores are multiplied with (Vaswani et al. 2017, eq. 1).
func (c Config) attentionScale() float32 { return float32(1 / math.Sqrt(float64(c.headDim()))) }

// extension feeds groups of caches their new tokens; see Transformer.ExtendValues.
type extension struct {
	m      *Transformer
	caches []*Cache
	ids    [][]int32
	all    []bool
	ends   []int // where each group ends
	each   func(i, t int, logits []float32, value float32)
}

// Run feeds groups lo to hi.
func (w *extension) Run(lo, hi int) {
	p := w.m.get(false)
	for g := lo; g < hi; g++ {
		from := 0
		if g > 0 {
			from = w.ends[g-1]
		}
		p.extend(w, from, w.ends[g])
	}
	w.m.put(p)
}

// reading hands out the logits of a group of caches.
type reading struct {
	w      *extension
	logits []float32 // [..][V]
	values []float32
	from   []fed
	V      int
}

// fed is token t of what cache i is fed.
type fed struct{ i, t int }

// Run hands out rows lo to hi.
func (r *reading) Run(lo, hi int) {
	for i := lo; i < hi; i++ {
		r.w.each(r.from[i].i, r.from[i].t, r.logits[i*r.V:(i+1)*r.V], r.values[i])
	}
}
