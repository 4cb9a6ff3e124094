package ppo

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/rankloop/rankloop/model"
)

// BestOfNConfig says how the best of n responses is drawn.
type BestOfNConfig struct {
	N           int             `json:"n"` // responses to each prompt
	MaxTokens   int             `json:"max_tokens"`
	Chunk       int             `json:"chunk"` // prompts sampled at once
	Temperature float64         `json:"temperature,omitempty"`
	Truncate    *TruncateConfig `json:"truncate,omitempty"`
	EOS         EOSConfig       `json:"eos"`
	Precision   string          `json:"precision,omitempty"`
	Seed        uint64          `json:"seed"`
}

// DefaultBestOfN draws 16, as AlpacaFarm does.
func DefaultBestOfN() BestOfNConfig {
	return BestOfNConfig{N: 16, MaxTokens: 48, Chunk: 32, EOS: EOSConfig{Missing: EOSSet, Value: -1}}
}

// Validate reports the first field that cannot be used, as *InvalidError.
func (c BestOfNConfig) Validate() error {
	err := positive(count{"n", c.N}, count{"max_tokens", c.MaxTokens}, count{"chunk", c.Chunk})
	if err == nil {
		err = within(span{"temperature", c.Temperature, 0, 100})
	}
	if err == nil {
		err = errors.Join(c.EOS.validate(), c.Truncate.validate())
	}
	if err == nil {
		err = checkCommon(0, "constant", c.Precision, 0)
	}
	return err
}

// BestOfN is a policy that answers with the best of n samples of another. Nothing is trained.
type BestOfN struct {
	actor
	cfg BestOfNConfig
}

// Choice is what the best of n came to for one prompt.
type Choice struct {
	Response []int32
	Score    float64   // of the response, after the end-token rule
	Ended    bool      // it came to its end
	Scores   []float64 // of all n, in the order they were drawn
}

// NewBestOfN makes the sampler. The policy is copied.
func NewBestOfN(cfg BestOfNConfig, policy *model.Transformer, scorer Scorer, eos int32) (*BestOfN, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	how := sampling{cfg.MaxTokens, 1 << 30, cfg.Seed, weightsFor(cfg.Precision), cfg.Temperature, cfg.Truncate, false}
	a := newActor(how, cfg.Precision == model.PrecisionMixed, policy, policy, scorer, nil, eos)
	return &BestOfN{a, cfg}, nil
}

// Choose answers each prompt. The choices depend on the policy, the scorer, the configuration and the prompts in their order, and
// not on how they are cut into calls of progress, which hears how many prompts are done and may be nil.
func (b *BestOfN) Choose(ctx context.Context, prompts [][]int32, progress func(done int)) ([]Choice, error) {
	shape := b.policy.Config()
	if err := checkPrompts(PromptList(prompts), b.cfg.MaxTokens, shape.Context, shape.Vocab); err != nil {
		return nil, err
	}
	out := make([]Choice, 0, len(prompts))
	for c := 0; len(out) < len(prompts); c++ {
		some := prompts[len(out):min(len(out)+b.cfg.Chunk, len(prompts))]
		repeated := make([][]int32, 0, len(some)*b.cfg.N)
		for _, p := range some {
			for range b.cfg.N {
				repeated = append(repeated, p)
			}
		}
		episodes, err := b.sample(ctx, b.packed(), repeated, b.chunkSeed(0, c))
		if err != nil {
			return nil, err
		}
		seqs := make([]model.Sequence, len(episodes))
		for i, e := range episodes {
			seqs[i] = e.seq
		}
		scores, err := b.scores(ctx, seqs)
		if err != nil {
			return nil, err
		}
		for i := range some {
			group := scores[i*b.cfg.N : (i+1)*b.cfg.N]
			for j := range group {
				if math.IsNaN(group[j]) || math.IsInf(group[j], 0) {
					return nil, ErrNotFinite
				}
				group[j] = b.cfg.EOS.finalScore(group[j], episodes[i*b.cfg.N+j].ended)
			}
			best := ranked(group)[0]
			e := episodes[i*b.cfg.N+best]
			out = append(out, Choice{Response: e.seq.IDs[e.seq.Start:], Score: group[best], Ended: e.ended, Scores: group})
		}
		if progress != nil {
			progress(len(out))
		}
	}
	return out, nil
}

// ranked lists indices from the highest score to the lowest; the earlier one first where they tie.
func ranked(scores []float64) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return 0
	})
	return order
}

// BestOfNKL is KL(best of n || policy) in nats for scores without ties: ln n - (n-1)/n (Stiennon et al. 2020, appendix G.3).
func BestOfNKL(n int) float64 { return math.Log(float64(n)) - float64(n-1)/float64(n) }

// BestOf estimates, without bias, the mean score of the best of k from the scores of n >= k draws (Nakano et al. 2021, appendix I):
// the i-th smallest of them is the best of k with probability C(i-1, k-1) / C(n, k).
func BestOf(scores []float64, k int) float64 {
	order := ranked(scores)
	n := len(order)
	sum, p := 0.0, float64(k)/float64(n) // of the largest
	for i, j := range order {            // i are larger
		sum += p * scores[j]
		if left := n - i - 1; left > 0 {
			p *= float64(max(0, left-k+1)) / float64(left)
		}
	}
	return sum
}

// BestOfCurve is what the best of 1, 2, 4, ... and n would have come to, estimated from the same draws: metrics n, best_of_score and
// best_of_kl for each.
func BestOfCurve(choices []Choice) (curve []map[string]float64) {
	if len(choices) == 0 {
		return nil
	}
	n := len(choices[0].Scores)
	for k := 1; ; k = min(2*k, n) {
		score := 0.0
		for _, c := range choices {
			score += BestOf(c.Scores, k) / float64(len(choices))
		}
		curve = append(curve, map[string]float64{"n": float64(k), "best_of_score": score, "best_of_kl": BestOfNKL(k)})
		if k == n {
			return curve
		}
	}
}
