package model

import (
	"fmt"

	"github.com/rankloop/rankloop/model/kernel"
)

// llama is the family of Touvron et al. 2023:
//
//	x = embed[id]
//	x = x + o(attention(rope(q(n)), rope(k(n)), v(n)))    n = rms(x), for every layer
//	x = x + down(silu(gate(n))·up(n))                     n = rms(x)
//	logits = rms(x)·headᵀ
//
// Differences from gpt3: RMSNorm (Zhang and Sennrich 2019) for LayerNorm; positions
// enter by turning queries and keys (Su et al. 2021, see rope.go) rather than as
// learned vectors; SwiGLU (Shazeer 2020) for GELU; several query heads may share a
// key/value head (KV < H, Ainslie et al. 2023; all of them where KV = 1, Shazeer 2019);
// the LM head may have a matrix of its own; every layer is dense. Weights are [out,in]
// without biases, but for those of queries, keys and values where QKVBias is set: that
// is Qwen2 (Yang et al. 2024).
type llama struct {
	cfg       Config
	tokens    *Param
	lmHead    *Param // the embedding where tied
	layers    []llamaLayer
	finalNorm norm
	rope      rope
}

type llamaLayer struct {
	n1, n2         norm
	q, k, v, o     linear
	gate, up, down linear
}

func validateLlama(c Config) error {
	if c.headDim()%2 != 0 {
		return invalid("Heads", "head width %d is odd, rotary positions need pairs", c.headDim())
	}
	return c.RopeScaling.validate()
}

func llamaSpecs(c Config) []spec {
	C, F, kv := c.Width, c.Hidden, c.KVHeads*c.headDim()
	s := []spec{{"model.embed_tokens.weight", []int{c.Vocab, C}, initNormal}}
	for l := range c.Layers {
		h := fmt.Sprintf("model.layers.%d.", l)
		s = append(s, spec{h + "input_layernorm.weight", []int{C}, initOne})
		for _, p := range []struct {
			name string
			out  int
		}{{"q_proj", C}, {"k_proj", kv}, {"v_proj", kv}} {
			s = append(s, spec{h + "self_attn." + p.name + ".weight", []int{p.out, C}, initNormal})
			if c.QKVBias {
				s = append(s, spec{h + "self_attn." + p.name + ".bias", []int{p.out}, initZero})
			}
		}
		s = append(s,
			spec{h + "self_attn.o_proj.weight", []int{C, C}, initResidual},
			spec{h + "post_attention_layernorm.weight", []int{C}, initOne},
			spec{h + "mlp.gate_proj.weight", []int{F, C}, initNormal},
			spec{h + "mlp.up_proj.weight", []int{F, C}, initNormal},
			spec{h + "mlp.down_proj.weight", []int{C, F}, initResidual},
		)
	}
	s = append(s, spec{"model.norm.weight", []int{C}, initOne})
	if !c.Tied {
		s = append(s, spec{"lm_head.weight", []int{c.Vocab, C}, initNormal})
	}
	return s
}

func bindLlama(m *Transformer) blocks {
	c := m.cfg
	rms := func(name string) norm { return norm{w: m.Param(name + ".weight"), eps: float32(c.NormEps)} }
	lin := func(name string, in, out int) linear { // b is nil where there is no bias
		return linear{w: m.Param(name + ".weight"), b: m.Param(name + ".bias"), in: in, out: out, outIn: true}
	}
	g := &llama{cfg: c, tokens: m.Param("model.embed_tokens.weight"), finalNorm: rms("model.norm")}
	g.rope.D, g.rope.theta, g.rope.scaling = c.headDim(), c.RopeTheta, c.RopeScaling
	g.lmHead = g.tokens
	if !c.Tied {
		g.lmHead = m.Param("lm_head.weight")
	}
	kv := c.KVHeads * c.headDim()
	for l := range c.Layers {
		h := fmt.Sprintf("model.layers.%d.", l)
		g.layers = append(g.layers, llamaLayer{
			n1: rms(h + "input_layernorm"), n2: rms(h + "post_attention_layernorm"),
			q: lin(h+"self_attn.q_proj", c.Width, c.Width), k: lin(h+"self_attn.k_proj", c.Width, kv),
			v: lin(h+"self_attn.v_proj", c.Width, kv), o: lin(h+"self_attn.o_proj", c.Width, c.Width),
			gate: lin(h+"mlp.gate_proj", c.Width, c.Hidden), up: lin(h+"mlp.up_proj", c.Width, c.Hidden),
			down: lin(h+"mlp.down_proj", c.Hidden, c.Width),
		})
	}
	return g
}

func (g *llama) kvWidth() int { return g.cfg.KVHeads * g.cfg.headDim() }
func (g *llama) qkv() int     { return g.cfg.Width + 2*g.kvWidth() }
func (g *llama) widths() widths {
	return widths{qkv: g.qkv(), pre: g.cfg.Hidden, up: g.cfg.Hidden}
}
func (g *llama) final() *norm { return &g.finalNorm }
func (g *llama) head() *Param { return g.lmHead }

func (g *llama) linears() (all []*linear) {
	for i := range g.layers {
		b := &g.layers[i]
		all = append(all, &b.q, &b.k, &b.v, &b.o, &b.gate, &b.up, &b.down)
	}
	return all
}

func (g *llama) embed(x []float32, ids, pos []int32) {
	C := g.cfg.Width
	for r, id := range ids {
		g.tokens.row(x[r*C:(r+1)*C], int(id))
	}
}

func (g *llama) embedGrads(dx []float32, ids, pos []int32) {
	scatterRows(g.tokens.grad(), dx, ids, g.cfg.Width)
}

func (g *llama) forward(p *planes, s *span, l int) {
	C, F, KW, W, n := g.cfg.Width, g.cfg.Hidden, g.kvWidth(), g.qkv(), s.rows()
	b, a := &g.layers[l], p.at(l, s)
	b.n1.forward(a.n1, nil, a.rstd1, a.x, n)
	b.q.forward(a.qkv, W, a.n1, C, n, p.ahead)
	b.k.forward(a.qkv[C:], W, a.n1, C, n, p.ahead)
	b.v.forward(a.qkv[C+KW:], W, a.n1, C, n, p.ahead)
	g.rope.rotate(&s.rotation, a.qkv, W, g.cfg.Heads+g.cfg.KVHeads, p.pos[s.lo:s.hi], false)
	p.attend(s, l, a.att, a.qkv)
	s, a = p.narrow(s, l, a)
	n = s.rows()
	p.addBranch(s, l, attention, &b.o, a.mid, a.x, a.att)
	b.n2.forward(a.n2, nil, a.rstd2, a.mid, n)
	b.gate.forward(a.pre, F, a.n2, C, n, p.ahead)
	b.up.forward(a.up, F, a.n2, C, n, p.ahead)
	s.activate(a.act, a.pre, a.up, n, F)
	p.addBranch(s, l, mlp, &b.down, a.next, a.mid, a.act)
}

func (g *llama) backward(p *planes, s *span, l int) {
	C, F, KW, W := g.cfg.Width, g.cfg.Hidden, g.kvWidth(), g.qkv()
	b, a, d := &g.layers[l], p.at(l, s), p.backAt(s)
	r, ra, rd := p.backBehind(s, l, a, d)
	n := r.rows()
	b.down.backX(rd.pre, p.backBranch(r, l, mlp, rd.dy), C, n, false)
	kernel.Parallel(n, 32, func(lo, hi int) {
		lo, hi = lo*F, hi*F
		dact := rd.pre[lo:hi]
		kernel.SiLU(rd.up[lo:hi], ra.pre[lo:hi])
		kernel.Mul(rd.up[lo:hi], dact)
		kernel.Mul(dact, ra.up[lo:hi])
		kernel.SiLUBackward(dact, ra.pre[lo:hi], dact)
	})
	b.gate.backX(rd.norm, rd.pre, F, n, false)
	b.up.backX(rd.norm, rd.up, F, n, true)
	b.n2.backward(rd.mid, rd.share2, rd.norm, ra.mid, nil, ra.rstd2, n)
	addTo(rd.mid, rd.dy)
	b.o.backX(rd.att, p.backBranch(r, l, attention, rd.mid), C, n, false)
	p.scatter(s, l, d.att, rd.att)
	p.scatter(s, l, d.mid, rd.mid)
	n = s.rows()
	p.attendBack(s, l, d.qkv, d.att, a.att, a.qkv)
	g.rope.rotate(&s.rotation, d.qkv, W, g.cfg.Heads+g.cfg.KVHeads, p.pos[s.lo:s.hi], true)
	b.q.backX(d.norm, d.qkv, W, n, false)
	b.k.backX(d.norm, d.qkv[C:], W, n, true)
	b.v.backX(d.norm, d.qkv[C+KW:], W, n, true)
	b.n1.backward(d.dx, d.share1, d.norm, a.x, nil, a.rstd1, n)
	addTo(d.dx, d.mid)
}

func (g *llama) addGrads(p *planes, l int) {
	C, F, KW, W, n := g.cfg.Width, g.cfg.Hidden, g.kvWidth(), g.qkv(), p.rows
	b, a, d := &g.layers[l], &p.layers[l], &p.back
	ra, rd, rn := p.wholeBehind(l)
	b.down.backW(ra.act, F, p.branchGrad(mlp, rd.dy), C, rn)
	b.gate.backW(ra.n2, C, rd.pre, F, rn)
	b.up.backW(ra.n2, C, rd.up, F, rn)
	b.o.backW(ra.att, C, p.branchGrad(attention, rd.mid), C, rn)
	b.q.backW(a.n1, C, d.qkv, W, n)
	b.k.backW(a.n1, C, d.qkv[C:], W, n)
	b.v.backW(a.n1, C, d.qkv[C+KW:], W, n)
	b.n2.addShares(d.share2)
	b.n1.addShares(d.share1)
}
