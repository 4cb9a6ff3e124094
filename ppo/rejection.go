package ppo

import (
	"math"

	"github.com/rankloop/rankloop/model"
)

// RejectionConfig says how a policy is trained by rejection sampling (expert iteration; Anthony et al. 2017, Touvron et al. 2023,
// section 3.2.3): the best of Samples responses to each prompt are what the next policy imitates.
type RejectionConfig struct {
	GroupConfig
	Keep int `json:"keep"` // responses of each group that are learned, the best first
}

// DefaultRejection suits small models.
func DefaultRejection() RejectionConfig {
	c := RejectionConfig{GroupConfig: defaultGroups(), Keep: 1}
	c.Minibatch = 16
	return c
}

// Validate reports the first field that cannot be used, as *InvalidError.
func (c RejectionConfig) Validate() error {
	if err := c.GroupConfig.validate(); err != nil {
		return err
	}
	if c.Keep < 1 || c.Keep >= c.Samples {
		return invalid("keep", "%d of %d samples: at least 1 must stay and 1 go", c.Keep, c.Samples)
	}
	return nil
}

// Rejection trains a policy on the best of its own responses. It satisfies model/run's Trainer.
type Rejection struct{ *groupTrainer }

// NewRejection makes a trainer; the arguments are NewGRPO's. The KL to the reference is measured and bounded, not penalised.
func NewRejection(cfg RejectionConfig, policy, reference *model.Transformer, scorer Scorer, prompts Prompts, eos int32) (*Rejection, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t, err := newGroups(cfg.GroupConfig, cfg, rejection{cfg}, policy, reference, scorer, prompts, eos)
	if err != nil {
		return nil, err
	}
	return &Rejection{t}, nil
}

type rejection struct{ cfg RejectionConfig }

func (r rejection) learned() int { return r.cfg.Prompts * r.cfg.Keep }

func (r rejection) judge(scores, _ []float64, metrics map[string]float64) []float64 {
	out := make([]float64, len(scores))
	for i := range out {
		out[i] = math.NaN()
	}
	kept := 0.0
	for lo := 0; lo < len(scores); lo += r.cfg.Samples {
		for _, i := range ranked(scores[lo : lo+r.cfg.Samples])[:r.cfg.Keep] {
			out[lo+i] = 1
			kept += scores[lo+i]
		}
	}
	metrics["kept_score"] = kept / float64(r.learned())
	return out
}

func (r rejection) mass(old [][]float64) float64 { return float64(Count(old)) }

// loss is the cross entropy of the kept responses, SFT's.
func (r rejection) loss(now, old, _ [][]float64, _ []float64, _ map[string]float64, _ float64) ([][]float64, PolicyStats) {
	_, _, stats := PolicyLoss(now, old, like(now), 1)
	var grad [][]float64
	stats.Loss, grad = PtxLoss(now)
	return grad, stats
}
