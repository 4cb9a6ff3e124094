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

// Times returns how long the phases have taken since the trainer was made.
func (t *Trainer) Times() Times { return t.times }

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

// SetExtra chooses what is done in addition from now on. It is no part of the state.
func (t *Trainer) SetExtra(e Extra) { t.extra = e }

// positions are the sequences with the heads read where they are wanted.
func (t *Trainer) positions(seqs []model.Sequence) []model.Sequence {
	if t.extra&ExtraPositions == 0 {
		return seqs
	}
	out := make([]model.Sequence, len(seqs))
	for i, s := range seqs {
		s.Start = 1
		out[i] = s
	}
	return out
}

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

// narrow is what the model takes as gradient at the positions of seqs: zero at those outside the responses.
func (t *Trainer) narrow(rows [][]float64, scale float64, seqs []model.Sequence) [][]float32 {
	out := narrow(rows, scale)
	for i, s := range t.positions(seqs) {
		if n := len(s.IDs) - s.Start; n > len(out[i]) {
			out[i] = append(make([]float32, n-len(out[i]), n), out[i]...)
		}
	}
	return out
}
