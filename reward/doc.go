// Package reward learns a scalar reward from people's rankings of a model's answers.
//
// The reward model is the policy's transformer with one scalar head, read at the last token of prompt and answer. It is
// trained so that answers ranked higher score higher, shifted so that reference answers score 0 on average, and then
// serves as the objective of package ppo.
//
// # Letters
//
//	K  answers to one prompt that were ranked together (2 to 9)
//	G  prompts (groups) of a batch: the unit in which batches are counted
//	r  reward of an answer, in nats: sigmoid(r_a - r_b) is the modelled probability that a is preferred to b
//
// # Sources
//
//	Ouyang et al. 2022, "Training language models to follow instructions with human feedback", eq. 1 and appendix C.2:
//	    all pairs of a prompt in one batch element, ties dropped, cosine learning rate to 10%, mean of demonstrations 0.
//	Stiennon et al. 2020, "Learning to summarize from human feedback", appendix C: head drawn from N(0, 1/(d+1)), several
//	    seeds of which the best on held-out rankings is kept.
//	Ziegler et al. 2019 and openai/lm-human-preferences rewards.py: gain and bias of the reward.
//	Rao & Kupper 1967, Davidson 1970: ties. Touvron et al. 2023 (Llama 2), eq. 2: margins. Mitchell 2023 (cDPO), Gao et al. 2022
//	    and Coste et al. 2023: labels that are wrong by chance. All in Loss.
//	Coste et al. 2023, section 3.2: mean, worst-case and uncertainty-weighted ensembles. Christiano et al. 2017, section 2.2.4:
//	    an ensemble's disagreement says what to rank next.
//
// # Decisions
//
//   - One forward pass per answer, whatever the number of pairs and of labelers: the loss of a prompt is the mean over its
//     labelers of the mean over the pairs each of them decided.
//   - Options that a published method does not have are off, and then not in the stored configuration either.
//   - The members of an ensemble are whole models, of other heads and data orders, each brought to zero on the reference
//     answers before they are combined, and the combined reward after: the least of several rewards that are 0 on average is
//     not. The first, the best on the held-out rankings, is what a critic starts from and what others read the folder as.
//   - Accuracy on parts of the pairs, length and position are measured with the same clustered interval as the whole.
//   - Length of training is set in optimizer steps or epochs. One epoch at the learning rates of the papers leaves small
//     models at chance; held-out accuracy with its confidence interval and the ceiling that the labelers' own agreement
//     sets are always reported together.
//   - The normalisation (RewardMean, RewardStd) lives in the checkpoint's card, never in the weights, so that a model
//     scored without its card shows raw rewards and nothing is applied twice. RewardStd is 1 unless scaling is asked for:
//     a difference of rewards is a log-odds and has a meaning of its own.
package reward
