package model

import "github.com/rankloop/rankloop/model/kernel"

// attendBack computes dqkv [n,qkv] of span s from datt [n,C], with out and qkv of
// the forward pass.
func (p *planes) attendBack(s *span, l int, dqkv, datt, out, qkv []float32) {
	c := p.m.cfg
	D, H, KV, W, C := c.headDim(), c.Heads, c.KVHeads, p.m.body.widths().qkv, c.Width
	kernel.Parallel(s.segHi-s.segLo, attendGrain(p, s), func(a, b int) {
		for _, g := range p.segs[s.segLo+a : s.segLo+b] {
			T, at := g.hi-g.lo, g.lo-s.lo
			if T == 0 {
				continue
			}
			d, f := dqkv[at*W:(at+T)*W], qkv[at*W:(at+T)*W]
			clear(d)
			kernel.AttentionMaskedBackward(p.mask(l, g.lo), d, W, d[H*D:], W, d[(H+KV)*D:], W, datt[at*C:], C, out[at*C:], C,
				p.layers[l].lse[g.lo*H:g.hi*H], f, W, f[H*D:], W, f[(H+KV)*D:], W, T, H, KV, D, c.window(l), c.attentionScale())
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
