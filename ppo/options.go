package ppo

import (
	"math"

	"github.com/rankloop/rankloop/model"
)

// KLConfig is the penalty for leaving the reference, and where a run stops.
type KLConfig struct {
	Coef    float64 `json:"coef"`    // beta; where Target is set, the start
	Target  float64 `json:"target"`  // nats per episode that the coefficient is steered to; 0 = fixed coefficient
	Horizon float64 `json:"horizon"` // episodes (Ziegler: 10000)
	Min     float64 `json:"min"`     // the run stops below this KL per episode: samples are then not the policy's
	Max     float64 `json:"max"`     // the run stops above; 0 = no limit

	Estimator string  `json:"estimator,omitempty"` // of the penalty in the reward: KLK1 (also ""), KLK2 or KLK3
	LossCoef  float64 `json:"loss_coef,omitempty"` // weight of the KL as a term of the loss, beside or instead of the penalty; 0 = none
	LossForm  string  `json:"loss_form,omitempty"` // its estimator: KLK3 (also ""; Shao et al. 2024) or KLK2
}

// Estimators of KL(pi || ref) from samples of pi, with d = log pi - log ref of the sampled token (Schulman, "Approximating KL
// divergence", 2020).
const (
	KLK1 = "k1" // d: unbiased, may be negative
	KLK2 = "k2" // d^2/2: biased, never negative, low variance
	KLK3 = "k3" // exp(-d) - 1 + d: unbiased, never negative
)

func (c KLConfig) validate() error {
	err := within(span{"kl.coef", c.Coef, 0, 1e6}, span{"kl.target", c.Target, 0, 1e6}, span{"kl.min", c.Min, -1e6, 0},
		span{"kl.max", c.Max, 0, 1e9}, span{"kl.loss_coef", c.LossCoef, 0, 1e6})
	switch {
	case err != nil:
		return err
	case c.Target > 0 && !(c.Horizon > 0):
		return invalid("kl.horizon", "a target needs a positive horizon")
	case c.Estimator != "" && c.Estimator != KLK1 && c.Estimator != KLK2 && c.Estimator != KLK3:
		return invalid("kl.estimator", "%q is none of k1, k2, k3", c.Estimator)
	case c.LossForm == KLK1:
		return invalid("kl.loss_form", "k1 pulls nowhere as a loss: the mean of its gradient over samples of the policy is 0; take k3, or k2")
	case c.LossForm != "" && c.LossForm != KLK2 && c.LossForm != KLK3:
		return invalid("kl.loss_form", "%q is none of k2, k3", c.LossForm)
	}
	return nil
}

// What happens to the score of a response without end token.
const (
	EOSSet      = "set"      // the score becomes EOSConfig.Value (N+: -1, below the reference answers' mean of 0)
	EOSSubtract = "subtract" // EOSConfig.Value is subtracted (TRL's missing_eos_penalty)
	EOSKeep     = "keep"     // nothing
)

// EOSConfig says what a response scores that has not come to its end: cut at MaxTokens, or without the token of Truncate.
type EOSConfig struct {
	Missing string  `json:"missing"` // EOSSet, EOSSubtract or EOSKeep
	Value   float64 `json:"value"`
}

func (c EOSConfig) validate() error {
	if c.Missing != EOSSet && c.Missing != EOSSubtract && c.Missing != EOSKeep {
		return invalid("eos.missing", "%q is none of set, subtract, keep", c.Missing)
	}
	return within(span{"eos.value", c.Value, -1e6, 1e6})
}

// TruncateConfig ends a response after the first Token at position After (0-based) or later, as Ziegler's tasks do at '.' after
// 16 tokens; what was drawn behind it is dropped. A response without it has not ended, see EOSConfig.
type TruncateConfig struct {
	Token int32 `json:"token"` // id
	After int   `json:"after"` // tokens that come first in any case
}

func (c *TruncateConfig) validate() error {
	switch {
	case c == nil:
		return nil
	case c.Token < 0:
		return invalid("truncate.token", "%d is no token id", c.Token)
	case c.After < 0:
		return invalid("truncate.after", "%d is negative", c.After)
	}
	return nil
}

// What scores are divided by.
const (
	ScaleNone      = "none"
	ScaleRunning   = "running"   // the standard deviation of all scores of the run so far
	ScaleReference = "reference" // that of the first iteration, whose responses are the reference's where the run starts from it
)

// ScoreConfig says what happens to the scorer's numbers, in this order, before the end-token rule (trlx).
type ScoreConfig struct {
	Scale string  `json:"scale,omitempty"` // ScaleNone (also ""), ScaleRunning or ScaleReference
	Clip  float64 `json:"clip,omitempty"`  // scores are held to [-Clip, Clip]; 0 = not
}

func (c ScoreConfig) validate() error {
	if c.Scale != "" && c.Scale != ScaleNone && c.Scale != ScaleRunning && c.Scale != ScaleReference {
		return invalid("score.scale", "%q is none of none, running, reference", c.Scale)
	}
	return within(span{"score.clip", c.Clip, 0, 1e6})
}

// PtxConfig is the pretraining mix of PPO-ptx. The coefficient depends on how losses are reduced: InstructGPT's 27.8
// means nothing here, where both losses are means over tokens. Ratio chooses it.
type PtxConfig struct {
	Coef  float64 `json:"coef"`            // weight of the pretraining loss; 0 = no mix
	Ratio float64 `json:"ratio,omitempty"` // norm of the mix's gradient by that of PPO's: the coefficient follows it; 0 = Coef is fixed
	Batch int     `json:"batch"`           // texts per optimizer step
}

func (c PtxConfig) on() bool { return c.Coef > 0 || c.Ratio > 0 }

func (c PtxConfig) validate() error {
	switch {
	case c.Coef > 0 && c.Ratio > 0:
		return invalid("ptx.ratio", "chooses the coefficient: leave out ptx.coef")
	case c.on() && c.Batch < 1:
		return invalid("ptx.batch", "a pretraining mix needs at least 1 text per step")
	}
	return within(span{"ptx.coef", c.Coef, 0, 1e6}, span{"ptx.ratio", c.Ratio, 0, 1e3})
}

// GuardConfig is where a run stops by itself besides KLConfig.Min and Max. A run that stops goes back to the weights that sampled
// the newest batch which passed every check.
type GuardConfig struct {
	Ratio float64 `json:"ratio,omitempty"` // largest mean of pi/pi_old over a minibatch; 0 = no limit
}

func (c GuardConfig) validate() error {
	if c.Ratio != 0 && !(c.Ratio > 1 && c.Ratio <= 1e9) {
		return invalid("guard.ratio", "%g is not above 1, where the ratio starts", c.Ratio)
	}
	return nil
}

// AdamConfig is what optimizers have in common besides the learning rate and epsilon.
type AdamConfig struct {
	Adam  string  `json:"adam,omitempty"`  // AdamTorch (also "") or AdamTensorFlow
	Beta1 float64 `json:"beta1,omitempty"` // 0 = 0.9
	Beta2 float64 `json:"beta2,omitempty"` // 0 = 0.95 (InstructGPT); TensorFlow's and PyTorch's own is 0.999
}

// Where Adam's epsilon stands.
const (
	AdamTorch      = "torch"      // beside the corrected root: m'/(sqrt(v') + eps)
	AdamTensorFlow = "tensorflow" // beside the plain one: early steps are smaller (Huang et al. 2023, the N details)
)

func (c AdamConfig) validate() error {
	if c.Adam != "" && c.Adam != AdamTorch && c.Adam != AdamTensorFlow {
		return invalid("adam", "%q is none of torch, tensorflow", c.Adam)
	}
	return within(span{"beta1", c.Beta1, 0, 0.9999}, span{"beta2", c.Beta2, 0, 0.999999})
}

// optimizer makes an AdamW.
func (c AdamConfig) optimizer(eps, decay, clip float64) *model.AdamW {
	o := model.NewAdamW()
	o.Eps, o.Decay, o.Clip = float32(eps), float32(decay), float32(clip)
	if c.Beta1 > 0 {
		o.Beta1 = float32(c.Beta1)
	}
	if c.Beta2 > 0 {
		o.Beta2 = float32(c.Beta2)
	}
	return o
}

// step takes an optimizer step. TensorFlow's lr*sqrt(1-b2^t)/(1-b1^t) * m/(sqrt(v)+eps) is PyTorch's step with an epsilon of
// eps/sqrt(1-b2^t).
func (c AdamConfig) step(o *model.AdamW, m *model.Transformer, eps, lr float64) (norm float64, err error) {
	o.Eps = float32(eps)
	if c.Adam == AdamTensorFlow {
		t, _, _ := o.State()
		o.Eps = float32(eps / math.Sqrt(1-math.Pow(float64(o.Beta2), float64(t+1))))
	}
	return o.Step(m, float32(lr))
}
