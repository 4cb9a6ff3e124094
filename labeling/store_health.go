package labeling

import (
	"context"
	"time"
)

// LeaseState counts the tasks in the hands of labelers, those past their time that no sweep has given back yet, and how long the first
// of these has been so.
func (s *Store) LeaseState(ctx context.Context) (open, expired int, oldest time.Duration, err error) {
	var seconds float64
	err = s.pool.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE lease_until < now()), coalesce(greatest(extract(epoch FROM now() - min(lease_until)), 0), 0)::float8
		FROM assignments WHERE state IN ('leased', 'reopened')`).Scan(&open, &expired, &seconds)
	return open, expired, time.Duration(seconds * float64(time.Second)), wrap(err, "leases")
}

// DeliveryState counts the deliveries to webhooks that wait, and those that were given up in the last day.
func (s *Store) DeliveryState(ctx context.Context) (waiting, failed int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting'),
		(SELECT count(*) FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.state = 'failed' AND w.active AND d.attempted_at > now() - interval '24 hours')`).
		Scan(&waiting, &failed)
	return waiting, failed, wrap(err, "deliveries")
}
