package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
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

// GateConfig says what holds a round between two stages until a person lets it go on. 0 = no gate. The Andon cord holds it anywhere.
type GateConfig struct {
	Agreement      float64 `json:"agreement,omitempty"`       // before reward: share of pairs two labelers order alike; it holds with the whole 95% interval below
	RewardAccuracy float64 `json:"reward_accuracy,omitempty"` // before ppo: the reward model's on the held-out rankings, likewise
	KL             float64 `json:"kl,omitempty"`              // before evaluate: nats per response of PPO's last iteration; it holds above
}

func (c GateConfig) validate() error {
	switch {
	case !(c.Agreement >= 0 && c.Agreement < 1):
		return &InvalidError{"gates.agreement", fmt.Sprintf("%g is not a share from 0 to below 1", c.Agreement)}
	case !(c.RewardAccuracy >= 0 && c.RewardAccuracy < 1):
		return &InvalidError{"gates.reward_accuracy", fmt.Sprintf("%g is not a share from 0 to below 1", c.RewardAccuracy)}
	case !(c.KL >= 0 && c.KL <= 1e9):
		return &InvalidError{"gates.kl", fmt.Sprintf("%g nats; 0 (no gate) or more is wanted", c.KL)}
	}
	return nil
}

// The gates.
const (
	GateAgreement      = "agreement"
	GateRewardAccuracy = "reward_accuracy"
	GateKL             = "kl"
)

// gateOf names the gate behind a stage.
var gateOf = map[Stage]string{StageRank: GateAgreement, StageReward: GateRewardAccuracy, StagePPO: GateKL}

// agreement is what the gate behind the rankings finds; empty where it is open. Where no two labelers ranked the same, nothing is known.
func (c GateConfig) agreement(a labeling.Agreement) string {
	if c.Agreement == 0 || a.Pairs == 0 || a.CI[1] >= c.Agreement {
		return ""
	}
	return fmt.Sprintf("two labelers agree on %.1f%% [%.1f, %.1f] of %d pairs, below the limit of %.1f%%", 100*a.Pairwise, 100*a.CI[0], 100*a.CI[1], a.Pairs, 100*c.Agreement)
}

// accuracy is what the gate behind the reward model finds; empty where it is open.
func (c GateConfig) accuracy(rm reward.Report) string {
	if !rm.Stale(c.RewardAccuracy) {
		return ""
	}
	return fmt.Sprintf("the reward model is right in %.1f%% [%.1f, %.1f] of %d held-out pairs, below the limit of %.1f%%", 100*rm.Accuracy, 100*rm.Low, 100*rm.High, rm.N, 100*c.RewardAccuracy)
}

// kl is what the gate behind PPO finds; empty where it is open.
func (c GateConfig) kl(nats float64) string {
	if c.KL == 0 || nats <= c.KL {
		return ""
	}
	return fmt.Sprintf("KL of the last iteration is %.1f nats per answer, above the limit of %.1f", nats, c.KL)
}

// Override is a person's decision to go on although a gate holds.
type Override struct {
	Gate    string    `json:"gate"`
	Finding string    `json:"finding"`
	Reason  string    `json:"reason"`
	Actor   string    `json:"actor"`
	At      time.Time `json:"at"`
}

// hold keeps a round where it is, with an alarm and an event. r is locked and is saved by the caller.
func (l *Loop) hold(ctx context.Context, tx pgx.Tx, r *Round, finding string) error {
	r.Held, r.Finding = gateOf[r.Stage], finding
	if err := l.AddAlarm(ctx, tx, Alarm{RoundID: r.ID, Kind: "gate", Message: finding, Actor: r.self()}); err != nil {
		return err
	}
	if err := r.tell(ctx, tx, "round.held", map[string]any{"gate": r.Held, "finding": finding}); err != nil {
		return err
	}
	return audit(ctx, tx, r.self(), "round.hold", r.ID, map[string]any{"gate": r.Held, "finding": finding, "stage": r.Stage})
}

// Override lets a round go on that a gate holds. The reason is written down with what the gate found. ErrConflict where none holds it,
// or while it is paused.
func (l *Loop) Override(ctx context.Context, id, actor, reason string) error {
	reason, err := checkReason(reason)
	if err != nil {
		return err
	}
	return l.change(ctx, id, func(tx pgx.Tx, r *Round) error {
		switch {
		case r.Held == "" || r.Stage.Ended():
			return fmt.Errorf("%w: no gate holds round %d", ErrConflict, r.Number)
		case r.PausedAt != nil:
			return fmt.Errorf("%w: round %d is paused; resume it first", ErrConflict, r.Number)
		}
		o := Override{Gate: r.Held, Finding: r.Finding, Reason: reason, Actor: actor}
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&o.At); err != nil {
			return err
		}
		r.Held, r.Finding, r.Overrides = "", "", append(r.Overrides, o)
		if err := audit(ctx, tx, actor, "round.override", r.ID, map[string]any{"number": r.Number, "gate": o.Gate, "finding": o.Finding, "reason": reason}); err != nil {
			return err
		}
		return l.leave(ctx, tx, r, "")
	})
}

// checkReason wants a sentence that can be stored.
func checkReason(reason string) (string, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" || len(reason) > maxReason {
		return "", &InvalidError{"reason", fmt.Sprintf("1 to %d bytes are wanted: why?", maxReason)}
	}
	if err := labeling.CheckText("reason", reason); err != nil {
		return "", &InvalidError{"reason", "holds characters that cannot be stored"}
	}
	return reason, nil
}

// tell puts an event into the outbox of the webhooks, with what names the round.
func (r Round) tell(ctx context.Context, tx pgx.Tx, event string, more map[string]any) error {
	data := map[string]any{"round": r.ID, "project": r.ProjectID, "number": r.Number}
	for k, v := range more {
		data[k] = v
	}
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `SELECT webhook_emit($1, $2)`, event, b); err != nil {
		return errors.Join(fmt.Errorf("event %s", event), err)
	}
	return nil
}
