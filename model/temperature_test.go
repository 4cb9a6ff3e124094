package model

import (
	"math"
	"testing"
)

// A model at a temperature says what softmax(z/T) says, on the way back too, and its copies do as well.
func TestTemperature(t *testing.T) {
	const T = 0.7
	plain, err := New(Config{Family: "gpt2", Vocab: 11, Context: 12, Layers: 1, Width: 16, Heads: 2, BOS: -1, EOS: -1}, 3)
	if err != nil {
		t.Fatal(err)
	}
	m := plain.Clone()
	m.SetTemperature(T)
	seq := []Sequence{{IDs: []int32{1, 4, 2, 9, 7, 3}, Start: 2}}
	logits := plain.Logits(seq[0].IDs)
	pass := m.Forward(seq, WantLogprobs|WantEntropy)
	for i, got := range pass.Logprobs[0] {
		at := seq[0].Start + i
		sum, h := 0.0, 0.0
		for _, z := range logits[at-1] {
			sum += math.Exp(float64(z) / T)
		}
		for _, z := range logits[at-1] {
			lp := float64(z)/T - math.Log(sum)
			h -= math.Exp(lp) * lp
		}
		if want := float64(logits[at-1][seq[0].IDs[at]])/T - math.Log(sum); math.Abs(float64(got)-want) > 1e-5 {
			t.Errorf("log-probability %d: %g, want %g", i, got, want)
		}
		if math.Abs(float64(pass.Entropy[0][i])-h) > 1e-5 {
			t.Errorf("entropy %d: %g, want %g", i, pass.Entropy[0][i], h)
		}
	}
	packed := m.PackedCopy(WeightsFloat32)
	for i, got := range packed.Score(seq, WantLogprobs).Logprobs[0] {
		if got != pass.Logprobs[0][i] {
			t.Errorf("packed log-probability %d: %g, want %g", i, got, pass.Logprobs[0][i])
		}
	}
	loss := func(m *Transformer) float64 {
		s := 0.0
		for _, x := range m.Score(seq, WantLogprobs).Logprobs[0] {
			s += float64(x)
		}
		return s
	}
	pass.Backward(Grads{Logprobs: [][]float32{{1, 1, 1, 1}}})
	for _, p := range m.Params() { // the direction of the gradient, tensor by tensor
		norm := 0.0
		for _, g := range p.Grad {
			norm += float64(g) * float64(g)
		}
		if norm < 1e-4 {
			continue
		}
		move := func(by float64) float64 {
			c := m.Clone()
			for i, g := range p.Grad {
				c.Param(p.Name).Data[i] += float32(by * float64(g) / math.Sqrt(norm))
			}
			return loss(c)
		}
		const h = 2e-3
		if got := (move(h) - move(-h)) / (2 * h); math.Abs(got-math.Sqrt(norm)) > 0.02*math.Sqrt(norm)+2e-3 {
			t.Errorf("%s: differences say %g, the gradient %g", p.Name, got, math.Sqrt(norm))
		}
	}
	m.SetTemperature(1)
	if a, b := m.Score(seq, WantLogprobs).Logprobs[0][0], plain.Score(seq, WantLogprobs).Logprobs[0][0]; a != b || m.Temperature() != 1 {
		t.Errorf("temperature 1 changes %g to %g", b, a)
	}
}
