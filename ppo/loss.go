package ppo

import "math"

// PolicyStats describes how far the policy has moved from the one that sampled. Means are over all tokens.
type PolicyStats struct {
	Loss      float64 // the clipped surrogate
	ClipFrac  float64 // share of tokens where the clip decides the loss (strictly larger)
	ApproxKL  float64 // mean of (new-old)^2 / 2, lm-human-preferences' estimate
	K1        float64 // mean of old-new, an unbiased estimate of KL(old || new)
	K3        float64 // mean of exp(new-old) - 1 - (new-old), never negative
	RatioMean float64 // mean of exp(new-old)
	RatioMax  float64 // largest exp(|new-old|), so that a ratio of 1/5 counts as much as one of 5
	Tokens    int
}

// PolicyLoss is PPO's clipped surrogate (Schulman et al. 2017, eq. 7, negated) and its gradient with respect to newLogp.
//
//	ratio = exp(newLogp - oldLogp)
//	loss  = mean of max(-A*ratio, -A*clip(ratio, 1-clip, 1+clip))
//
// All rows have the shape [B][T]; clip is the half width of the interval.
func PolicyLoss(newLogp, oldLogp, advantages [][]float64, clip float64) (loss float64, grad [][]float64, stats PolicyStats) {
	return DualClipLoss(newLogp, oldLogp, advantages, clip, 0)
}

// DualClipLoss is PolicyLoss with a second bound where the advantage is negative and the ratio large (Ye et al. 2020, "Mastering
// complex control in MOBA games", eq. 5, negated), so that one token cannot make the loss arbitrarily large:
//
//	loss = mean of min(PolicyLoss' term, -A*dual) where A < 0; dual > 1, 0 = no such bound
func DualClipLoss(newLogp, oldLogp, advantages [][]float64, clip, dual float64) (loss float64, grad [][]float64, stats PolicyStats) {
	grad = like(newLogp)
	n := Count(newLogp)
	stats.Tokens = n
	if n == 0 {
		return 0, grad, stats
	}
	inv := 1 / float64(n)
	for b, row := range newLogp {
		for t := range row {
			d := row[t] - oldLogp[b][t]
			ratio := math.Exp(d)
			l, g, clipped := surrogate(ratio, advantages[b][t], clip, dual)
			loss += l * inv
			grad[b][t] = g * inv
			if clipped {
				stats.ClipFrac += inv
			}
			stats.ApproxKL += 0.5 * d * d * inv
			stats.K1 -= d * inv
			stats.K3 += (ratio - 1 - d) * inv
			stats.RatioMean += ratio * inv
			stats.RatioMax = max(stats.RatioMax, math.Exp(math.Abs(d)))
		}
	}
	stats.Loss = loss
	return loss, grad, stats
}

// surrogate is one term of the clipped loss, its derivative with respect to log(ratio), and whether a clip decides it.
func surrogate(ratio, a, clip, dual float64) (loss, grad float64, held bool) {
	free := -a * ratio
	clipped := -a * min(max(ratio, 1-clip), 1+clip)
	switch {
	case clipped > free:
		return clipped, 0, true // outside the interval the clipped branch is constant
	case dual > 0 && a < 0 && free > -a*dual:
		return -a * dual, 0, true
	}
	return free, free, false // d(-A e^d)/dd = -A e^d
}

// KLLoss is the KL to the reference as a term of the loss, the mean over tokens of an estimate (see KL), and its gradient with
// respect to newLogp: d for k2, 1 - exp(-d) for k3.
func KLLoss(newLogp, ref [][]float64, estimator string) (loss float64, grad [][]float64) {
	grad = like(newLogp)
	n := Count(newLogp)
	if n == 0 {
		return 0, grad
	}
	for b, row := range newLogp {
		for t := range row {
			l, g := klTerm(row[t]-ref[b][t], estimator)
			loss += l / float64(n)
			grad[b][t] = g / float64(n)
		}
	}
	return loss, grad
}

// klTerm is one token's estimate and its derivative with respect to d; k3 unless another is named.
func klTerm(d float64, estimator string) (loss, grad float64) {
	if estimator == KLK2 {
		return d * d / 2, d
	}
	e := math.Exp(-d)
	return e - 1 + d, 1 - e
}

// ValueStats describes the critic's fit. Means are over all tokens.
type ValueStats struct {
	Loss     float64
	ClipFrac float64 // share of tokens where the clip decides the loss (strictly larger)
	Tokens   int
}

// ValueLoss is the clipped squared error of the critic and its gradient with respect to newValues, as in
// lm-human-preferences: half the mean of the larger of the two squared errors.
//
//	loss = 0.5 * mean of max((v-R)^2, (clip(v, old-clip, old+clip) - R)^2)
func ValueLoss(newValues, oldValues, returns [][]float64, clip float64) (loss float64, grad [][]float64, stats ValueStats) {
	grad = like(newValues)
	n := Count(newValues)
	stats.Tokens = n
	if n == 0 {
		return 0, grad, stats
	}
	inv := 1 / float64(n)
	for b, row := range newValues {
		for t, v := range row {
			old, ret := oldValues[b][t], returns[b][t]
			held := min(max(v, old-clip), old+clip)
			free, clipped := (v-ret)*(v-ret), (held-ret)*(held-ret)
			if clipped > free {
				stats.ClipFrac += inv
				loss += 0.5 * clipped * inv
			} else {
				loss += 0.5 * free * inv
				grad[b][t] = (v - ret) * inv
			}
		}
	}
	stats.Loss = loss
	return loss, grad, stats
}

// EntropyLoss is minus the mean entropy times coef, and its gradient with respect to the entropies: a bonus for
// spread-out choices when added to the loss.
func EntropyLoss(entropy [][]float64, coef float64) (loss float64, grad [][]float64) {
	grad = like(entropy)
	n := Count(entropy)
	if n == 0 {
		return 0, grad
	}
	for b, row := range entropy {
		for t, h := range row {
			loss -= coef * h / float64(n)
			grad[b][t] = -coef / float64(n)
		}
	}
	return loss, grad
}

// PtxLoss is the mean next-token cross entropy of pretraining text in nats, and its gradient with respect to logp: the
// pretraining term of InstructGPT eq. 2 before its coefficient.
func PtxLoss(logp [][]float64) (loss float64, grad [][]float64) {
	grad = like(logp)
	n := Count(logp)
	if n == 0 {
		return 0, grad
	}
	for b, row := range logp {
		for t, lp := range row {
			loss -= lp / float64(n)
			grad[b][t] = -1 / float64(n)
		}
	}
	return loss, grad
}

// ExplainedVariance is 1 - Var(returns-values)/Var(returns): 1 = the critic foresees all, 0 = no better than a constant,
// below 0 = worse than that. 0 where the returns do not vary.
func ExplainedVariance(values, returns [][]float64) float64 {
	residual := like(returns)
	for b, row := range returns {
		for t := range row {
			residual[b][t] = row[t] - values[b][t]
		}
	}
	_, total := Moments(returns)
	_, left := Moments(residual)
	if total == 0 {
		return 0
	}
	return 1 - left/total
}
