package labeling

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// Candidate is a task that could be ranked next.
type Candidate struct {
	Score    float64 // what a ranking would tell: the variance of an ensemble, or the closeness of a margin; higher first
	Scored   bool    // false: nothing is known of it
	OnPolicy bool    // its answers are of the policy that is trained now
}

// SelectNext puts candidates into the order in which they are to be ranked. At each place a task is drawn at random with
// probability randomShare, so that the rankings stay a sample of what is asked and a reward model that is sure and wrong is
// found out; else the highest score is taken, of the policy's own answers with probability policyShare and of the others
// otherwise, as long as there are both. Tasks without a score come by chance only, or when no others are left.
//
// Ensemble disagreement as acquisition: Christiano et al. 2017, section 2.2.4; the random floor is there because they found
// it to hurt on some tasks.
func SelectNext(list []Candidate, randomShare, policyShare float64, rng *rand.Rand) []int {
	var queues [2][]int // others, on policy: best first
	left := make([]int, 0, len(list))
	for i, c := range list {
		left = append(left, i)
		side := 0
		if c.OnPolicy {
			side = 1
		}
		queues[side] = append(queues[side], i)
	}
	for _, q := range queues {
		slices.SortStableFunc(q, func(a, b int) int {
			if list[a].Scored != list[b].Scored {
				return map[bool]int{true: -1, false: 1}[list[a].Scored]
			}
			return cmp.Compare(list[b].Score, list[a].Score)
		})
	}
	at := make([]int, len(list)) // where a task stands in left; -1: taken
	for i := range at {
		at[i] = i
	}
	take := func(i int) {
		last := left[len(left)-1]
		left[at[i]], at[last] = last, at[i]
		left, at[i] = left[:len(left)-1], -1
	}
	best := func(side int) int {
		for len(queues[side]) > 0 && at[queues[side][0]] < 0 {
			queues[side] = queues[side][1:]
		}
		if len(queues[side]) == 0 {
			return -1
		}
		return queues[side][0]
	}
	out := make([]int, 0, len(list))
	for len(left) > 0 {
		next := left[rng.IntN(len(left))]
		if rng.Float64() >= randomShare {
			side := 0
			if rng.Float64() < policyShare {
				side = 1
			}
			if next = best(side); next < 0 {
				next = best(1 - side)
			}
		}
		take(next)
		out = append(out, next)
	}
	return out
}
