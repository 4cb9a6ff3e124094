package ppo

import "math"

// KL estimates KL(pi || ref) at each sampled token, in nats: with d = logp - ref,
//
//	k1 = d        k2 = d^2/2        k3 = exp(-d) - 1 + d
//
// (Schulman, "Approximating KL divergence", 2020). The mean of k1 and k3 over samples of pi is the KL.
func KL(logp, ref [][]float64, estimator string) [][]float64 {
	kl := like(logp)
	for b, row := range logp {
		for t := range row {
			d := row[t] - ref[b][t]
			switch estimator {
			case KLK2:
				kl[b][t] = d * d / 2
			case KLK3:
				kl[b][t] = math.Exp(-d) - 1 + d
			default:
				kl[b][t] = d
			}
		}
	}
	return kl
}

// TokenRewards turns the scores of whole responses into rewards of tokens (InstructGPT eq. 2 without its pretraining term).
//
//	rewards[b][t] = -coef * kl[b][t], + scores[b] where t is the last token of the row
//
// An empty row has no token that could carry its score.
func TokenRewards(kl [][]float64, scores []float64, coef float64) [][]float64 {
	rewards := like(kl)
	for b, row := range kl {
		for t, d := range row {
			rewards[b][t] = -coef * d
		}
		if n := len(row); n > 0 {
			rewards[b][n-1] += scores[b]
		}
	}
	return rewards
}

// whitenEps stands inside the square root, as in lm-human-preferences.
const whitenEps = 1e-8

// Whiten returns rows scaled to variance 1, and shifted to mean 0 where shiftMean is set, over all tokens of all rows.
// The variance is the population's. Rewards are whitened without the shift: their sign carries meaning.
func Whiten(rows [][]float64, shiftMean bool) [][]float64 {
	mean, variance := Moments(rows)
	scale := 1 / math.Sqrt(variance+whitenEps)
	out := like(rows)
	for b, row := range rows {
		for t, x := range row {
			out[b][t] = (x - mean) * scale
			if !shiftMean {
				out[b][t] += mean
			}
		}
	}
	return out
}

// Moments returns mean and population variance over all tokens of all rows; both are 0 where there is no token.
func Moments(rows [][]float64) (mean, variance float64) {
	n := Count(rows)
	if n == 0 {
		return 0, 0
	}
	for _, row := range rows {
		for _, x := range row {
			mean += x
		}
	}
	mean /= float64(n)
	for _, row := range rows {
		for _, x := range row {
			variance += (x - mean) * (x - mean)
		}
	}
	return mean, variance / float64(n)
}

// GAE returns the generalised advantage estimates and the returns that the critic learns (Schulman et al. 2016, eq. 16).
//
//	delta[t] = r[t] + gamma*V[t+1] - V[t]        V after the last token of a row is 0: the episode ends there
//	A[t]     = delta[t] + gamma*lambda*A[t+1]
//	returns  = A + V
func GAE(rewards, values [][]float64, gamma, lambda float64) (advantages, returns [][]float64) {
	advantages, returns = like(rewards), like(rewards)
	for b, r := range rewards {
		var next, last float64 // V[t+1], A[t+1]
		for t := len(r) - 1; t >= 0; t-- {
			last = r[t] + gamma*next - values[b][t] + gamma*lambda*last
			next = values[b][t]
			advantages[b][t] = last
			returns[b][t] = last + values[b][t]
		}
	}
	return advantages, returns
}

// Count is the number of tokens N of all rows.
func Count(rows [][]float64) int {
	n := 0
	for _, row := range rows {
		n += len(row)
	}
	return n
}

// like returns zeros in the shape of rows, on one allocation.
func like(rows [][]float64) [][]float64 {
	flat := make([]float64, Count(rows))
	out := make([][]float64, len(rows))
	for b, row := range rows {
		out[b], flat = flat[:len(row):len(row)], flat[len(row):]
	}
	return out
}

// mean is the mean over all tokens, 0 where there is none.
func mean(rows [][]float64) float64 {
	m, _ := Moments(rows)
	return m
}

// meanRowSum is the mean over episodes of the sum over tokens, 0 where there is no episode.
func meanRowSum(rows [][]float64) float64 {
	if len(rows) == 0 {
		return 0
	}
	s := 0.0
	for _, row := range rows {
		for _, x := range row {
			s += x
		}
	}
	return s / float64(len(rows))
}
