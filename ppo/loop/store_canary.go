package loop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/registry"
)

// A canary of a policy is driven from here: each look at the guards, and what follows from it, is one transaction.

// watcher is the actor of what a canary does by itself.
const watcher = "canary"

// Ratings are how many ratings a version got, and how many of them were thumbs down.
type Ratings struct{ Rated, Down int }

// CanaryView is a canary with what its guards see now.
type CanaryView struct {
	registry.Canary
	Verdicts []registry.Verdict     `json:"verdicts"` // of its present step, or of its last one
	Events   []registry.CanaryEvent `json:"events"`   // oldest first
}

// Idle says whether what serves has been asked often since the step began, and the canary never.
func (v CanaryView) Idle() bool {
	return v.Open() && len(v.Verdicts) > 0 && v.Verdicts[0].NCanary == 0 && v.Verdicts[0].NServing >= v.Config.Least
}

// StartCanary lets a policy or a supervised model answer the first share of the requests.
func (l *Loop) StartCanary(ctx context.Context, versionID, actor, reason string, c registry.CanaryConfig) (out registry.Canary, err error) {
	v, err := l.version(ctx, versionID)
	if err != nil {
		return out, err
	}
	if channel, err := channelOf(v); err != nil {
		return out, err
	} else if channel != Channel {
		return out, &InvalidError{"version", fmt.Sprintf("%s is a %s model: it answers no requests", v.Name, v.Kind)}
	}
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		out, err = l.Registry.StartCanary(ctx, tx, registry.NewCanary{Channel: Channel, VersionID: v.ID, Actor: actor, Reason: reason, Config: c})
		return err
	})
	return out, err
}

// AdvanceCanary gives a canary its next share now, or promotes it at its last. step is the one that the person saw: ErrCanaryEnded
// where it has moved on meanwhile.
func (l *Loop) AdvanceCanary(ctx context.Context, id string, step int, actor, reason string) error {
	return l.onCanary(ctx, id, func(tx pgx.Tx, c registry.Canary) error {
		if c.Step != step {
			return fmt.Errorf("canary %s is at step %d: %w", id, c.Step, registry.ErrCanaryEnded)
		}
		verdicts, err := l.judge(ctx, tx, c)
		if err != nil {
			return err
		}
		return l.grow(ctx, tx, c, actor, reason, verdicts)
	})
}

// PauseCanary keeps a canary at its share, with its guards.
func (l *Loop) PauseCanary(ctx context.Context, id, actor, reason string) error {
	return l.onCanary(ctx, id, func(tx pgx.Tx, c registry.Canary) error {
		return l.Registry.PauseCanary(ctx, tx, id, actor, reason, true)
	})
}

// ResumeCanary lets a paused canary go on.
func (l *Loop) ResumeCanary(ctx context.Context, id, actor, reason string) error {
	return l.onCanary(ctx, id, func(tx pgx.Tx, c registry.Canary) error {
		return l.Registry.PauseCanary(ctx, tx, id, actor, reason, false)
	})
}

// AbortCanary lets what serves answer everybody again.
func (l *Loop) AbortCanary(ctx context.Context, id, actor, reason string) error {
	return l.onCanary(ctx, id, func(tx pgx.Tx, c registry.Canary) error {
		verdicts, err := l.judge(ctx, tx, c)
		if err != nil {
			return err
		}
		return l.dropCanary(ctx, tx, c, registry.CanaryAborted, actor, reason, verdicts)
	})
}

// onCanary locks an open canary for an act.
func (l *Loop) onCanary(ctx context.Context, id string, f func(tx pgx.Tx, c registry.Canary) error) error {
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		c, err := l.Registry.LockCanary(ctx, tx, id)
		if err != nil {
			return err
		}
		return f(tx, c)
	})
}

// WatchCanary looks at the canary that is under way: a guard that has tripped takes it back, a step that has lasted long enough is
// followed by the next one, the last one by the promotion. Whoever works calls it each second.
func (l *Loop) WatchCanary(ctx context.Context) error {
	open, err := l.Registry.OpenCanary(ctx, Channel)
	if errors.Is(err, registry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	err = l.onCanary(ctx, open.ID, func(tx pgx.Tx, c registry.Canary) error {
		verdicts, err := l.judge(ctx, tx, c)
		if err != nil {
			return err
		}
		if bad := registry.Tripped(verdicts); bad != nil {
			return l.dropCanary(ctx, tx, c, registry.CanaryRolledBack, watcher, bad.String(), verdicts)
		}
		age, err := l.Registry.StepAge(ctx, tx, c.ID)
		if err != nil || c.State == registry.CanaryPaused || age < time.Duration(c.Config.Seconds)*time.Second || verdicts[0].NCanary < c.Config.Answers || verdicts[0].NServing < c.Config.Least {
			return err
		}
		return l.grow(ctx, tx, c, watcher, fmt.Sprintf("%d answers at %g%% of the requests, no guard tripped", verdicts[0].NCanary, 100*c.Share), verdicts)
	})
	if errors.Is(err, registry.ErrCanaryEnded) {
		return nil
	}
	return err
}

// judge asks the guards.
func (l *Loop) judge(ctx context.Context, tx pgx.Tx, c registry.Canary) ([]registry.Verdict, error) {
	canary, serving, err := l.Registry.Sides(ctx, tx, c)
	if err != nil {
		return nil, err
	}
	ratings, err := l.ratings(ctx, []string{c.Version.ID, c.ServingID}, c.StepAt)
	if err != nil {
		return nil, err
	}
	a, b := ratings[c.Version.ID], ratings[c.ServingID]
	canary.Rated, canary.Down, serving.Rated, serving.Down = a.Rated, a.Down, b.Rated, b.Down
	return c.Config.Judge(canary, serving), nil
}

// ratings counts what customers said of the versions' answers since then, by the API and at the chat page.
func (l *Loop) ratings(ctx context.Context, versions []string, since time.Time) (map[string]Ratings, error) {
	out := map[string]Ratings{}
	said, err := l.Labeling.ThumbsOf(ctx, versions, since)
	if err != nil {
		return nil, err
	}
	for id, n := range said {
		out[id] = Ratings{n[0] + n[1], n[1]}
	}
	if l.ChatRatings == nil {
		return out, nil
	}
	chat, err := l.ChatRatings(ctx, versions, since)
	for id, r := range chat {
		out[id] = Ratings{out[id].Rated + r.Rated, out[id].Down + r.Down}
	}
	return out, err
}

// grow gives a canary its next share, or promotes it.
func (l *Loop) grow(ctx context.Context, tx pgx.Tx, c registry.Canary, actor, reason string, verdicts []registry.Verdict) error {
	if !c.Last() {
		_, err := l.Registry.GrowCanary(ctx, tx, c.ID, actor, reason, verdicts)
		return err
	}
	return l.promote(ctx, tx, c.Version, actor, reason)
}

// dropCanary ends a canary without a promotion; what a guard ended is an alarm.
func (l *Loop) dropCanary(ctx context.Context, tx pgx.Tx, c registry.Canary, state, actor, reason string, verdicts []registry.Verdict) error {
	c, err := l.Registry.EndCanary(ctx, tx, c.ID, state, actor, reason, verdicts)
	if err != nil {
		return err
	}
	if state == registry.CanaryRolledBack {
		a := Alarm{Kind: "canary", Message: fmt.Sprintf("the canary of %s was rolled back: %s", c.Version.Name, reason), Actor: actor}
		if c.RoundID != nil {
			a.RoundID = *c.RoundID
		}
		if err := l.AddAlarm(ctx, tx, a); err != nil {
			return err
		}
	}
	return l.concluded(ctx, tx, c, false, fmt.Sprintf("its canary was ended: %s", reason))
}

// beginCanary ends an evaluated round whose rule is a canary: the canary decides on the promotion. While another one is under way a
// person decides.
func (l *Loop) beginCanary(ctx context.Context, tx pgx.Tx, r *Round, reason string) error {
	_, err := l.Registry.OpenCanaryTx(ctx, tx, Channel)
	if err == nil {
		r.Stage, r.Report.Reason = StageDecide, fmt.Sprintf("%s; another canary is under way, so a person decides", reason)
		return nil
	}
	if !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	if r.Report.Seconds, err = since(ctx, tx, r.StartedAt); err != nil {
		return err
	}
	r.Stage, r.Report.Reason = StageDone, fmt.Sprintf("%s; its canary decides", reason)
	_, err = l.Registry.StartCanary(ctx, tx, registry.NewCanary{Channel: Channel, VersionID: r.PolicyVersionID, RoundID: &r.ID, Actor: r.self(), Reason: reason, Config: r.Config.Canary})
	return err
}

// concluded tells the round that a canary was begun by what became of its policy.
func (l *Loop) concluded(ctx context.Context, tx pgx.Tx, c registry.Canary, promoted bool, reason string) error {
	if c.RoundID == nil {
		return nil
	}
	r, err := l.lock(ctx, tx, *c.RoundID)
	if err != nil {
		return err
	}
	r.Promoted = &promoted
	if r.Report != nil {
		r.Report.Promoted, r.Report.Reason = promoted, reason
	}
	if promoted {
		if err := l.startProbe(ctx, tx, &r); err != nil {
			return err
		}
	}
	return l.save(ctx, tx, r)
}

// moving remembers the canary of the channel that an act is about to move the pointer of, and returns what tells its round.
func (l *Loop) moving(ctx context.Context, tx pgx.Tx) (after func(versionID, reason string) error, err error) {
	c, err := l.Registry.OpenCanaryTx(ctx, tx, Channel)
	if errors.Is(err, registry.ErrNotFound) {
		return func(string, string) error { return nil }, nil
	}
	return func(versionID, reason string) error {
		if now, err := l.Registry.OpenCanaryTx(ctx, tx, Channel); err == nil && now.ID == c.ID {
			return nil // the pointer did not move
		}
		if versionID == c.Version.ID {
			return l.concluded(ctx, tx, c, true, fmt.Sprintf("its canary reached 100%%: %s", reason))
		}
		return l.concluded(ctx, tx, c, false, fmt.Sprintf("its canary was ended: %s", registry.OtherServes))
	}, err
}

// Canary is a canary with its history and what its guards see.
func (l *Loop) Canary(ctx context.Context, id string) (CanaryView, error) {
	c, err := l.Registry.Canary(ctx, id)
	if err != nil {
		return CanaryView{}, err
	}
	return l.viewCanary(ctx, c)
}

// OpenCanary is the canary that is under way; registry.ErrNotFound where there is none.
func (l *Loop) OpenCanary(ctx context.Context) (CanaryView, error) {
	c, err := l.Registry.OpenCanary(ctx, Channel)
	if err != nil {
		return CanaryView{}, err
	}
	return l.viewCanary(ctx, c)
}

// CanaryCounts are the canary that is under way, and how those before it have ended.
type CanaryCounts struct {
	Open  *CanaryView    // nil: there is none
	Ended map[string]int // by state
}

// CanaryCounts reads them.
func (l *Loop) CanaryCounts(ctx context.Context) (c CanaryCounts, err error) {
	switch open, err := l.OpenCanary(ctx); {
	case err == nil:
		c.Open = &open
	case !errors.Is(err, registry.ErrNotFound):
		return c, err
	}
	c.Ended, err = l.Registry.CanariesEnded(ctx)
	return c, err
}

func (l *Loop) viewCanary(ctx context.Context, c registry.Canary) (v CanaryView, err error) {
	v.Canary = c
	if v.Events, err = l.Registry.CanaryEvents(ctx, c.ID); err != nil {
		return v, err
	}
	if !c.Open() { // what was counted may be gone; the history has what the guards saw
		for _, e := range v.Events {
			if len(e.Verdicts) > 0 {
				v.Verdicts = e.Verdicts
			}
		}
		return v, nil
	}
	err = pgx.BeginTxFunc(ctx, l.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		v.Verdicts, err = l.judge(ctx, tx, c)
		return err
	})
	return v, err
}
