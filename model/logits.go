package model

import "github.com/rankloop/rankloop/model/kernel"

// LogSumExp returns log Σ exp(logits): logits[id] minus it is the log-probability of
// token id, to the bit what Pass.Logprobs holds.
func LogSumExp(logits []float32) float32 { return kernel.LogSumExp(logits) }

// Logprob returns the log-probability of token id under the untouched distribution
// of these logits, to the bit what Pass.Logprobs holds.
func Logprob(logits []float32, id int32) float32 { return logits[id] - kernel.LogSumExp(logits) }

// Softmax writes softmax(scale·logits) to dst, which may be logits.
func Softmax(dst, logits []float32, scale float32) { kernel.Softmax(dst, logits, scale) }

// Sum returns the sum of x, in a fixed order whatever the machine.
func Sum(x []float32) float32 { return kernel.Sum(x) }
