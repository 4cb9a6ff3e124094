package labeling

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Events that webhooks may ask for. Rooms tell them by Emit, or by the SQL function
// webhook_emit, in the transaction of the act.
var Events = []string{"ranking.submitted", "task.completed", "import.finished", "snapshot.created", "labeler.quarantined",
	"round.started", "round.stage", "round.held", "round.failed", "round.cancelled", "round.retried", "round.finished", "round.promoted", "round.*", "canary.*"}

// Webhook is an address that is told of events.
type Webhook struct {
	ID        string
	URL       string
	Events    []string // none = all; "round.*" = all that begin so
	Active    bool
	CreatedBy string
	CreatedAt time.Time
}

// Delivery is one event on its way to one webhook.
type Delivery struct {
	ID          string
	WebhookID   string
	URL         string
	EventID     string // the same for every attempt and webhook
	Event       string
	Payload     string // JSON
	State       string // waiting | delivered | failed
	Attempts    int
	NextAt      time.Time
	Status      *int // of the last answer
	Error       string
	CreatedAt   time.Time
	AttemptedAt *time.Time
}

// backoff is how long is waited after the first, second, ... attempt that failed; after
// the last one the delivery has failed, and can be replayed.
var backoff = []time.Duration{5 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour}

// deliveryLease is how long an attempt may take before another worker makes the next.
const deliveryLease = time.Minute

// Emit tells the webhooks that want it of an event, in the transaction of the act: what is
// rolled back was never told. data must be small and hold ids, not texts.
func Emit(ctx context.Context, tx pgx.Tx, event string, data map[string]any) error {
	_, err := tx.Exec(ctx, `SELECT webhook_emit($1, $2)`, event, data)
	return err
}

// AddWebhook adds an address; events of none are all.
func (s *Store) AddWebhook(ctx context.Context, address string, events []string, actor string) (Webhook, error) {
	w := Webhook{URL: address, Events: orEmpty(events), Active: true, CreatedBy: actor}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || len(address) > 2000 || CheckText("", address) != nil {
		return w, invalid("url", "an address such as https://example.com/hook is wanted, without a password")
	}
	for _, e := range events {
		if !slices.Contains(Events, e) {
			return w, invalid("events", "%q is not an event", e)
		}
	}
	if w.ID, err = newID(); err != nil {
		return w, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `INSERT INTO webhooks (id, url, events, created_by) VALUES ($1, $2, $3, $4) RETURNING created_at`, w.ID, w.URL, w.Events, actor).
			Scan(&w.CreatedAt); err != nil {
			return err
		}
		return audit(ctx, tx, actor, "labeling.add_webhook", w.ID, map[string]any{"host": u.Host, "events": w.Events})
	})
	return w, wrap(err, "add webhook")
}

// Webhooks lists all of them, oldest first.
func (s *Store) Webhooks(ctx context.Context) ([]Webhook, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, url, events, active, created_by, created_at FROM webhooks ORDER BY id`)
	if err != nil {
		return nil, wrap(err, "webhooks")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Webhook])
	return list, wrap(err, "webhooks")
}

// RemoveWebhook removes an address with the log of its deliveries.
func (s *Store) RemoveWebhook(ctx context.Context, id, actor string) error {
	return s.actOnWebhook(ctx, `DELETE FROM webhooks WHERE id = $1`, id, actor, "labeling.remove_webhook")
}

// TestWebhook sends one address an event of its own, "webhook.test".
func (s *Store) TestWebhook(ctx context.Context, id, actor string) error {
	return s.actOnWebhook(ctx, `INSERT INTO webhook_deliveries (webhook_id, event_id, event, payload)
		SELECT id, gen_random_uuid(), 'webhook.test', jsonb_build_object('type', 'webhook.test', 'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'data', '{}'::jsonb)
		FROM webhooks WHERE id = $1`, id, actor, "labeling.test_webhook")
}

// ReplayDelivery sends an event once more, whatever became of it.
func (s *Store) ReplayDelivery(ctx context.Context, id, actor string) error {
	return s.actOnWebhook(ctx, `UPDATE webhook_deliveries SET state = 'waiting', next_at = now(), attempts = 0, error = '' WHERE id = $1`, id, actor, "labeling.replay_delivery")
}

func (s *Store) actOnWebhook(ctx context.Context, sql, id, actor, act string) error {
	if !isID(id) {
		return fmt.Errorf("%s %q: %w", act, id, ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql, id)
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, actor, act, id, nil)
	})
	return wrap(err, "%s %s", act, id)
}

const deliveryColumns = `d.id, d.webhook_id, w.url, d.event_id, d.event, d.payload::text, d.state, d.attempts, d.next_at, d.status, d.error, d.created_at, d.attempted_at`

// Deliveries lists the last deliveries of all webhooks, newest first.
func (s *Store) Deliveries(ctx context.Context, limit int) ([]Delivery, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+deliveryColumns+` FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
		ORDER BY d.created_at DESC, d.id LIMIT $1`, limit)
	if err != nil {
		return nil, wrap(err, "deliveries")
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Delivery])
	return list, wrap(err, "deliveries")
}

// DeliverNext makes one attempt at the delivery that is due longest, by send, which
// returns the answer's status; ErrEmpty when none is due. An attempt whose worker dies is
// made again, so receivers see an event at least once.
func (s *Store) DeliverNext(ctx context.Context, send func(context.Context, Delivery) (status int, err error)) error {
	rows, err := s.pool.Query(ctx, `UPDATE webhook_deliveries d SET attempts = attempts + 1, attempted_at = now(), next_at = now() + make_interval(secs => $1)
		FROM webhooks w WHERE w.id = d.webhook_id AND d.id = (
			SELECT x.id FROM webhook_deliveries x WHERE x.state = 'waiting' AND x.next_at <= now() ORDER BY x.next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING `+deliveryColumns, deliveryLease.Seconds())
	if err != nil {
		return wrap(err, "next delivery")
	}
	d, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Delivery])
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrEmpty
	}
	if err != nil {
		return wrap(err, "next delivery")
	}
	status, err := send(ctx, d)
	state, reason, wait := "delivered", "", time.Duration(0)
	if err == nil && (status < 200 || status > 299) {
		err = fmt.Errorf("answered %d", status)
	}
	if err != nil {
		state, reason = "failed", err.Error()
		if d.Attempts <= len(backoff) {
			state, wait = "waiting", backoff[d.Attempts-1]
		}
	}
	var answered *int
	if status > 0 {
		answered = &status
	}
	_, err = s.pool.Exec(context.WithoutCancel(ctx), `UPDATE webhook_deliveries SET state = $2, status = $3, error = $4, next_at = now() + make_interval(secs => $5)
		WHERE id = $1 AND attempts = $6`, d.ID, state, answered, clip(reason, 500), wait.Seconds(), d.Attempts)
	return wrap(err, "delivery %s", d.ID)
}

// clip shortens what strangers' servers say.
func clip(s string, n int) string {
	s, _ = Sanitize(s)
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
