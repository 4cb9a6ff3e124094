// Package eval turns judged samples into numbers: mean scores and win rates with confidence intervals, and held-out
// loss.
//
// Letters: n prompts, m samples of a prompt, x a score, w a win (1), tie (1/2) or loss (0).
//
// Answers to one prompt are not independent, so intervals are clustered by prompt: the standard error is that of the
// ratio estimator over clusters (Cochran 1977, section 11; Miller 2024, "Adding error bars to evals", section 2.2).
// Ties count one half, as in the win rates of InstructGPT's figures.
package eval
