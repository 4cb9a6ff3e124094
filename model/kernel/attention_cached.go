package kernel

// Paged are keys and values that a decoder keeps from step to step, of one layer: position t lies in page t/Size, at t%Size.
// In a page channel d of key head g, position t, is at Keys+(g*D+d)*Size+t (keys are kept transposed), and channel d of value
// head g at Values+t*LDV+g*D. Size is a multiple of 16. What lies beyond the last position is read and does not matter.
type Paged struct {
	Pages              [][]float32
	Size, Keys, Values int
	LDV                int
}

// AttentionCached is Attention over paged keys and values. All else is as in Attention, and so are the bits, whatever the size
// of the pages. It runs on the calling goroutine alone where Tq is 1.
func AttentionCached(o []float32, ldo int, q []float32, ldq int, kv Paged, Tq, Tk, H, KV, D, window int, scale float32) {
	if Tq > Tk || KV <= 0 || H%KV != 0 || kv.Size <= 0 || kv.Size%16 != 0 || window < 0 {
		panic("kernel.AttentionCached: Tq exceeds Tk, KV does not divide H, the size of a page is no multiple of 16, or window is negative")
	}
	check("AttentionCached", "o", o, Tq, H*D, ldo)
	check("AttentionCached", "q", q, Tq, H*D, ldq)
	if Tq == 0 || D == 0 {
		return
	}
	for i := bandBlock(Tk-Tq, window) / kv.Size; i*kv.Size < Tk; i++ {
		n := min(kv.Size, Tk-i*kv.Size)
		check("AttentionCached", "keys", kv.Pages[i][kv.Keys:], KV*D, roundUp(n, 16), kv.Size)
		check("AttentionCached", "values", kv.Pages[i][kv.Values:], n, KV*D, kv.LDV)
	}
	if Tq == 1 {
		attendOne(o, q, kv, Tk, H, KV, D, window, scale)
		return
	}
	attendMany(o, ldo, q, ldq, kv, Tq, Tk, H, KV, D, window, scale)
}

// attendMany is the attention of several positions.
func attendMany(o []float32, ldo int, q []float32, ldq int, kv Paged, Tq, Tk, H, KV, D, window int, scale float32) {
	width := bandWidth(Tk, window)
	Parallel(KV, attentionGrain(Tq, width, H/KV*D), func(lo, hi int) {
		withScratch(width*min(Tq, attentionRows), func(s *scratch) {
			scores := s.take(width * min(Tq, attentionRows))
			for h := lo * (H / KV); h < hi*(H/KV); h++ {
				attendHead(nil, h, o[h*D:], ldo, nil, q[h*D:], ldq, kv.head(h/(H/KV), D), scores, Tq, Tk, D, window, scale)
			}
		})
	})
}

// attendOne is the attention of a single position: the query heads that share a key head are the rows of one product.
func attendOne(o, q []float32, kv Paged, Tk, H, KV, D, window int, scale float32) {
	from, start := bandBlock(Tk-1, window), bandStart(Tk-1, window)
	group, width := H/KV, roundUp(Tk-from, 16)
	s := scratches.Get().(*scratch)
	if len(s.f) < group*width {
		s.f = make([]float32, group*width)
	}
	for g := range KV {
		rows, head := o[g*group*D:], kv.head(g, D)
		head.scores(s.f, width, q[g*group*D:], D, group, D, from, width)
		for r := range group {
			live := s.f[r*width:][start-from : Tk-from]
			shift := float32(scale * maximum(live))
			total := expSum(live, live, scale, shift)
			head.sum(rows[r*D:], D, live, width, 1, D, start, len(live))
			scaleBy(rows[r*D:][:D], 1/total)
		}
	}
	scratches.Put(s)
}

// held is where the keys and values of one head lie: in pages, or in one piece, which counts as a page of all positions.
type held struct {
	k, v         []float32   // keys [D][size] and values, rows ldv apart, where pages is nil
	pages        [][]float32 // else position t is in pages[t/size],
	keys, values int         // from here on
	size, ldv    int
}

// head is where head g of D channels lies.
func (p Paged) head(g, D int) held {
	return held{pages: p.Pages, keys: p.Keys + g*D*p.Size, values: p.Values + g*D, size: p.Size, ldv: p.LDV}
}

// page returns the keys and values of page i.
func (h *held) page(i int) (k, v []float32) {
	if h.pages == nil {
		return h.k, h.v
	}
	return h.pages[i][h.keys:], h.pages[i][h.values:]
}

// scores computes dst [n,width] = q·keys of width positions from from on, both multiples of 16.
func (h *held) scores(dst []float32, ld int, q []float32, ldq, n, D, from, width int) {
	for at := 0; at < width; {
		i, t := (from+at)/h.size, (from+at)%h.size
		part := min(h.size-t, width-at)
		k, _ := h.page(i)
		mm(n, part, D, q, ldq, k[t:], h.size, dst[at:], ld, false)
		at += part
	}
}

// sum computes o [n,D] = weights [n,seen]·values of seen positions from from on. An element is one sum over all positions, that goes
// on from page to page.
func (h *held) sum(o []float32, ldo int, weights []float32, ld, n, D, from, seen int) {
	for at := 0; at < seen; {
		i, t := (from+at)/h.size, (from+at)%h.size
		part := min(h.size-t, seen-at)
		_, v := h.page(i)
		mm(n, D, part, weights[at:], ld, v[t*h.ldv:], h.ldv, o, ldo, at > 0)
		at += part
	}
}
