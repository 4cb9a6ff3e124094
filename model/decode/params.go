package decode

import (
	"fmt"
	"math"

	"github.com/rankloop/rankloop/model"
)

// Params says how a completion is sampled.
type Params struct {
	MaxTokens   int               // most tokens to sample, at least 1
	Temperature float64           // 0 = greedy
	TopK        int               // keep the k likeliest and what ties with the last of them; 0 = all
	TopP        float64           // keep the likeliest tokens up to this sum of probability; 0 and 1 = all
	Seed        uint64            // same seed, same completion
	IgnoreEOS   bool              // the end-of-text token does not end the completion
	Stop        []string          // texts that end it (Engine with a tokenizer only)
	LogitBias   map[int32]float32 // added to the logits of these tokens
	// PresencePenalty is taken off the logit of every token that occurs in the
	// completion, FrequencyPenalty as often as it occurs.
	PresencePenalty, FrequencyPenalty float64
	Logprobs                          int // how many of the likeliest tokens to report with each, 0 to 20
}

// MaxLogprobs is the largest Params.Logprobs.
const MaxLogprobs = 20

func invalid(field, format string, args ...any) error {
	return &model.InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Validate reports the first parameter that makes no sense for a vocabulary of that
// size, as *model.InvalidError.
func (p Params) Validate(vocab int) error {
	finite := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	switch {
	case p.MaxTokens < 1:
		return invalid("MaxTokens", "%d is not positive", p.MaxTokens)
	case !finite(p.Temperature) || p.Temperature < 0:
		return invalid("Temperature", "%g is not a non-negative number", p.Temperature)
	case p.TopK < 0:
		return invalid("TopK", "%d is negative", p.TopK)
	case !(p.TopP >= 0 && p.TopP <= 1):
		return invalid("TopP", "%g is not in 0..1", p.TopP)
	case !finite(p.PresencePenalty):
		return invalid("PresencePenalty", "%g is not a number", p.PresencePenalty)
	case !finite(p.FrequencyPenalty):
		return invalid("FrequencyPenalty", "%g is not a number", p.FrequencyPenalty)
	case p.Logprobs < 0 || p.Logprobs > MaxLogprobs:
		return invalid("Logprobs", "%d is not in 0..%d", p.Logprobs, MaxLogprobs)
	}
	for id, b := range p.LogitBias {
		if id < 0 || int(id) >= vocab {
			return invalid("LogitBias", "token %d is not in 0..%d", id, vocab-1)
		}
		if !finite(float64(b)) {
			return invalid("LogitBias", "the bias of token %d is not a number", id)
		}
	}
	for _, s := range p.Stop {
		if s == "" {
			return invalid("Stop", "an empty text would end every completion")
		}
	}
	return nil
}

// shifts says that penalties or biases change the logits.
func (p *Params) shifts() bool {
	return len(p.LogitBias) > 0 || p.PresencePenalty != 0 || p.FrequencyPenalty != 0
}
