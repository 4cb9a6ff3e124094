package kernel

// AttentionCached is Attention over keys that are kept transposed from call to call, as a decoder keeps them: kt [KV][D][stride]
// holds key head g's channel d of position t at (g*D+d)*stride+t. stride is a multiple of 16 and at least Tk; what lies beyond
// position Tk is read and does not matter. All else is as in Attention, and so are the bits. It runs on the calling goroutine
// alone where Tq is 1.
func AttentionCached(o []float32, ldo int, q []float32, ldq int, kt []float32, stride int, v []float32, ldv int, Tq, Tk, H, KV, D, window int, scale float32) {
	if Tq > Tk || KV <= 0 || H%KV != 0 || stride%16 != 0 || window < 0 {
		panic("kernel.AttentionCached: Tq exceeds Tk, KV does not divide H, stride is no multiple of 16, or window is negative")
	}
	check("AttentionCached", "o", o, Tq, H*D, ldo)
	check("AttentionCached", "q", q, Tq, H*D, ldq)
	check("AttentionCached", "kt", kt, KV*D, roundUp(Tk, 16), stride)
	check("AttentionCached", "v", v, Tk, KV*D, ldv)
	if Tq == 0 || D == 0 {
		return
	}
	if Tq == 1 {
		attendOne(o, q, kt, stride, v, ldv, Tk, H, KV, D, window, scale)
		return
	}
	width := bandWidth(Tk, window)
	Parallel(KV, attentionGrain(Tq, width, H/KV*D), func(lo, hi int) {
		withScratch(width*min(Tq, attentionRows), func(s *scratch) {
			scores := s.take(width * min(Tq, attentionRows))
			for h := lo * (H / KV); h < hi*(H/KV); h++ {
				g := h / (H / KV)
				attendHead(nil, h, o[h*D:], ldo, nil, q[h*D:], ldq, kt[g*D*stride:], stride, v[g*D:], ldv, scores, Tq, Tk, D, window, scale)
			}
		})
	})
}

// attendOne is the attention of a single position: the query heads that share a key head are the rows of one product.
func attendOne(o, q, kt []float32, stride int, v []float32, ldv, Tk, H, KV, D, window int, scale float32) {
	from, start := bandBlock(Tk-1, window), bandStart(Tk-1, window)
	group, width := H/KV, roundUp(Tk-from, 16)
	s := scratches.Get().(*scratch)
	if len(s.f) < group*width {
		s.f = make([]float32, group*width)
	}
	for g := range KV {
		rows := o[g*group*D:]
		mm(group, width, D, q[g*group*D:], D, kt[g*D*stride+from:], stride, s.f, width, false)
		for r := range group {
			live := s.f[r*width:][start-from : Tk-from]
			shift := float32(scale * maximum(live))
			total := expSum(live, live, scale, shift)
			mm(1, D, len(live), live, width, v[start*ldv+g*D:], ldv, rows[r*D:], D, false)
			scaleBy(rows[r*D:][:D], 1/total)
		}
	}
	scratches.Put(s)
}
