package ppo

import (
	"time"

	"github.com/rankloop/rankloop/model"
)

// Times is how long the phases of a trainer's steps took, in all.
type Times struct {
	Rollout   time.Duration // sampling, log-probabilities and a shared critic's values with it
	Old       time.Duration // the same numbers again: ExtraOld
	Reference time.Duration // log-probabilities of the reference
	Values    time.Duration // of a critic of its own
	Reward    time.Duration // the scorer
	Update    time.Duration // optimizer steps
}

// clock adds the time until the function that it returns is called.
func clock(to *time.Duration) func() {
	start := time.Now()
	return func() { *to += time.Since(start) }
}

// Extra is work that a step leaves out because the result is the same without. A benchmark adds it to see what that saves.
type Extra uint8

const (
	// ExtraOld computes the rollout's log-probabilities, and the values of a shared critic, once more by a pass. They are
	// those of the sampler to the bit.
	ExtraOld Extra = 1 << iota
	// ExtraPositions reads the heads at every position of a sequence, those of the prompt included. Log-probabilities are
	// the same to the bit; the gradient of the final norm sums up in another order.
	ExtraPositions
)

// response is the part of a row of numbers that belongs to the response of s.
func response(row []float32, s model.Sequence) []float32 { return row[len(row)-(len(s.IDs)-s.Start):] }

// responses widens the parts of the rows that belong to the responses.
func responses(rows [][]float32, seqs []model.Sequence) [][]float64 {
	out := make([][]float64, len(rows))
	for i, row := range rows {
		out[i] = widen(response(row, seqs[i]))
	}
	return out
}
