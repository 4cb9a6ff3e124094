package decode

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// Distribution returns the probabilities that the next token is drawn with. counts
// says how often tokens occur in the completion so far; it may be nil.
func Distribution(logits []float32, p Params, counts map[int32]int) []float64 {
	var s sampler
	return s.distribution(logits, &p, counts)
}

// sampler draws tokens. It keeps its buffers from one draw to the next.
type sampler struct {
	probs []float64
	order []int32
	soft  []float32 // probabilities, of draw
	moved []float32 // logits with penalties and biases
	some  []float32 // of smallest
	sums  []float64 // of the blocks of soft or probs, for pick
}

var samplers = sync.Pool{New: func() any { return new(sampler) }}

// distribution is Distribution into the sampler's buffer.
func (s *sampler) distribution(logits []float32, p *Params, counts map[int32]int) []float64 {
	x := slices.Grow(s.probs[:0], len(logits))[:len(logits)]
	s.probs = x
	for i, v := range logits {
		x[i] = float64(v)
	}
	for id, n := range counts {
		if n > 0 {
			x[id] -= float64(n)*p.FrequencyPenalty + p.PresencePenalty
		}
	}
	for id, b := range p.LogitBias {
		x[id] += float64(b)
	}
	if p.Temperature == 0 {
		best := 0
		for i, v := range x {
			if v > x[best] {
				best = i
			}
		}
		clear(x)
		x[best] = 1
		return x
	}
	best := slices.Max(x)
	for i, v := range x {
		x[i] = (v - best) / p.Temperature
	}
	if p.TopK > 0 && p.TopK < len(x) {
		s.topK(x, p.TopK)
	}
	softmax(x)
	if p.TopP > 0 && p.TopP < 1 {
		s.topP(x, p.TopP)
	}
	return x
}

// softmax exponentiates and normalises x; -Inf becomes 0.
func softmax(x []float64) {
	top := slices.Max(x)
	sum := 0.0
	for i, v := range x {
		x[i] = math.Exp(v - top)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

// topK puts -Inf in the place of all that is smaller than the k-th largest of x.
func (s *sampler) topK(x []float64, k int) {
	// A heap of the k largest, the smallest of them on top.
	heap := make([]float64, 0, k)
	down := func(i int) {
		for {
			c := 2*i + 1
			if c >= len(heap) {
				return
			}
			if c+1 < len(heap) && heap[c+1] < heap[c] {
				c++
			}
			if heap[i] <= heap[c] {
				return
			}
			heap[i], heap[c] = heap[c], heap[i]
			i = c
		}
	}
	for _, v := range x {
		switch {
		case len(heap) < k:
			heap = append(heap, v)
			if len(heap) == k {
				for i := k/2 - 1; i >= 0; i-- {
					down(i)
				}
			}
		case v > heap[0]:
			heap[0] = v
			down(0)
		}
	}
	for i, v := range x {
		if v < heap[0] {
			x[i] = math.Inf(-1)
		}
	}
}

// topP keeps the fewest likeliest of the probabilities x that sum to limit, and
// normalises them. Ties go to the lower id.
func (s *sampler) topP(x []float64, limit float64) {
	// What is below (1-limit)/V cannot be needed: all of it together is less than 1-limit.
	floor := (1 - limit) / float64(len(x)) / 2
	s.order = s.order[:0]
	for i, p := range x {
		if p >= floor && p > 0 {
			s.order = append(s.order, int32(i))
		}
	}
	slices.SortFunc(s.order, func(a, b int32) int {
		if c := cmp.Compare(x[b], x[a]); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
	kept, n := 0.0, 0
	for _, i := range s.order {
		kept += x[i]
		n++
		if kept >= limit {
			break
		}
	}
	s.order = s.order[:n]
	slices.Sort(s.order)
	next := 0
	for i := range x {
		if next < n && int(s.order[next]) == i {
			x[i] /= kept
			next++
		} else {
			x[i] = 0
		}
	}
}

// top returns the n likeliest tokens, the lower id first where they tie.
func top(logits []float32, lse float32, n int) []TopToken {
	out := make([]TopToken, 0, n+1)
	for i, v := range logits {
		if len(out) == n && v <= out[n-1].Logprob {
			continue
		}
		at := len(out)
		for at > 0 && v > out[at-1].Logprob {
			at--
		}
		out = slices.Insert(out, at, TopToken{ID: int32(i), Logprob: v})
		out = out[:min(len(out), n)]
	}
	for i := range out {
		out[i].Logprob -= lse
	}
	return out
}
