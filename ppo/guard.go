package ppo

import (
	"errors"
	"fmt"

	"github.com/rankloop/rankloop/model"
)

// ErrStopped says that a run has been stopped by a guard: it cannot go on and its state is not saved. The weights are those that it
// went back to.
var ErrStopped = errors.New("ppo: the run was stopped")

// guard keeps the weights that sampled the newest batch which passed every check, and goes back to them when one fails. They are
// part of the state where they differ from the weights in training.
type guard struct {
	good    [][]float32 // nil before the first update: the weights in training are good
	at      int         // the iteration that they sampled
	stopped error
}

// keep remembers weights; they are copied.
func (g *guard) keep(weights [][]float32, iteration int) {
	if g.good == nil {
		g.good = make([][]float32, len(weights))
		for i, w := range weights {
			g.good[i] = make([]float32, len(w))
		}
	}
	for i, w := range weights {
		copy(g.good[i], w)
	}
	g.at = iteration
}

// judge looks at the error of a step: where it says that the run is not sound, the weights go back and the run is over.
func (g *guard) judge(err error, weights [][]float32) error {
	var h *HealthError
	if !errors.As(err, &h) && !errors.Is(err, ErrNotFinite) {
		return err
	}
	for i, w := range g.good {
		copy(weights[i], w)
	}
	if g.good != nil {
		err = fmt.Errorf("%w; the weights are those again that sampled iteration %d, the last that passed every check", err, g.at)
	}
	g.stopped = err
	return err
}

// Stopped is why a guard has stopped the run, nil where none has. The policy is then the last good one.
func (g *guard) Stopped() error { return g.stopped }

// trained lists the weights that a run changes: of the models, and the averages. A nil model has none.
func trained(ema [][]float32, models ...*model.Transformer) (all [][]float32) {
	for _, m := range models {
		if m == nil {
			continue
		}
		for _, p := range m.Params() {
			all = append(all, p.Data)
		}
	}
	return append(all, ema...)
}

// same says whether two lists of weights hold the same numbers.
func sameWeights(a, b [][]float32) bool {
	for i := range a {
		for j := range a[i] {
			if a[i][j] != b[i][j] {
				return false
			}
		}
	}
	return true
}

// follow moves averaged weights by one step, and makes them where there are none yet.
func follow(ema [][]float32, m *model.Transformer, decay float64) {
	if ema == nil {
		return
	}
	d := float32(decay)
	for i, p := range m.Params() {
		for j, w := range p.Data {
			ema[i][j] = d*ema[i][j] + (1-d)*w
		}
	}
}
