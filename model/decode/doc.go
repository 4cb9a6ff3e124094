// Package decode turns a model into text: next-token distributions and sampling,
// batched generation for rollouts ([Generate]), and continuous batching for serving
// ([Engine]).
//
// # What is decided
//
// A completion depends on the weights, its prompt, its parameters and its stream of
// random numbers, never on what else is in the batch: rows join and leave the batch
// between steps, and the model gives a row the same bits in any company. Row i of
// Generate draws from the PCG stream (seed, i), a request of the Engine from (seed, 0).
//
// Log-probabilities reported are those of the untouched distribution (temperature 1,
// no filter), taken from the same logits the token was drawn from: to the bit what
// Forward and Score of package model say of the same tokens. PPO's ratios start at
// exactly 1.
//
// The distribution drawn from is made in the order of Hugging Face: penalties and
// bias, temperature, top-k, top-p, softmax. Top-k keeps all that tie with the k-th;
// top-p keeps the token that crosses (Holtzman et al. 2020); temperature 0 takes the
// lowest id among the largest logits. Penalties count the tokens of the completion,
// as OpenAI's API defines them.
//
// The Engine owns one goroutine, the only one that touches its caches. Tokens go to a
// request's Stream through a channel that holds a whole completion, so a slow reader
// holds up nobody; a request whose context ends leaves at the next token.
package decode
