package loop

import (
	"context"
	"math"
	"slices"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/reward"
)

// worth says what ranking each prompt's answers would tell the newest reward model: the mean over pairs of p(1-p), with p its
// probability that one of the two is preferred. It is 1/4 where the model cannot tell any two apart and 0 where it is sure.
// Where the reward model is an ensemble it is how far the members are from agreeing, reward.Scorer.Disagreement: a pair that
// all of them find equally good teaches less than one that they judge differently. nil where there is no reward model yet,
// or an answer is longer than it reads.
func (l *Loop) worth(ctx context.Context, prompts []labeling.Prompt, responses [][]labeling.NewResponse) ([]float64, error) {
	newest, err := l.Registry.List(ctx, registry.Reward, 1)
	if err != nil || len(newest) == 0 {
		return nil, err
	}
	_, cp, err := l.open(ctx, newest[0].ID)
	if err != nil {
		return nil, err
	}
	scorer, err := reward.Open(cp)
	if err != nil {
		return nil, err
	}
	digest, room := cp.Tokenizer.Digest(), cp.Model.Config().Context
	answers := make([][]model.Sequence, len(prompts))
	for i, p := range prompts {
		ids, err := promptIDs(cp.Tokenizer, l.Template, p)
		if err != nil {
			return nil, err
		}
		for _, r := range responses[i] {
			said := r.TokenIDs
			if r.TokenizerDigest != digest { // of another engine: a text
				said = append(cp.Tokenizer.Encode(" "+r.Text), int32(cp.Model.Config().EOS))
			}
			if len(ids)+len(said) > room {
				return nil, nil
			}
			answers[i] = append(answers[i], join(ids, said))
		}
	}
	return worthOf(ctx, scorer, answers)
}

// worthOf is worth for answers that are encoded, [prompt][K].
func worthOf(ctx context.Context, scorer *reward.Scorer, answers [][]model.Sequence) ([]float64, error) {
	if scorer.Members() > 1 {
		return scorer.Disagreement(ctx, answers)
	}
	// The mean cancels in differences; the spread must not be taken out, for p is in the model's own units.
	rewards, err := reward.NewScorer(scorer.Model(), 0, 1).Score(ctx, slices.Concat(answers...))
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(answers))
	for i, a := range answers {
		out[i] = pairVariance(rewards[:len(a)])
		rewards = rewards[len(a):]
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
