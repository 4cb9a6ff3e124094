package account

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Record stores what a request used and calls after (may be nil) in the same transaction, so that a prompt joins
// the labeling pool exactly when its usage is counted.
func (s *Store) Record(ctx context.Context, u Usage, after func(ctx context.Context, tx pgx.Tx) error) error {
	var key *string
	if u.KeyID != "" {
		key = &u.KeyID
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO usage (id, key_id, user_id, endpoint, model_version, prompt_tokens, cached_tokens, completion_tokens, finish, duration_ms)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			newID(), key, u.UserID, u.Endpoint, u.ModelVersion, u.PromptTokens, u.CachedTokens, u.CompletionTokens, u.Finish, u.Duration.Milliseconds())
		if err != nil {
			return err
		}
		if after != nil {
			if err := after(ctx, tx); err != nil {
				return err
			}
		}
		if key == nil {
			return nil
		}
		// Last, since requests of one key wait for each other from here to the commit.
		_, err = tx.Exec(ctx, `
			INSERT INTO key_days AS d (key_id, day, tokens) VALUES ($1, (now() AT TIME ZONE 'UTC')::date, $2)
			ON CONFLICT (key_id, day) DO UPDATE SET tokens = d.tokens + excluded.tokens`, *key, int64(u.PromptTokens)+int64(u.CompletionTokens))
		return err
	})
	return wrap("record usage", err)
}

// UsedToday is how many tokens the key has used in this UTC day, and how long the day still lasts.
func (s *Store) UsedToday(ctx context.Context, keyID string) (tokens int64, left time.Duration, err error) {
	var seconds float64
	err = s.pool.QueryRow(ctx, `
		SELECT coalesce((SELECT tokens FROM key_days WHERE key_id = $1 AND day = (now() AT TIME ZONE 'UTC')::date), 0),
			extract(epoch FROM date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day' - now() AT TIME ZONE 'UTC')::float8`, keyID).Scan(&tokens, &seconds)
	return tokens, time.Duration(seconds * float64(time.Second)), wrap("used today", err)
}

// UsageFilter says whose usage is wanted.
type UsageFilter struct {
	UserID string // empty: everybody's
	KeyID  string // empty: of all keys, and of the chat page
	Since  time.Time
}

// UsageByDay sums usage per UTC day, key and model version since the given time, newest day first. An empty
// userID means everybody.
func (s *Store) UsageByDay(ctx context.Context, userID string, since time.Time) ([]Day, error) {
	return s.Usage(ctx, UsageFilter{UserID: userID, Since: since})
}

// Usage sums usage per UTC day, key and model version, newest day first.
func (s *Store) Usage(ctx context.Context, f UsageFilter) ([]Day, error) {
	if f.UserID != "" && !validID(f.UserID) {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx, `
		SELECT date_trunc('day', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS day, coalesce(key_id, ''), model_version,
			count(*), sum(prompt_tokens)::bigint, sum(cached_tokens)::bigint, sum(completion_tokens)::bigint
		FROM usage
		WHERE at >= $1 AND ($2 = '' OR user_id::text = $2) AND ($3 = '' OR key_id = $3)
		GROUP BY 1, 2, 3 ORDER BY 1 DESC, 2, 3`, f.Since, f.UserID, f.KeyID)
	if err != nil {
		return nil, wrap("usage", err)
	}
	days, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Day, error) {
		var d Day
		err := row.Scan(&d.Day, &d.KeyID, &d.ModelVersion, &d.Requests, &d.PromptTokens, &d.CachedTokens, &d.CompletionTokens)
		return d, err
	})
	return days, wrap("usage", err)
}
