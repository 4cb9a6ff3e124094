// Package experiment holds the repeatable experiments: what must hold on a world whose gold preference is known, measured
// from weights that the experiment trains itself.
//
// Every experiment runs on the toy world of labeling/simulate with a decoder of 108,736 weights (gpt2 family, d = 64, L = 2,
// h = 4). Pretraining and fine-tuning are done once (seed 0); the seeds of an experiment vary everything after that: answers,
// labelers, reward model, policy. The labelers are synthetic. That an experiment holds shows that the machinery learns what
// it is given; it says nothing about human preference or the quality of open-ended text.
//
// # What is measured
//
//	gold accuracy   share of answer pairs of unequal gold that the reward model orders by gold
//	noisy accuracy  share of held-out labelers' pairs that it orders as they did
//	ceiling         the noisy accuracy of a judge who knows the gold score: the mean of max(p, 1-p) over pairs
//	win             share of prompts where the policy's answer has the higher gold than SFT's, ties one half
//	KL              mean over answers of log pi - log ref, nats per answer
//
// The thresholds are in the rows of each result, next to the values. Sources: Gao, Schulman and Hilton 2022 for the method
// of a gold preference; Huang et al. 2024 for the health values of the first minibatch; the faults are those that Ziegler et
// al. 2019 (section 4.4) and users of open trainers tell of.
package experiment
