package ppo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/rankloop/rankloop/model"
)

// Scorer gives the reward of whole responses. reward.Scorer is one.
type Scorer interface {
	// Score returns one finite reward per sequence (prompt and response).
	Score(ctx context.Context, seqs []model.Sequence) ([]float64, error)
	// Digest names the scorer: the same digest means the same rewards. A run is only resumed with the scorer it
	// started with.
	Digest() string
}

// Prompts is the fixed set of prompts a run draws from. The trainer walks through it in a new order each time round.
type Prompts interface {
	// Prompt returns the token ids of prompt i, 0 <= i < Len.
	Prompt(i uint64) []int32
	Len() int
}

// Ptx is pretraining text for the mix of PPO-ptx.
type Ptx interface {
	// Text returns text i, as long as the caller counts: a source of n texts starts over at i = n. Start of the sequence
	// is 1 where every token but the first is learned.
	Text(i uint64) model.Sequence
	// Digest names the texts.
	Digest() string
}

// PromptList is a Prompts in memory.
type PromptList [][]int32

// Prompt implements Prompts.
func (p PromptList) Prompt(i uint64) []int32 { return p[i] }

// Len implements Prompts.
func (p PromptList) Len() int { return len(p) }

// TextList is a Ptx in memory. It must not be empty.
type TextList []model.Sequence

// Text implements Ptx.
func (t TextList) Text(i uint64) model.Sequence { return t[i%uint64(len(t))] }

// Digest implements Ptx.
func (t TextList) Digest() string {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode([]model.Sequence(t)); err != nil {
		panic(err) // numbers only
	}
	return hex.EncodeToString(h.Sum(nil))
}
