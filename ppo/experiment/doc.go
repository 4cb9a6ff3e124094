// Package experiment holds the repeatable experiments: what must hold in a world whose gold preference is known, measured from
// reward models and policies that the experiment trains itself.
//
// In the toy world of labeling/simulate the decoder has 108,736 weights (gpt2 family, d = 64, L = 2, h = 4), or a million;
// in the starter world it is the model that ships. Pretraining and fine-tuning are done once; the seeds of an experiment vary
// everything after that: answers, labelers, reward model, policy. Seeds run side by side, a thread each, and what several
// experiments of a seed need (a reward model, a policy) is made once. The labelers are synthetic. That an experiment holds
// shows that the machinery learns what it is given; it says nothing about human preference or the quality of open-ended text.
//
// # What is measured
//
//	gold accuracy   share of answer pairs of unequal gold that the reward model orders by gold
//	noisy accuracy  share of held-out labelers' pairs that it orders as they did
//	ceiling         the noisy accuracy of a judge who knows the gold score: the mean of max(p, 1-p) over pairs
//	win             share of 1,000 held-out prompts where the policy's answer has the higher gold than SFT's, ties one half
//	KL              mean over answers of log pi - log ref, nats per answer
//
// A bound holds where every seed keeps it, unless the experiment's demands say otherwise: a share of the seeds, or a bound on the
// mean. Bounds were set before; what had to be calibrated is told where it stands, and was on seeds from 100 on.
//
// Sources: Gao, Schulman and Hilton 2022 for the method of a gold preference and the forms of over-optimisation; Coste et al.
// 2023 for ensembles; Nakano et al. 2021, app. I, for the best of n; Huang et al. 2024 for the health values of the first
// minibatch; the faults are those that Ziegler et al. 2019 (section 4.4) and users of open trainers tell of.
package experiment
