package loop

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/reward"
)

// A reward model is right on answers like those it learned from. The policy that maximises it leaves them, and what it then says may
// be what the model judges worst (Gao et al. 2022; Bai et al. 2022 rank the newest policy's answers again and again for that). So
// once a round's policy serves, some of its answers are ranked: the probe. Where the reward model is stale on them, more are
// ordered, and the next round learns from all.

// Probe is where a round stands with that.
type Probe string

// The states of a probe, in their order.
const (
	ProbeNone    Probe = ""        // not asked for, or the policy was not promoted
	ProbeAnswer  Probe = "answer"  // the policy answers the probe's prompts
	ProbeRank    Probe = "rank"    // labelers rank them
	ProbeMeasure Probe = "measure" // the reward model is compared with the rankings
	ProbeFresh   Probe = "fresh"   // it is not known to be stale
	ProbeStale   Probe = "stale"   // it is, and tasks were ordered
	ProbeVoid    Probe = "void"    // no ranking of this policy's answers came: another one served, or there were no prompts
)

// RelabelConfig says how a round watches over its reward model after its policy was promoted. The zero value does not.
type RelabelConfig struct {
	Below   float64 `json:"below"`   // stale is a reward model whose accuracy on the policy's own answers is below, with its whole 95% interval; 0 = no probe
	Probe   int     `json:"probe"`   // prompts whose answers by the new policy are ranked to see it
	Prompts int     `json:"prompts"` // prompts that are ordered for ranking where it is stale, once a round
}

func (c RelabelConfig) validate() error {
	if !(c.Below >= 0 && c.Below < 1) {
		return &InvalidError{"relabel.below", fmt.Sprintf("%g is not a share from 0 to below 1", c.Below)}
	}
	if c.Below == 0 {
		return nil
	}
	for _, n := range []struct {
		name string
		n    int
	}{{"relabel.probe", c.Probe}, {"relabel.prompts", c.Prompts}} {
		if n.n < 1 || n.n > maxOrder {
			return &InvalidError{n.name, fmt.Sprintf("%d is not within 1..%d", n.n, maxOrder)}
		}
	}
	return nil
}

// self is the actor of what a round does by itself.
func (r Round) self() string { return fmt.Sprintf("round %d", r.Number) }

// startProbe orders the probe of a round whose policy has just been promoted, in the transaction of the promotion.
func (l *Loop) startProbe(ctx context.Context, tx pgx.Tx, r *Round) error {
	if r.Config.Relabel.Below == 0 {
		return nil
	}
	id, err := l.order(ctx, tx, r.ProjectID, r.Config.Relabel.Probe, r.Config.MaxTokens, r.self())
	var wrong *InvalidError
	if errors.As(err, &wrong) { // the project's question shows no answers any more
		r.Probe = ProbeVoid
		return nil
	}
	r.Probe, r.ProbeID = ProbeAnswer, id
	return err
}

// answered is called when an order is filled or the pool is empty. Only a probe's order is waited for.
func (l *Loop) answered(ctx context.Context, order string) error {
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		r, err := one(ctx, tx, `WHERE probe_id = $1 AND probe = 'answer' FOR UPDATE`, order)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		counts, err := l.Labeling.BatchCountsTx(ctx, tx, r.ProjectID, order)
		if err != nil {
			return err
		}
		r.Probe = ProbeRank
		if counts.Tasks == 0 {
			r.Probe = ProbeVoid
		}
		return l.save(ctx, tx, r)
	})
}

// advanceProbe lets the reward model be measured once the probe is ranked. r is locked.
func (l *Loop) advanceProbe(ctx context.Context, tx pgx.Tx, r Round) error {
	if r.Probe != ProbeRank {
		return nil
	}
	counts, err := l.Labeling.BatchCountsTx(ctx, tx, r.ProjectID, r.ProbeID)
	if err != nil || counts.Done < counts.Need {
		return err
	}
	r.Probe = ProbeMeasure
	if err := l.enqueue.insert(ctx, tx, probeArgs{RoundID: r.ID}); err != nil {
		return err
	}
	return l.save(ctx, tx, r)
}

// onPolicy compares the round's reward model with the probe's rankings. Answers of another policy, which may have been promoted
// before the probe was answered, tell nothing of this one.
func (l *Loop) onPolicy(ctx context.Context, r Round) (reward.Report, error) {
	items, err := l.Labeling.BatchItems(ctx, r.ProjectID, r.ProbeID)
	if err != nil {
		return reward.Report{}, err
	}
	own := items[:0]
	for _, it := range items {
		ours := true
		for _, c := range it.Completions {
			ours = ours && c.ModelVersion == r.PolicyVersionID
		}
		if ours {
			own = append(own, it)
		}
	}
	_, cp, err := l.open(ctx, r.RewardVersionID)
	if err != nil {
		return reward.Report{}, err
	}
	train, valid, err := l.groups(cp, own)
	if err != nil {
		return reward.Report{}, err
	}
	scorer, err := reward.Open(cp)
	if err != nil {
		return reward.Report{}, err
	}
	return reward.Evaluate(ctx, scorer, append(train, valid...))
}

// settleProbe writes what the probe has shown and, where the reward model is stale, orders tasks and raises an alarm. r is locked.
func (l *Loop) settleProbe(ctx context.Context, tx pgx.Tx, r Round, rep reward.Report) (err error) {
	c := r.Config.Relabel
	r.Report.OnPolicy = &Estimate{Value: rep.Accuracy, Low: rep.Low, High: rep.High, N: rep.N}
	switch {
	case rep.N == 0:
		r.Probe, r.Report.OnPolicy = ProbeVoid, nil
	case rep.Stale(c.Below):
		r.Probe = ProbeStale
		if r.RelabelID, err = l.order(ctx, tx, r.ProjectID, c.Prompts, r.Config.MaxTokens, r.self()); err != nil {
			return err
		}
		if err := l.AddAlarm(ctx, tx, Alarm{RoundID: r.ID, Kind: "stale", Actor: r.self(), Message: staleReason(c, rep)}); err != nil {
			return err
		}
	default:
		r.Probe = ProbeFresh
	}
	if err := audit(ctx, tx, r.self(), "round.probe", r.ID, map[string]any{"found": r.Probe, "accuracy": rep.Accuracy, "low": rep.Low, "high": rep.High,
		"pairs": rep.N, "below": c.Below, "probe": r.ProbeID, "order": r.RelabelID}); err != nil {
		return err
	}
	return l.save(ctx, tx, r)
}
