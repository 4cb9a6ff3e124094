// Package eval turns judged samples into numbers: tasks asked zero-, one- and few-shot, perplexity, mean scores and win rates
// with confidence intervals, and held-out loss; and draws them, and what attention looks at.
//
// Letters: n items or prompts, k examples ("shots"), m samples of a prompt, x a score, w a win (1), tie (1/2) or loss (0).
//
// # Tasks
//
// A [Task] is data and a [Rule]; [Tasks] is the table of them, one file per kind. They are those of the GPT-2 and GPT-3 papers
// that need no download: made from a seed alone (arithmetic, words) or from any text that the user has (cloze, Children's Book
// Test, continuation), and [ReadTask] reads the user's own. Items are a function of (task, seed, text); a larger n goes on with
// the same list; examples come from a pool that shares no item with the questions. [Run] asks every model the same and makes
// the [Report], whose cells can therefore be compared item by item.
//
// Decisions. GPT-3 searched free answers with a beam of 4; here they are greedy, which needs no setting. Where examples do not
// fit the context the furthest are dropped, so that the prompt is that of fewer shots to the byte, and the report says how many
// were left; a question too long by itself loses its beginning, and the report counts those. Prompt and answer are encoded
// together, as the model would have read them; a token that spans the border counts for the answer. The tasks' files say where
// they fall short of the papers' data sets.
//
// Perplexity slides a window over the text in which each token is predicted once; bits per byte do not depend on the tokenizer.
//
// # Pictures
//
// The report's plot and the heat maps of [Attention] are SVG written here: presentation attributes only, so that they can be
// put into a page under a strict policy, follow its light or dark, and weigh a few kilobytes. gonum's plot was tried: ten
// more megabytes of binary, and colours fixed for white paper.
//
// # Intervals
//
// Proportions have Wilson's interval (Newcombe 1998), differences on the same items Bonett and Price's for paired proportions
// (2012). Answers to one prompt are not independent, so means are clustered by prompt: the standard error is that of the
// ratio estimator over clusters (Cochran 1977, section 11; Miller 2024, "Adding error bars to evals", section 2.2).
// Ties count one half, as in the win rates of InstructGPT's figures.
package eval
