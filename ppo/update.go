package ppo

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// gradient is what an optimizer step is taken with: the gradients accumulated in policy and critic, and what was measured
// on the way.
type gradient struct {
	policy  PolicyStats
	value   ValueStats
	metrics map[string]float64
}

// update is optimizer step u of the iteration: one minibatch through policy and critic.
func (t *Trainer) update(u int) (map[string]float64, error) {
	defer clock(&t.times.Update)()
	g, err := t.gradients(u)
	if err == nil {
		err = t.apply(g)
	}
	if err != nil {
		t.policy.ZeroGrad()
		if t.value != nil {
			t.value.ZeroGrad()
		}
	}
	return g.metrics, err
}

// gradients accumulates the gradients of minibatch u.
func (t *Trainer) gradients(u int) (gradient, error) {
	chosen := t.minibatch(u)
	rows := func(all [][]float64) [][]float64 {
		out := make([][]float64, len(chosen))
		for i, j := range chosen {
			out[i] = all[j]
		}
		return out
	}
	logp, values := rows(t.batch.rows(logpOf)), rows(t.batch.rows(valueOf))
	advantages, returns := rows(t.batch.advantages), rows(t.batch.returns)
	if t.cfg.WhitenPerMinibatch {
		rewards := rows(t.batch.rewards)
		if t.cfg.WhitenRewards {
			rewards = Whiten(rewards, false)
		}
		advantages, returns = GAE(rewards, values, t.cfg.Gamma, t.cfg.Lambda)
		advantages = Whiten(advantages, true)
	}
	all := t.seqs()
	seqs := make([]model.Sequence, len(chosen))
	for i, j := range chosen {
		seqs[i] = all[j]
	}
	g := gradient{metrics: map[string]float64{}}
	if t.cfg.Ptx.Coef > 0 {
		t.addPtx(u, g.metrics)
	}
	var drift float64
	drift = t.addPolicy(seqs, logp, advantages, values, returns, &g)
	if t.value != nil {
		g.value = t.addValue(seqs, values, returns)
	}
	return g, t.checkStep(u, drift, g.policy.Loss, g.value.Loss, g.metrics["ptx_loss"])
}

// seqs lists the episodes as the model takes them.
func (t *Trainer) seqs() []model.Sequence {
	out := make([]model.Sequence, len(t.batch.episodes))
	for i, e := range t.batch.episodes {
		out[i] = e.seq
	}
	return out
}

// apply takes the optimizer steps and completes the metrics.
func (t *Trainer) apply(g gradient) error {
	t.reader = nil
	lr := t.cfg.rate(t.cfg.LR, t.iteration)
	norm, err := t.policyOpt.Step(t.policy, float32(lr))
	if err != nil {
		return fmt.Errorf("%w: policy: %w", ErrNotFinite, err)
	}
	if t.value != nil {
		vnorm, err := t.valueOpt.Step(t.value, float32(t.cfg.rate(t.cfg.ValueLR, t.iteration)))
		if err != nil {
			return fmt.Errorf("%w: critic: %w", ErrNotFinite, err)
		}
		g.metrics["value_grad_norm"] = vnorm
	}
	for i, p := range t.policy.Params() {
		if t.ema == nil {
			break
		}
		d := float32(t.cfg.EMA)
		for j, w := range p.Data {
			t.ema[i][j] = d*t.ema[i][j] + (1-d)*w
		}
	}
	for name, v := range map[string]float64{
		"policy_loss": g.policy.Loss, "clipfrac": g.policy.ClipFrac, "approxkl": g.policy.ApproxKL, "kl_k3": g.policy.K3,
		"ratio_mean": g.policy.RatioMean, "ratio_max": g.policy.RatioMax, "value_loss": g.value.Loss,
		"value_clipfrac": g.value.ClipFrac, "grad_norm": norm, "lr": lr,
	} {
		g.metrics[name] = v
	}
	return nil
}

// minibatch lists the episodes of optimizer step u: each epoch walks through all of them in an order of its own.
func (t *Trainer) minibatch(u int) []int {
	per := t.cfg.updates() / t.cfg.Epochs
	epoch, k := u/per, u%per
	order := rand.New(rand.NewPCG(t.cfg.Seed^streamOrder, uint64(t.iteration)<<16|uint64(epoch))).Perm(t.cfg.Rollouts)
	return order[k*t.cfg.Minibatch : min((k+1)*t.cfg.Minibatch, t.cfg.Rollouts)]
}

// addPolicy accumulates the policy's gradient, and that of a critic which is its head, over parts of at most Micro tokens. drift
// is the largest |new - old|.
func (t *Trainer) addPolicy(seqs []model.Sequence, old, advantages, values, returns [][]float64, sum *gradient) (drift float64) {
	total := float64(Count(old))
	want := model.WantLogprobs
	if t.cfg.Entropy > 0 {
		want |= model.WantEntropy
	}
	if t.cfg.shared() {
		want |= model.WantValues
	}
	at := 0
	for _, part := range parts(seqs, t.cfg.Micro) {
		pass := t.policy.Forward(t.positions(part), want)
		now := responses(pass.Logprobs, part)
		o := old[at : at+len(part)]
		share := float64(Count(o)) / total // the loss is a mean over all tokens of the minibatch
		_, grad, s := PolicyLoss(now, o, advantages[at:at+len(part)], t.cfg.Clip)
		g := model.Grads{Logprobs: t.narrow(grad, share, part)}
		if t.cfg.Entropy > 0 {
			loss, dh := EntropyLoss(responses(pass.Entropy, part), t.cfg.Entropy)
			g.Entropy = t.narrow(dh, share, part)
			sum.metrics["entropy_loss"] += share * loss
		}
		if t.cfg.shared() {
			_, dv, s := ValueLoss(responses(pass.Values, part), values[at:at+len(part)], returns[at:at+len(part)], t.cfg.ValueClip)
			g.Values = t.narrow(dv, share*t.cfg.ValueCoef, part)
			sum.value = sum.value.add(s, share)
		}
		pass.Backward(g)
		sum.policy = sum.policy.add(s, share)
		for i, row := range now {
			for j, x := range row {
				drift = math.Max(drift, math.Abs(x-o[i][j])) // math.Max keeps NaN
			}
		}
		at += len(part)
	}
	return drift
}

// add joins the statistics of a part that holds share of the tokens.
func (a PolicyStats) add(b PolicyStats, share float64) PolicyStats {
	a.Loss += share * b.Loss
	a.ClipFrac += share * b.ClipFrac
	a.ApproxKL += share * b.ApproxKL
	a.K1 += share * b.K1
	a.K3 += share * b.K3
	a.RatioMean += share * b.RatioMean
	a.RatioMax = max(a.RatioMax, b.RatioMax)
	a.Tokens += b.Tokens
	return a
}

// add joins the statistics of a part that holds share of the tokens.
func (a ValueStats) add(b ValueStats, share float64) ValueStats {
	a.Loss += share * b.Loss
	a.ClipFrac += share * b.ClipFrac
	a.Tokens += b.Tokens
	return a
}

// addValue accumulates the gradient of a critic of its own.
func (t *Trainer) addValue(seqs []model.Sequence, old, returns [][]float64) (stats ValueStats) {
	total := float64(Count(old))
	at := 0
	for _, part := range parts(seqs, t.cfg.Micro) {
		pass := t.value.Forward(part, model.WantValues)
		o := old[at : at+len(part)]
		share := float64(Count(o)) / total
		_, grad, s := ValueLoss(responses(pass.Values, part), o, returns[at:at+len(part)], t.cfg.ValueClip)
		pass.Backward(model.Grads{Values: narrow(grad, share*t.cfg.ValueCoef)})
		stats = stats.add(s, share)
		at += len(part)
	}
	return stats
}

// addPtx accumulates the gradient of the pretraining mix.
func (t *Trainer) addPtx(u int, metrics map[string]float64) {
	n := t.cfg.Ptx.Batch
	first := (t.iteration*t.cfg.updates() + u) * n
	seqs := make([]model.Sequence, n)
	total := 0
	for i := range seqs {
		seqs[i] = t.ptx.Text(uint64(first + i))
		total += len(seqs[i].IDs) - seqs[i].Start
	}
	loss := 0.0
	for _, part := range parts(seqs, t.cfg.Micro) {
		pass := t.policy.Forward(part, model.WantLogprobs)
		l, grad := PtxLoss(responses(pass.Logprobs, part))
		share := float64(Count(grad)) / float64(max(1, total))
		pass.Backward(model.Grads{Logprobs: narrow(grad, share*t.cfg.Ptx.Coef)})
		loss += share * l
	}
	metrics["ptx_loss"] = loss
	norm := 0.0
	for _, p := range t.policy.Params() {
		norm += kernel.SumSquares(p.Grad)
	}
	metrics["ptx_grad_norm"] = math.Sqrt(norm)
}

// narrow scales a gradient to what the model takes.
func narrow(rows [][]float64, scale float64) [][]float32 {
	out := make([][]float32, len(rows))
	for i, row := range rows {
		out[i] = make([]float32, len(row))
		for j, x := range row {
			out[i][j] = float32(scale * x)
		}
	}
	return out
}
