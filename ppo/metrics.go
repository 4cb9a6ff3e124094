package ppo

import "slices"

// Kinds of training of this package, as the command line names them.
const (
	KindPPO       = "ppo"
	KindGRPO      = "grpo"
	KindRLOO      = "rloo"
	KindDPO       = "dpo"
	KindRejection = "rejection"
	KindBestOfN   = "best-of-n"
)

// Metric is a figure that a step tells, defined here once.
type Metric struct {
	Name    string
	Unit    string
	Meaning string
	Healthy string   // what a sound run shows; "" where that depends
	Kinds   []string // of training that tell it
}

var (
	samplers = []string{KindPPO, KindGRPO, KindRLOO, KindRejection}
	grouped  = []string{KindGRPO, KindRLOO, KindRejection}
	learners = []string{KindPPO, KindGRPO, KindRLOO, KindRejection, KindDPO}
)

// allMetrics is the one table. d is the log-probability under the policy in training minus that under the one that sampled.
var allMetrics = []Metric{
	{"iteration", "count", "rollout batches that are through", "", samplers},
	{"score", "reward", "mean final score of an episode: of the scorer, scaled and clipped where asked for, after the end-token rule", "rises, and flattens as KL grows", samplers},
	{"score_scale", "reward", "what scores are divided by, with score.scale", "near the spread of the reward model, steady after a few iterations", samplers},
	{"best_score", "reward", "mean over prompts of the best final score in the group", "above score; the gap is what there is to learn from", grouped},
	{"kept_score", "reward", "mean final score of the episodes that are learned", "between score and best_score", []string{KindRejection}},
	{"flat_groups", "share", "groups whose scores are all the same: they teach nothing", "below 0.5", []string{KindGRPO}},
	{"reward", "reward", "mean of score - kl_coef * KL of an episode: what is maximised", "rises", []string{KindPPO, KindRLOO}},
	{"kl", "nats", "mean over episodes of the sum of log pi - log ref: an estimate of KL(pi || ref)", "0 in iteration 0 (below 0.001), then rises slowly; never below -0.5", samplers},
	{"kl_coef", "reward/nat", "coefficient of the penalty in this iteration", "constant, or moving towards the target", []string{KindPPO, KindRLOO}},
	{"entropy", "nats", "mean of -log pi over the sampled tokens: an unbiased estimate of the policy's entropy per token", "falls slowly; near 0 = one answer for everything", samplers},
	{"eos_rate", "share", "episodes that came to their end", "above 0.95", samplers},
	{"length", "tokens", "mean response, the end token included", "steady; growth with the score is the reward model's taste for length", samplers},
	{"repeat_rate", "share", "neighbouring pairs of tokens of a response that it had said before", "near that of the first iteration; three times as much is gaming", samplers},
	{"explained_variance", "share", "1 - Var(returns - values) / Var(returns), before the critic's update", "rises towards 1; below 0 = worse than a constant", []string{KindPPO}},
	{"policy_loss", "1", "the objective's loss without its KL term: the clipped surrogate, for rejection sampling the cross entropy in nats", "near 0 in the first step of an iteration (-1e-8 to 1.6e-6 in the N+ logs)", samplers},
	{"clipfrac", "share", "tokens where the clip decides the loss (RLOO: responses)", "0 in the first step, then .02 to .1 (N+: .025, .051, .073 in epochs 1 to 3)", samplers},
	{"approxkl", "nats", "mean over tokens of d^2/2: how far this step is from the policy that sampled", "0 in the first step, then below .02 (N+: .0029, .0056, .0081)", samplers},
	{"kl_k3", "nats", "mean over tokens of exp(d) - 1 - d: the same distance, without bias", "as approxkl", samplers},
	{"kl_loss", "nats", "the KL to the reference as a term of the loss, before its coefficient", "rises slowly", []string{KindPPO, KindGRPO}},
	{"ratio_mean", "1", "mean of exp(d) (RLOO: of the responses' ratios)", "1, within .05", samplers},
	{"ratio_max", "1", "largest exp(|d|)", "1 in the first step; below 5", samplers},
	{"value_loss", "reward^2", "half the clipped squared error of the critic", "falls", []string{KindPPO}},
	{"value_clipfrac", "share", "tokens where the clip decides the critic's loss", "below .3", []string{KindPPO}},
	{"entropy_loss", "nats", "minus the mean entropy times its coefficient", "", []string{KindPPO}},
	{"grad_norm", "1", "norm of the policy's gradient before clipping", "steady; a jump comes before a collapse", learners},
	{"value_grad_norm", "1", "norm of the critic's gradient before clipping; a shared critic has none of its own", "steady", []string{KindPPO}},
	{"lr", "1", "learning rate of the policy in this step", "", learners},
	{"ptx_loss", "nats", "cross entropy per token of the pretraining mix", "rises little; a rise is what the policy forgets", []string{KindPPO}},
	{"ptx_grad_norm", "1", "norm of the mix's gradient alone, its coefficient included", "about the size of PPO's own", []string{KindPPO}},
	{"ptx_coef", "1", "coefficient of the mix in this step", "steady after a few iterations", []string{KindPPO}},
	{"ptx_ratio", "1", "norm of the mix's gradient by that of PPO's, where they are compared", "near ptx.ratio", []string{KindPPO}},
	{"skipped", "count", "optimizer steps left out because approxkl was above target_kl", "0", []string{KindPPO}},
	{"epoch", "count", "passes over the pairs that are through", "", []string{KindDPO}},
	{"loss", "1", "loss of the batch before its step (sigmoid: nats a pair)", "log 2 = .693 in the first step, then falls", []string{KindDPO}},
	{"accuracy", "share", "pairs of the batch, before its step, whose chosen response has the higher implicit reward beta*(log pi - log ref)", ".5 at first, then rises; far above heldout_accuracy = learned by heart", []string{KindDPO}},
	{"margin", "reward", "mean implicit reward of the chosen minus that of the rejected", "rises", []string{KindDPO}},
	{"chosen_reward", "reward", "mean implicit reward of the chosen", "may fall a little; far below 0 = the policy unlearns both", []string{KindDPO}},
	{"rejected_reward", "reward", "mean implicit reward of the rejected", "falls", []string{KindDPO}},
	{"heldout_loss", "1", "loss of the held-out pairs, after each epoch", "falls; a rise is the moment to stop", []string{KindDPO}},
	{"heldout_accuracy", "share", "accuracy on the held-out pairs", "rises towards the labelers' agreement", []string{KindDPO}},
	{"heldout_margin", "reward", "margin on the held-out pairs", "rises", []string{KindDPO}},
	{"n", "count", "responses that the best is chosen from", "", []string{KindBestOfN}},
	{"best_of_score", "reward", "mean final score of the best of n, estimated from all draws without bias", "rises with n, ever slower", []string{KindBestOfN}},
	{"best_of_kl", "nats", "KL(best of n || policy) = ln n - (n-1)/n", "", []string{KindBestOfN}},
}

// Metrics lists what steps tell: those of a kind of training, of all where kind is "".
func Metrics(kind string) (out []Metric) {
	for _, m := range allMetrics {
		if kind == "" || slices.Contains(m.Kinds, kind) {
			out = append(out, m)
		}
	}
	return out
}
