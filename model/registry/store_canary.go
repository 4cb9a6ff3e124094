package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const canaryColumns = `c.id::text, c.channel, c.serving_id::text, c.round_id::text, c.state, c.step, c.share, c.config, c.actor, c.reason, c.ended_why,
	c.started_at, c.step_at, c.ended_at`

func (c *Canary) fields(config *[]byte) []any {
	return append([]any{&c.ID, &c.Channel, &c.ServingID, &c.RoundID, &c.State, &c.Step, &c.Share, config, &c.Actor, &c.Reason, &c.EndedWhy,
		&c.StartedAt, &c.StepAt, &c.EndedAt}, c.Version.fields()...)
}

func scanCanary(row pgx.CollectableRow) (Canary, error) {
	var c Canary
	var config []byte
	if err := row.Scan(c.fields(&config)...); err != nil {
		return c, err
	}
	return c, json.Unmarshal(config, &c.Config)
}

func canaries(ctx context.Context, q querier, where string, args ...any) ([]Canary, error) {
	rows, err := q.Query(ctx, `SELECT `+canaryColumns+`, `+columns+` FROM canaries c JOIN model_versions v ON v.id = c.version_id `+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanCanary)
}

func oneCanary(ctx context.Context, q querier, where string, args ...any) (Canary, error) {
	list, err := canaries(ctx, q, where, args...)
	if err != nil {
		return Canary{}, fmt.Errorf("registry: canary: %w", err)
	}
	if len(list) == 0 {
		return Canary{}, fmt.Errorf("registry: canary: %w", ErrNotFound)
	}
	return list[0], nil
}

// NewCanary is what a canary is begun with.
type NewCanary struct {
	Channel, VersionID string
	RoundID            *string // whose rule begins it; nil: a person
	Actor, Reason      string
	Config             CanaryConfig // the zero value is DefaultCanary
}

// StartCanary lets a version answer the first share of the requests. ErrCanaryOpen where another one is under way, ErrConflict where the
// version serves already, nothing serves, or its weights were removed.
func (s *Store) StartCanary(ctx context.Context, tx pgx.Tx, n NewCanary) (Canary, error) {
	n.Config = n.Config.OrDefault()
	if err := n.Config.Validate(); err != nil {
		return Canary{}, err
	}
	if !isID(n.VersionID) {
		return Canary{}, fmt.Errorf("registry: canary of %q: %w", n.VersionID, ErrNotFound)
	}
	c, err := startCanary(ctx, tx, n)
	if err != nil {
		return Canary{}, fmt.Errorf("registry: canary of %s in %s: %w", n.VersionID, n.Channel, err)
	}
	return c, nil
}

func startCanary(ctx context.Context, tx pgx.Tx, n NewCanary) (Canary, error) {
	live, err := lockLive(ctx, tx, n.Channel)
	if err != nil {
		return Canary{}, err
	}
	v, err := one(ctx, tx, `SELECT `+columns+` FROM model_versions v WHERE v.id = $1`, n.VersionID)
	switch {
	case err != nil:
		return Canary{}, err
	case live == nil:
		return Canary{}, fmt.Errorf("nothing serves that it could be compared with: %w", ErrConflict)
	case live.version == n.VersionID:
		return Canary{}, fmt.Errorf("it serves already: %w", ErrConflict)
	case v.GoneAt != nil:
		return Canary{}, fmt.Errorf("the weights of %s were removed: %w", v.Name, ErrConflict)
	}
	if _, err := oneCanary(ctx, tx, `WHERE c.channel = $1 AND c.ended_at IS NULL`, n.Channel); !errors.Is(err, ErrNotFound) {
		if err == nil {
			err = ErrCanaryOpen
		}
		return Canary{}, err
	}
	config, err := json.Marshal(n.Config)
	if err != nil {
		return Canary{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Canary{}, err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM canary_answers a USING canaries c WHERE c.id = a.canary_id AND c.channel = $1`, n.Channel); err != nil {
		return Canary{}, err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO canaries (id, channel, version_id, serving_id, round_id, share, config, actor, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, id, n.Channel, n.VersionID, live.version, n.RoundID, n.Config.Shares[0], config, n.Actor, n.Reason); err != nil {
		return Canary{}, err
	}
	c, err := oneCanary(ctx, tx, `WHERE c.id = $1`, id)
	if err != nil {
		return c, err
	}
	return c, c.tell(ctx, tx, CanaryStart, n.Actor, n.Reason, nil)
}

// tell writes the history, the audit row, the webhook event and the notification of an act, in its transaction.
func (c Canary) tell(ctx context.Context, tx pgx.Tx, act, actor, reason string, verdicts []Verdict) error {
	if verdicts == nil {
		verdicts = []Verdict{}
	}
	seen, err := json.Marshal(verdicts)
	if err != nil {
		return err
	}
	detail, err := json.Marshal(map[string]any{"canary": c.ID, "version": c.Version.ID, "channel": c.Channel, "state": c.State, "share": c.Share, "reason": reason})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO canary_events (canary_id, act, share, actor, reason, verdicts) VALUES ($1, $2, $3, $4, $5, $6)`,
		c.ID, act, c.Share, actor, reason, seen); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `SELECT audit_append($1, 'canary.' || $2::text, $3, $4::jsonb), webhook_emit('canary.' || $2::text, $4::jsonb), pg_notify($5, $6::text)`,
		actor, act, c.Version.ID, detail, NotifyChannel, c.Channel)
	return err
}

// lockCanary makes acts on the channel wait for one another, and returns the canary as it is then. ErrCanaryEnded where it is not
// under way any more.
func lockCanary(ctx context.Context, tx pgx.Tx, id string) (Canary, error) {
	if !isID(id) {
		return Canary{}, fmt.Errorf("registry: canary %q: %w", id, ErrNotFound)
	}
	c, err := oneCanary(ctx, tx, `WHERE c.id = $1`, id)
	if err != nil {
		return c, err
	}
	if _, err := lockLive(ctx, tx, c.Channel); err != nil {
		return c, err
	}
	if c, err = oneCanary(ctx, tx, `WHERE c.id = $1`, id); err == nil && !c.Open() {
		err = fmt.Errorf("registry: canary %s: %w", id, ErrCanaryEnded)
	}
	return c, err
}

// LockCanary is the canary as it is, and stays until the transaction ends. ErrCanaryEnded where it is not under way any more.
func (s *Store) LockCanary(ctx context.Context, tx pgx.Tx, id string) (Canary, error) {
	return lockCanary(ctx, tx, id)
}

// GrowCanary gives a canary its next share. One at its last step is promoted instead, see Promote. It goes on, if it was paused.
func (s *Store) GrowCanary(ctx context.Context, tx pgx.Tx, id, actor, reason string, seen []Verdict) (Canary, error) {
	c, err := lockCanary(ctx, tx, id)
	if err != nil {
		return c, err
	}
	if c.Last() {
		return c, fmt.Errorf("registry: canary %s: the promotion is next: %w", id, ErrConflict)
	}
	c.Step++
	c.Share, c.State = c.Config.Shares[c.Step], CanaryRunning
	if err := tx.QueryRow(ctx, `UPDATE canaries SET step = $2, share = $3, state = $4, step_at = clock_timestamp() WHERE id = $1 RETURNING step_at`, id, c.Step, c.Share, c.State).Scan(&c.StepAt); err != nil {
		return c, fmt.Errorf("registry: canary %s: %w", id, err)
	}
	return c, c.tell(ctx, tx, CanaryAdvance, actor, reason, seen)
}

// PauseCanary keeps a canary at its share (the guards go on watching), or lets it go on.
func (s *Store) PauseCanary(ctx context.Context, tx pgx.Tx, id, actor, reason string, pause bool) error {
	c, err := lockCanary(ctx, tx, id)
	if err != nil {
		return err
	}
	state, act := CanaryRunning, CanaryResume
	if pause {
		state, act = CanaryPaused, CanaryPause
	}
	if c.State == state {
		return nil
	}
	c.State = state
	if _, err := tx.Exec(ctx, `UPDATE canaries SET state = $2 WHERE id = $1`, id, state); err != nil {
		return fmt.Errorf("registry: canary %s: %w", id, err)
	}
	return c.tell(ctx, tx, act, actor, reason, nil)
}

// EndCanary takes a canary's share away: what serves answers everybody again. state is CanaryRolledBack or CanaryAborted.
func (s *Store) EndCanary(ctx context.Context, tx pgx.Tx, id, state, actor, reason string, seen []Verdict) (Canary, error) {
	c, err := lockCanary(ctx, tx, id)
	if err != nil {
		return c, err
	}
	return c, c.end(ctx, tx, state, actor, reason, seen)
}

func (c Canary) end(ctx context.Context, tx pgx.Tx, state, actor, reason string, seen []Verdict) error {
	if _, err := tx.Exec(ctx, `UPDATE canaries SET state = $2, ended_why = $3, ended_at = clock_timestamp() WHERE id = $1`, c.ID, state, reason); err != nil {
		return fmt.Errorf("registry: canary %s: %w", c.ID, err)
	}
	c.State, c.Share = state, 0
	act := map[string]string{CanaryRolledBack: CanaryRollback, CanaryAborted: CanaryAbort, CanaryPromoted: CanaryPromote}[state]
	if state == CanaryPromoted {
		c.Share = 1
	}
	return c.tell(ctx, tx, act, actor, reason, seen)
}

// OtherServes is why a canary was ended whose channel got another version.
const OtherServes = "another version was let serve"

// endBy ends the canary of a channel whose pointer moves: it was promoted, or another version was. The channel is locked.
func endBy(ctx context.Context, tx pgx.Tx, channel, version, actor, reason string) error {
	c, err := oneCanary(ctx, tx, `WHERE c.channel = $1 AND c.ended_at IS NULL`, channel)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.Version.ID == version {
		return c.end(ctx, tx, CanaryPromoted, actor, reason, nil)
	}
	return c.end(ctx, tx, CanaryAborted, actor, OtherServes, nil)
}

// OpenCanary is the canary that is under way in the channel; ErrNotFound where there is none.
func (s *Store) OpenCanary(ctx context.Context, channel string) (Canary, error) {
	return oneCanary(ctx, s.pool, `WHERE c.channel = $1 AND c.ended_at IS NULL`, channel)
}

// OpenCanaryTx is OpenCanary in a transaction.
func (s *Store) OpenCanaryTx(ctx context.Context, tx pgx.Tx, channel string) (Canary, error) {
	return oneCanary(ctx, tx, `WHERE c.channel = $1 AND c.ended_at IS NULL`, channel)
}

// Canary is the canary of that id.
func (s *Store) Canary(ctx context.Context, id string) (Canary, error) {
	if !isID(id) {
		return Canary{}, fmt.Errorf("registry: canary %q: %w", id, ErrNotFound)
	}
	return oneCanary(ctx, s.pool, `WHERE c.id = $1`, id)
}

// CanariesOf lists the canaries of a version, newest first, at most limit.
func (s *Store) CanariesOf(ctx context.Context, versionID string, limit int) ([]Canary, error) {
	if !isID(versionID) {
		return nil, nil
	}
	list, err := canaries(ctx, s.pool, `WHERE c.version_id = $1 ORDER BY c.started_at DESC LIMIT $2`, versionID, limit)
	if err != nil {
		return nil, fmt.Errorf("registry: canaries of %s: %w", versionID, err)
	}
	return list, nil
}

// CanariesEnded counts the canaries of all channels that have ended, by their last state.
func (s *Store) CanariesEnded(ctx context.Context) (map[string]int, error) {
	rows, err := s.pool.Query(ctx, `SELECT state, count(*) FROM canaries WHERE ended_at IS NOT NULL GROUP BY state`)
	if err != nil {
		return nil, fmt.Errorf("registry: canaries that ended: %w", err)
	}
	out := map[string]int{}
	var state string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error {
		out[state] = n
		return nil
	})
	return out, err
}

// CanaryEvents is the history of a canary, oldest first.
func (s *Store) CanaryEvents(ctx context.Context, id string) ([]CanaryEvent, error) {
	rows, err := s.pool.Query(ctx, `SELECT act, share, actor, reason, verdicts, at FROM canary_events WHERE canary_id = $1 ORDER BY id`, id)
	if err != nil {
		return nil, fmt.Errorf("registry: history of canary %s: %w", id, err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e CanaryEvent, err error) {
		var seen []byte
		if err = row.Scan(&e.Act, &e.Share, &e.Actor, &e.Reason, &seen, &e.At); err == nil {
			err = json.Unmarshal(seen, &e.Verdicts)
		}
		return e, err
	})
}

// Routing is what serves in the channel, and the canary beside it; nil where there is none. ErrNotFound where nothing serves.
func (s *Store) Routing(ctx context.Context, channel string) (v Version, c *Canary, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if v, err = one(ctx, tx, `SELECT `+columns+` FROM serving s JOIN model_versions v ON v.id = s.version_id WHERE s.channel = $1 AND s.live`, channel); err != nil {
			return err
		}
		open, err := s.OpenCanaryTx(ctx, tx, channel)
		if err == nil {
			c = &open
		}
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil {
		return Version{}, nil, fmt.Errorf("registry: serving in %s: %w", channel, err)
	}
	return v, c, nil
}

// StepAge is how long a canary has been at its step, by the database's clock.
func (s *Store) StepAge(ctx context.Context, tx pgx.Tx, id string) (time.Duration, error) {
	var seconds float64
	err := tx.QueryRow(ctx, `SELECT extract(epoch FROM clock_timestamp() - step_at)::float8 FROM canaries WHERE id = $1`, id).Scan(&seconds)
	if err != nil {
		return 0, fmt.Errorf("registry: canary %s: %w", id, err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
