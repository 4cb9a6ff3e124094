package ppo

import (
	"math"

	"github.com/rankloop/rankloop/model"
)

// RLOOConfig says how a policy is trained by REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024, "Back to basics",
// eq. 8; Kool et al. 2019): a response is one action, and its baseline the mean reward of the others to the same prompt.
type RLOOConfig struct {
	GroupConfig
	Beta   float64 `json:"beta"`   // coefficient of the KL per episode in the reward
	Clip   float64 `json:"clip"`   // half width of the interval of the response's ratio; 0 = no clip
	Whiten bool    `json:"whiten"` // scale the advantages of an iteration to mean 0 and variance 1
}

// DefaultRLOO suits small models.
func DefaultRLOO() RLOOConfig {
	return RLOOConfig{GroupConfig: defaultGroups(), Beta: 0.1, Clip: 0.2}
}

// Validate reports the first field that cannot be used, as *InvalidError.
func (c RLOOConfig) Validate() error {
	if err := c.GroupConfig.validate(); err != nil {
		return err
	}
	return within(span{"beta", c.Beta, 0, 1e6}, span{"clip", c.Clip, 0, 10})
}

// LeaveOneOut are RLOO's advantages: within each group of size k rewards,
//
//	A_i = R_i - mean of the other R_j = k/(k-1) * (R_i - mean of all)
func LeaveOneOut(rewards []float64, k int) []float64 {
	out := make([]float64, len(rewards))
	for lo := 0; lo < len(rewards); lo += k {
		sum := 0.0
		for _, r := range rewards[lo : lo+k] {
			sum += r
		}
		for i, r := range rewards[lo : lo+k] {
			out[lo+i] = r - (sum-r)/float64(k-1)
		}
	}
	return out
}

// RLOOLoss is the surrogate of sequence-level REINFORCE and its gradient with respect to newLogp:
//
//	ratio_b = exp(sum over t of newLogp - oldLogp)
//	loss    = mean over b of max(-A*ratio, -A*clip(ratio, 1-clip, 1+clip)), without the second where clip is 0
//
// At ratio 1 the gradient is REINFORCE's, -A_b at every token. stats.ClipFrac is a share of responses, and RatioMean and RatioMax
// are of the responses' ratios; ApproxKL, K1 and K3 are means over all tokens, as everywhere.
func RLOOLoss(newLogp, oldLogp [][]float64, advantages []float64, clip float64) (loss float64, grad [][]float64, stats PolicyStats) {
	grad = like(newLogp)
	stats.Tokens = Count(newLogp)
	if stats.Tokens == 0 {
		return 0, grad, stats
	}
	if clip == 0 {
		clip = math.Inf(1)
	}
	inv, per := 1/float64(len(newLogp)), 1/float64(stats.Tokens)
	for b, row := range newLogp {
		sum := 0.0
		for t, lp := range row {
			d := lp - oldLogp[b][t]
			sum += d
			stats.ApproxKL += 0.5 * d * d * per
			stats.K1 -= d * per
			stats.K3 += (math.Exp(d) - 1 - d) * per
		}
		ratio := math.Exp(sum)
		l, g, held := surrogate(ratio, advantages[b], clip, 0)
		loss += l * inv
		if held {
			stats.ClipFrac += inv
		}
		for t := range row {
			grad[b][t] = g * inv
		}
		stats.RatioMean += ratio * inv
		stats.RatioMax = max(stats.RatioMax, math.Exp(math.Abs(sum)))
	}
	stats.Loss = loss
	return loss, grad, stats
}

// RLOO trains a policy by REINFORCE with a leave-one-out baseline. It satisfies model/run's Trainer.
type RLOO struct{ *groupTrainer }

// NewRLOO makes a trainer; the arguments are NewGRPO's.
func NewRLOO(cfg RLOOConfig, policy, reference *model.Transformer, scorer Scorer, prompts Prompts, eos int32) (*RLOO, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t, err := newGroups(cfg.GroupConfig, cfg, rloo{cfg}, policy, reference, scorer, prompts, eos)
	if err != nil {
		return nil, err
	}
	return &RLOO{t}, nil
}

type rloo struct{ cfg RLOOConfig }

func (r rloo) learned() int { return r.cfg.episodes() }

func (r rloo) judge(scores, kl []float64, metrics map[string]float64) []float64 {
	rewards := make([]float64, len(scores))
	for i, s := range scores {
		rewards[i] = s - r.cfg.Beta*kl[i]
		metrics["reward"] += rewards[i] / float64(len(scores))
	}
	metrics["kl_coef"] = r.cfg.Beta
	advantages := LeaveOneOut(rewards, r.cfg.Samples)
	if r.cfg.Whiten {
		advantages = Whiten([][]float64{advantages}, true)[0]
	}
	return advantages
}

func (r rloo) mass(old [][]float64) float64 { return float64(len(old)) }

func (r rloo) loss(now, old, _ [][]float64, advantages []float64, _ map[string]float64, _ float64) ([][]float64, PolicyStats) {
	_, grad, stats := RLOOLoss(now, old, advantages, r.cfg.Clip)
	return grad, stats
}
