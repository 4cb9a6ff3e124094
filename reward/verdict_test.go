package reward

import (
	"context"
	"math"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// TestVerdicts: the reward is Score's, the probability is that of Bradley and Terry in the model's own unit, and the variance is Variance's.
func TestVerdicts(t *testing.T) {
	ctx := context.Background()
	var members []member
	for i, norm := range []Norm{{Mean: .3, Std: 2}, {Mean: -.1, Std: .5}, {Mean: 0, Std: 1}} {
		m := testModel(t, uint64(i+1))
		m.AddHead(model.HeadScore, uint64(i+20))
		members = append(members, member{m, norm})
	}
	seqs := testReference()
	for _, s := range []*Scorer{newScorer(members[:1], Combination{}, Norm{Std: 1}), newScorer(members, Combination{Combine: CombineUWO, Lambda: .5}, Norm{Mean: .2, Std: 3})} {
		got, err := s.Verdicts(ctx, seqs)
		if err != nil {
			t.Fatal(err)
		}
		rewards, err := s.Score(ctx, seqs)
		if err != nil {
			t.Fatal(err)
		}
		variance, err := s.Variance(ctx, seqs)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			p := 0.0
			for _, x := range s.members {
				raw := float64(x.m.Score(seqs[i:i+1], model.WantScore).Score[0])
				p += 1 / (1 + math.Exp(x.norm.Mean-raw)) / float64(len(s.members))
			}
			if v.Reward != rewards[i] || v.Variance != variance[i] || math.Abs(v.Preferred-p) > 1e-6 {
				t.Errorf("%d members: %+v, want %g, %g, %g", len(s.members), v, rewards[i], p, variance[i])
			}
		}
	}
}
