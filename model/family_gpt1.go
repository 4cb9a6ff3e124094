package model

import (
	"fmt"

	"github.com/rankloop/rankloop/model/kernel"
)

// gpt1 is the family of Radford et al. 2018 ("Improving Language Understanding by
// Generative Pre-Training"), the decoder of Vaswani et al. 2017 without its encoder:
//
//	x = tokens_embed[id] + positions_embed[pos]
//	x = ln_1(x + c_proj(attention(c_attn(x))))     for every layer
//	x = ln_2(x + mlp.c_proj(gelu(c_fc(x))))
//	logits = x·tokens_embedᵀ
//
// What makes it the first of the line: learned positions in place of sinusoids, GELU in
// place of ReLU (its tanh form, as in OpenAI's code), the norms after each residual sum
// and so none at the end. The hidden width is always 4·Width. Names and layout are those
// of Hugging Face's openai-gpt: Conv1D weights, [in,out]. All matrices start at N(0, 0.02).
//
// Embeddings and linear layers are those of gpt2; only their order around the norms
// differs, so the activations hold: mid the sum that enters ln_1, n1 its norm, n2 the sum
// that enters ln_2.
type gpt1 struct{ gpt2 }

func validateGPT1(c Config) error {
	if c.Hidden != 4*c.Width {
		return invalid("Hidden", "%d is not 4*Width; gpt1 has no other", c.Hidden)
	}
	return nil
}

func gpt1Specs(c Config) []spec {
	C, F := c.Width, c.Hidden
	s := []spec{
		{"tokens_embed.weight", []int{c.Vocab, C}, initNormal},
		{"positions_embed.weight", []int{c.Context, C}, initNormal},
	}
	for l := range c.Layers {
		h := fmt.Sprintf("h.%d.", l)
		s = append(s,
			spec{h + "attn.c_attn.weight", []int{C, 3 * C}, initNormal},
			spec{h + "attn.c_attn.bias", []int{3 * C}, initZero},
			spec{h + "attn.c_proj.weight", []int{C, C}, initNormal},
			spec{h + "attn.c_proj.bias", []int{C}, initZero},
			spec{h + "ln_1.weight", []int{C}, initOne},
			spec{h + "ln_1.bias", []int{C}, initZero},
			spec{h + "mlp.c_fc.weight", []int{C, F}, initNormal},
			spec{h + "mlp.c_fc.bias", []int{F}, initZero},
			spec{h + "mlp.c_proj.weight", []int{F, C}, initNormal},
			spec{h + "mlp.c_proj.bias", []int{C}, initZero},
			spec{h + "ln_2.weight", []int{C}, initOne},
			spec{h + "ln_2.bias", []int{C}, initZero},
		)
	}
	return s
}

func bindGPT1(m *Transformer) blocks {
	return &gpt1{bindConv(m, "tokens_embed.weight", "positions_embed.weight")}
}

func (g *gpt1) final() *norm { return nil }

func (g *gpt1) forward(p *planes, s *span, l int) {
	C, F, n := g.cfg.Width, g.cfg.Hidden, s.rows()
	b, a := &g.layers[l], p.at(l, s)
	b.attn.forward(a.qkv, 3*C, a.x, C, n, p.ahead)
	p.attend(s, l, a.att, a.qkv)
	s, a = p.narrow(s, l, a)
	n = s.rows()
	p.addBranch(s, l, attention, &b.proj, a.mid, a.x, a.att)
	b.ln1.forward(a.n1, a.mean1, a.rstd1, a.mid, n)
	b.fc.forward(a.pre, F, a.n1, C, n, p.ahead)
	s.activate(a.act, a.pre, nil, n, F)
	p.addBranch(s, l, mlp, &b.out, a.n2, a.n1, a.act)
	b.ln2.forward(a.next, a.mean2, a.rstd2, a.n2, n)
}

// backward leaves the gradient of the sum before ln_2 in mid, of the one before ln_1 in
// norm.
func (g *gpt1) backward(p *planes, s *span, l int) {
	C, F := g.cfg.Width, g.cfg.Hidden
	b, a, d := &g.layers[l], p.at(l, s), p.backAt(s)
	r, ra, rd := p.backBehind(s, l, a, d)
	n := r.rows()
	b.ln2.backward(rd.mid, rd.share2, rd.dy, ra.n2, ra.mean2, ra.rstd2, n)
	b.out.backX(rd.pre, p.backBranch(r, l, mlp, rd.mid), C, n, false)
	kernel.Parallel(n, 32, func(lo, hi int) { kernel.GELUBackward(rd.pre[lo*F:hi*F], ra.pre[lo*F:hi*F], rd.pre[lo*F:hi*F]) })
	b.fc.backX(rd.norm, rd.pre, F, n, false)
	addTo(rd.norm, rd.mid)
	b.ln1.backward(rd.norm, rd.share1, rd.norm, ra.mid, ra.mean1, ra.rstd1, n)
	b.proj.backX(rd.att, p.backBranch(r, l, attention, rd.norm), C, n, false)
	p.scatter(s, l, d.att, rd.att)
	p.scatter(s, l, d.norm, rd.norm)
	n = s.rows()
	p.attendBack(s, l, d.qkv, d.att, a.att, a.qkv)
	b.attn.backX(d.dx, d.qkv, 3*C, n, false)
	addTo(d.dx, d.norm)
}

func (g *gpt1) addGrads(p *planes, l int) {
	C, F, n := g.cfg.Width, g.cfg.Hidden, p.rows
	b, a, d := &g.layers[l], &p.layers[l], &p.back
	ra, rd, rn := p.wholeBehind(l)
	b.out.backW(ra.act, F, p.branchGrad(mlp, rd.mid), C, rn)
	b.fc.backW(ra.n1, C, rd.pre, F, rn)
	b.proj.backW(ra.att, C, p.branchGrad(attention, rd.norm), C, rn)
	b.attn.backW(a.x, C, d.qkv, 3*C, n)
	b.ln2.addShares(d.share2)
	b.ln1.addShares(d.share1)
}
