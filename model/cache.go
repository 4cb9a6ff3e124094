package model

import (
	"fmt"

	"github.com/rankloop/rankloop/model/kernel"
)

// Cache holds the keys and values of the tokens that one sequence has been fed, so
// that the next token costs one row. It belongs to the model that made it and is
// good for as long as the weights do not change. One goroutine at a time.
type Cache struct {
	m    *Transformer
	n    int         // positions held
	size int         // positions of a page, a multiple of 16
	kv   [][]float32 // pages: [L] of keys, transposed [KV·D][size], and values [size][KV·D]

	from  *Pages  // nil: there is one page, which grows
	pages []*Page // of kv, where they come from there
}

// NewCache returns an empty cache; it grows as tokens are fed.
func (m *Transformer) NewCache() *Cache { return &Cache{m: m} }

// Len is the number of tokens fed.
func (c *Cache) Len() int { return c.n }

// Reserve makes room for n tokens, where it is known how many will come.
func (c *Cache) Reserve(n int) { c.grow(min(n, c.m.cfg.Context)) }

// Reset empties the cache and keeps its memory; of one in pages see Release.
func (c *Cache) Reset() { c.n = 0 }

// CopyFrom makes c hold what src holds; both are caches of one model.
func (c *Cache) CopyFrom(src *Cache) { c.CopyPrefix(src, src.n) }

// CopyPrefix makes c hold the first n positions that src holds; both are caches of one
// model. A continuation of a shared beginning is fed only what comes after it. Caches in the same pages share those that are full.
func (c *Cache) CopyPrefix(src *Cache, n int) {
	if c.m != src.m {
		panic("model: caches of two models")
	}
	whole := 0
	if c.from != nil && c.from == src.from {
		whole = n / c.size
		c.Release()
		c.Begin(src.pages[:whole])
	}
	c.n = 0
	c.grow(n)
	c.copy(src, whole*c.size, n)
	c.n = n
}

// copy copies positions lo to hi of src; c has room for them.
func (c *Cache) copy(src *Cache, lo, hi int) {
	W := c.rowLen()
	for l := range c.m.cfg.Layers {
		for t := lo; t < hi; {
			at, from := t%c.size, t%src.size
			n := min(hi-t, c.size-at, src.size-from)
			keys, values := c.layer(t/c.size, l)
			fromKeys, fromValues := src.layer(t/src.size, l)
			for d := range W {
				copy(keys[d*c.size+at:][:n], fromKeys[d*src.size+from:])
			}
			copy(values[at*W:][:n*W], fromValues[from*W:])
			t += n
		}
	}
}

// store appends the keys k and values v of T positions, rows ld apart, to layer l.
func (c *Cache) store(l int, k, v []float32, ld, T int) {
	W := c.rowLen()
	for t := 0; t < T; {
		at := (c.n + t) % c.size
		n := min(T-t, c.size-at)
		keys, values := c.layer((c.n+t)/c.size, l)
		for i := range n {
			column := keys[at+i:]
			for d, x := range k[(t+i)*ld:][:W] {
				column[d*c.size] = x
			}
			copy(values[(at+i)*W:][:W], v[(t+i)*ld:])
		}
		t += n
	}
}

// Clone returns a cache of its own that holds the same.
func (c *Cache) Clone() *Cache {
	d := c.m.NewCache()
	if c.from != nil {
		d = c.from.NewCache()
	}
	d.CopyFrom(c)
	return d
}

// Fork returns n caches of their own that hold the same: n continuations of one
// prompt that was fed once.
func (c *Cache) Fork(n int) []*Cache {
	out := make([]*Cache, n)
	for i := range out {
		out[i] = c.Clone()
	}
	return out
}

func (c *Cache) rowLen() int { return c.m.cfg.KVHeads * c.m.cfg.headDim() }

// layer returns the keys [KV·D][size] and values [size][KV·D] of layer l in a page.
func (c *Cache) layer(page, l int) (keys, values []float32) {
	n := c.size * c.rowLen()
	return c.kv[page][2*l*n : (2*l+1)*n], c.kv[page][(2*l+1)*n : (2*l+2)*n]
}

// paged says where the keys and values of layer l lie, those of key heads from g on.
func (c *Cache) paged(l, g int) kernel.Paged {
	D, W := c.m.cfg.headDim(), c.rowLen()
	return kernel.Paged{Pages: c.kv, Size: c.size, Keys: 2*l*c.size*W + g*D*c.size, Values: (2*l+1)*c.size*W + g*D, LDV: W}
}

// ahead adds the keys and values of layer l to what is fetched ahead, up to so many numbers, and returns how many they are.
func (c *Cache) ahead(a *kernel.Ahead, l, most int) (n int) {
	W, first := c.rowLen(), 0
	if w := c.m.cfg.window(l); w > 0 {
		first = max(0, c.n+1-w) / c.size
	}
	for i := first; i*c.size < c.n && n < most; i++ {
		at := 2 * l * c.size * W
		run := c.kv[i][at : at+(c.size+min(c.size, c.n-i*c.size))*W] // values lie behind the keys
		a.Add(run)
		n += len(run)
	}
	return n
}

// grow makes room for n positions.
func (c *Cache) grow(n int) {
	if n <= c.size*len(c.kv) {
		return
	}
	if c.from != nil {
		for range c.from.Need(n) - len(c.kv) {
			page := c.from.take()
			c.pages, c.kv = append(c.pages, page), append(c.kv, page.kv)
		}
		return
	}
	old := *c
	c.size = (min(max(n, 2*c.size, 32), max(n, c.m.cfg.Context)) + 15) &^ 15
	c.kv = [][]float32{make([]float32, 2*c.m.cfg.Layers*c.size*c.rowLen())}
	if old.n > 0 {
		c.copy(&old, 0, old.n)
	}
}

// Extend feeds every cache its new tokens, at least one each, and returns the
// logits [len(caches)][V] after the last of each: the same bits as Logits gives for
// the whole sequence at once. All caches go through a layer together.
func (m *Transformer) Extend(caches []*Cache, ids [][]int32) [][]float32 {
	V := m.cfg.Vocab
	out := split(make([]float32, len(caches)*V), V)
	m.ExtendFunc(caches, ids, func(i int, logits []float32) { copy(out[i], logits) })
	return out
}

// ExtendFunc is Extend that hands the logits [V] of cache i to each, which may change
// them but not keep them. Calls of each for different i may run at the same time.
func (m *Transformer) ExtendFunc(caches []*Cache, ids [][]int32, each func(i int, logits []float32)) {
	m.ExtendValues(caches, ids, nil, func(i, _ int, logits []float32, _ float32) { each(i, logits) })
}

// ExtendValues is ExtendFunc that also hands each the scalar head's number, the same bits as Score gives there; 0 for a model
// without that head. Where all[i] is set each hears of every token t of ids[i], in any order, else of the last alone; all may be nil.
func (m *Transformer) ExtendValues(caches []*Cache, ids [][]int32, all []bool, each func(i, t int, logits []float32, value float32)) {
	rows := 0
	for i, c := range caches {
		if err := m.checkExtend(c, ids[i]); err != nil {
			panic(fmt.Errorf("cache %d: %w", i, err))
		}
		c.grow(c.n + len(ids[i]))
		rows += len(ids[i])
	}
	w := m.takeExtension()
	w.caches, w.ids, w.all, w.each = caches, ids, all, each
	target, n := m.extendRows(rows), 0
	for i := range caches {
		n += len(ids[i])
		if n >= target || i == len(caches)-1 {
			w.ends, n = append(w.ends, i+1), 0
		}
	}
	kernel.ParallelWork(len(w.ends), 1, w)
	m.giveExtension(w)
	for i, c := range caches {
		c.n += len(ids[i])
	}
}

// extendRows is how many of so many rows go through the layers together: groups, one thread each, where that fills the
// threads.
func (m *Transformer) extendRows(rows int) int {
	if m.wide() || rows < 16*kernel.Threads() {
		return maxSpanWide
	}
	return min(maxSpan, (rows+kernel.Threads()-1)/kernel.Threads())
}

func (m *Transformer) checkExtend(c *Cache, ids []int32) error {
	if c.m != m {
		return invalid("cache", "belongs to another model")
	}
	if len(ids) == 0 {
		return invalid("IDs", "no new token")
	}
	if c.n+len(ids) > m.cfg.Context {
		return invalid("IDs", "%d tokens exceed the context of %d", c.n+len(ids), m.cfg.Context)
	}
	return m.CheckIDs(ids)
}

// extend feeds caches lo to hi of w.
func (p *planes) extend(w *extension, lo, hi int) {
	V := p.m.cfg.Vocab
	p.clear()
	p.from = p.from[:0]
	if len(w.ends) > 1 || kernel.Threads() == 1 { // products of this group run on this thread alone
		p.ahead = &p.store
	}
	for i := lo; i < hi; i++ {
		p.add(w.ids[i], w.caches[i].n, w.caches[i])
		first := len(w.ids[i]) - 1
		if w.all != nil && w.all[i] {
			first = 0
		}
		for t := first; t < len(w.ids[i]); t++ {
			p.heads.add(p.rows-len(w.ids[i])+t, -1)
			p.from = append(p.from, fed{i, t})
		}
	}
	n := p.heads.rows
	p.addSpan(0, hi-lo, 0, n)
	p.alloc()
	p.allocHeads()
	p.forward(&p.spans[0])
	p.hidden(0, n)
	values := p.heads.scalar
	if p.m.scalar != HeadLM {
		p.readScalar(0, n)
	} else {
		clear(values)
	}
	logits := p.m.scratch(min(n, headRows) * V)
	for at := 0; at < n; at += headRows {
		end := min(at+headRows, n)
		p.product(*logits, at, end)
		p.reading = reading{w, *logits, values[at:end], p.from[at:end], V}
		kernel.ParallelWork(end-at, 1+(1<<14)/V, &p.reading)
	}
	p.reading = reading{}
	p.m.recycle(logits)
}
