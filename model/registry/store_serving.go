package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Promote makes the version the one that serves in the channel. One transaction holds the pointer, its history, the
// audit row and the notification. Promoting what is live already changes nothing. Promotions of one channel wait for one
// another. A canary of the channel ends: as promoted where it is this version. The reason may be empty.
func (s *Store) Promote(ctx context.Context, tx pgx.Tx, channel, versionID, actor, reason string) error {
	if channel == "" {
		return &InvalidError{"channel", "is empty"}
	}
	if !isID(versionID) {
		return fmt.Errorf("registry: promote %q: %w", versionID, ErrNotFound)
	}
	live, err := lockLive(ctx, tx, channel)
	if err != nil {
		return fmt.Errorf("registry: promote %s in %s: %w", versionID, channel, err)
	}
	if live != nil && live.version == versionID {
		return nil
	}
	next := pointer{version: versionID, reason: reason}
	if live != nil {
		next.former = &live.id
	}
	if err := next.set(ctx, tx, channel, actor, false); err != nil {
		return fmt.Errorf("registry: promote %s in %s: %w", versionID, channel, err)
	}
	return nil
}

// Rollback serves the version again that served before the live one was promoted, and returns it. Repeated, it goes back
// further. ErrNotFound where nothing serves, ErrConflict where there is nothing to go back to.
func (s *Store) Rollback(ctx context.Context, tx pgx.Tx, channel, actor, reason string) (Version, error) {
	v, err := rollback(ctx, tx, channel, actor, reason)
	if err != nil {
		return Version{}, fmt.Errorf("registry: roll back %s: %w", channel, err)
	}
	return v, nil
}

func rollback(ctx context.Context, tx pgx.Tx, channel, actor, reason string) (Version, error) {
	live, err := lockLive(ctx, tx, channel)
	switch {
	case err != nil:
		return Version{}, err
	case live == nil:
		return Version{}, ErrNotFound
	case live.former == nil:
		return Version{}, fmt.Errorf("nothing served before: %w", ErrConflict)
	}
	next := pointer{reason: reason}
	if err := tx.QueryRow(ctx, `SELECT version_id::text, former FROM serving WHERE id = $1`, *live.former).
		Scan(&next.version, &next.former); err != nil {
		return Version{}, err
	}
	if err := next.set(ctx, tx, channel, actor, true); err != nil {
		return Version{}, err
	}
	return one(ctx, tx, `SELECT `+columns+` FROM model_versions v WHERE v.id = $1`, next.version)
}

// pointer is a row of serving: what it serves and what a rollback of it goes back to.
type pointer struct {
	id      int64
	version string
	former  *int64
	reason  string // why it is to serve
}

// lockLive makes acts on the channel wait for one another until the transaction ends, and returns the live row, nil when
// there is none.
func lockLive(ctx context.Context, tx pgx.Tx, channel string) (*pointer, error) {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared(hashtextextended('collect', 0)), pg_advisory_xact_lock(hashtextextended('serving:' || $1, 0))`, channel); err != nil {
		return nil, err
	}
	var p pointer
	err := tx.QueryRow(ctx, `SELECT id, version_id::text, former FROM serving WHERE channel = $1 AND live`, channel).
		Scan(&p.id, &p.version, &p.former)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &p, err
}

// set makes p the live row.
func (p pointer) set(ctx context.Context, tx pgx.Tx, channel, actor string, isRollback bool) error {
	if _, err := tx.Exec(ctx, `UPDATE serving SET live = false, until = now() WHERE channel = $1 AND live`, channel); err != nil {
		return err
	}
	set, err := tx.Exec(ctx, `
		INSERT INTO serving (channel, version_id, former, rollback, actor, reason)
		SELECT $1, id, $3, $4, $5, $6 FROM model_versions WHERE id = $2 AND weights_gone_at IS NULL`, channel, p.version, p.former, isRollback, actor, p.reason)
	if err != nil {
		return err
	}
	if set.RowsAffected() == 0 {
		v, err := one(ctx, tx, `SELECT `+columns+` FROM model_versions v WHERE v.id = $1`, p.version)
		if err != nil {
			return err
		}
		return fmt.Errorf("the weights of %s were removed: %w", v.Name, ErrConflict)
	}
	if err := endBy(ctx, tx, channel, p.version, actor, p.reason); err != nil {
		return err
	}
	act := "model.promote"
	if isRollback {
		act = "model.rollback"
	}
	_, err = tx.Exec(ctx, `SELECT audit_append($1, $2, $3, jsonb_build_object('channel', $4::text, 'reason', $6::text)), pg_notify($5, $4::text)`,
		actor, act, p.version, channel, NotifyChannel, p.reason)
	return err
}

// Serving returns the version that serves in the channel.
func (s *Store) Serving(ctx context.Context, channel string) (Version, error) {
	v, err := one(ctx, s.pool, `SELECT `+columns+` FROM serving s JOIN model_versions v ON v.id = s.version_id
		WHERE s.channel = $1 AND s.live`, channel)
	if err != nil {
		return Version{}, fmt.Errorf("registry: serving in %s: %w", channel, err)
	}
	return v, nil
}

// ServingHistory returns what served in the channel, newest first, at most limit.
func (s *Store) ServingHistory(ctx context.Context, channel string, limit int) ([]Promotion, error) {
	return s.history(ctx, `s.channel = $1`, channel, limit)
}

// ServedWhen returns when a version served, in any channel, newest first, at most limit.
func (s *Store) ServedWhen(ctx context.Context, versionID string, limit int) ([]Promotion, error) {
	return s.history(ctx, `s.version_id = $1::uuid`, versionID, limit)
}

func (s *Store) history(ctx context.Context, where, of string, limit int) ([]Promotion, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT s.id, s.channel, s.actor, s.reason, s.rollback, s.live, s.since, s.until, `+columns+`
		FROM serving s JOIN model_versions v ON v.id = s.version_id
		WHERE `+where+` ORDER BY s.id DESC LIMIT $2`, of, limit)
	if err != nil {
		return nil, fmt.Errorf("registry: history of %s: %w", of, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Promotion, error) {
		var p Promotion
		err := row.Scan(append([]any{&p.ID, &p.Channel, &p.Actor, &p.Reason, &p.Rollback, &p.Live, &p.Since, &p.Until}, p.Version.fields()...)...)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("registry: history of %s: %w", of, err)
	}
	return list, nil
}

// Listen calls f with the name of every channel whose pointer changed, and returns when ctx ends or the connection is
// lost. What changed before it listened is not told: read Serving after the start, and after every return.
func (s *Store) Listen(ctx context.Context, started func(), f func(channel string)) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("registry: listen: %w", err)
	}
	own := conn.Hijack() // a listening connection must not go back to the pool
	defer own.Close(context.WithoutCancel(ctx))
	if _, err := own.Exec(ctx, `LISTEN `+NotifyChannel); err != nil {
		return fmt.Errorf("registry: listen: %w", err)
	}
	started()
	for {
		n, err := own.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("registry: listen: %w", err)
		}
		f(n.Payload)
	}
}
