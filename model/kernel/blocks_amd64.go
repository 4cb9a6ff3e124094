//go:build amd64 && !noasm

package kernel

// The walk over the blocks of a product with many rows.

// blocks is the walk over the part C[i0:i1, j0:j1] of a product. A block of B is copied, panel by panel, and strips of A walk along
// it, so that C is touched along its rows. With them the next block is copied, a few rows at a time between the multiply-adds, which
// takes hardly longer than these alone; one that must be transposed is only fetched ahead.
type blocks struct {
	*product
	i0, i1, j0, j1 int
	depth, width   int       // of a block
	downFirst      bool      // the next block is that below, not that to the right
	left           []float32 // strips of A [kc][stripRows] where it is copied: k runs down its columns
	now, next      []float32 // panels of the block at work and, if copied already, of the next
	copied         bool      // now is whole
}

// block is a part of B: rows k to k+kc, columns j to end; kc is 0 behind the last.
type block struct{ k, kc, j, end int }

// runBlocks computes C[i0:i1, j0:j1].
func (p *product) runBlocks(i0, i1, j0, j1 int) {
	count := (p.K + depthMax - 1) / depthMax
	w := blocks{product: p, i0: i0, i1: i1, j0: j0, j1: j1, depth: (p.K + count - 1) / count}
	lanes, _, nv := shape()
	w.width = stripSize / w.depth / (lanes * nv) * lanes * nv
	strip := strips.Get().(*[2][stripSize]float32)
	defer strips.Put(strip)
	w.now, w.next = strip[0][:], strip[1][:]
	if p.aks == 1 {
		w.downFirst = p.K <= j1-j0 // A is read once for each strip of B, C once for each depth: the larger of them less often
		w.walk(false)
		return
	}
	n := leftRows * w.depth
	withScratch(n, func(s *scratch) {
		w.left = s.take(n)
		for w.i0 < i1 {
			w.i1 = min(w.i0+leftRows, i1)
			w.walk(w.i1 < i1)
			w.i0 = w.i1
		}
	})
}

// walk computes block by block; more says that other rows will follow with the same.
func (w *blocks) walk(more bool) {
	for b := w.at(0, w.j0); b.kc > 0; {
		pause()
		if w.left != nil && b.j == w.j0 {
			w.copyLeft(b)
		}
		next := w.after(b)
		ahead := next
		if more && next.kc == 0 {
			ahead = w.at(0, w.j0)
		}
		w.strip(b, ahead)
		b = next
	}
}

// at is the block that begins with row k and column j.
func (w *blocks) at(k, j int) block {
	return block{k, min(w.depth, w.K-k), j, min(j+w.width, w.j1)}
}

// after is the block that comes after b.
func (w *blocks) after(b block) block {
	k, j := b.k, b.end
	if w.downFirst {
		if k, j = b.k+w.depth, b.j; k >= w.K {
			k, j = 0, b.end
		}
	} else if j == w.j1 {
		k, j = b.k+w.depth, w.j0
	}
	if k >= w.K || j == w.j1 {
		return block{}
	}
	return w.at(k, j)
}

// copyLeft copies the rows of A in strips, those of one k together: where they lie they are far apart.
func (w *blocks) copyLeft(b block) {
	lanes, _, nv := shape()
	to := w.left
	for i := w.i0; i < w.i1; i += stripRows {
		n := min(stripRows, w.i1-i)
		from := w.a[i+b.k*w.aks:]
		if vectors := (n + lanes - 1) / lanes; vectors == nv && nv*lanes == stripRows {
			copyPanelAVX512(&to[0], &from[0], w.aks, b.kc, nv, n-(nv-1)*lanes)
		} else {
			for k := range b.kc {
				copy(to[k*stripRows:][:n], from[k*w.aks:])
			}
		}
		to = to[b.kc*stripRows:]
	}
}

// strip adds block b of B to C, and gets the next one ready.
func (w *blocks) strip(b, next block) {
	lanes, mr, nv := shape()
	ahead := w.ahead(b, next)
	ahead.tiles = (w.i1 - w.i0) / mr * ((b.end - b.j + lanes*nv - 1) / (lanes * nv))
	for i := w.i0; i < w.i1; i += stripRows {
		below := min(i+stripRows, w.i1)
		a, ars, aks := &w.a[0], w.ars, w.aks
		if w.left != nil {
			a, ars, aks = &w.left[(i-w.i0)*b.kc], 1, stripRows
		} else {
			a = &w.a[i*w.ars+b.k*w.aks]
		}
		panels := w.now
		for j, q := range parts(b.j, b.end) {
			if i == w.i0 && !w.copied {
				w.pack(panels, b.k, b.kc, j, q)
			}
			tiles(below-i, b.kc, a, ars, aks, panels, q.vectors*lanes, &w.c[i*w.ldc+j], w.ldc, q, w.acc || b.k > 0, ahead.take((below-i)/mr))
			panels = panels[b.kc*q.vectors*lanes:]
		}
	}
	ahead.finish()
	if w.copied = ahead.copies; w.copied {
		w.now, w.next = w.next, w.now
	}
}

// ahead is the next block of B as what is done with it meanwhile: places, which are rows of its panels that are copied or parts of
// 48 numbers that are fetched, dealt out to the tiles evenly.
type ahead struct {
	*blocks
	block
	copies           bool
	done, all, tiles int
	most             int // places that a tile can do
}

// ahead returns what is to be done while b is at work.
func (w *blocks) ahead(b, next block) ahead {
	lanes, _, nv := shape()
	width := lanes * nv
	x := ahead{blocks: w, block: next, most: b.kc / 4}
	x.copies = x.most > 0 && next.kc > 0 && w.bns == 1 && (b.end-b.j)%width == 0 && (next.end-next.j)%width == 0
	switch {
	case x.most == 0 || next.kc == 0:
	case x.copies:
		x.all = next.kc * (next.end - next.j) / width
	case w.bns == 1:
		x.all = next.kc * ((next.end - next.j + 47) / 48)
	default:
		x.all = (next.end - next.j) * ((next.kc + 47) / 48)
	}
	return x
}

// take returns what is done during so many tiles.
func (x *ahead) take(tiles int) meanwhile {
	if tiles == 0 || x.done == x.all {
		return meanwhile{from: &x.b[0]}
	}
	share := min((x.all-x.done+x.tiles-1)/x.tiles, x.most)
	out := meanwhile{places: min(share*tiles, x.all-x.done), share: share}
	x.tiles -= tiles
	at := 0
	if x.bns != 1 { // columns, and once more for the next 48 rows
		cols := x.end - x.j
		at, out.step = (x.j+x.done%cols)*x.bns+x.k+x.done/cols*48, x.bns
	} else {
		lanes, _, nv := shape()
		unit, row, width := x.done/x.kc, x.done%x.kc, 48
		if x.copies {
			width = lanes * nv
			out.places = min(out.places, x.kc-row)
			out.panel = &x.next[x.done*width]
		}
		at, out.step = (x.k+row)*x.bks+x.j+unit*width, x.bks
	}
	x.done += out.places
	out.from = &x.b[min(at, len(x.b)-1)]
	return out
}

// finish copies what there were too few tiles for.
func (x *ahead) finish() {
	lanes, _, nv := shape()
	for width := lanes * nv; x.copies && x.done < x.all; {
		unit, row := x.done/x.kc, x.done%x.kc
		x.pack(x.next[x.done*width:], x.k+row, x.kc-row, x.j+unit*width, part{width, nv, lanes})
		x.done += x.kc - row
	}
}
