package ppo

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/model"
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
	if t.enough {
		return map[string]float64{"skipped": 1}, nil
	}
	before := t.ptxCoef
	g, err := t.gradients(u)
	far := t.cfg.TargetKL > 0 && g.policy.ApproxKL > t.cfg.TargetKL
	if err == nil && !far {
		err = t.apply(g)
	}
	if err != nil || far {
		t.policy.ZeroGrad()
		if t.value != nil {
			t.value.ZeroGrad()
		}
		t.ptxCoef = before
	}
	if err == nil && far {
		t.enough = true
		return map[string]float64{"skipped": 1, "approxkl": g.policy.ApproxKL}, nil
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
	m := minibatch{old: rows(t.batch.rows(logpOf)), ref: rows(t.batch.rows(refOf)), values: rows(t.batch.rows(valueOf)),
		advantages: rows(t.batch.advantages), returns: rows(t.batch.returns)}
	if t.cfg.WhitenPerMinibatch {
		rewards := rows(t.batch.rewards)
		if t.cfg.WhitenRewards {
			rewards = Whiten(rewards, false)
		}
		m.advantages, m.returns = GAE(rewards, m.values, t.cfg.Gamma, t.cfg.Lambda)
		if !t.cfg.RawAdvantages {
			m.advantages = Whiten(m.advantages, true)
		}
	}
	for _, j := range chosen {
		m.seqs = append(m.seqs, t.batch.episodes[j].seq)
	}
	g := gradient{metrics: map[string]float64{}}
	var mix *mix
	if t.cfg.Ptx.on() {
		mix = t.addPtx(u, g.metrics)
	}
	drift := t.addPolicy(m, &g)
	if mix != nil {
		t.balance(mix, g.metrics)
	}
	if t.value != nil {
		g.value = t.addValue(m.seqs, m.values, m.returns)
	}
	return g, checkStep(u, drift, g.policy.RatioMean, t.cfg.Guard, g.policy.Loss, g.value.Loss, g.metrics["ptx_loss"], g.metrics["kl_loss"])
}

// minibatch is what an optimizer step learns from. Rows have an entry per response token.
type minibatch struct {
	seqs                                  []model.Sequence
	old, ref, values, advantages, returns [][]float64
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
	norm, err := t.cfg.step(t.policyOpt, t.policy, t.cfg.AdamEps, lr)
	if err != nil {
		return fmt.Errorf("%w: policy: %w", ErrNotFinite, err)
	}
	if t.value != nil {
		vnorm, err := t.cfg.step(t.valueOpt, t.value, t.cfg.AdamEps, t.cfg.rate(t.cfg.ValueLR, t.iteration))
		if err != nil {
			return fmt.Errorf("%w: critic: %w", ErrNotFinite, err)
		}
		g.metrics["value_grad_norm"] = vnorm
	}
	follow(t.ema, t.policy, t.cfg.EMA)
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
func (t *Trainer) addPolicy(m minibatch, sum *gradient) (drift float64) {
	total := float64(Count(m.old))
	want := model.WantLogprobs
	if t.cfg.Entropy > 0 {
		want |= model.WantEntropy
	}
	if t.cfg.shared() {
		want |= model.WantValues
	}
	at := 0
	for _, part := range parts(m.seqs, t.cfg.Micro) {
		end := at + len(part)
		pass := t.policy.Forward(t.positions(part), want)
		now := responses(pass.Logprobs, part)
		o := m.old[at:end]
		share := float64(Count(o)) / total // the loss is a mean over all tokens of the minibatch
		_, grad, s := DualClipLoss(now, o, m.advantages[at:end], t.cfg.Clip, t.cfg.DualClip)
		if c := t.cfg.KL.LossCoef; c > 0 {
			loss, dkl := KLLoss(now, m.ref[at:end], t.cfg.KL.LossForm)
			addRows(grad, dkl, c)
			sum.metrics["kl_loss"] += share * loss
		}
		g := model.Grads{Logprobs: t.narrow(grad, share, part)}
		if t.cfg.Entropy > 0 {
			loss, dh := EntropyLoss(responses(pass.Entropy, part), t.cfg.Entropy)
			g.Entropy = t.narrow(dh, share, part)
			sum.metrics["entropy_loss"] += share * loss
		}
		if t.cfg.shared() {
			_, dv, s := ValueLoss(responses(pass.Values, part), m.values[at:end], m.returns[at:end], t.cfg.ValueClip)
			g.Values = t.narrow(dv, share*t.cfg.ValueCoef, part)
			sum.value = sum.value.add(s, share)
		}
		pass.Backward(g)
		sum.policy = sum.policy.add(s, share)
		drift = math.Max(drift, largest(now, o)) // math.Max keeps NaN
		at = end
	}
	return drift
}

// largest is the largest difference of two rows.
func largest(a, b [][]float64) (d float64) {
	for i, row := range a {
		for j, x := range row {
			d = math.Max(d, math.Abs(x-b[i][j]))
		}
	}
	return d
}

// addRows adds scale times b to a.
func addRows(a, b [][]float64, scale float64) {
	for i, row := range b {
		for j, x := range row {
			a[i][j] += scale * x
		}
	}
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
