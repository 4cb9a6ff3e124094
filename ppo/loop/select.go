package loop

import (
	"context"
	"math"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/reward"
)

// worth says what ranking each prompt's answers would tell the newest reward model: the mean over pairs of p(1-p), with p its
// probability that one of the two is preferred. It is 1/4 where the model cannot tell any two apart and 0 where it is sure.
// nil where there is no reward model yet, or none that reads the answers' tokens.
func (l *Loop) worth(ctx context.Context, prompts []labeling.Prompt, responses [][]labeling.NewResponse) ([]float64, error) {
	newest, err := l.Registry.List(ctx, registry.Reward, 1)
	if err != nil || len(newest) == 0 {
		return nil, err
	}
	_, cp, err := l.open(ctx, newest[0].ID)
	if err != nil {
		return nil, err
	}
	digest, room := cp.Tokenizer.Digest(), cp.Model.Config().Context
	var batch []model.Sequence
	for i, p := range prompts {
		ids, err := promptIDs(cp.Tokenizer, l.Template, p)
		if err != nil {
			return nil, err
		}
		for _, r := range responses[i] {
			if r.TokenizerDigest != digest || len(ids)+len(r.TokenIDs) > room {
				return nil, nil
			}
			batch = append(batch, join(ids, r.TokenIDs))
		}
	}
	// The mean cancels in differences; the spread must not be taken out, for p is in the model's own units.
	rewards, err := reward.NewScorer(cp.Model, 0, 1).Score(ctx, batch)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(prompts))
	for i := range prompts {
		k := len(responses[i])
		out[i] = pairVariance(rewards[:k])
		rewards = rewards[k:]
	}
	return out, nil
}

// pairVariance is the mean of p(1-p) over the pairs of rewards, p = sigmoid of their difference.
func pairVariance(rewards []float64) float64 {
	sum, n := 0.0, 0.0
	for i, a := range rewards {
		for _, b := range rewards[:i] {
			p := 1 / (1 + math.Exp(b-a))
			sum += p * (1 - p)
			n++
		}
	}
	return sum / math.Max(1, n)
}
