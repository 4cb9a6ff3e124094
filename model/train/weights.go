package train

import (
	"context"
	"math"
	"slices"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// watch is what a run remembers of its evaluations and of the weights it keeps.
type watch struct {
	BestStep int     `json:"best_step,omitempty"` // of the lowest held-out loss; 0 = none yet
	BestLoss float64 `json:"best_loss,omitempty"`
	LastStep int     `json:"last_step,omitempty"` // of the last evaluation
	LastLoss float64 `json:"last_loss,omitempty"`
	Stale    int     `json:"stale,omitempty"`   // evaluations since the best
	Stopped  bool    `json:"stopped,omitempty"` // for Patience is at an end
	Kept     []Kept  `json:"kept,omitempty"`    // oldest first

	best [][]float32 // weights of BestStep, where KeepBest asks for them
}

// Kept names the stored weights of a step.
type Kept struct {
	Step int    `json:"step"`
	Name string `json:"name"` // as Trainer.Keep gave it
}

// Which chooses weights of a run.
type Which int

// Weights of a run.
const (
	Last Which = iota // after the last step done: the average, where the run keeps one
	Best              // of the lowest held-out loss
)

// Best returns the lowest held-out loss and its step, 0 where there is none yet.
func (t *Trainer) Best() (step int, loss float64) { return t.watch.BestStep, t.watch.BestLoss }

// HasBest tells whether the weights of the lowest held-out loss are kept.
func (t *Trainer) HasBest() bool { return t.watch.best != nil }

// Kept lists the stored weights, oldest first.
func (t *Trainer) Kept() []Kept { return slices.Clone(t.watch.Kept) }

// evaluate takes the held-out loss where the step asks for it, and remembers the best.
func (t *Trainer) evaluate(ctx context.Context, metrics map[string]float64) error {
	last := t.step == len(t.plan)-1
	if t.valid == nil || t.valid.Len() == 0 || !last && (t.cfg.EvalEvery == 0 || t.step%t.cfg.EvalEvery != 0) {
		return nil
	}
	var loss float64
	err := t.With(Last, func(m *model.Transformer) (err error) {
		loss, _, err = HeldOut(ctx, m, t.valid, t.cfg.MicroTokens)
		if err != nil || t.watch.BestStep > 0 && !(loss < t.watch.BestLoss) {
			return err
		}
		t.watch.BestStep, t.watch.BestLoss, t.watch.Stale = t.step, loss, -1
		if t.cfg.KeepBest {
			t.watch.best = snapshot(m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.watch.Stale++
	t.watch.LastStep, t.watch.LastLoss = t.step, loss
	t.watch.Stopped = t.cfg.Patience > 0 && t.watch.Stale >= t.cfg.Patience
	metrics["heldout_loss"], metrics["best_loss"] = loss, t.watch.BestLoss
	return nil
}

// average moves the average towards the weights. Near the beginning it moves faster, so that the first weights are soon
// forgotten.
func (t *Trainer) average() {
	if t.ema == nil {
		return
	}
	n := float64(t.step)
	share := float32(1 - math.Min(t.cfg.EMADecay, (1+n)/(10+n)))
	for i, p := range t.m.Trainable() {
		e, w := t.ema[i], p.Float32()
		kernel.Parallel(len(e), 1<<14, func(a, b int) {
			for j := a; j < b; j++ {
				e[j] += float32(share * (w[j] - e[j])) // rounded twice on every machine
			}
		})
	}
}

// With calls f with the model holding the chosen weights, and puts those in training back afterwards, to the bit.
func (t *Trainer) With(which Which, f func(m *model.Transformer) error) error {
	x := t.ema
	if which == Best {
		if x = t.watch.best; x == nil {
			return invalid("keep_best", "the run has kept no best weights")
		}
	}
	if x == nil {
		return f(t.m)
	}
	params := t.m.Trainable()
	held := make([][]uint16, len(params))
	for i, p := range params {
		if p.Half != nil {
			held[i] = slices.Clone(p.Half)
			kernel.Narrow(p.Half, x[i])
			continue
		}
		exchange(p.Data, x[i])
	}
	defer func() {
		for i, p := range params {
			if p.Half != nil {
				copy(p.Half, held[i])
				continue
			}
			exchange(p.Data, x[i])
		}
	}()
	return f(t.m)
}

// exchange swaps the contents of two tensors, so that nobody needs a third.
func exchange(x, y []float32) {
	kernel.Parallel(len(x), 1<<14, func(a, b int) {
		for i := a; i < b; i++ {
			x[i], y[i] = y[i], x[i]
		}
	})
}

// snapshot copies the trained tensors.
func snapshot(m *model.Transformer) [][]float32 {
	var out [][]float32
	for _, p := range m.Trainable() {
		x := p.Float32()
		if p.Half == nil {
			x = slices.Clone(x)
		}
		out = append(out, x)
	}
	return out
}
