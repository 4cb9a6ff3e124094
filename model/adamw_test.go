package model_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// gradients makes gradients of m from one random batch.
func gradients(m *model.Transformer, rng *rand.Rand, want model.Want) {
	batch := ragged(rng, m.Config(), 6)
	for i := range batch {
		batch[i].IDs = batch[i].IDs[:min(len(batch[i].IDs), m.Config().Context)]
		batch[i].Start = min(batch[i].Start, len(batch[i].IDs))
	}
	batch[0].Start = 1
	pass := m.Forward(batch, want)
	pass.Backward(randomGrads(rng, pass))
}

// TestAdamWAgainstTheFormula compares steps with the formula in float64.
func TestAdamWAgainstTheFormula(t *testing.T) {
	m := lively(t, shapes[2], 1)
	rng := rand.New(rand.NewPCG(8, 8))
	opt := model.NewAdamW()
	want := map[string][][3]float64{} // p, m, v
	for _, p := range m.Params() {
		for _, x := range p.Data {
			want[p.Name] = append(want[p.Name], [3]float64{float64(x)})
		}
	}
	for step := 1; step <= 4; step++ {
		gradients(m, rng, everything)
		const lr = 3e-3
		total := 0.0
		for _, p := range m.Params() {
			total += math.Pow(norm(p.Grad), 2)
		}
		scale := min(1, 1/(math.Sqrt(total)+1e-6))
		for _, p := range m.Params() {
			for i := range p.Data {
				s, g := &want[p.Name][i], float64(p.Grad[i])*scale
				if len(p.Shape) >= 2 {
					s[0] *= 1 - lr*0.1
				}
				s[1] = 0.9*s[1] + 0.1*g
				s[2] = 0.95*s[2] + 0.05*g*g
				s[0] -= lr * (s[1] / (1 - math.Pow(0.9, float64(step)))) / (math.Sqrt(s[2]/(1-math.Pow(0.95, float64(step)))) + 1e-8)
			}
		}
		norm, err := opt.Step(m, lr)
		if err != nil || math.Abs(norm-math.Sqrt(total)) > 1e-9*norm {
			t.Fatalf("norm %g, want %g: %v", norm, math.Sqrt(total), err)
		}
		for _, p := range m.Params() {
			for i, x := range p.Data {
				if d := math.Abs(float64(x) - want[p.Name][i][0]); d > 2e-6 {
					t.Fatalf("step %d: %s[%d] is %g, want %g", step, p.Name, i, x, want[p.Name][i][0])
				}
				want[p.Name][i][0] = float64(x) // the next step starts from what float32 holds
			}
			if slices.ContainsFunc(p.Grad, func(g float32) bool { return g != 0 }) {
				t.Fatalf("the gradient of %s is not zeroed", p.Name)
			}
		}
	}
}

func TestAdamWRefusesNonFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		m := lively(t, shapes[0], 1)
		rng := rand.New(rand.NewPCG(8, 8))
		opt := model.NewAdamW()
		gradients(m, rng, everything)
		if _, err := opt.Step(m, 1e-3); err != nil {
			t.Fatal(err)
		}
		gradients(m, rng, everything)
		before := m.Digest()
		step, mo, vo := opt.State()
		mo0, vo0 := slices.Clone(mo[3]), slices.Clone(vo[3])
		g := m.Param("h.1.mlp.c_fc.weight").Grad
		g[len(g)/2] = bad
		_, err := opt.Step(m, 1e-3)
		var named *model.NonFiniteError
		if !errors.As(err, &named) || named.Tensor != "h.1.mlp.c_fc.weight" {
			t.Fatalf("%g: %v", bad, err)
		}
		if again, _, _ := opt.State(); m.Digest() != before || again != step || !slices.Equal(mo[3], mo0) || !slices.Equal(vo[3], vo0) {
			t.Errorf("%g: something changed", bad)
		}
	}
}

// A state that is put back continues to the bit; tensors that no loss reads stay.
func TestAdamWState(t *testing.T) {
	run := func(resume bool) *model.Transformer {
		m, _ := model.New(shapes[2], 1)
		m.AddHead(model.HeadScore, 2)
		opt := model.NewAdamW()
		rng := rand.New(rand.NewPCG(8, 8))
		for step := range 6 {
			if resume && step == 3 {
				n, mo, vo := opt.State()
				opt = model.NewAdamW()
				opt.SetState(n, mo, vo)
				m = m.Clone() // without gradients, as after a load
			}
			want := model.WantScore
			if step == 1 {
				want |= model.WantLogprobs
			}
			gradients(m, rng, want)
			if _, err := opt.Step(m, 1e-3); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	whole, resumed := run(false), run(true)
	if whole.Digest() != resumed.Digest() {
		t.Error("the resumed run differs")
	}
	m, _ := model.New(shapes[2], 1)
	m.AddHead(model.HeadScore, 2)
	head := slices.Clone(m.Param("lm_head.weight").Data)
	opt := model.NewAdamW()
	gradients(m, rand.New(rand.NewPCG(8, 8)), model.WantScore)
	if _, err := opt.Step(m, 1e-3); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(head, m.Param("lm_head.weight").Data) {
		t.Error("the LM head changed, which no loss read")
	}
	m.AddHeadBias()
	if _, err := opt.Step(m, 1e-3); err == nil {
		t.Error("moments of another model were accepted")
	}
}
