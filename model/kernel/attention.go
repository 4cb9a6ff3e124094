package kernel

import "sync"

// attentionRows is the number of queries that are worked on at once: their scores stay in the cache.
const attentionRows = 32

// scratch is the working memory of one task of the attention kernels.
type scratch struct{ f []float32 }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// take returns n elements with any content and moves on.
func (s *scratch) take(n int) []float32 {
	out := s.f[:n:n]
	s.f = s.f[n:]
	return out
}

// withScratch calls f with at least n elements.
func withScratch(n int, f func(s *scratch)) {
	s := scratches.Get().(*scratch)
	if len(s.f) < n {
		s.f = make([]float32, n)
	}
	whole := s.f
	f(s)
	s.f = whole
	scratches.Put(s)
}

// Attention is causal scaled dot-product attention (Vaswani et al. 2017, eq. 1) of one sequence. k and v hold Tk positions, KV
// heads of width D side by side in rows ldk and ldv apart; q and o hold the last Tq of these positions, H heads side by side
// in rows ldq and ldo apart. Query head h reads key head h/(H/KV) (grouped-query attention); KV divides H. Query i sees the
// positions up to its own, Tk-Tq+i: all of them where window is 0, otherwise the last window of them, its own included (locally
// banded attention, Child et al. 2019; the work is proportional to the window). o is overwritten. lse [H][Tq], the logarithm of
// the sum of the exponentiated scaled scores, is for the backward pass and may be nil.
//
// The bits of a row of o do not depend on Tq: decoding position by position equals one pass over the sequence. They do not
// depend on window either where it is at least Tk.
func Attention(o []float32, ldo int, lse []float32, q []float32, ldq int, k []float32, ldk int, v []float32, ldv int, Tq, Tk, H, KV, D, window int, scale float32) {
	AttentionMasked(nil, o, ldo, lse, q, ldq, k, ldk, v, ldv, Tq, Tk, H, KV, D, window, scale)
}

// Mask changes the attention weights w that query i of head h gives to the positions from j on: it may scale them, to zero too,
// by factors that depend on h, i and the position alone. nil changes nothing.
type Mask func(h, i, j int, w []float32)

// AttentionMasked is Attention whose weights mask changes once they sum to 1; Tq = Tk where it is not nil.
func AttentionMasked(mask Mask, o []float32, ldo int, lse []float32, q []float32, ldq int, k []float32, ldk int, v []float32, ldv int, Tq, Tk, H, KV, D, window int, scale float32) {
	if Tq > Tk || KV <= 0 || H%KV != 0 || window < 0 {
		panic("kernel.Attention: Tq exceeds Tk, KV does not divide H, or window is negative")
	}
	if mask != nil && Tq != Tk {
		panic("kernel.AttentionMasked: the queries are not all positions")
	}
	check("Attention", "o", o, Tq, H*D, ldo)
	check("Attention", "q", q, Tq, H*D, ldq)
	check("Attention", "k", k, Tk, KV*D, ldk)
	check("Attention", "v", v, Tk, KV*D, ldv)
	if lse != nil {
		check("Attention", "lse", lse, H, Tq, Tq)
	}
	if Tq == 0 || D == 0 {
		return
	}
	unseen := bandBlock(Tk-Tq, window) // by any query
	k, v, Tk = k[unseen*ldk:], v[unseen*ldv:], Tk-unseen
	stride, width := roundUp(Tk, 16), bandWidth(Tk, window)
	Parallel(KV, attentionGrain(Tq, width, H/KV*D), func(lo, hi int) {
		withScratch(stride*D+width*min(Tq, attentionRows), func(s *scratch) {
			keys, scores := s.take(stride*D), s.take(width*min(Tq, attentionRows))
			for g := lo; g < hi; g++ {
				transpose(keys, stride, k[g*D:], ldk, Tk, D)
				for h := g * (H / KV); h < (g+1)*(H/KV); h++ {
					var sums []float32
					if lse != nil {
						sums = lse[h*Tq:][:Tq]
					}
					attendHead(mask, h, o[h*D:], ldo, sums, q[h*D:], ldq, held{k: keys, v: v[g*D:], size: stride, ldv: ldv}, scores, Tq, Tk, D, window, scale)
				}
			}
		})
	})
}

// bandStart is the first position that the query at position pos sees.
func bandStart(pos, window int) int {
	if window == 0 {
		return 0
	}
	return max(0, pos-window+1)
}

// bandBlock is where a block of queries whose first stands at position pos begins to read: at most 15 positions before its band.
func bandBlock(pos, window int) int { return bandStart(pos, window) &^ 15 }

// bandWidth is how many positions, a multiple of 16, a block of queries reads at most of Tk.
func bandWidth(Tk, window int) int {
	if window == 0 || window > Tk {
		return roundUp(Tk, 16)
	}
	return min(roundUp(Tk, 16), roundUp(window+attentionRows+14, 16))
}

// attendHead is the attention of one query head over the keys and values kv; scores has room for min(Tq, attentionRows) rows of
// bandWidth(Tk, window); h is what mask is told.
func attendHead(mask Mask, h int, o []float32, ldo int, lse []float32, q []float32, ldq int, kv held, scores []float32, Tq, Tk, D, window int, scale float32) {
	ld := bandWidth(Tk, window)
	for i := 0; i < Tq; i += attentionRows {
		pause()
		n := min(attentionRows, Tq-i)
		first := Tk - Tq + i             // position of query i
		from := bandBlock(first, window) // what the block reads: from this position
		seen := first + n - from         // so many
		kv.scores(scores, ld, q[i*ldq:], ldq, n, D, from, roundUp(seen, 16))
		var factor [attentionRows]float32
		for r := range n {
			row := scores[r*ld:][:roundUp(seen, 16)]
			start, end := bandStart(first+r, window)-from, first+r+1-from
			live := row[start:end]
			shift := float32(scale * maximum(live))
			total := expSum(live, live, scale, shift)
			if mask != nil {
				mask(h, i+r, from+start, live)
			}
			clear(row[:start])
			clear(row[end:])
			factor[r] = 1 / total
			if lse != nil {
				lse[i+r] = shift + log(total)
			}
		}
		kv.sum(o[i*ldo:], ldo, scores, ld, n, D, from, seen)
		for r := range n {
			scaleBy(o[(i+r)*ldo:][:D], factor[r])
		}
	}
}

// AttentionBackward adds the gradients of Attention, with Tq = Tk = T, to dq, dk and dv, given do, the gradient of o, and what
// the forward pass read and wrote. Leading dimensions as in Attention.
func AttentionBackward(dq []float32, lddq int, dk []float32, lddk int, dv []float32, lddv int, do []float32, lddo int, o []float32, ldo int, lse, q []float32, ldq int, k []float32, ldk int, v []float32, ldv int, T, H, KV, D, window int, scale float32) {
	AttentionMaskedBackward(nil, dq, lddq, dk, lddk, dv, lddv, do, lddo, o, ldo, lse, q, ldq, k, ldk, v, ldv, T, H, KV, D, window, scale)
}

// AttentionMaskedBackward is AttentionBackward for AttentionMasked with the same mask.
func AttentionMaskedBackward(mask Mask, dq []float32, lddq int, dk []float32, lddk int, dv []float32, lddv int, do []float32, lddo int, o []float32, ldo int, lse, q []float32, ldq int, k []float32, ldk int, v []float32, ldv int, T, H, KV, D, window int, scale float32) {
	if KV <= 0 || H%KV != 0 || window < 0 {
		panic("kernel.AttentionBackward: KV does not divide H, or window is negative")
	}
	for _, m := range []struct {
		name  string
		m     []float32
		heads int
		ld    int
	}{{"dq", dq, H, lddq}, {"do", do, H, lddo}, {"o", o, H, ldo}, {"q", q, H, ldq}, {"dk", dk, KV, lddk}, {"dv", dv, KV, lddv}, {"k", k, KV, ldk}, {"v", v, KV, ldv}} {
		check("AttentionBackward", m.name, m.m, T, m.heads*D, m.ld)
	}
	check("AttentionBackward", "lse", lse, H, T, T)
	if T == 0 || D == 0 {
		return
	}
	stride, ld := roundUp(T, 16), bandWidth(T, window)
	block := min(T, attentionRows)
	Parallel(KV, attentionGrain(T, ld, 3*H/KV*D), func(lo, hi int) {
		withScratch(2*stride*D+2*ld*block, func(s *scratch) {
			keys, values := s.take(stride*D), s.take(stride*D)
			p, ds := s.take(ld*block), s.take(ld*block)
			for g := lo; g < hi; g++ {
				transpose(keys, stride, k[g*D:], ldk, T, D)
				transpose(values, stride, v[g*D:], ldv, T, D)
				for h := g * (H / KV); h < (g+1)*(H/KV); h++ {
					for i := 0; i < T; i += block {
						n := min(block, T-i)
						from := bandBlock(i, window)
						seen := i + n - from
						width := roundUp(seen, 16)
						qi, doi := q[i*ldq+h*D:], do[i*lddo+h*D:]
						mm(n, width, D, qi, ldq, keys[from:], stride, p, ld, false)
						mm(n, width, D, doi, lddo, values[from:], stride, ds, ld, false)
						for r := range n {
							start, end := bandStart(i+r, window)-from, i+r+1-from
							prob, grad := p[r*ld:][:width], ds[r*ld:][:width]
							expSum(prob[start:end], prob[start:end], scale, lse[h*T+i+r])
							clear(prob[:start])
							clear(prob[end:])
							delta := dot(doi[r*lddo:][:D], o[(i+r)*ldo+h*D:][:D])
							if mask != nil {
								mask(h, i+r, from+start, grad[start:end])
							}
							softmaxGrad(grad[start:end], prob[start:end], grad[start:end], delta, scale)
							if mask != nil { // for dv
								mask(h, i+r, from+start, prob[start:end])
							}
							clear(grad[:start])
							clear(grad[end:])
						}
						mm(n, D, seen, ds, ld, k[from*ldk+g*D:], ldk, dq[i*lddq+h*D:], lddq, true)
						mmT(seen, D, n, ds, ld, qi, ldq, dk[from*lddk+g*D:], lddk, true)
						mmT(seen, D, n, p, ld, doi, lddo, dv[from*lddv+g*D:], lddv, true)
					}
				}
			}
		})
	})
}

// attentionGrain is how many key heads a goroutine takes at least, for Tq queries of width elements in all that see Tk positions.
func attentionGrain(Tq, Tk, width int) int { return 1 + (1<<17)/(Tq*Tk*width+1) }

// mm is NN on the calling goroutine, unchecked.
func mm(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	p := product{M: M, N: N, K: K, a: a, ars: lda, aks: 1, b: b, bks: ldb, bns: 1, c: c, ldc: ldc, acc: acc}
	p.serial()
}

// mmT is TN on the calling goroutine, unchecked.
func mmT(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	p := product{M: M, N: N, K: K, a: a, ars: 1, aks: lda, b: b, bks: ldb, bns: 1, c: c, ldc: ldc, acc: acc}
	p.serial()
}

// softmaxGradGo writes scale·p·(dp-delta) to ds, which may be dp.
func softmaxGradGo(ds, p, dp []float32, delta, scale float32) {
	for i, v := range p {
		ds[i] = v * (dp[i] - delta) * scale
	}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
