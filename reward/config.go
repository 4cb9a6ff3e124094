package reward

import (
	"fmt"
	"math"

	"github.com/rankloop/rankloop/model"
)

// InvalidError names a field of a configuration or of the data that cannot be used, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return "reward: " + e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{field, fmt.Sprintf(format, args...)}
}

// Config says how a reward model is trained. It is stored as JSON with the run.
type Config struct {
	Epochs      int     `json:"epochs"`              // passes over the training prompts; counts where Steps is 0
	Steps       int     `json:"steps"`               // optimizer steps per model; 0 = by Epochs
	Batch       int     `json:"batch"`               // G, prompts per optimizer step
	LR          float64 `json:"lr"`                  // peak learning rate
	FinalLR     float64 `json:"final_lr"`            // share of the peak that the cosine ends at (InstructGPT: 0.1)
	Warmup      int     `json:"warmup"`              // steps of linear warm-up, within the length
	Decay       float64 `json:"decay"`               // AdamW's weight decay
	Clip        float64 `json:"clip"`                // largest gradient norm; 0 = no clipping
	Seeds       int     `json:"seeds"`               // models trained, with other heads and data orders; the best Members on the held-out rankings are kept
	Members     int     `json:"members,omitempty"`   // models kept, as one ensemble where there are several; 0 = 1. More than Seeds: so many are trained
	Bootstrap   bool    `json:"bootstrap,omitempty"` // each model learns from as many prompts as there are, drawn with replacement (Christiano et al. 2017, section 2.2.3)
	Seed        uint64  `json:"seed"`                // of the heads, the data orders and the draws of Bootstrap
	Scale       bool    `json:"scale"`               // also divide by the standard deviation over the reference answers
	Precision   string  `json:"precision,omitempty"` // model.PrecisionFloat32 (also "") or model.PrecisionMixed
	MicroTokens int     `json:"micro_tokens"`        // tokens of one forward pass; a larger batch is accumulated. Bounds memory

	Loss Loss `json:"loss,omitzero"` // the zero value is InstructGPT's

	Combination // of the members' rewards, where there are several
}

// DefaultConfig suits models of 0.1 to 10 million parameters. The learning rates of the papers (1e-5) belong to models a
// thousand times larger and leave small ones at chance.
func DefaultConfig() Config {
	return Config{Epochs: 4, Batch: 16, LR: 1e-3, FinalLR: 0.1, Warmup: 10, Clip: 1, Seeds: 1, MicroTokens: 8192}
}

// Validate reports the first field that cannot be used, as *InvalidError.
func (c Config) Validate() error {
	switch {
	case c.Epochs < 0 || c.Steps < 0:
		return invalid("epochs", "epochs and steps must not be negative")
	case c.Epochs == 0 && c.Steps == 0:
		return invalid("epochs", "one of epochs and steps must be positive")
	case c.Batch < 1:
		return invalid("batch", "must be at least 1 prompt")
	case !(c.LR >= 0) || math.IsInf(c.LR, 0):
		return invalid("lr", "%g is not a learning rate", c.LR)
	case !(c.FinalLR >= 0 && c.FinalLR <= 1):
		return invalid("final_lr", "%g is not a share of the peak", c.FinalLR)
	case c.Warmup < 0:
		return invalid("warmup", "must not be negative")
	case !(c.Decay >= 0 && c.Decay < 1):
		return invalid("decay", "%g is not in [0,1)", c.Decay)
	case !(c.Clip >= 0):
		return invalid("clip", "%g is not a gradient norm", c.Clip)
	case c.Seeds < 1:
		return invalid("seeds", "must be at least 1")
	case c.Members < 0 || c.Members > MaxMembers:
		return invalid("members", "%d; 1 to %d models make an ensemble", c.Members, MaxMembers)
	case c.Members < 2 && c.Combination != Combination{}:
		return invalid("combine", "needs members of 2 or more")
	case c.Precision != "" && c.Precision != model.PrecisionFloat32 && c.Precision != model.PrecisionMixed:
		return invalid("precision", "%q is none of float32, mixed", c.Precision)
	case c.MicroTokens < 1:
		return invalid("micro_tokens", "must be positive")
	}
	if err := c.Loss.validate(); err != nil {
		return err
	}
	return c.Combination.validate()
}

// members is the number of models that are kept, models of those that are trained.
func (c Config) members() int { return max(1, c.Members) }
func (c Config) models() int  { return max(c.Seeds, c.members()) }

// steps is the number of optimizer steps of one model on n training prompts.
func (c Config) steps(n int) int {
	if c.Steps > 0 {
		return c.Steps
	}
	return max(1, (c.Epochs*n+c.Batch-1)/c.Batch)
}

// rate is the learning rate of step (0-based) of total: linear warm-up, then a cosine from LR to FinalLR*LR, which the
// last step reaches.
func (c Config) rate(step, total int) float64 {
	if step < c.Warmup {
		return c.LR * float64(step+1) / float64(c.Warmup+1)
	}
	x := float64(step-c.Warmup) / float64(max(1, total-1-c.Warmup))
	return c.LR * (c.FinalLR + (1-c.FinalLR)*0.5*(1+math.Cos(math.Pi*min(x, 1))))
}
