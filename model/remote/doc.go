// Package remote asks servers that speak OpenAI's chat completions API for answers: vLLM, llama.cpp, Ollama, another rankloop.
//
// Decisions:
//   - It trusts nobody at the other end. An answer is bounded in size and time and read leniently; of what else such a server
//     says, an error's text above all, nothing is passed on: an Error is a kind and a status.
//   - What may pass is tried again, with waits that double, or as long as Retry-After asks: 429, 5xx, a connection that broke. What
//     will not pass is not: a wrong key, a wrong address, a refused dial.
//   - Servers that know no n (llama.cpp, Ollama) answer once; the rest is asked for again, each time with another seed.
//   - The HTTP client is the caller's, which decides what may be dialled.
package remote
