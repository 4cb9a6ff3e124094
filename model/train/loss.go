package train

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/rankloop/rankloop/model"
)

// item is a sequence of a batch.
type item struct {
	model.Sequence
	skip   []Span
	number int // in its source
}

// NotFiniteError says that a loss or a gradient was NaN or infinite. The weights were not touched. It is ErrNotFinite.
type NotFiniteError struct {
	Step int    // of the run, from 1; 0 = an evaluation
	What string // such as "the gradient of wte.weight", "the loss of sequence 17"
}

func (e *NotFiniteError) Error() string {
	at := "the evaluation"
	if e.Step > 0 {
		at = fmt.Sprintf("step %d", e.Step)
	}
	return fmt.Sprintf("train: %s: %s is not finite", at, e.What)
}

// Is makes errors.Is(err, ErrNotFinite) hold.
func (e *NotFiniteError) Is(target error) bool { return target == ErrNotFinite }

// accumulate adds the gradient of the batch's loss to m and returns the loss, the number of targets and the number of
// tokens. At most microTokens (or one sequence) go through the model at once. A loss that is not finite ends it.
func accumulate(m *model.Transformer, batch []item, microTokens int) (loss float64, n, tokens int, err error) {
	for _, s := range batch {
		n += targets(s.Sequence, s.skip)
		tokens += len(s.IDs)
	}
	each := float32(-1 / float64(n))
	for len(batch) > 0 {
		k := fitting(batch, microTokens)
		grads := make([][]float32, k)
		for i := range grads {
			s := &batch[i]
			grads[i] = slices.Repeat([]float32{each}, len(s.IDs)-s.Start)
			s.mask(grads[i])
		}
		pass := m.ForwardLoss(sequences(batch[:k]), grads)
		for i, row := range pass.Logprobs {
			if loss, err = batch[i].add(loss, row); err != nil {
				return 0, 0, 0, err
			}
		}
		pass.Backward(model.Grads{})
		batch = batch[k:]
	}
	return loss / float64(n), n, tokens, nil
}

// mask sets to zero what belongs to tokens that are no targets. row has an entry per token from Start on.
func (s *item) mask(row []float32) {
	for _, x := range s.skip {
		clear(row[x.Lo-s.Start : x.Hi-s.Start])
	}
}

// add takes the log-probabilities of the targets off loss.
func (s *item) add(loss float64, row []float32) (float64, error) {
	at := s.Start
	for i := 0; i <= len(s.skip); i++ {
		hi := len(s.IDs)
		if i < len(s.skip) {
			hi = s.skip[i].Lo
		}
		for ; at < hi; at++ {
			loss -= float64(row[at-s.Start])
		}
		if i < len(s.skip) {
			at = s.skip[i].Hi
		}
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return loss, &NotFiniteError{What: fmt.Sprintf("the loss of sequence %d", s.number)}
	}
	return loss, nil
}

func sequences(batch []item) []model.Sequence {
	out := make([]model.Sequence, len(batch))
	for i, s := range batch {
		out[i] = s.Sequence
	}
	return out
}

// fitting is how many of the first sequences have at most budget tokens together; one at least.
func fitting(batch []item, budget int) int {
	tokens := 0
	for n, s := range batch {
		if tokens += len(s.IDs); n > 0 && tokens > budget {
			return n
		}
	}
	return len(batch)
}

// HeldOut returns the mean of -log pi over all targets of a source, in nats per token, and the number of targets. Nothing
// is dropped out.
func HeldOut(ctx context.Context, m *model.Transformer, s Source, microTokens int) (loss float64, n int, err error) {
	batch := make([]item, s.Len())
	for i := range batch {
		batch[i] = item{s.Sequence(i), s.Skip(i), i}
	}
	for len(batch) > 0 {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		k := fitting(batch, microTokens)
		for i, row := range m.Score(sequences(batch[:k]), model.WantLogprobs).Logprobs {
			if loss, err = batch[i].add(loss, row); err != nil {
				return 0, 0, err
			}
			n += targets(batch[i].Sequence, batch[i].skip)
		}
		batch = batch[k:]
	}
	if n == 0 {
		return 0, 0, invalid("valid", "there are no targets")
	}
	return loss / float64(n), n, nil
}
