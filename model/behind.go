package model

// Behind the last layer's attention only the rows that the heads read matter: the others reach nobody, and no gradient reaches them.
// A pass that goes backward gathers these rows, the R of the heads, and goes on with them alone, forward and back; with responses
// after prompts, or scores at the last token, that saves most of the last layer.

// behind holds the last layer's activations and gradients from its attention on, a row per row of the heads.
type behind struct {
	on   bool
	acts acts     // x and att are gathered
	back backActs // dy, mid, norm, att, pre, up
}

// leavesOut says whether a pass leaves rows of the last layer out. Masks of dropout belong to rows of the batch.
func (p *planes) leavesOut() bool {
	return p.keep && !p.drop.on() && p.heads.rows > 0 && 8*p.heads.rows <= 7*p.rows
}

// allocBehind lays out the last layer from its attention on.
func (p *planes) allocBehind() {
	c, w, a, R := p.m.cfg, p.m.body.widths(), &p.arena, p.heads.rows
	p.behind.on = true
	p.behind.acts = acts{
		x: a.alloc(R * c.Width), att: a.alloc(R * c.Width), mid: a.alloc(R * c.Width), next: a.alloc(R * c.Width),
		n1: a.alloc(R * c.Width), mean1: a.alloc(R), rstd1: a.alloc(R), n2: a.alloc(R * c.Width), mean2: a.alloc(R), rstd2: a.alloc(R),
		pre: a.alloc(R * w.pre), up: a.alloc(R * w.up), act: a.alloc(R * c.Hidden),
	}
}

// allocBackBehind lays out its gradients.
func (p *planes) allocBackBehind() {
	c, w, a, R := p.m.cfg, p.m.body.widths(), &p.arena, p.heads.rows
	p.behind.back = backActs{
		dy: a.alloc(R * c.Width), mid: a.alloc(R * c.Width), norm: a.alloc(R * c.Width), att: a.alloc(R * c.Width),
		pre: a.alloc(R * w.pre), up: a.alloc(R * w.up),
	}
}

// narrow goes on with the rows of span s that the heads read, once attention of layer l has been through it, and returns them with
// their activations. A row's bits do not depend on those beside it. A pass that does not go backward moves them to the front of a.x and
// a.att, one that does gathers them elsewhere.
func (p *planes) narrow(s *span, l int, a acts) (*span, acts) {
	R, C := s.outHi-s.outLo, p.m.cfg.Width
	switch {
	case l < len(p.layers)-1:
		return s, a
	case p.behind.on:
		rest := p.restOf(s)
		b := p.actsBehind(s)
		for i, r := range p.heads.at[s.outLo:s.outHi] {
			copy(b.x[i*C:(i+1)*C], a.x[(int(r)-s.lo)*C:])
			copy(b.att[i*C:(i+1)*C], a.att[(int(r)-s.lo)*C:])
		}
		return rest, b
	case p.keep || R == 0 || R >= s.rows():
		return s, a
	}
	at, x, att := p.heads.at[s.outLo:s.outHi], a.x, a.att
	if p.shared { // some rows are read several times
		rows := p.m.scratch(2 * R * C)
		for i, r := range at {
			copy((*rows)[i*C:(i+1)*C], x[(int(r)-s.lo)*C:])
			copy((*rows)[(R+i)*C:(R+i+1)*C], att[(int(r)-s.lo)*C:])
		}
		copy(x, (*rows)[:R*C])
		copy(att, (*rows)[R*C:2*R*C])
		p.m.recycle(rows)
	}
	for i, r := range at { // otherwise they rise, so that none is overwritten before it has moved
		if !p.shared {
			copy(x[i*C:(i+1)*C], x[(int(r)-s.lo)*C:(int(r)-s.lo+1)*C])
			copy(att[i*C:(i+1)*C], att[(int(r)-s.lo)*C:(int(r)-s.lo+1)*C])
		}
		at[i] = int32(s.lo + i)
	}
	p.narrowed = *s
	p.narrowed.hi = s.lo + R
	return &p.narrowed, a
}

// restOf is the span of the heads' rows of s.
func (p *planes) restOf(s *span) *span {
	if s.rest == nil {
		s.rest = &span{segLo: s.segLo, segHi: s.segHi, outLo: s.outLo, outHi: s.outHi}
	}
	s.rest.lo, s.rest.hi = s.outLo, s.outHi
	return s.rest
}

// actsBehind are the activations of the heads' rows of s.
func (p *planes) actsBehind(s *span) acts {
	return p.behind.acts.cut(p.heads.rows, s.outLo, s.outHi)
}

// readAt is the row of the last layer's output that row r of the heads reads.
func (p *planes) readAt(r int) int {
	if p.behind.on {
		return r
	}
	return int(p.heads.at[r])
}

// backBehind returns what the way back through layer l goes over until it reaches attention: the rows of span s with a and d, or those
// that narrow went on with.
func (p *planes) backBehind(s *span, l int, a acts, d backActs) (*span, acts, backActs) {
	if !p.behind.on || l < len(p.layers)-1 {
		return s, a, d
	}
	R, C := p.heads.rows, p.m.cfg.Width
	cut := func(x []float32) []float32 { return rowsOf(x, R, s.outLo, s.outHi) }
	b := &p.behind.back
	used := parts(s.outHi-s.outLo) * 2 * C // of the norms' shares; there are no others
	clear(d.share1[used:])
	clear(d.share2[used:])
	return p.restOf(s), p.actsBehind(s), backActs{
		dy: cut(b.dy), mid: cut(b.mid), norm: cut(b.norm), att: cut(b.att), pre: cut(b.pre), up: cut(b.up),
		share1: d.share1[:used], share2: d.share2[:used],
	}
}

// scatter writes the rows of from, which the way back has made behind attention of layer l, to those of span s in to; the others
// become zero. Where no rows were left out the two are one.
func (p *planes) scatter(s *span, l int, to, from []float32) {
	if !p.behind.on || l < len(p.layers)-1 {
		return
	}
	C := p.m.cfg.Width
	clear(to)
	for i, r := range p.heads.at[s.outLo:s.outHi] {
		copy(to[(int(r)-s.lo)*C:(int(r)-s.lo+1)*C], from[i*C:])
	}
}

// wholeBehind returns all rows' activations and gradients behind attention of layer l, and how many they are.
func (p *planes) wholeBehind(l int) (*acts, *backActs, int) {
	if !p.behind.on || l < len(p.layers)-1 {
		return &p.layers[l], &p.back, p.rows
	}
	return &p.behind.acts, &p.behind.back, p.heads.rows
}
