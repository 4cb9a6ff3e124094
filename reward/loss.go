package reward

import "math"

// RankingLoss is InstructGPT's eq. 1 for one ranking of the K responses to one prompt, with its gradient.
//
//	loss = -1/|P| * sum over (w, l) in P of log sigmoid(rewards[w] - rewards[l])
//
// P are the pairs that the ranking decides: ranks[w] < ranks[l] (1 = best). Tied responses form no pair. All pairs of a
// prompt are one batch element: each response goes through the model once and takes part in up to K-1 pairs, which is
// why a prompt is not seen K-1 times in an epoch and does not overfit at once. grad has the length of rewards; pairs is
// |P|, correct the number of pairs with rewards[w] > rewards[l]. Where P is empty, loss and gradient are 0.
func RankingLoss(rewards []float64, ranks []int) (loss float64, grad []float64, pairs, correct int) {
	grad = make([]float64, len(rewards))
	for i := range ranks {
		for j := i + 1; j < len(ranks); j++ {
			w, l := i, j
			switch {
			case ranks[i] == ranks[j]:
				continue
			case ranks[j] < ranks[i]:
				w, l = j, i
			}
			d := rewards[w] - rewards[l]
			loss += softplus(-d)
			g := sigmoid(-d) // -d/dd log sigmoid(d)
			grad[w] -= g
			grad[l] += g
			pairs++
			if d > 0 {
				correct++
			}
		}
	}
	if pairs == 0 {
		return 0, grad, 0, 0
	}
	loss /= float64(pairs)
	for i := range grad {
		grad[i] /= float64(pairs)
	}
	return loss, grad, pairs, correct
}

// GroupLoss is the mean of RankingLoss over the rankings that several labelers gave to the same K responses; rankings
// that decide no pair do not count. decided is the number of rankings that do.
func GroupLoss(rewards []float64, rankings [][]int) (loss float64, grad []float64, pairs, correct, decided int) {
	grad = make([]float64, len(rewards))
	for _, ranks := range rankings {
		l, g, n, c := RankingLoss(rewards, ranks)
		if n == 0 {
			continue
		}
		loss += l
		for i := range g {
			grad[i] += g[i]
		}
		pairs, correct, decided = pairs+n, correct+c, decided+1
	}
	if decided == 0 {
		return 0, grad, 0, 0, 0
	}
	loss /= float64(decided)
	for i := range grad {
		grad[i] /= float64(decided)
	}
	return loss, grad, pairs, correct, decided
}

// sigmoid is 1/(1+exp(-x)) without overflow.
func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

// softplus is log(1+exp(x)) without overflow or loss of small values.
func softplus(x float64) float64 {
	if x > 0 {
		return x + math.Log1p(math.Exp(-x))
	}
	return math.Log1p(math.Exp(x))
}
