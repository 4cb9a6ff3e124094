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
	whole := scratches.Get().(*scratch)
	if len(whole.f) < n {
		whole.f = make([]float32, n)
	}
	f(&scratch{whole.f})
	scratches.Put(whole)
}

// Attention is causal scaled dot-product attention (Vaswani et al. 2017, eq. 1) of one sequence. k and v hold Tk positions, KV
// heads of width D side by side in rows ldk and ldv apart; q and o hold the last Tq of these positions, H heads side by side
// in rows ldq and ldo apart. Query head h reads key head h/(H/KV) (grouped-query attention); KV divides H. Query i sees the
// positions up to its own, Tk-Tq+i. o is overwritten. lse [H][Tq], the logarithm of the sum of the exponentiated scaled scores,
// is for the backward pass and may be nil.
//
// The bits of a row of o do not depend on Tq: decoding position by position equals one pass over the sequence.
func Attention(o []float32, ldo int, lse []float32, q []float32, ldq int, k []float32, ldk int, v []float32, ldv int, Tq, Tk, H, KV, D int, scale float32) {
	if Tq > Tk || KV <= 0 || H%KV != 0 {
		panic("kernel.Attention: Tq exceeds Tk, or KV does not divide H")
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
	stride := roundUp(Tk, 16)
	Parallel(KV, attentionGrain(Tq, Tk, H/KV*D), func(lo, hi int) {
		withScratch(stride*(D+min(Tq, attentionRows)), func(s *scratch) {
			keys, scores := s.take(stride*D), s.take(stride*min(Tq, attentionRows))
			for g := lo; g < hi; g++ {
				transpose(keys, stride, k[g*D:], ldk, Tk, D)
				for h := g * (H / KV); h < (g+1)*(H/KV); h++ {
					var sums []float32
					if lse != nil {
						sums = lse[h*Tq:][:Tq]
					}
					attendHead(o[h*D:], ldo, sums, q[h*D:], ldq, keys, stride, v[g*D:], ldv, scores, Tq, Tk, D, scale)
				}
			}
		})
	})
}

// attendHead is the attention of one query head; keys [D,stride] are transposed, scores has room for min(Tq, attentionRows) rows
// of stride.
func attendHead(o []float32, ldo int, lse []float32, q []float32, ldq int, keys []float32, stride int, v []float32, ldv int, scores []float32, Tq, Tk, D int, scale float32) {
	for i := 0; i < Tq; i += attentionRows {
		n := min(attentionRows, Tq-i)
		first := Tk - Tq + i // position of query i
		seen := first + n
		width := roundUp(seen, 16)
		mm(n, width, D, q[i*ldq:], ldq, keys, stride, scores, stride, false)
		var factor [attentionRows]float32
		for r := range n {
			row := scores[r*stride:][:width]
			live := row[:first+r+1]
			shift := float32(scale * maximum(live))
			total := expSum(live, live, scale, shift)
			clear(row[first+r+1:])
			factor[r] = 1 / total
			if lse != nil {
				lse[i+r] = shift + log(total)
			}
		}
		mm(n, D, seen, scores, stride, v, ldv, o[i*ldo:], ldo, false)
		for r := range n {
			scaleBy(o[(i+r)*ldo:][:D], factor[r])
		}
	}
}

// AttentionBackward adds the gradients of Attention, with Tq = Tk = T, to dq, dk and dv, given do, the gradient of o, and what
// the forward pass read and wrote. Leading dimensions as in Attention.
func AttentionBackward(dq []float32, lddq int, dk []float32, lddk int, dv []float32, lddv int, do []float32, lddo int, o []float32, ldo int, lse, q []float32, ldq int, k []float32, ldk int, v []float32, ldv int, T, H, KV, D int, scale float32) {
	if KV <= 0 || H%KV != 0 {
		panic("kernel.AttentionBackward: KV does not divide H")
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
	stride := roundUp(T, 16)
	block := min(T, attentionRows)
	Parallel(KV, attentionGrain(T, T, 3*H/KV*D), func(lo, hi int) {
		withScratch(stride*(2*D+2*block), func(s *scratch) {
			keys, values := s.take(stride*D), s.take(stride*D)
			p, ds := s.take(stride*block), s.take(stride*block)
			for g := lo; g < hi; g++ {
				transpose(keys, stride, k[g*D:], ldk, T, D)
				transpose(values, stride, v[g*D:], ldv, T, D)
				for h := g * (H / KV); h < (g+1)*(H/KV); h++ {
					for i := 0; i < T; i += block {
						n := min(block, T-i)
						seen := i + n
						width := roundUp(seen, 16)
						qi, doi := q[i*ldq+h*D:], do[i*lddo+h*D:]
						mm(n, width, D, qi, ldq, keys, stride, p, stride, false)
						mm(n, width, D, doi, lddo, values, stride, ds, stride, false)
						for r := range n {
							live := i + r + 1
							prob, grad := p[r*stride:][:width], ds[r*stride:][:width]
							expSum(prob[:live], prob[:live], scale, lse[h*T+i+r])
							clear(prob[live:])
							delta := dot(doi[r*lddo:][:D], o[(i+r)*ldo+h*D:][:D])
							softmaxGrad(grad[:live], prob[:live], grad[:live], delta, scale)
							clear(grad[live:])
						}
						mm(n, D, seen, ds, stride, k[g*D:], ldk, dq[i*lddq+h*D:], lddq, true)
						mmT(seen, D, n, ds, stride, qi, ldq, dk[g*D:], lddk, true)
						mmT(seen, D, n, p, stride, doi, lddo, dv[g*D:], lddv, true)
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
