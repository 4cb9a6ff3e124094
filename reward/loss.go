package reward

import "math"

// Count says what a ranking's loss was made of.
type Count struct {
	Pairs   int // pairs that the loss is the mean over: the decided ones, and ties where they are modelled
	Decided int // pairs (w, l) that the ranking decides
	Correct int // of these with rewards[w] > rewards[l]
}

// RankingLoss is InstructGPT's eq. 1 for one ranking of the K responses to one prompt, with its gradient.
//
//	loss = -1/|P| * sum over (w, l) in P of log sigmoid(rewards[w] - rewards[l])
//
// P are the pairs that the ranking decides: ranks[w] < ranks[l] (1 = best). Tied responses form no pair. All pairs of a
// prompt are one batch element: each response goes through the model once and takes part in up to K-1 pairs, which is
// why a prompt is not seen K-1 times in an epoch and does not overfit at once. grad has the length of rewards; pairs is
// |P|, correct the number of pairs with rewards[w] > rewards[l]. Where P is empty, loss and gradient are 0.
func RankingLoss(rewards []float64, ranks []int) (loss float64, grad []float64, pairs, correct int) {
	loss, grad, n := Loss{}.Ranking(rewards, ranks, 0)
	return loss, grad, n.Decided, n.Correct
}

// Ranking is RankingLoss with the options of l: the mean over the pairs of what Loss.pair says of each. strength is how much
// the labeler preferred what came first, see Group; 0 = not given. loss in nats, grad as long as rewards.
func (l Loss) Ranking(rewards []float64, ranks []int, strength float64) (loss float64, grad []float64, n Count) {
	grad = make([]float64, len(rewards))
	for i := range ranks {
		for j := i + 1; j < len(ranks); j++ {
			w, b := i, j
			tied := ranks[i] == ranks[j]
			switch {
			case tied && l.Ties == "":
				continue
			case ranks[j] < ranks[i]:
				w, b = j, i
			}
			d := rewards[w] - rewards[b]
			x, g := l.pair(d, tied, l.margin(ranks[b]-ranks[w], len(ranks), strength))
			loss += x
			grad[w] += g
			grad[b] -= g
			n.Pairs++
			if tied {
				continue
			}
			n.Decided++
			if d > 0 {
				n.Correct++
			}
		}
	}
	if n.Pairs == 0 {
		return 0, grad, n
	}
	loss /= float64(n.Pairs)
	for i := range grad {
		grad[i] /= float64(n.Pairs)
	}
	return loss, grad, n
}

// Group is the mean of Ranking over the rankings that several labelers gave to the same K responses, each with its weight;
// rankings without a pair do not count. weight is the mean weight of those that do, 0 where there are none: with it the
// loss of a prompt counts in a batch, so that weights work on prompts that one labeler ranked, too. rewards has the length of
// g.Sequences.
func (l Loss) Group(rewards []float64, g Group) (loss float64, grad []float64, weight float64, n Count) {
	grad = make([]float64, len(rewards))
	rankings := 0.0
	for i, ranks := range g.Rankings {
		x, dr, c := l.Ranking(rewards, ranks, g.strength(i))
		if c.Pairs == 0 {
			continue
		}
		w := g.weight(i)
		loss += w * x
		for k := range dr {
			grad[k] += w * dr[k]
		}
		weight, rankings = weight+w, rankings+1
		n.Pairs, n.Decided, n.Correct = n.Pairs+c.Pairs, n.Decided+c.Decided, n.Correct+c.Correct
	}
	if rankings == 0 {
		return 0, grad, 0, n
	}
	loss /= weight
	for k := range grad {
		grad[k] /= weight
	}
	return loss, grad, weight / rankings, n
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
