package model

import "github.com/rankloop/rankloop/model/kernel"

// span is a run of whole sequences that goes through all layers together, small
// enough for its activations to stay in the processor's cache.
type span struct {
	lo, hi       int // rows
	segLo, segHi int
	outLo, outHi int   // rows of heads
	share        int   // where its shares of the norms' gradients start
	rest         *span // the heads' rows of it, see planes.restOf

	activation activation
	attending  attending
	rotation   rotation
}

func (s *span) rows() int { return s.hi - s.lo }

// wide says that a layer's weights fill the processor's cache by themselves: then
// every product is split over the threads, rather than the batch.
func (m *Transformer) wide() bool { return m.cfg.Width*(m.cfg.Width*4+m.cfg.Hidden*3) > 1<<20 }

// spanRows is how many rows make a span, of that many in all: fewer in a small batch,
// so that there are enough spans for the threads. It depends on the batch alone,
// because the gradients of the norms add up span by span.
func (m *Transformer) spanRows(all int) int {
	if m.wide() {
		return maxSpanWide
	}
	return min(maxSpan, max(64, all/6))
}

// The most rows of a span, unless one sequence has more.
const (
	maxSpan     = 256
	maxSpanWide = 1024
)

// spanEnds cuts the batch into spans and returns where each ends; share says that
// sequences of a span share the rows of a prompt.
func (m *Transformer) spanEnds(batch []Sequence, want Want, share bool) (ends []int) {
	all := 0
	whole := leader{want: want}
	for _, s := range batch {
		all += s.fed(want)
		if share {
			all -= whole.from(s)
		}
	}
	sum, target := 0, m.spanRows(all)
	l := leader{want: want}
	for i, s := range batch {
		n := s.fed(want)
		if share {
			if from := l.from(s); sum > 0 && sum+n-from > target {
				l.lead, l.known = s, true // the first of a span is fed from its beginning
			} else {
				n -= from
			}
		}
		if sum > 0 && sum+n > target {
			ends, sum = append(ends, i), 0
		}
		sum += n
	}
	if len(batch) > 0 {
		ends = append(ends, len(batch))
	}
	return ends
}

// addSpan appends the span of segments segLo..segHi and rows outLo..outHi of the heads.
func (p *planes) addSpan(segLo, segHi, outLo, outHi int) {
	s := span{segLo: segLo, segHi: segHi, outLo: outLo, outHi: outHi}
	if segLo < segHi {
		s.lo, s.hi = p.segs[segLo].lo, p.segs[segHi-1].hi
	}
	p.spans = append(p.spans, s)
}

// each calls f on disjoint ranges that cover n spans, in parallel unless the model is
// wide; what runs inside is parallel by itself where this is not.
func (m *Transformer) each(n int, f func(lo, hi int)) {
	if m.wide() {
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
