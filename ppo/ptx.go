package ppo

import (
	"math"
	"slices"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// mix is the pretraining mix of an optimizer step whose gradient is compared with PPO's.
type mix struct {
	coef float64     // that its gradient was taken with
	grad [][]float32 // of the policy, nil where it is not compared in this step
}

// ptxFollows is how much of a newly measured coefficient is taken up, in logarithms: a measurement of one minibatch is noisy.
const ptxFollows = 0.1

// addPtx accumulates the gradient of the pretraining mix, at temperature 1 whatever that of the rollouts is.
func (t *Trainer) addPtx(u int, metrics map[string]float64) *mix {
	n := t.cfg.Ptx.Batch
	first := (t.iteration*t.cfg.updates() + u) * n
	seqs := make([]model.Sequence, n)
	total := 0
	for i := range seqs {
		seqs[i] = t.ptx.Text(uint64(first + i))
		total += len(seqs[i].IDs) - seqs[i].Start
	}
	m := &mix{coef: t.ptxCoef}
	if m.coef == 0 {
		m.coef = 1 // not chosen yet: balance does it in this very step
	}
	tempered := t.policy.Temperature()
	t.policy.SetTemperature(1)
	defer t.policy.SetTemperature(tempered)
	loss := 0.0
	for _, part := range parts(seqs, t.cfg.Micro) {
		pass := t.policy.Forward(part, model.WantLogprobs)
		l, grad := PtxLoss(responses(pass.Logprobs, part))
		share := float64(Count(grad)) / float64(max(1, total))
		pass.Backward(model.Grads{Logprobs: narrow(grad, share*m.coef)})
		loss += share * l
	}
	metrics["ptx_loss"] = loss
	metrics["ptx_grad_norm"] = gradNorm(t.policy)
	if t.cfg.Ptx.Ratio > 0 && u == 0 {
		for _, p := range t.policy.Params() {
			m.grad = append(m.grad, slices.Clone(p.Grad))
		}
	}
	return m
}

// balance moves the coefficient of the mix towards the one with which the norm of its gradient is Ratio times that of PPO's, by
// the gradients of an iteration's first step. The policy holds the sum of both. At the start of a run the coefficient is
// taken as measured and used at once; from then on each iteration moves it by a tenth of the way, in logarithms.
func (t *Trainer) balance(m *mix, metrics map[string]float64) {
	if m.grad != nil {
		var ours, own float64
		for i, p := range t.policy.Params() {
			own += kernel.SumSquares(m.grad[i])
			for j, g := range p.Grad {
				d := float64(g) - float64(m.grad[i][j])
				ours += d * d
			}
		}
		own = math.Sqrt(own) / m.coef
		if want := t.cfg.Ptx.Ratio * math.Sqrt(ours) / own; own > 0 && want > 0 && !math.IsInf(want, 0) {
			if t.ptxCoef == 0 {
				t.ptxCoef = want
			} else {
				t.ptxCoef *= math.Pow(want/t.ptxCoef, ptxFollows)
			}
			change := float32(t.ptxCoef/m.coef - 1)
			for i, p := range t.policy.Params() {
				for j, g := range m.grad[i] {
					p.Grad[j] += change * g
				}
			}
			metrics["ptx_grad_norm"] = own * t.ptxCoef
			metrics["ptx_ratio"] = own * t.ptxCoef / math.Sqrt(ours)
		}
	}
	metrics["ptx_coef"] = t.ptxCoef
}

// gradNorm is the norm of the gradients that a model has accumulated.
func gradNorm(m *model.Transformer) float64 {
	sum := 0.0
	for _, p := range m.Params() {
		sum += kernel.SumSquares(p.Grad)
	}
	return math.Sqrt(sum)
}
