// Package loop is the round: the one place that knows the order sample, rank, reward, ppo, evaluate, promote.
//
// A round is a row. Its stages are moved on by one idempotent act, Advance, which looks at the row and does the next
// thing in one transaction: it samples answers with the serving policy, waits for rankings, freezes them into a
// snapshot, starts the reward run, starts the PPO run, starts the evaluation and promotes. Whatever finishes (a full
// batch of rankings, a run's last slice) enqueues Advance in its own transaction, so a crash between two stages
// loses nothing and doubles nothing.
//
// After a promotion a round may go on watching: some of the new policy's own answers are ranked, and where the reward model is
// stale on them more tasks are ordered (relabel.go).
//
// A comparison (compare.go) asks people what the reward model cannot be trusted with: which of two versions is better, blind. Its
// prompts, answers and judgements are a project of labeling's own kind; whose an answer is stands in the loop's tables alone.
//
// The order and the roles are InstructGPT's (Ouyang et al. 2022, figure 2): the KL reference stays the supervised
// policy in every round, the initial policy is the one that serves, the value model starts from the reward model.
package loop
