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

// Config says how a policy is trained by PPO. It is stored as JSON with the run. Options lists every field with its source.
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
	AdamConfig

	DualClip float64 `json:"dual_clip,omitempty"` // largest factor on a negative advantage (Ye et al. 2020); 0 = none, else above 1
	TargetKL float64 `json:"target_kl,omitempty"` // approxkl above which an iteration's remaining optimizer steps are left out; 0 = none

	// Precision is model.PrecisionFloat32 (also "") or model.PrecisionMixed, of every model but the scorer's.
	Precision string `json:"precision,omitempty"`

	Critic string `json:"critic,omitempty"` // CriticSeparate (also "") or CriticShared

	WhitenRewards      bool `json:"whiten_rewards"`           // scale rewards to variance 1, keeping their mean
	WhitenPerMinibatch bool `json:"whiten_per_minibatch"`     // whiten within each minibatch instead of the whole rollout batch
	RawAdvantages      bool `json:"raw_advantages,omitempty"` // do not whiten the advantages

	Temperature float64         `json:"temperature,omitempty"` // of sampling, and of every log-probability with it; 0 = 1
	Truncate    *TruncateConfig `json:"truncate,omitempty"`    // where a response ends besides its end token

	KL    KLConfig    `json:"kl"`
	EOS   EOSConfig   `json:"eos"`
	Score ScoreConfig `json:"score,omitzero"`
	Ptx   PtxConfig   `json:"ptx"`
	Guard GuardConfig `json:"guard,omitzero"`
	EMA   float64     `json:"ema"`  // decay of the averaged weights per optimizer step (InstructGPT: 0.992); 0 = none
	Seed  uint64      `json:"seed"` // of sampling and of every order
	Micro int         `json:"micro_tokens"`
}

// Where values come from.
const (
	CriticSeparate = "separate" // a network of its own, with an optimizer and a learning rate of its own (InstructGPT)
	CriticShared   = "shared"   // a value head on the policy's trunk: one pass and one optimizer for both, half the work (Ziegler)
)

// weightsFor is the form in which models are kept that are only read: the one whose bits are those of training.
func weightsFor(precision string) model.Weights {
	if precision == model.PrecisionMixed {
		return model.WeightsBF16
	}
	return model.WeightsFloat32
}

// mixed says whether products are in mixed precision.
func (c Config) mixed() bool { return c.Precision == model.PrecisionMixed }

// shared says whether the critic is a head of the policy.
func (c Config) shared() bool { return c.Critic == CriticShared }

func (c Config) sampling() sampling {
	return sampling{c.MaxTokens, c.Micro, c.Seed, weightsFor(c.Precision), c.Temperature, c.Truncate, c.shared()}
}

// Validate reports the first field that cannot be used, as *InvalidError.
func (c Config) Validate() error {
	err := positive(
		count{"iterations", c.Iterations}, count{"rollouts", c.Rollouts}, count{"minibatch", c.Minibatch}, count{"epochs", c.Epochs},
		count{"max_tokens", c.MaxTokens}, count{"chunk", c.Chunk}, count{"micro_tokens", c.Micro})
	if err == nil {
		err = within(
			span{"lr", c.LR, 0, 1}, span{"value_lr", c.ValueLR, 0, 1}, span{"adam_eps", c.AdamEps, 1e-30, 1}, span{"decay", c.Decay, 0, 1},
			span{"clip_norm", c.ClipNorm, 0, math.MaxFloat32}, span{"gamma", c.Gamma, 0, 1}, span{"lambda", c.Lambda, 0, 1},
			span{"clip", c.Clip, 0, 10}, span{"value_clip", c.ValueClip, 0, math.MaxFloat32}, span{"value_coef", c.ValueCoef, 0, 1e6},
			span{"entropy", c.Entropy, 0, 1e6}, span{"dual_clip", c.DualClip, 0, 1e6}, span{"target_kl", c.TargetKL, 0, 1e6},
			span{"temperature", c.Temperature, 0, 100}, span{"ema", c.EMA, 0, 1})
	}
	for _, part := range []interface{ validate() error }{c.AdamConfig, c.KL, c.EOS, c.Score, c.Ptx, c.Guard, c.Truncate} {
		if err == nil {
			err = part.validate()
		}
	}
	if err == nil {
		err = checkCommon(c.Warmup, c.Schedule, c.Precision, c.EMA)
	}
	switch {
	case err != nil:
		return err
	case c.Minibatch > c.Rollouts:
		return invalid("minibatch", "%d is more than the %d rollouts", c.Minibatch, c.Rollouts)
	case c.Critic != "" && c.Critic != CriticSeparate && c.Critic != CriticShared:
		return invalid("critic", "%q is none of separate, shared", c.Critic)
	case c.DualClip > 0 && c.DualClip <= 1:
		return invalid("dual_clip", "%g is not above 1, where the ratio starts", c.DualClip)
	case c.RawAdvantages && c.WhitenPerMinibatch && !c.WhitenRewards:
		return invalid("whiten_per_minibatch", "raw_advantages leaves nothing to whiten")
	}
	return nil
}

// count and span are fields of a configuration with what they may be.
type (
	count struct {
		name string
		v    int
	}
	span struct {
		name      string
		v, lo, hi float64
	}
)

func positive(fields ...count) error {
	for _, f := range fields {
		if f.v < 1 {
			return invalid(f.name, "%d is not positive", f.v)
		}
	}
	return nil
}

func within(fields ...span) error {
	for _, f := range fields {
		if !(f.v >= f.lo && f.v <= f.hi) {
			return invalid(f.name, "%g is not in [%g, %g]", f.v, f.lo, f.hi)
		}
	}
	return nil
}

// checkCommon looks at what all objectives have.
func checkCommon(warmup int, schedule, precision string, ema float64) error {
	switch {
	case warmup < 0:
		return invalid("warmup", "must not be negative")
	case schedule != "constant" && schedule != "linear" && schedule != "cosine":
		return invalid("schedule", "%q is none of constant, linear, cosine", schedule)
	case precision != "" && precision != model.PrecisionFloat32 && precision != model.PrecisionMixed:
		return invalid("precision", "%q is none of float32, mixed", precision)
	case ema == 1:
		return invalid("ema", "1 never moves")
	}
	return nil
}

// rate scales a peak learning rate for an iteration (0-based).
func (c Config) rate(peak float64, iteration int) float64 {
	return rate(peak, c.Schedule, c.Warmup, iteration, c.Iterations)
}

// rate scales a peak learning rate for step k of n (0-based): linear goes to 0, cosine to a tenth, and the first warmup steps
// rise from a tenth.
func rate(peak float64, schedule string, warmup, k, n int) float64 {
	x := float64(k) / float64(n)
	switch schedule {
	case "linear":
		peak *= 1 - x
	case "cosine":
		peak *= 0.1 + 0.9*0.5*(1+math.Cos(math.Pi*x))
	}
	if k < warmup {
		peak *= 0.1 + 0.9*float64(k)/float64(warmup)
	}
	return peak
}
