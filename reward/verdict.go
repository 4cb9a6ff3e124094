package reward

import (
	"context"
	"math"

	"github.com/rankloop/rankloop/model"
)

// Verdict is what a Scorer says of one sequence, prompt and answer.
type Verdict struct {
	Reward float64 // normalised, what Score returns
	// Preferred is the probability that the answer is preferred to one whose reward is the reference answers' mean, by Bradley
	// and Terry: sigmoid(r - mean), r in nats; of an ensemble the mean over its members.
	Preferred float64
	Variance  float64 // population variance of the members' normalised rewards; 0 for one model
}

// Verdicts judges each sequence once. A reward that is not finite is an error.
func (s *Scorer) Verdicts(ctx context.Context, seqs []model.Sequence) ([]Verdict, error) {
	each, err := s.Each(ctx, seqs)
	if err != nil {
		return nil, err
	}
	rewards, err := s.combined(each)
	if err != nil {
		return nil, err
	}
	_, variance := moments(each)
	out := make([]Verdict, len(seqs))
	for i := range out {
		p := 0.0
		for j, r := range each {
			p += 1 / (1 + math.Exp(-r[i]*s.members[j].norm.Std))
		}
		out[i] = Verdict{Reward: rewards[i], Preferred: p / float64(len(each)), Variance: variance[i]}
	}
	return out, nil
}
