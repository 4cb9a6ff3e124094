package train

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/rankloop/rankloop/model"
)

// Names of schedules.
const (
	Constant = "constant" // the peak rate to the end
	Linear   = "linear"   // down to the floor in a straight line
	Cosine   = "cosine"   // down to the floor in half a cosine
)

// Config says how a run trains. Its zero values are the defaults where a default is named.
type Config struct {
	// Epochs is how often the data are gone through; default 1. With Steps it must be left at 0.
	Epochs int `json:"epochs,omitempty"`
	// Steps is the number of optimizer steps, however many epochs that makes; 0 = go by Epochs.
	Steps int `json:"steps,omitempty"`
	// BatchTokens is the budget of one step: sequences are taken in order as long as their tokens fit (one at least).
	// Default 4096.
	BatchTokens int `json:"batch_tokens,omitempty"`
	// MicroTokens bounds the tokens of one forward pass, and with it the memory; a batch of more is taken in parts whose
	// gradients are accumulated: the same gradient but for rounding. Default 8192.
	MicroTokens int `json:"micro_tokens,omitempty"`
	// Accumulate sets the budget of a step in passes instead of tokens: BatchTokens = Accumulate*MicroTokens.
	Accumulate int `json:"accumulate,omitempty"`
	// LR is the peak learning rate of AdamW.
	LR float64 `json:"lr"`
	// Schedule is constant, linear or cosine (the default).
	Schedule string `json:"schedule,omitempty"`
	// Warmup is the number of steps in which the rate rises from 0 to LR, in a straight line.
	Warmup int `json:"warmup,omitempty"`
	// Floor is the rate after the last step, as a share of LR (0 to 1); for example 0.1.
	Floor float64 `json:"floor,omitempty"`
	// Beta1, Beta2, Decay and Clip are AdamW's; 0 means 0.9, 0.95, 0.1 and 1. NoDecay and NoClip switch these off.
	Beta1   float64 `json:"beta1,omitempty"`
	Beta2   float64 `json:"beta2,omitempty"`
	Decay   float64 `json:"decay,omitempty"`
	Clip    float64 `json:"clip,omitempty"`
	NoDecay bool    `json:"no_decay,omitempty"`
	NoClip  bool    `json:"no_clip,omitempty"`
	// Seed decides the order of the data, what dropout drops and how adapters begin.
	Seed uint64 `json:"seed,omitempty"`

	// Dropout is the share of embeddings, attention weights and residual branches that a step drops, as in GPT-2 (0.1 there).
	Dropout float64 `json:"dropout,omitempty"`
	// EMADecay d keeps an average of the weights, e = d'*e + (1-d')*w after each step with d' = min(d, (1+n)/(10+n)) at step n;
	// the average is what is evaluated and what the run results in. 0 = none; for example 0.999.
	EMADecay float64 `json:"ema_decay,omitempty"`

	// EvalEvery takes the held-out loss each so many steps; 0 = after the last step only.
	EvalEvery int `json:"eval_every,omitempty"`
	// Patience ends the run after so many evaluations in a row without a new lowest held-out loss; 0 = never. Needs EvalEvery.
	Patience int `json:"patience,omitempty"`
	// KeepBest keeps the weights of the lowest held-out loss. Needs EvalEvery.
	KeepBest bool `json:"keep_best,omitempty"`
	// SaveEvery keeps the weights as a model folder each so many steps; of those the last KeepLast stay (default 3).
	SaveEvery int `json:"save_every,omitempty"`
	KeepLast  int `json:"keep_last,omitempty"`

	// Recompute saves memory: a layer's activations are computed again on the way back. Same bits, about a third more time.
	Recompute bool `json:"recompute,omitempty"`
	// Precision is float32 (the default); mixed: products round their factors to bfloat16 and add up in float32, while weights,
	// gradients and moments stay float32; or bf16: matrices are kept in bfloat16, in half the memory, moments in float32.
	Precision string `json:"precision,omitempty"`
	// LoRA trains low-rank adapters in place of the weights.
	LoRA *LoRA `json:"lora,omitempty"`
}

// Names of precisions.
const (
	Float32 = model.PrecisionFloat32
	Mixed   = model.PrecisionMixed
	BF16    = "bf16"
)

// LoRA says which adapters to train.
type LoRA struct {
	Rank  int     `json:"rank"`            // for example 8
	Alpha float64 `json:"alpha,omitempty"` // the adapters count Alpha/Rank; default 2*Rank
	// Targets are the last components of the names of the layers to adapt; empty = those that make queries, keys and values.
	Targets []string `json:"targets,omitempty"`
	// AdapterOnly writes the adapter without the merged model.
	AdapterOnly bool `json:"adapter_only,omitempty"`
}

// InvalidError says which field of a configuration or which input is wrong, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return "train: " + e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// ParseConfig reads a configuration as JSON. Unknown fields are an error, so that no setting is lost to a slip of the pen.
func ParseConfig(text []byte) (Config, error) {
	var c Config
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, invalid("config", "%v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return c, invalid("config", "something follows the object")
	}
	return c, c.Validate()
}

// WithDefaults fills the fields whose zero value means a default.
func (c Config) WithDefaults() Config {
	or := func(p *float64, v float64) {
		if *p == 0 {
			*p = v
		}
	}
	if c.Epochs == 0 && c.Steps == 0 {
		c.Epochs = 1
	}
	if c.MicroTokens == 0 {
		c.MicroTokens = 8192
	}
	if c.Accumulate > 0 {
		c.BatchTokens = c.Accumulate * c.MicroTokens
	}
	if c.BatchTokens == 0 {
		c.BatchTokens = 4096
	}
	if c.SaveEvery > 0 && c.KeepLast == 0 {
		c.KeepLast = 3
	}
	if c.LoRA != nil && c.LoRA.Alpha == 0 {
		l := *c.LoRA
		l.Alpha = float64(2 * l.Rank)
		c.LoRA = &l
	}
	if c.Schedule == "" {
		c.Schedule = Cosine
	}
	or(&c.Beta1, 0.9)
	or(&c.Beta2, 0.95)
	or(&c.Decay, 0.1)
	or(&c.Clip, 1)
	if c.NoDecay {
		c.Decay = 0
	}
	if c.NoClip {
		c.Clip = 0
	}
	return c
}

// Validate reports the first field that is wrong, as *InvalidError.
func (c Config) Validate() error {
	for _, f := range []struct {
		name     string
		value    float64
		low, top float64
	}{
		{"epochs", float64(c.Epochs), 0, 1e6}, {"steps", float64(c.Steps), 0, 1e9},
		{"batch_tokens", float64(c.BatchTokens), 0, 1e9}, {"micro_tokens", float64(c.MicroTokens), 0, 1e9},
		{"warmup", float64(c.Warmup), 0, 1e9}, {"floor", c.Floor, 0, 1},
		{"beta1", c.Beta1, 0, 0.99999}, {"beta2", c.Beta2, 0, 0.99999}, {"decay", c.Decay, 0, 10}, {"clip", c.Clip, 0, 1e9},
		{"accumulate", float64(c.Accumulate), 0, 1e6}, {"dropout", c.Dropout, 0, 0.9}, {"ema_decay", c.EMADecay, 0, 0.999999},
		{"eval_every", float64(c.EvalEvery), 0, 1e9}, {"patience", float64(c.Patience), 0, 1e9},
		{"save_every", float64(c.SaveEvery), 0, 1e9}, {"keep_last", float64(c.KeepLast), 0, 1e6},
	} {
		if !(f.value >= f.low && f.value <= f.top) {
			return invalid(f.name, "%g is not in %g..%g", f.value, f.low, f.top)
		}
	}
	if !(c.LR > 0 && c.LR < 1) {
		return invalid("lr", "%g is not in (0,1)", c.LR)
	}
	if c.Epochs > 0 && c.Steps > 0 {
		return invalid("epochs", "give epochs or steps, not both")
	}
	if l := c.LoRA; l != nil {
		if l.Rank < 1 || l.Rank > 1<<16 {
			return invalid("lora.rank", "%d is not in 1..%d", l.Rank, 1<<16)
		}
		if !(l.Alpha >= 0 && l.Alpha <= 1e6) {
			return invalid("lora.alpha", "%g is not in 0..1e6", l.Alpha)
		}
	}
	switch {
	case c.Accumulate > 0 && c.BatchTokens > 0:
		return invalid("accumulate", "give accumulate (passes of micro_tokens) or batch_tokens, not both")
	case c.Patience > 0 && c.EvalEvery == 0:
		return invalid("patience", "it counts evaluations: eval_every is wanted too")
	case c.KeepBest && c.EvalEvery == 0:
		return invalid("keep_best", "it compares evaluations: eval_every is wanted too")
	case c.KeepLast > 0 && c.SaveEvery == 0:
		return invalid("keep_last", "save_every is wanted too")
	case c.Schedule != "" && c.Schedule != Constant && c.Schedule != Linear && c.Schedule != Cosine:
		return invalid("schedule", "%q is not constant, linear or cosine", c.Schedule)
	case c.Precision != "" && c.Precision != Float32 && c.Precision != Mixed && c.Precision != BF16:
		return invalid("precision", "%q is not float32, mixed or bf16", c.Precision)
	}
	return nil
}

// Rate is the learning rate of a step (0-based) of total: a rise over Warmup steps, the first of which is LR/Warmup, then
// the schedule from LR down to Floor*LR. A run shorter than its warm-up ends on the rise.
func (c Config) Rate(step, total int) float64 {
	if step < c.Warmup {
		return c.LR * float64(step+1) / float64(c.Warmup)
	}
	down := 0.0 // 1 = at the peak, 0 = at the floor
	if span := total - c.Warmup; span > 0 {
		x := math.Min(1, float64(step-c.Warmup)/float64(span))
		switch c.WithDefaults().Schedule {
		case Constant:
			return c.LR
		case Linear:
			down = 1 - x
		case Cosine:
			down = (1 + math.Cos(math.Pi*x)) / 2
		}
	}
	return c.LR * (c.Floor + (1-c.Floor)*down)
}
