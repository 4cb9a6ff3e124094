package model

import (
	"math"

	"github.com/rankloop/rankloop/model/kernel"
)

// attend runs causal attention over every sequence of span s: out [n,C] from qkv
// [n,qkv], the span's rows. A sequence with a cache first writes its keys and values
// there and then sees the past ones too.
func (p *planes) attend(s *span, l int, out, qkv []float32) {
	c := p.m.cfg
	D, H, KV, W := c.headDim(), c.Heads, c.KVHeads, p.m.body.widths().qkv
	scale := float32(1 / math.Sqrt(float64(D)))
	kernel.Parallel(s.segHi-s.segLo, attendGrain(p, s), func(a, b int) {
		for _, g := range p.segs[s.segLo+a : s.segLo+b] {
			T := g.hi - g.lo
			if T == 0 {
				continue
			}
			row := qkv[(g.lo-s.lo)*W:]
			o := out[(g.lo-s.lo)*c.Width : (g.hi-s.lo)*c.Width]
			q, k, v := row, row[H*D:], row[(H+KV)*D:]
			if g.cache == nil {
				var lse []float32
				if p.keep {
					lse = p.layers[l].lse[g.lo*H : g.hi*H]
				}
				kernel.AttentionMasked(p.mask(l, g.lo), o, c.Width, lse, q, W, k, W, v, W, T, T, H, KV, D, c.window(l), scale)
				continue
			}
			keys, values := g.cache.layer(l)
			kernel.Parallel(KV, 1+cachedWork/(T*(g.cache.n+T)*D), func(lo, hi int) {
				g.cache.store(l, k, v, W, T, lo*D, hi*D)
				h := lo * (H / KV) * D
				kernel.AttentionCached(o[h:], c.Width, q[h:], W, keys[lo*D*g.cache.size:], g.cache.size, values[lo*D:], KV*D, T, g.cache.n+T, (hi-lo)*(H/KV), hi-lo, D, c.window(l), scale)
			})
		}
	})
}

// cachedWork is the number of elements of keys that are worth a goroutine: they come from far away, where a token's weights have
// passed through the caches since they were read last.
const cachedWork = 1 << 14

// attendBack computes dqkv [n,qkv] of span s from datt [n,C], with out and qkv of
// the forward pass.
func (p *planes) attendBack(s *span, l int, dqkv, datt, out, qkv []float32) {
	c := p.m.cfg
	D, H, KV, W, C := c.headDim(), c.Heads, c.KVHeads, p.m.body.widths().qkv, c.Width
	scale := float32(1 / math.Sqrt(float64(D)))
	kernel.Parallel(s.segHi-s.segLo, attendGrain(p, s), func(a, b int) {
		for _, g := range p.segs[s.segLo+a : s.segLo+b] {
			T, at := g.hi-g.lo, g.lo-s.lo
			if T == 0 {
				continue
			}
			d, f := dqkv[at*W:(at+T)*W], qkv[at*W:(at+T)*W]
			clear(d)
			kernel.AttentionMaskedBackward(p.mask(l, g.lo), d, W, d[H*D:], W, d[(H+KV)*D:], W, datt[at*C:], C, out[at*C:], C,
				p.layers[l].lse[g.lo*H:g.hi*H], f, W, f[H*D:], W, f[(H+KV)*D:], W, T, H, KV, D, c.window(l), scale)
		}
	})
}

// attendWork is the number of multiply-adds of attention that are worth a goroutine.
const attendWork = 1 << 16

// attendGrain is how many sequences of s are worth a goroutine: those of a decoder have one row each, but a long past.
func attendGrain(p *planes, s *span) int {
	work := 0 // of one channel
	for _, g := range p.segs[s.segLo:s.segHi] {
		seen := g.hi - g.lo
		if g.cache != nil {
			seen += g.cache.n
		}
		work += 2 * (g.hi - g.lo) * seen
	}
	return 1 + attendWork*(s.segHi-s.segLo)/max(1, work*p.m.cfg.Width)
}
