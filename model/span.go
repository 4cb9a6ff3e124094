package model

import "github.com/rankloop/rankloop/model/kernel"

// span is a run of whole sequences that goes through all layers together, small
// enough for its activations to stay in the processor's cache.
type span struct {
	lo, hi       int // rows
	segLo, segHi int
	outLo, outHi int // rows of heads
	share        int // where its shares of the norms' gradients start
}

func (s *span) rows() int { return s.hi - s.lo }

// wide says that a layer's weights fill a core's cache by themselves: then every
// product is split over the threads, rather than the batch.
func (m *Transformer) wide() bool { return m.cfg.Width*(m.cfg.Width*4+m.cfg.Hidden*3) > 1<<19 }

// spanRows is how many rows make a span.
func (m *Transformer) spanRows() int {
	if m.wide() {
		return 1024
	}
	return 256
}

// spanLen is how many of the next n sequences make a span, by their tokens.
func (m *Transformer) spanLen(n int, tokens func(i int) int) int {
	sum, target := 0, m.spanRows()
	for i := range n {
		t := tokens(i)
		if i > 0 && sum+t > target {
			return i
		}
		sum += t
	}
	return n
}

// addSpan appends the span of segments segLo..segHi and rows outLo..outHi of the heads.
func (p *planes) addSpan(segLo, segHi, outLo, outHi int) {
	s := span{segLo: segLo, segHi: segHi, outLo: outLo, outHi: outHi}
	if segLo < segHi {
		s.lo, s.hi = p.segs[segLo].lo, p.segs[segHi-1].hi
	}
	p.spans = append(p.spans, s)
}

// each calls f on disjoint ranges that cover n spans, in parallel where there are
// enough of them; otherwise what runs inside is parallel by itself.
func (m *Transformer) each(n int, f func(lo, hi int)) {
	if n < 4 || m.wide() {
		f(0, n)
		return
	}
	kernel.Parallel(n, 1, f)
}

func (p *planes) eachSpan(f func(s *span)) {
	p.m.each(len(p.spans), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f(&p.spans[i])
		}
	})
}
