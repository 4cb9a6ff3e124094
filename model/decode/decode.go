// Package decode turns a model into text: sampling from next-token distributions,
// batched generation for rollouts, and a continuous-batching engine for serving.
package decode

import (
	"context"
	"errors"

	"github.com/rankloop/rankloop/model"
)

// ErrBusy says that the engine's queue is full; try again later.
var ErrBusy = errors.New("decode: busy")

// Params says how a completion is sampled.
type Params struct {
	MaxTokens, TopK                   int
	Temperature, TopP                 float64
	Seed                              uint64
	IgnoreEOS                         bool
	Stop                              []string
	LogitBias                         map[int32]float32
	PresencePenalty, FrequencyPenalty float64
	Logprobs                          int
}

// TopToken is one of the likeliest tokens of a step.
type TopToken struct {
	ID      int32
	Logprob float32
}

// Token is one sampled token.
type Token struct {
	ID      int32
	Logprob float32 // under the untouched distribution (T=1)
	Top     []TopToken
	Text    string // what may be shown after this token: whole characters, no part of a stop string
}

// Completion is what one row of Generate sampled.
type Completion struct {
	IDs      []int32
	Logprobs []float32
	Finish   string // "stop" or "length"
}

// Generate samples a completion for every prompt.
func Generate(ctx context.Context, m *model.Transformer, prompts [][]int32, p Params, eos int32, progress func(done int)) ([]Completion, error) {
	return nil, errors.New("decode: under construction")
}
