package loop

import (
	"fmt"

	"github.com/rankloop/rankloop/reward"
)

// decide is the rule of promotion: the new policy must win against the one that serves, with the whole 95% interval above
// one half, must not have drifted further from the supervised policy than the round allows, and must come from a reward model that
// predicts the held-out rankings as far as the round wants. The reason is for people.
func decide(c Config, r Report) (promote bool, reason string) {
	rm := reward.Report{Accuracy: r.RewardAccuracy.Value, Low: r.RewardAccuracy.Low, High: r.RewardAccuracy.High, N: r.RewardAccuracy.N}
	switch {
	case rm.Stale(c.RewardAccuracyBelow):
		return false, fmt.Sprintf("the reward model is right in %.1f%% [%.1f, %.1f] of the held-out pairs, below the limit of %.1f%%: more rankings are wanted",
			100*rm.Accuracy, 100*rm.Low, 100*rm.High, 100*c.RewardAccuracyBelow)
	case r.KL.Value > c.MaxKL:
		return false, fmt.Sprintf("KL %.1f nats from SFT is above the limit of %.1f", r.KL.Value, c.MaxKL)
	case r.EOSRate < 0.9:
		return false, fmt.Sprintf("only %.0f%% of the answers end by themselves; 90%% are wanted", 100*r.EOSRate)
	case r.WinServing.Low > 0.5:
		return true, fmt.Sprintf("wins %.1f%% [%.1f, %.1f] against the serving policy", 100*r.WinServing.Value, 100*r.WinServing.Low, 100*r.WinServing.High)
	}
	return false, fmt.Sprintf("its win rate against the serving policy, %.1f%% [%.1f, %.1f], is not above one half with 95%% confidence",
		100*r.WinServing.Value, 100*r.WinServing.Low, 100*r.WinServing.High)
}

// staleReason says why more of a policy's answers are wanted.
func staleReason(c RelabelConfig, rm reward.Report) string {
	return fmt.Sprintf("the reward model is right in %.1f%% [%.1f, %.1f] of the pairs of its own policy's answers, below the limit of %.1f%%: answers to %d more prompts were ordered for ranking",
		100*rm.Accuracy, 100*rm.Low, 100*rm.High, 100*c.Below, c.Prompts)
}
