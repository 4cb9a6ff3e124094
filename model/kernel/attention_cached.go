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

// attendOne is the attention of a single position, heads side by side: all of them, each with keys and values of its own, or
// those that share them.
func attendOne(o, q []float32, kv Paged, Tk, H, KV, D, window int, scale float32) {
	from, start := bandBlock(Tk-1, window), bandStart(Tk-1, window)
	width, live := roundUp(Tk-from, 16), Tk-start
	side, keyStep, valueStep := H, D*kv.Size, D
	if KV < H {
		side, keyStep, valueStep = H/KV, 0, 0
	}
	s := scratches.Get().(*scratch)
	if len(s.f) < H*(1+width) {
		s.f = make([]float32, H*(1+width))
	}
	factors, scores := s.f[:H], s.f[H:]
	for h := 0; h < H; h += side {
		head := kv.head(h/(H/KV), D)
		for at := 0; at < width; {
			i, t := (from+at)/kv.Size, (from+at)%kv.Size
			part := min(kv.Size-t, width-at)
			k, _ := head.page(i)
			apart(side, part, D, q[h*D:], D, k[t:], kv.Size, keyStep, scores[h*width+at:], width, false)
			at += part
		}
	}
	scores = scores[start-from:]
	for h := range H {
		row := scores[h*width:][:live]
		factors[h] = 1 / expSum(row, row, scale, float32(scale*maximum(row)))
	}
	for h := 0; h < H; h += side {
		head := kv.head(h/(H/KV), D)
		for at := 0; at < live; {
			i, t := (start+at)/kv.Size, (start+at)%kv.Size
			part := min(kv.Size-t, live-at)
			_, v := head.page(i)
			apart(side, D, part, scores[h*width+at:], width, v[t*kv.LDV:], kv.LDV, valueStep, o[h*D:], D, at > 0)
			at += part
		}
	}
	for h, f := range factors {
		scaleBy(o[h*D:][:D], f)
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
