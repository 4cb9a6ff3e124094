package decode

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rankloop/rankloop/model"
)

// Drawing names the way in which tokens are drawn. It changes where the same seed may bring other tokens than before.
const Drawing = "float32, sums of blocks"

// draw picks the next token from Distribution, in float32 and without sorting where the temperature allows that: about a tenth of
// the time. lse is what model.LogSumExp says of the logits.
func (s *sampler) draw(logits []float32, p *Params, counts map[int32]int, rng *rand.Rand) (id int32, lse float32) {
	if p.Temperature == 1 && !p.shifts() {
		s.soft = slices.Grow(s.soft[:0], len(logits))[:len(logits)]
		lse = model.Exponents(s.soft, logits, 1)
		return s.filter(logits, p, rng), lse
	}
	return s.other(logits, p, counts, rng), model.LogSumExp(logits)
}

// other is draw from another distribution than that of the logits.
func (s *sampler) other(logits []float32, p *Params, counts map[int32]int, rng *rand.Rand) int32 {
	if p.Temperature > 0 && p.Temperature <= coldest {
		return s.pickExact(s.distribution(logits, p, counts), rng)
	}
	if p.shifts() {
		logits = s.shift(logits, p, counts)
	}
	if p.Temperature == 0 {
		best := 0
		for i, v := range logits {
			if v > logits[best] {
				best = i
			}
		}
		return int32(best)
	}
	s.soft = slices.Grow(s.soft[:0], len(logits))[:len(logits)]
	model.Exponents(s.soft, logits, float32(1/p.Temperature))
	return s.filter(logits, p, rng)
}

// filter draws from s.soft, the probabilities of the logits but for a factor, what top-k and top-p leave of it.
func (s *sampler) filter(logits []float32, p *Params, rng *rand.Rand) int32 {
	if p.TopK > 0 && p.TopK < len(logits) {
		least, _ := s.smallest(logits, float64(p.TopK), false)
		for i, v := range logits {
			if v < least { // what ties with the last of them stays
				s.soft[i] = 0
			}
		}
	}
	if p.TopP > 0 && p.TopP < 1 {
		least, ties := s.smallest(s.soft, p.TopP*s.add(s.soft), true)
		for i, v := range s.soft {
			if v == least {
				ties--
			}
			if v < least || v == least && ties < 0 {
				s.soft[i] = 0
			}
		}
	}
	s.add(s.soft)
	return pick(s.sums, s.soft, rng)
}

// coldest is the temperature that float32 can divide by.
const coldest = 1e-3

// shift returns the logits with penalties and biases.
func (s *sampler) shift(logits []float32, p *Params, counts map[int32]int) []float32 {
	s.moved = append(s.moved[:0], logits...)
	for id, n := range counts {
		if n > 0 {
			s.moved[id] -= float32(float64(n)*p.FrequencyPenalty + p.PresencePenalty)
		}
	}
	for id, b := range p.LogitBias {
		s.moved[id] += b
	}
	return s.moved
}

// smallest returns the smallest of the largest of x that are enough together, and how many of like size belong to them: a quick
// selection (Hoare 1961). What is to be enough is their sum or, without sums, their number. -Inf where all together are not enough.
func (s *sampler) smallest(x []float32, enough float64, sums bool) (least float32, ties int) {
	weight := func(v float32) float64 {
		if sums {
			return float64(v)
		}
		return 1
	}
	s.some = append(s.some[:0], x...)
	for part, above := s.some, 0.0; len(part) > 0; {
		pivot := middle(part[0], part[len(part)/2], part[len(part)-1])
		larger, below, heavy := 0, len(part), 0.0 // part[:larger] are larger, part[below:] smaller
		for i := 0; i < below; {
			switch v := part[i]; {
			case v > pivot:
				heavy += weight(v)
				part[i], part[larger] = part[larger], v
				larger++
				i++
			case v == pivot:
				i++
			default:
				below--
				part[i], part[below] = part[below], v
			}
		}
		if larger == below { // the pivot is no number
			break
		}
		if above+heavy >= enough && larger > 0 {
			part = part[:larger]
			continue
		}
		above += heavy
		for n := 1; n <= below-larger; n++ {
			if above += weight(pivot); above >= enough {
				return pivot, n
			}
		}
		part = part[below:]
	}
	return float32(math.Inf(-1)), 0
}

// middle is the one between the two others.
func middle(a, b, c float32) float32 { return max(min(a, b), min(max(a, b), c)) }

// pickBlock is the number of probabilities that are added up before they are looked at one by one.
const pickBlock = 64

// add adds up the blocks of probs and returns the sum of all.
func (s *sampler) add(probs []float32) (total float64) {
	s.sums = s.sums[:0]
	for block := range slices.Chunk(probs, pickBlock) {
		one := float64(model.Sum(block))
		s.sums, total = append(s.sums, one), total+one
	}
	return total
}

// pick draws an index with the given probabilities, by inversion of their cumulative
// sum: first over blocks of them, of which sums are given, then inside of one. It takes one number from rng.
func pick[F float32 | float64](sums []float64, probs []F, rng *rand.Rand) int32 {
	total := 0.0
	for _, one := range sums {
		total += one
	}
	u, in, found := rng.Float64()*total, 0, false
	for i, one := range sums {
		if one > 0 {
			if in, found = i*pickBlock, u < one; found {
				break
			}
			u -= one
		}
	}
	if !found {
		u = math.Inf(1) // beyond all by rounding: the last one possible
	}
	last := in
	for i, p := range probs[in:min(in+pickBlock, len(probs))] {
		if p > 0 {
			last = in + i
			if u -= float64(p); u < 0 {
				break
			}
		}
	}
	return int32(last)
}

// pickExact is pick of probabilities in float64.
func (s *sampler) pickExact(probs []float64, rng *rand.Rand) int32 {
	s.sums = s.sums[:0]
	for block := range slices.Chunk(probs, pickBlock) {
		one := 0.0
		for _, p := range block {
			one += p
		}
		s.sums = append(s.sums, one)
	}
	return pick(s.sums, probs, rng)
}
