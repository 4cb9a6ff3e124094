package model

// Page holds keys and values of Pages.Positions positions in all layers. Several caches whose sequences begin alike may hold it at
// the same time; it is written by the one that fills it, and read only once it is full.
type Page struct {
	kv      []float32 // [L] of keys, transposed [KV·D][positions], and values [positions][KV·D]
	holders int
}

// Holders is the number of caches and others that hold the page.
func (p *Page) Holders() int { return p.holders }

// Pages is memory for the keys and values of many sequences, in pages of some positions, with an upper bound. It belongs to
// the model that made it. One goroutine at a time.
type Pages struct {
	m               *Transformer
	positions, most int
	made            int
	free            []*Page
}

// NewPages bounds the memory to so many bytes. positions, of a page, are rounded up to a multiple of 16. Pages are allocated
// when they are needed first.
func (m *Transformer) NewPages(positions int, bytes int64) *Pages {
	p := &Pages{m: m, positions: max(16, (positions+15)&^15)}
	p.most = int(bytes / p.PageBytes())
	return p
}

// Positions is how many positions a page has.
func (p *Pages) Positions() int { return p.positions }

// PageBytes is the memory that a page takes.
func (p *Pages) PageBytes() int64 {
	c := p.m.cfg
	return 4 * 2 * int64(c.Layers) * int64(p.positions) * int64(c.KVHeads*c.headDim())
}

// Need is how many pages hold n positions.
func (p *Pages) Need(n int) int { return (n + p.positions - 1) / p.positions }

// Total is how many pages there may be, Free how many of them nobody holds.
func (p *Pages) Total() int { return p.most }

// Free is how many more pages may be held.
func (p *Pages) Free() int { return p.most - p.made + len(p.free) }

// Made is how many pages memory was taken for.
func (p *Pages) Made() int { return p.made }

// take returns a page that nobody holds. There must be one: see Free.
func (p *Pages) take() *Page {
	if n := len(p.free); n > 0 {
		page := p.free[n-1]
		p.free = p.free[:n-1]
		page.holders = 1
		return page
	}
	if p.made == p.most {
		panic("model: no page is free")
	}
	p.made++
	return &Page{kv: make([]float32, p.PageBytes()/4), holders: 1}
}

// Hold makes the caller a further holder of a page, until Drop.
func (p *Pages) Hold(page *Page) { page.holders++ }

// Drop gives a page up; it is free once nobody holds it.
func (p *Pages) Drop(page *Page) {
	if page.holders--; page.holders == 0 {
		p.free = append(p.free, page)
	}
}

// NewCache returns an empty cache whose keys and values lie in pages. Reserve takes them; what is fed must have been reserved.
func (p *Pages) NewCache() *Cache { return &Cache{m: p.m, size: p.positions, from: p} }

// Begin makes an empty cache begin with full pages of another sequence that begins alike.
func (c *Cache) Begin(full []*Page) {
	for _, page := range full {
		c.from.Hold(page)
		c.pages, c.kv = append(c.pages, page), append(c.kv, page.kv)
	}
	c.n = len(full) * c.size
}

// Page is the i-th page of a cache.
func (c *Cache) Page(i int) *Page { return c.pages[i] }

// Replace puts a page that holds the same in the place of the i-th.
func (c *Cache) Replace(i int, same *Page) {
	c.from.Hold(same)
	c.from.Drop(c.pages[i])
	c.pages[i], c.kv[i] = same, same.kv
}

// Release empties the cache and gives its pages up.
func (c *Cache) Release() {
	for _, page := range c.pages {
		c.from.Drop(page)
	}
	clear(c.pages)
	clear(c.kv)
	c.n, c.pages, c.kv = 0, c.pages[:0], c.kv[:0]
}
