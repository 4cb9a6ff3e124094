package loop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/registry"
)

// localTime is how a time of a plan is written, by the clock of its zone.
const localTime = "2006-01-02T15:04"

// PlanPromotion promotes a version at a time, written as 2026-03-01T04:00, by the clock of a time zone ("" is UTC).
func (l *Loop) PlanPromotion(ctx context.Context, versionID, at, zone, actor, reason string) (p registry.Planned, err error) {
	v, err := l.version(ctx, versionID)
	if err != nil {
		return p, err
	}
	if _, err := channelOf(v); err != nil {
		return p, err
	}
	zone = cmp.Or(strings.TrimSpace(zone), "UTC")
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return p, &InvalidError{"time_zone", fmt.Sprintf("%q is not known; names are like Europe/Berlin or Asia/Taipei", zone)}
	}
	due, err := time.ParseInLocation(localTime, strings.Replace(strings.TrimSpace(at), " ", "T", 1), loc)
	if err != nil {
		return p, &InvalidError{"at", fmt.Sprintf("%q is no time; it is written like 2026-03-01T04:00", at)}
	}
	if due.Format(localTime) != strings.Replace(strings.TrimSpace(at), " ", "T", 1) {
		return p, &InvalidError{"at", fmt.Sprintf("%s does not exist in %s: the clocks go forward then", at, zone)}
	}
	if v.GoneAt != nil {
		return p, fmt.Errorf("the weights of %s were removed: %w", v.Name, registry.ErrConflict)
	}
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		p, err = l.Registry.Plan(ctx, tx, v.ID, due, zone, actor, reason)
		return err
	})
	return p, err
}

// CancelPlanned takes back a promotion that waits for its time.
func (l *Loop) CancelPlanned(ctx context.Context, id, actor, reason string) error {
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		return l.Registry.EndPlanned(ctx, tx, id, "cancelled", actor, reason)
	})
}

// PromoteDue promotes what was planned for a time that has come. One that cannot be promoted leaves an alarm.
func (l *Loop) PromoteDue(ctx context.Context) error {
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		due, err := l.Registry.Due(ctx, tx)
		if err != nil {
			return err
		}
		for _, p := range due {
			// In a savepoint, so that one that fails does not undo the others.
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
				if err := l.promote(ctx, tx, p.Version, p.Actor, p.Reason); err != nil {
					return err
				}
				return l.Registry.EndPlanned(ctx, tx, p.ID, "done", p.Actor, p.Reason)
			})
			if errors.Is(err, registry.ErrConflict) {
				why := err.Error()
				if err = l.Registry.EndPlanned(ctx, tx, p.ID, "failed", "system", why); err == nil {
					err = l.AddAlarm(ctx, tx, Alarm{Kind: "promotion", Message: fmt.Sprintf("%s was to be promoted at %s, and was not: %s", p.Version.Name, p.Local(), why), Actor: "system"})
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
