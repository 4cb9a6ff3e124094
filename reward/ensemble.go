package reward

import (
	"context"
	"math"

	"github.com/rankloop/rankloop/model"
)

// Ways to combine the rewards of an ensemble's members (Coste et al. 2023, "Reward model ensembles help mitigate
// overoptimization", section 3.2).
const (
	CombineMean = "mean" // mean of the members
	CombineMin  = "min"  // worst case, WCO: the least of the members
	CombineUWO  = "uwo"  // uncertainty-weighted, UWO: mean - lambda * variance
)

// MaxMembers bounds an ensemble.
const MaxMembers = 64

// Combination says what an ensemble makes of its members' normalised rewards.
type Combination struct {
	Combine string  `json:"combine,omitempty"` // CombineMean (also ""), CombineMin or CombineUWO
	Lambda  float64 `json:"lambda,omitempty"`  // of CombineUWO: reward given up per unit of variance between the members
}

func (c Combination) validate() error {
	switch c.Combine {
	case "", CombineMean, CombineMin:
		if c.Lambda != 0 {
			return invalid("lambda", "%g has a meaning with combine %s only", c.Lambda, CombineUWO)
		}
	case CombineUWO:
		if !(c.Lambda > 0) || math.IsInf(c.Lambda, 0) {
			return invalid("lambda", "%g; combine %s wants a positive weight of the variance", c.Lambda, CombineUWO)
		}
	default:
		return invalid("combine", "%q is none of %s, %s, %s", c.Combine, CombineMean, CombineMin, CombineUWO)
	}
	return nil
}

// named is c with the default by its name.
func (c Combination) named() Combination {
	if c.Combine == "" {
		c.Combine = CombineMean
	}
	return c
}

// combine makes one reward per sequence of [member][sequence]. The variance is the population's, as in Coste et al. eq. 4.
func (c Combination) combine(each [][]float64) []float64 {
	mean, variance := moments(each)
	switch c.Combine {
	case CombineMin:
		for i := range mean {
			mean[i] = each[0][i]
			for _, r := range each[1:] {
				mean[i] = math.Min(mean[i], r[i])
			}
		}
	case CombineUWO:
		for i := range mean {
			mean[i] -= c.Lambda * variance[i]
		}
	}
	return mean
}

// moments are mean and population variance over the members, per column of [member][n].
func moments(each [][]float64) (mean, variance []float64) {
	n := len(each[0])
	mean, variance = make([]float64, n), make([]float64, n)
	for _, r := range each {
		for i, x := range r {
			mean[i] += x / float64(len(each))
		}
	}
	for _, r := range each {
		for i, x := range r {
			variance[i] += (x - mean[i]) * (x - mean[i]) / float64(len(each))
		}
	}
	return mean, variance
}

// Member returns the i-th member, 0 <= i < Members(), as a scorer of its own.
func (s *Scorer) Member(i int) *Scorer {
	return newScorer([]member{s.members[i]}, Combination{}, Norm{Std: 1})
}

// Recombine returns a scorer of the same members that combines them in another way. Its zero is set anew: the least of several
// rewards is not 0 on average where their mean is. reference are answers as NewTrainer takes them, scale is Config.Scale. A single
// model and a combination that cannot be are an *InvalidError.
func (s *Scorer) Recombine(ctx context.Context, how Combination, reference []model.Sequence, scale bool) (*Scorer, error) {
	switch err := how.validate(); {
	case err != nil:
		return nil, err
	case len(s.members) < 2:
		return nil, invalid("combine", "needs members of 2 or more")
	case len(reference) == 0:
		return nil, invalid("reference", "there are no reference answers to set the mean by")
	}
	norm, _, err := normalise(ctx, newScorer(s.members, how.named(), Norm{Std: 1}), reference, scale)
	if err != nil {
		return nil, err
	}
	return newScorer(s.members, how.named(), norm), nil
}

// Variance returns for each sequence the population variance of the members' normalised rewards: how much the ensemble does
// not know of it. It is 0 where there is one member.
func (s *Scorer) Variance(ctx context.Context, seqs []model.Sequence) ([]float64, error) {
	each, err := s.Each(ctx, seqs)
	if err != nil {
		return nil, err
	}
	_, variance := moments(each)
	return variance, nil
}

// Disagreement returns for each prompt how far the members are from agreeing on its answers: the mean over the answers'
// pairs of the population variance, over the members, of the pair's margin r_a - r_b. Margins are in nats, the unit in which
// a member's reward is a log-odds; what shifts all of a member's rewards cancels. answers is [prompt][K]; the value is 0
// for a single member and for fewer than two answers. It is what to rank next (Christiano et al. 2017, section 2.2.4, take
// the pairs on which an ensemble varies most).
func (s *Scorer) Disagreement(ctx context.Context, answers [][]model.Sequence) ([]float64, error) {
	var all []model.Sequence
	for _, a := range answers {
		all = append(all, a...)
	}
	each, err := s.Each(ctx, all)
	if err != nil {
		return nil, err
	}
	for j, r := range each {
		for i := range r {
			r[i] *= s.members[j].norm.Std
		}
	}
	out := make([]float64, len(answers))
	at := 0
	for i, a := range answers {
		out[i] = marginVariance(each, at, len(a))
		at += len(a)
	}
	return out, nil
}

// marginVariance is the mean over the pairs of the k columns from at on of the variance over the members of their difference.
func marginVariance(each [][]float64, at, k int) float64 {
	var margins [][]float64
	for _, r := range each {
		var row []float64
		for a := at; a < at+k; a++ {
			for b := at; b < a; b++ {
				row = append(row, r[a]-r[b])
			}
		}
		margins = append(margins, row)
	}
	_, variance := moments(margins)
	sum := 0.0
	for _, v := range variance {
		sum += v
	}
	return sum / math.Max(1, float64(len(variance)))
}
