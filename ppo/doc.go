// Package ppo improves a policy by people's preferences: by proximal policy optimisation against a learned reward, as InstructGPT
// did, and by what is done in its place: GRPO, RLOO, DPO, rejection sampling and the best of n.
//
// Its job ends at the objectives and the training loops around them: prompts come through Prompts, the reward through
// Scorer, pretraining text through Ptx, and the package knows neither who ranked what nor how a reward was learned.
//
// # Order of reading
//
//	loss.go rewards.go            PPO's pure functions: losses, KL estimates, rewards, whitening, GAE
//	grpo.go rloo.go dpo.go        an objective each: configuration, pure functions, trainer
//	rejection.go bestofn.go       likewise
//	actor.go scoring.go           what all that sample share: rollouts, reference, scores
//	trainer.go rollout.go update.go ptx.go   PPO's loop; groups.go is that of GRPO, RLOO and rejection sampling
//	health.go guard.go            what a run is stopped by, and the weights it goes back to
//	options.go presets.go table.go metrics.go   options, presets and figures, each explained once
//
// # Letters
//
//	B  episodes of an iteration (one prompt, one sampled response each)
//	T  response tokens of one episode; rows are ragged, there is no padding and hence no mask
//	N  all response tokens of a batch, the sum of T over B: every mean below is over N unless it says "per episode"
//	x  prompt, y response, pi the policy, ref the frozen reference, V the critic
//
// Rows of numbers are [][]float64 indexed [episode][response token]. A row may be empty.
//
// # Sources
//
//	Ouyang et al. 2022, "Training language models to follow instructions with human feedback", eq. 2 and appendix C.4:
//	    KL penalty per token, critic from the reward model, PPO-ptx, EMA of the weights.
//	Ziegler et al. 2019 and its code openai/lm-human-preferences train_policy.py, rewards.py, utils/core.py:
//	    compute_rewards, whiten, the loss with its two clips, AdaptiveKLController.
//	Schulman et al. 2016, "High-dimensional continuous control using GAE", eq. 16. Schulman et al. 2017, PPO, eq. 7.
//	Huang et al. 2024, "The N+ implementation details of RLHF with PPO": the score of a response without end token.
//	Schulman 2020, "Approximating KL divergence": k1, k2, k3. Ye et al. 2020, eq. 5: the second clip.
//	Shao et al. 2024, "DeepSeekMath", section 4.1: GRPO. Liu et al. 2025: Dr. GRPO. Ahmadian et al. 2024, eq. 8: RLOO.
//	Rafailov et al. 2023, eq. 7: DPO. Mitchell 2023: cDPO. Azar et al. 2024, eq. 17: IPO.
//
// # Decisions
//
//   - The old log-probabilities are the sampler's own. Sampler and trainer run the same kernels, so that the ratio of the
//     first minibatch is 1; the trainer checks this in every iteration and stops when it does not hold (see health.go).
//   - Rollouts are drawn from the whole distribution that the trainer's log-probabilities are of. A temperature divides the logits
//     inside the models, in sampling, in training and in the reference alike, so that the first ratio is 1 at any of them; top-k
//     and top-p, which would make the KL estimate negative, are not offered. The pretraining mix is learned at temperature 1.
//   - A run that a check stops goes back to the weights which sampled the newest batch that passed all of them. They are part of the
//     state, so that a resumed run goes back to the same.
//   - Advantages are whitened once per rollout batch over all response tokens with the population variance. The preset
//     "ziegler" whitens per minibatch, as lm-human-preferences does inside its loss. Both are equal with one minibatch.
//   - Policy and critic are separate networks with separate optimizers; gradients are clipped for each on its own. With
//     Config.Critic "shared" the critic is a value head on the policy's trunk instead: one pass, one optimizer, and one loss
//     policy + value_coef * value, for half the work of an optimizer step.
//   - What is known is not computed again: log-probabilities come with the samples, and so do a shared critic's values, to the
//     bit those of a training pass; the heads are read at response positions only; a prompt that is sampled several times in
//     a chunk is read once; sequences that have ended make room for those that wait. See Extra for the price of not doing so.
//   - Objectives are pure functions in float64 that return the loss and its gradient with respect to what the model said.
//     Where max(a, b) ties, both branches have the same derivative or none, so that the choice does not matter.
//   - A trainer's step is one unit that is small enough to be lost: a chunk of rollouts, or one optimizer step. Between
//     units the whole state, rollouts included, can be written as one file, and a resumed run repeats the undisturbed one
//     bit for bit.
package ppo
