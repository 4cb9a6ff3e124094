package ppo

import (
	"math"

	"github.com/rankloop/rankloop/model"
)

// What GRPO's loss is a mean over.
const (
	ReduceSequence = "sequence" // over the tokens of each response, then over responses (the paper)
	ReduceToken    = "token"    // over all tokens: long responses count more (DAPO)
	ReduceConstant = "constant" // sum over tokens / MaxTokens, then over responses: no bias by length (Dr. GRPO)
)

// GRPOConfig says how a policy is trained by group relative policy optimisation (Shao et al. 2024, "DeepSeekMath", section 4.1):
// the advantage of a response is its score against the other responses to the same prompt, and there is no critic.
type GRPOConfig struct {
	GroupConfig
	Clip   float64 `json:"clip"`   // half width of the ratio's interval
	Beta   float64 `json:"beta"`   // weight of the KL to the reference in the loss (the paper: 0.04)
	Std    bool    `json:"std"`    // divide by the group's standard deviation; Dr. GRPO (Liu et al. 2025) does not
	Reduce string  `json:"reduce"` // ReduceSequence, ReduceToken or ReduceConstant

	DualClip float64 `json:"dual_clip,omitempty"` // largest factor on a negative advantage; 0 = none, else above 1
	KLForm   string  `json:"kl_form,omitempty"`   // estimator of the KL: KLK3 (also ""; the paper's) or KLK2
}

// DefaultGRPO suits small models; the objective's own values are the paper's.
func DefaultGRPO() GRPOConfig {
	return GRPOConfig{GroupConfig: defaultGroups(), Clip: 0.2, Beta: 0.04, Std: true, Reduce: ReduceSequence}
}

// Validate reports the first field that cannot be used, as *InvalidError.
func (c GRPOConfig) Validate() error {
	if err := c.GroupConfig.validate(); err != nil {
		return err
	}
	switch {
	case c.Reduce != ReduceSequence && c.Reduce != ReduceToken && c.Reduce != ReduceConstant:
		return invalid("reduce", "%q is none of sequence, token, constant", c.Reduce)
	case c.KLForm != "" && c.KLForm != KLK2 && c.KLForm != KLK3:
		return invalid("kl_form", "%q is none of k2, k3", c.KLForm)
	case c.DualClip > 0 && c.DualClip <= 1:
		return invalid("dual_clip", "%g is not above 1, where the ratio starts", c.DualClip)
	}
	return within(span{"clip", c.Clip, 0, 10}, span{"beta", c.Beta, 0, 1e6}, span{"dual_clip", c.DualClip, 0, 1e6})
}

// groupEps keeps a group without variance from dividing by 0; its advantages are then 0.
const groupEps = 1e-8

// GroupAdvantages are GRPO's (eq. in section 4.1.2): within each group of size scores, (r - mean) / std with the population's
// standard deviation, or r - mean where std is false.
func GroupAdvantages(scores []float64, size int, std bool) []float64 {
	out := make([]float64, len(scores))
	for lo := 0; lo < len(scores); lo += size {
		group := scores[lo : lo+size]
		mean, variance := Moments([][]float64{group})
		scale := 1.0
		if std {
			scale = 1 / (math.Sqrt(variance) + groupEps)
		}
		for i, r := range group {
			out[lo+i] = (r - mean) * scale
		}
	}
	return out
}

// GRPOLoss is GRPO's objective (Shao et al. 2024, eq. 3, negated) and its gradient with respect to newLogp:
//
//	term[b][t] = max(-A_b*ratio, -A_b*clip(ratio, 1-clip, 1+clip)) + beta*kl(newLogp - ref)
//	loss       = mean over b of the mean over t of term      (ReduceSequence)
//
// with kl the estimate k3, exp(-d) - 1 + d (eq. 4). limit is MaxTokens, for ReduceConstant. stats are means over all tokens but for
// Loss, which leaves out the KL; kl is the KL term before beta, reduced in the same way.
func GRPOLoss(newLogp, oldLogp, ref [][]float64, advantages []float64, c GRPOConfig) (loss, kl float64, grad [][]float64, stats PolicyStats) {
	grad = like(newLogp)
	n := Count(newLogp)
	stats.Tokens = n
	if n == 0 {
		return 0, 0, grad, stats
	}
	inv := 1 / float64(n)
	for b, row := range newLogp {
		w := inv
		switch c.Reduce {
		case ReduceSequence:
			w = 1 / float64(len(newLogp)*max(1, len(row)))
		case ReduceConstant:
			w = 1 / float64(len(newLogp)*c.MaxTokens)
		}
		for t, lp := range row {
			d := lp - oldLogp[b][t]
			ratio := math.Exp(d)
			l, g, held := surrogate(ratio, advantages[b], c.Clip, c.DualClip)
			k, dk := klTerm(lp-ref[b][t], c.KLForm)
			stats.Loss += w * l
			kl += w * k
			grad[b][t] = w * (g + c.Beta*dk)
			if held {
				stats.ClipFrac += inv
			}
			stats.ApproxKL += 0.5 * d * d * inv
			stats.K1 -= d * inv
			stats.K3 += (ratio - 1 - d) * inv
			stats.RatioMean += ratio * inv
			stats.RatioMax = max(stats.RatioMax, math.Exp(math.Abs(d)))
		}
	}
	return stats.Loss + c.Beta*kl, kl, grad, stats
}

// GRPO trains a policy by group relative policy optimisation. It satisfies model/run's Trainer.
type GRPO struct{ *groupTrainer }

// NewGRPO makes a trainer. policy is what training starts from and reference what the KL holds it to; they may be one model, and
// are copied. eos is the token that ends a response, -1 where there is none.
func NewGRPO(cfg GRPOConfig, policy, reference *model.Transformer, scorer Scorer, prompts Prompts, eos int32) (*GRPO, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t, err := newGroups(cfg.GroupConfig, cfg, grpo{cfg}, policy, reference, scorer, prompts, eos)
	if err != nil {
		return nil, err
	}
	return &GRPO{t}, nil
}

type grpo struct{ cfg GRPOConfig }

func (g grpo) learned() int { return g.cfg.episodes() }

func (g grpo) judge(scores, kl []float64, metrics map[string]float64) []float64 {
	flat := 0.0
	for lo := 0; lo < len(scores); lo += g.cfg.Samples {
		if _, v := Moments([][]float64{scores[lo : lo+g.cfg.Samples]}); v == 0 {
			flat++
		}
	}
	metrics["flat_groups"] = flat / float64(g.cfg.Prompts)
	return GroupAdvantages(scores, g.cfg.Samples, g.cfg.Std)
}

func (g grpo) mass(old [][]float64) float64 {
	if g.cfg.Reduce == ReduceToken {
		return float64(Count(old))
	}
	return float64(len(old))
}

func (g grpo) loss(now, old, ref [][]float64, advantages []float64, metrics map[string]float64, share float64) ([][]float64, PolicyStats) {
	_, kl, grad, stats := GRPOLoss(now, old, ref, advantages, g.cfg)
	metrics["kl_loss"] += share * kl
	return grad, stats
}
