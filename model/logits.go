package model

import "github.com/rankloop/rankloop/model/kernel"

// LogSumExp returns log Σ exp(logits): logits[id] minus it is the log-probability of
// token id, to the bit what Pass.Logprobs holds.
func LogSumExp(logits []float32) float32 { return kernel.LogSumExp(logits) }

// Logprob returns the log-probability of token id under the untouched distribution
// of these logits, to the bit what Pass.Logprobs holds.
func Logprob(logits []float32, id int32) float32 { return logits[id] - kernel.LogSumExp(logits) }

// Exponents writes exp(scale·logits), divided by the largest of them, to dst, which may be logits: probabilities but for a factor. It
// returns LogSumExp of scale·logits, with scale 1 to the bit. scale is positive.
func Exponents(dst, logits []float32, scale float32) float32 {
	return kernel.Exponents(dst, logits, scale)
}

// Sum returns the sum of x, in a fixed order whatever the machine.
func Sum(x []float32) float32 { return kernel.Sum(x) }
