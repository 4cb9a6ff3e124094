// Package simulate holds worlds and simulated labelers, for demonstrations, tests and experiments.
//
// A World is a program that writes texts (a corpus to pretrain on, demonstrations to fine-tune on, instructions to
// answer) and that declares a preference over answers, the gold score. A Labeler is a noisy reader of that
// preference: it ranks K answers by a Plackett-Luce draw on gold/T with small biases towards the first card and
// towards length, and never tells a value. It labels through the same HTTP endpoints that people use (Client).
//
// The starter world (Starter) is about people, animals, things and places: "Tell a story about a fox and a drum with a
// happy ending". Its gold score adds what a reader would look at, each term with a limit:
//
//	names      what the instruction names appears in the answer         0 .. 2
//	task       it is the kind of answer asked for (ending, fact, ...)  -0.5 .. 1
//	kind       kind words, no unkind words                             -1.8 .. 1.05
//	finish     it ends with a full sentence and the end-of-text token  -2 .. 0
//	repeats    phrases said twice                                      -1.5 .. 0
//	reads well pairs of words that nobody writes next to each other    -1.5 .. 0
//
// Decisions. The instruction is read back from its text, so that prompts typed by people are judged as well as
// generated ones. Demonstrations follow everything that is asked only part of the time: a policy tuned on them
// follows mostly, and rankings can teach it the rest. The share of readers who agree on a pair is set by the
// temperature to about that of InstructGPT's labelers (72.6%, Ouyang et al. 2022, section 3.4).
//
// The package imports nothing of rankloop: worlds speak in text, labelers in HTTP.
//
// Sources: Plackett (1975), Luce (1959); simulated preferences by a gold score as in Gao, Schulman and Hilton
// (2022), "Scaling laws for reward model overoptimization".
package simulate
