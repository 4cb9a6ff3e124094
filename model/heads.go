package model

import "github.com/rankloop/rankloop/model/kernel"

// heads are the rows at which the heads are read, R of them, and what they say.
type heads struct {
	want   Want
	atOnce bool    // forward and back in one go
	rows   int     // R
	at     []int32 // [R] row of the body
	target []int32 // [R] token whose log-probability is asked for, -1 = none

	x, h       []float32 // [R,C] residual stream, after the final norm
	mean, rstd []float32 // [R]
	logits     []float32 // [R,V], nil where it would be too large to keep
	lse        []float32 // [R] log of the sum of exp(logits)
	logprob    []float32 // [R]
	entropy    []float32 // [R]
	scalar     []float32 // [R]
}

const (
	// headRows is how many rows of logits are worked on at once.
	headRows = 256
	// keepLogits is how many logits a pass keeps for Backward; above, Backward computes
	// them again, to the same bits.
	keepLogits = 1 << 24
)

func (h *heads) clear() {
	h.want, h.atOnce, h.rows, h.at, h.target = 0, false, 0, h.at[:0], h.target[:0]
}

// add asks for the heads at a row of the body.
func (h *heads) add(row int, target int32) {
	h.at, h.target, h.rows = append(h.at, int32(row)), append(h.target, target), h.rows+1
}

func (h *heads) lm() bool   { return h.want&(WantLogprobs|WantEntropy) != 0 }
func (h *heads) read() bool { return h.want&(WantValues|WantScore) != 0 }

// allocHeads lays out the matrices of the rows added.
func (p *planes) allocHeads() {
	h, a, C, R := &p.heads, &p.arena, p.m.cfg.Width, p.heads.rows
	h.x, h.mean, h.rstd = a.alloc(R*C), a.alloc(R), a.alloc(R)
	h.h = h.x
	if p.m.body.final() != nil {
		h.h = a.alloc(R * C)
	}
	h.lse, h.logprob, h.entropy, h.scalar = a.alloc(R), a.alloc(R), a.alloc(R), a.alloc(R)
	h.logits = nil
	if p.keep && !h.atOnce && h.lm() && R*p.m.cfg.Vocab <= keepLogits {
		h.logits = a.alloc(R * p.m.cfg.Vocab)
	}
}

// hidden gathers rows lo..hi of the heads from the body and applies the final norm.
func (p *planes) hidden(lo, hi int) {
	h, C := &p.heads, p.m.cfg.Width
	for r := lo; r < hi; r++ {
		copy(h.x[r*C:(r+1)*C], p.last[p.readAt(r)*C:])
	}
	if n := p.m.body.final(); n != nil {
		n.forward(h.h[lo*C:hi*C], h.mean[lo:hi], h.rstd[lo:hi], h.x[lo*C:hi*C], hi-lo)
	}
}

// product computes the logits [hi-lo,V] of rows lo..hi.
func (p *planes) product(dst []float32, lo, hi int) {
	C, V := p.m.cfg.Width, p.m.cfg.Vocab
	p.m.body.head().timesT(hi-lo, V, C, p.heads.h[lo*C:hi*C], C, dst, V, false)
	p.m.temper(dst[:(hi-lo)*V])
}

// readHeads computes what is asked for at rows lo..hi of the heads.
func (p *planes) readHeads(lo, hi int) {
	if lo == hi {
		return
	}
	h, V := &p.heads, p.m.cfg.Vocab
	p.hidden(lo, hi)
	if h.read() {
		p.readScalar(lo, hi)
	}
	if !h.lm() {
		return
	}
	for ; lo < hi; lo += headRows {
		end := min(lo+headRows, hi)
		if h.logits != nil {
			z := h.logits[lo*V : end*V]
			p.product(z, lo, end)
			p.readLogits(z, lo, end)
			continue
		}
		z := p.m.scratch((end - lo) * V)
		p.product(*z, lo, end)
		p.readLogits(*z, lo, end)
		p.m.recycle(z)
	}
}

// readLogits takes log-probabilities and entropies from the logits z of rows lo..hi.
func (p *planes) readLogits(z []float32, lo, hi int) {
	h, V := &p.heads, p.m.cfg.Vocab
	kernel.Parallel(hi-lo, 1+(1<<14)/V, func(a, b int) {
		var prob *[]float32
		if h.want&WantEntropy != 0 {
			prob = p.m.scratch(V)
			defer p.m.recycle(prob)
		}
		for i := a; i < b; i++ {
			row, r := z[i*V:(i+1)*V], lo+i
			h.lse[r] = kernel.LogSumExp(row)
			if t := h.target[r]; t >= 0 {
				h.logprob[r] = row[t] - h.lse[r]
			}
			if prob != nil { // H = -Σ p log p = lse - Σ p z
				kernel.Softmax(*prob, row, 1)
				h.entropy[r] = h.lse[r] - kernel.Dot(*prob, row)
			}
		}
	})
}

// readScalar computes the scalar head at rows lo..hi.
func (p *planes) readScalar(lo, hi int) {
	h, C := &p.heads, p.m.cfg.Width
	var bias float32
	if b := p.m.scalarBias; b != nil {
		bias = b.Data[0]
	}
	for r := lo; r < hi; r++ {
		h.scalar[r] = kernel.Dot(h.h[r*C:(r+1)*C], p.m.scalarW.Data) + bias
	}
}

// headGrads are the derivatives by the rows' numbers, nil where zero.
type headGrads struct{ logprob, entropy, scalar []float32 }

// backHeads adds the gradients of the heads' tensors and writes those of what they read to p.back.head.
func (p *planes) backHeads(g headGrads) {
	h, V, R := &p.heads, p.m.cfg.Vocab, p.heads.rows
	if g.logprob == nil && g.entropy == nil {
		clear(p.back.head)
	} else {
		for lo := 0; lo < R; lo += headRows {
			hi := min(lo+headRows, R)
			if h.logits != nil {
				p.backRows(h.logits[lo*V:hi*V], lo, hi, g)
				continue
			}
			z := p.m.scratch((hi - lo) * V)
			p.product(*z, lo, hi)
			p.backRows(*z, lo, hi, g)
			p.m.recycle(z)
		}
	}
	if g.scalar != nil {
		p.backScalar(p.back.head, g.scalar)
	}
}

// headsAtOnce reads the heads and takes the gradients back, some rows after the others.
func (p *planes) headsAtOnce(g headGrads) {
	h, V := &p.heads, p.m.cfg.Vocab
	z := p.m.scratch(min(headRows, h.rows) * V)
	defer p.m.recycle(z)
	for lo := 0; lo < h.rows; lo += headRows {
		hi := min(lo+headRows, h.rows)
		p.hidden(lo, hi)
		p.product(*z, lo, hi)
		p.readLogits(*z, lo, hi)
		p.backRows(*z, lo, hi, g)
	}
}

// backRows takes the gradients from the logits z of rows lo..hi, which it changes, to the head and to what it read.
func (p *planes) backRows(z []float32, lo, hi int, g headGrads) {
	p.backLogits(z, lo, hi, g)
	p.m.temper(z[:(hi-lo)*p.m.cfg.Vocab]) // d(z/T) = dz/T
	p.backProduct(z, lo, hi, g)
}

// backFinal takes the gradient of what the heads read through the final norm to the body's output,
// p.back.dy or what stands for it behind the last attention.
func (p *planes) backFinal() {
	h, C, dh := &p.heads, p.m.cfg.Width, p.back.head
	if n := p.m.body.final(); n != nil {
		n.backward(dh, p.back.headShare, dh, h.x, h.mean, h.rstd, h.rows)
		n.addShares(p.back.headShare)
	}
	if p.behind.on {
		copy(p.behind.back.dy, dh)
		return
	}
	clear(p.back.dy)
	for r, row := range h.at {
		copy(p.back.dy[int(row)*C:(int(row)+1)*C], dh[r*C:])
	}
}

// reaches says whether a gradient reaches the logits of row r.
func (h *heads) reaches(g headGrads, r int) bool {
	return g.logprob != nil && g.logprob[r] != 0 && h.target[r] >= 0 || g.entropy != nil && g.entropy[r] != 0
}

// backProduct takes the gradients z [hi-lo,V] of the logits of rows lo..hi to the head
// and to what it read. Rows that no gradient reaches are left out: they are zero in z,
// and z is packed in place.
func (p *planes) backProduct(z []float32, lo, hi int, g headGrads) {
	h, W, C, V := &p.heads, p.m.body.head(), p.m.cfg.Width, p.m.cfg.Vocab
	x, dx := h.h[lo*C:hi*C], p.back.head[lo*C:hi*C]
	n := 0
	for r := lo; r < hi; r++ {
		if h.reaches(g, r) {
			n++
		}
	}
	if n < hi-lo {
		rows := p.m.scratch(2 * n * C)
		defer p.m.recycle(rows)
		all := dx
		x, dx = (*rows)[:n*C], (*rows)[n*C:2*n*C]
		n = 0
		for r := lo; r < hi; r++ {
			if h.reaches(g, r) {
				copy(x[n*C:], h.h[r*C:(r+1)*C])
				copy(z[n*V:(n+1)*V], z[(r-lo)*V:])
				n++
			}
		}
		defer func() {
			clear(all)
			for r, i := lo, 0; r < hi; r++ {
				if h.reaches(g, r) {
					copy(all[(r-lo)*C:(r-lo+1)*C], dx[i*C:])
					i++
				}
			}
		}()
	}
	if n == 0 {
		return
	}
	W.times(n, C, V, z, V, dx, C, false)
	if !W.Frozen {
		W.addProduct(V, C, n, z, V, x, C)
	}
}

// backLogits turns the logits z of rows lo..hi into their gradients:
// d logprob/dz_j = [j=t] - p_j and dH/dz_j = -p_j (log p_j + H).
func (p *planes) backLogits(z []float32, lo, hi int, g headGrads) {
	h, V := &p.heads, p.m.cfg.Vocab
	kernel.Parallel(hi-lo, 1+(1<<14)/V, func(a, b int) {
		var prob *[]float32
		if g.entropy != nil {
			prob = p.m.scratch(V)
			defer p.m.recycle(prob)
		}
		for i := a; i < b; i++ {
			row, r := z[i*V:(i+1)*V], lo+i
			var dl, de float32
			if g.logprob != nil && h.target[r] >= 0 {
				dl = g.logprob[r]
			}
			if g.entropy != nil {
				de = g.entropy[r]
			}
			switch {
			case de != 0:
				kernel.Softmax(*prob, row, 1)
				shift := h.entropy[r] - h.lse[r]
				for j, q := range *prob {
					row[j] = -q * (dl + de*(row[j]+shift))
				}
			case dl != 0:
				kernel.Softmax(row, row, 1)
				kernel.Scale(row, -dl)
			default:
				clear(row)
				continue
			}
			if t := h.target[r]; t >= 0 {
				row[t] += dl
			}
		}
	})
}

// backScalar adds the scalar head's gradients: to its tensors and to dh [R,C].
func (p *planes) backScalar(dh, g []float32) {
	h, C, w := &p.heads, p.m.cfg.Width, p.m.scalarW
	dw := w.grad()
	var db float32
	for r, d := range g {
		if d == 0 {
			continue
		}
		kernel.Axpy(dh[r*C:(r+1)*C], d, w.Data)
		if dw != nil {
			kernel.Axpy(dw, d, h.h[r*C:(r+1)*C])
		}
		db += d
	}
	if b := p.m.scalarBias; b != nil && !b.Frozen {
		b.grad()[0] += db
	}
}
