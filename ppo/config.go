package ppo

import (
	"fmt"
	"math"

	"github.com/rankloop/rankloop/model"
)

// InvalidError names a field of a configuration or of the inputs that cannot be used, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return "ppo: " + e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{field, fmt.Sprintf(format, args...)}
}

// Config says how a policy is trained. It is stored as JSON with the run.
type Config struct {
	Iterations int `json:"iterations"` // rollout batches
	Rollouts   int `json:"rollouts"`   // B, episodes of an iteration
	Minibatch  int `json:"minibatch"`  // episodes of an optimizer step
	Epochs     int `json:"epochs"`     // passes over a rollout batch (InstructGPT: 1)
	MaxTokens  int `json:"max_tokens"` // longest response, the end token included
	Chunk      int `json:"chunk"`      // episodes sampled in one unit of work

	LR        float64 `json:"lr"`         // policy's learning rate
	ValueLR   float64 `json:"value_lr"`   // critic's learning rate
	Warmup    int     `json:"warmup"`     // iterations of linear warm-up from a tenth of the rate
	Schedule  string  `json:"schedule"`   // "constant", "linear" (to 0) or "cosine" (to a tenth)
	AdamEps   float64 `json:"adam_eps"`   // Adam's epsilon (Ziegler: 1e-5)
	Decay     float64 `json:"decay"`      // AdamW's weight decay
	ClipNorm  float64 `json:"clip_norm"`  // largest gradient norm, for policy and critic each; 0 = no clipping
	Gamma     float64 `json:"gamma"`      // discount
	Lambda    float64 `json:"lambda"`     // of GAE
	Clip      float64 `json:"clip"`       // half width of the ratio's interval
	ValueClip float64 `json:"value_clip"` // half width of the interval round the old value
	ValueCoef float64 `json:"value_coef"` // weight of the critic's loss
	Entropy   float64 `json:"entropy"`    // weight of the entropy bonus

	// Precision is model.PrecisionFloat32 (also "") or model.PrecisionMixed, of every model but the scorer's.
	Precision string `json:"precision,omitempty"`

	Critic string `json:"critic,omitempty"` // CriticSeparate (also "") or CriticShared

	WhitenRewards      bool `json:"whiten_rewards"`       // scale rewards to variance 1, keeping their mean
	WhitenPerMinibatch bool `json:"whiten_per_minibatch"` // whiten within each minibatch instead of the whole rollout batch

	KL    KLConfig  `json:"kl"`
	EOS   EOSConfig `json:"eos"`
	Ptx   PtxConfig `json:"ptx"`
	EMA   float64   `json:"ema"`  // decay of the averaged weights per optimizer step (InstructGPT: 0.992); 0 = none
	Seed  uint64    `json:"seed"` // of sampling and of every order
	Micro int       `json:"micro_tokens"`
}

// Where values come from.
const (
	CriticSeparate = "separate" // a network of its own, with an optimizer and a learning rate of its own (InstructGPT)
	CriticShared   = "shared"   // a value head on the policy's trunk: one pass and one optimizer for both, half the work (Ziegler)
)

// mixed says whether products are in mixed precision.
func (c Config) mixed() bool { return c.Precision == model.PrecisionMixed }

// weights is the form in which models are kept that are only read: the one whose bits are those of training.
func (c Config) weights() model.Weights {
	if c.mixed() {
		return model.WeightsBF16
	}
	return model.WeightsFloat32
}

// shared says whether the critic is a head of the policy.
func (c Config) shared() bool { return c.Critic == CriticShared }

// KLConfig is the penalty for leaving the reference, and where a run stops.
type KLConfig struct {
	Coef    float64 `json:"coef"`    // beta; where Target is set, the start
	Target  float64 `json:"target"`  // nats per episode that the coefficient is steered to; 0 = fixed coefficient
	Horizon float64 `json:"horizon"` // episodes (Ziegler: 10000)
	Min     float64 `json:"min"`     // the run stops below this KL per episode: samples are then not the policy's
	Max     float64 `json:"max"`     // the run stops above; 0 = no limit
}

// What happens to the score of a response without end token.
const (
	EOSSet      = "set"      // the score becomes EOSConfig.Value (N+: -1, below the reference answers' mean of 0)
	EOSSubtract = "subtract" // EOSConfig.Value is subtracted (TRL's missing_eos_penalty)
	EOSKeep     = "keep"     // nothing
)

// EOSConfig says what a response that was cut at MaxTokens scores.
type EOSConfig struct {
	Missing string  `json:"missing"` // EOSSet, EOSSubtract or EOSKeep
	Value   float64 `json:"value"`
}

// PtxConfig is the pretraining mix of PPO-ptx. The coefficient depends on how losses are reduced: InstructGPT's 27.8
// means nothing here, where both losses are means over tokens. Choose it by the ratio of gradient norms, which the
// metrics grad_norm and ptx_grad_norm tell.
type PtxConfig struct {
	Coef  float64 `json:"coef"`  // weight of the pretraining loss; 0 = no mix
	Batch int     `json:"batch"` // texts per optimizer step
}

// DefaultConfig suits models of 0.1 to 10 million parameters whose reward has a standard deviation near 1 over the
// reference answers. The learning rates of the papers are 100 to 300 times smaller and belong to larger models.
func DefaultConfig() Config {
	return Config{
		Iterations: 24, Rollouts: 192, Minibatch: 64, Epochs: 1, MaxTokens: 48, Chunk: 64,
		LR: 1e-3, ValueLR: 1e-3, Schedule: "constant", AdamEps: 1e-5, ClipNorm: 1,
		Gamma: 1, Lambda: 0.95, Clip: 0.2, ValueClip: 0.2, ValueCoef: 0.1,
		KL:    KLConfig{Coef: 0.1, Horizon: 10000, Min: -0.5, Max: 50},
		EOS:   EOSConfig{Missing: EOSSet, Value: -1},
		Micro: 8192,
	}
}

// Preset returns a named configuration: "small" (DefaultConfig), "instructgpt" (its published values, which suit
// models of a billion parameters) or "ziegler" (lm-human-preferences' style tasks).
func Preset(name string) (Config, error) {
	c := DefaultConfig()
	switch name {
	case "", "small":
	case "instructgpt": // Ouyang et al. 2022, C.4; the policy's own learning rate is not printed there: 9e-6 is the critic's
		c.Iterations, c.Rollouts, c.Minibatch, c.Epochs, c.MaxTokens = 500, 512, 64, 1, 1024
		c.LR, c.ValueLR, c.Warmup, c.AdamEps = 9e-6, 9e-6, 10, 1e-8
		c.KL.Coef, c.EMA = 0.02, 0.992
	case "ziegler": // openai/lm-human-preferences launch.py and train_policy.py, style tasks
		c.Iterations, c.Rollouts, c.Minibatch, c.Epochs, c.MaxTokens = 1953, 512, 512, 4, 24
		c.LR, c.ValueLR, c.Schedule, c.AdamEps = 1e-5, 1e-5, "linear", 1e-5
		c.KL = KLConfig{Coef: 0.15, Target: 6, Horizon: 10000, Min: -0.5, Max: 50}
		c.WhitenRewards, c.WhitenPerMinibatch = true, true
	default:
		return c, invalid("preset", "%q is none of small, instructgpt, ziegler", name)
	}
	return c, nil
}

// Validate reports the first field that cannot be used, as *InvalidError.
func (c Config) Validate() error {
	for _, f := range []struct {
		name string
		v    int
	}{{"iterations", c.Iterations}, {"rollouts", c.Rollouts}, {"minibatch", c.Minibatch}, {"epochs", c.Epochs},
		{"max_tokens", c.MaxTokens}, {"chunk", c.Chunk}, {"micro_tokens", c.Micro}} {
		if f.v < 1 {
			return invalid(f.name, "%d is not positive", f.v)
		}
	}
	for _, f := range []struct {
		name   string
		v      float64
		lo, hi float64
	}{{"lr", c.LR, 0, 1}, {"value_lr", c.ValueLR, 0, 1}, {"adam_eps", c.AdamEps, 1e-30, 1}, {"decay", c.Decay, 0, 1},
		{"clip_norm", c.ClipNorm, 0, math.MaxFloat32}, {"gamma", c.Gamma, 0, 1}, {"lambda", c.Lambda, 0, 1},
		{"clip", c.Clip, 0, 10}, {"value_clip", c.ValueClip, 0, math.MaxFloat32}, {"value_coef", c.ValueCoef, 0, 1e6},
		{"entropy", c.Entropy, 0, 1e6}, {"kl.coef", c.KL.Coef, 0, 1e6}, {"kl.target", c.KL.Target, 0, 1e6},
		{"kl.min", c.KL.Min, -1e6, 0}, {"kl.max", c.KL.Max, 0, 1e9}, {"eos.value", c.EOS.Value, -1e6, 1e6},
		{"ptx.coef", c.Ptx.Coef, 0, 1e6}, {"ema", c.EMA, 0, 1}} {
		if !(f.v >= f.lo && f.v <= f.hi) {
			return invalid(f.name, "%g is not in [%g, %g]", f.v, f.lo, f.hi)
		}
	}
	switch {
	case c.Minibatch > c.Rollouts:
		return invalid("minibatch", "%d is more than the %d rollouts", c.Minibatch, c.Rollouts)
	case c.Warmup < 0:
		return invalid("warmup", "must not be negative")
	case c.Schedule != "constant" && c.Schedule != "linear" && c.Schedule != "cosine":
		return invalid("schedule", "%q is none of constant, linear, cosine", c.Schedule)
	case c.Critic != "" && c.Critic != CriticSeparate && c.Critic != CriticShared:
		return invalid("critic", "%q is none of separate, shared", c.Critic)
	case c.Precision != "" && c.Precision != model.PrecisionFloat32 && c.Precision != model.PrecisionMixed:
		return invalid("precision", "%q is none of float32, mixed", c.Precision)
	case c.KL.Target > 0 && !(c.KL.Horizon > 0):
		return invalid("kl.horizon", "a target needs a positive horizon")
	case c.EOS.Missing != EOSSet && c.EOS.Missing != EOSSubtract && c.EOS.Missing != EOSKeep:
		return invalid("eos.missing", "%q is none of set, subtract, keep", c.EOS.Missing)
	case c.Ptx.Coef > 0 && c.Ptx.Batch < 1:
		return invalid("ptx.batch", "a pretraining mix needs at least 1 text per step")
	case c.EMA == 1:
		return invalid("ema", "1 never moves")
	}
	return nil
}

// rate scales a peak learning rate for an iteration (0-based).
func (c Config) rate(peak float64, iteration int) float64 {
	x := float64(iteration) / float64(c.Iterations)
	switch c.Schedule {
	case "linear":
		peak *= 1 - x
	case "cosine":
		peak *= 0.1 + 0.9*0.5*(1+math.Cos(math.Pi*x))
	}
	if iteration < c.Warmup {
		peak *= 0.1 + 0.9*float64(iteration)/float64(c.Warmup)
	}
	return peak
}
