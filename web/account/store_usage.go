package account

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

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

// Usage sums usage per UTC day, key and model version, newest day first; what was noted counts.
func (s *Store) Usage(ctx context.Context, f UsageFilter) ([]Day, error) {
	if f.UserID != "" && !validID(f.UserID) {
		return nil, nil
	}
	if err := s.Flush(ctx); err != nil {
		return nil, err
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
