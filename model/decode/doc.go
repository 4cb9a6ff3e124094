// Package decode turns a model into text: next-token distributions and sampling,
// batched generation for rollouts ([Generate]), and continuous batching for serving
// ([Engine]).
//
// # What is decided
//
// A completion depends on the weights, its prompt, its parameters and its stream of
// random numbers, never on what else is in the batch: rows join and leave the batch
// between steps, and the model gives a row the same bits in any company. Row i of
// Generate draws from the PCG stream (seed, i), as choice i of a request of the Engine does.
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
// # The engine
//
// The Engine owns one goroutine, the only one that touches its caches. Each step feeds
// a token of every choice under way and a chunk of the prompts that are being read
// (Yu et al. 2022, Orca; Agrawal et al. 2023, SARATHI), so a long prompt holds nobody up
// for longer than a chunk takes. Tokens go to a request's Stream, which holds as many
// as there are, so a slow reader holds up nobody either; a request whose context ends
// leaves before the next token.
//
// Keys and values lie in pages (Kwon et al. 2023, PagedAttention) of a memory with a
// bound. A request begins only when the pages that it can need in the end are there, so
// it never runs out of them; one that needs more than there are is refused by Submit,
// before anything is allocated. Choices of one prompt share its full pages. Full pages
// are remembered by the tokens that they stand for, per customer and never across, and
// a prompt that begins alike is read from where they end; those that no request holds
// are given up when memory is needed, the one longest unused first.
//
// Who is next is decided by priority first, then by what each key has been served, see
// queue. A request of higher priority takes places from those under way, which pause.
//
// A step is urgent work (model.Urgent): training and Generate give way to it within a
// block of a product, and get a block between two steps.
//
// The random number of a token is the one of its place in the PCG stream (Seed, First +
// choice), whatever the order in which choices are drawn.
package decode
