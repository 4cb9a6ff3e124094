package model

import (
	"fmt"

	"github.com/rankloop/rankloop/model/kernel"
)

// gpt2 is the family of Radford et al. 2019:
//
//	x = wte[id] + wpe[pos]
//	x = x + c_proj(attention(c_attn(ln_1(x))))     for every layer
//	x = x + mlp.c_proj(gelu_new(c_fc(ln_2(x))))
//	logits = ln_f(x)·wteᵀ
//
// Differences from gpt1: each norm stands before its half of the block, inside the
// residual branch, and one more before the head; the projections that write to the
// residual stream start smaller, by 1/sqrt(2L). Weights are Conv1D, [in,out].
type gpt2 struct {
	cfg      Config
	wte, wpe *Param
	layers   []gpt2Layer
	lnF      norm
}

type gpt2Layer struct {
	ln1, ln2            norm
	attn, proj, fc, out linear
}

func defaultsGPT2(c *Config) { c.Tied = true }

func validateGPT2(Config) error { return nil }

func gpt2Specs(c Config) []spec {
	C, F := c.Width, c.Hidden
	s := []spec{
		{"wte.weight", []int{c.Vocab, C}, initNormal},
		{"wpe.weight", []int{c.Context, C}, initNormal},
	}
	for l := range c.Layers {
		h := fmt.Sprintf("h.%d.", l)
		s = append(s,
			spec{h + "ln_1.weight", []int{C}, initOne},
			spec{h + "ln_1.bias", []int{C}, initZero},
			spec{h + "attn.c_attn.weight", []int{C, 3 * C}, initNormal},
			spec{h + "attn.c_attn.bias", []int{3 * C}, initZero},
			spec{h + "attn.c_proj.weight", []int{C, C}, initResidual},
			spec{h + "attn.c_proj.bias", []int{C}, initZero},
			spec{h + "ln_2.weight", []int{C}, initOne},
			spec{h + "ln_2.bias", []int{C}, initZero},
			spec{h + "mlp.c_fc.weight", []int{C, F}, initNormal},
			spec{h + "mlp.c_fc.bias", []int{F}, initZero},
			spec{h + "mlp.c_proj.weight", []int{F, C}, initResidual},
			spec{h + "mlp.c_proj.bias", []int{C}, initZero},
		)
	}
	return append(s,
		spec{"ln_f.weight", []int{C}, initOne},
		spec{"ln_f.bias", []int{C}, initZero},
	)
}

func bindGPT2(m *Transformer) blocks {
	g := bindConv(m, "wte.weight", "wpe.weight")
	g.lnF = layerNorm(m, "ln_f")
	return &g
}

func layerNorm(m *Transformer, name string) norm {
	return norm{w: m.Param(name + ".weight"), b: m.Param(name + ".bias"), eps: float32(m.cfg.NormEps)}
}

// bindConv binds the embeddings of those names and the layers, which have the same
// names in gpt1.
func bindConv(m *Transformer, wte, wpe string) gpt2 {
	c := m.cfg
	conv := func(name string, in, out int) linear {
		return linear{w: m.Param(name + ".weight"), b: m.Param(name + ".bias"), in: in, out: out}
	}
	g := gpt2{cfg: c, wte: m.Param(wte), wpe: m.Param(wpe)}
	for l := range c.Layers {
		h := fmt.Sprintf("h.%d.", l)
		g.layers = append(g.layers, gpt2Layer{
			ln1: layerNorm(m, h+"ln_1"), ln2: layerNorm(m, h+"ln_2"),
			attn: conv(h+"attn.c_attn", c.Width, 3*c.Width), proj: conv(h+"attn.c_proj", c.Width, c.Width),
			fc: conv(h+"mlp.c_fc", c.Width, c.Hidden), out: conv(h+"mlp.c_proj", c.Hidden, c.Width),
		})
	}
	return g
}

func (g *gpt2) widths() widths { return widths{qkv: 3 * g.cfg.Width, pre: g.cfg.Hidden} }
func (g *gpt2) final() *norm   { return &g.lnF }
func (g *gpt2) head() *Param   { return g.wte }

func (g *gpt2) linears() (all []*linear) {
	for i := range g.layers {
		b := &g.layers[i]
		all = append(all, &b.attn, &b.proj, &b.fc, &b.out)
	}
	return all
}

func (g *gpt2) embed(x []float32, ids, pos []int32) {
	C := g.cfg.Width
	for r, id := range ids {
		row := x[r*C : (r+1)*C]
		g.wte.row(row, int(id))
		g.wpe.addRow(row, int(pos[r]))
	}
}

func (g *gpt2) embedGrads(dx []float32, ids, pos []int32) {
	scatterRows(g.wte.grad(), dx, ids, g.cfg.Width)
	scatterRows(g.wpe.grad(), dx, pos, g.cfg.Width)
}

func (g *gpt2) forward(p *planes, s *span, l int) {
	C, F, n := g.cfg.Width, g.cfg.Hidden, s.rows()
	b, a := &g.layers[l], p.at(l, s)
	b.ln1.forward(a.n1, a.mean1, a.rstd1, a.x, n)
	b.attn.forward(a.qkv, 3*C, a.n1, C, n, p.ahead)
	p.attend(s, l, a.att, a.qkv)
	s, a = p.narrow(s, l, a)
	n = s.rows()
	p.addBranch(s, l, attention, &b.proj, a.mid, a.x, a.att)
	b.ln2.forward(a.n2, a.mean2, a.rstd2, a.mid, n)
	b.fc.forward(a.pre, F, a.n2, C, n, p.ahead)
	s.activate(a.act, a.pre, nil, n, F)
	p.addBranch(s, l, mlp, &b.out, a.next, a.mid, a.act)
}

func (g *gpt2) backward(p *planes, s *span, l int) {
	C, F := g.cfg.Width, g.cfg.Hidden
	b, a, d := &g.layers[l], p.at(l, s), p.backAt(s)
	r, ra, rd := p.backBehind(s, l, a, d)
	n := r.rows()
	b.out.backX(rd.pre, p.backBranch(r, l, mlp, rd.dy), C, n, false)
	kernel.Parallel(n, 32, func(lo, hi int) { kernel.GELUBackward(rd.pre[lo*F:hi*F], ra.pre[lo*F:hi*F], rd.pre[lo*F:hi*F]) })
	b.fc.backX(rd.norm, rd.pre, F, n, false)
	b.ln2.backward(rd.mid, rd.share2, rd.norm, ra.mid, ra.mean2, ra.rstd2, n)
	addTo(rd.mid, rd.dy)
	b.proj.backX(rd.att, p.backBranch(r, l, attention, rd.mid), C, n, false)
	p.scatter(s, l, d.att, rd.att)
	p.scatter(s, l, d.mid, rd.mid)
	n = s.rows()
	p.attendBack(s, l, d.qkv, d.att, a.att, a.qkv)
	b.attn.backX(d.norm, d.qkv, 3*C, n, false)
	b.ln1.backward(d.dx, d.share1, d.norm, a.x, a.mean1, a.rstd1, n)
	addTo(d.dx, d.mid)
}

func (g *gpt2) addGrads(p *planes, l int) {
	C, F, n := g.cfg.Width, g.cfg.Hidden, p.rows
	b, a, d := &g.layers[l], &p.layers[l], &p.back
	ra, rd, rn := p.wholeBehind(l)
	b.out.backW(ra.act, F, p.branchGrad(mlp, rd.dy), C, rn)
	b.fc.backW(ra.n2, C, rd.pre, F, rn)
	b.proj.backW(ra.att, C, p.branchGrad(attention, rd.mid), C, rn)
	b.attn.backW(a.n1, C, d.qkv, 3*C, n)
	b.ln2.addShares(d.share2)
	b.ln1.addShares(d.share1)
}
