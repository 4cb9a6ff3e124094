package model

import (
	"math"

	"github.com/rankloop/rankloop/model/kernel"
)

// SetTemperature divides every logit by t from now on, in sampling and in passes alike, so that log-probabilities, entropies
// and their gradients are those of the tempered distribution softmax(z/t) everywhere: what is drawn at temperature 1 from it has
// exactly the log-probabilities of a pass. It is no part of the weights: a saved model has none. t must be positive and finite.
func (m *Transformer) SetTemperature(t float64) {
	if !(t > 0) || math.IsInf(t, 0) {
		panic(invalid("temperature", "%g is not positive", t))
	}
	m.sharpness = float32(1 / t)
	if m.sharpness == 1 {
		m.sharpness = 0 // the path without a product
	}
}

// Temperature is what SetTemperature set, 1 where it was not called.
func (m *Transformer) Temperature() float64 {
	if m.sharpness == 0 {
		return 1
	}
	return 1 / float64(m.sharpness)
}

// temper multiplies logits, or their gradients, by the sharpness.
func (m *Transformer) temper(z []float32) {
	if m.sharpness != 0 {
		kernel.Scale(z, m.sharpness)
	}
}
