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
			INSERT INTO usage (id, key_id, user_id, endpoint, model_version, prompt_tokens, completion_tokens, finish, duration_ms)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			newID(), key, u.UserID, u.Endpoint, u.ModelVersion, u.PromptTokens, u.CompletionTokens, u.Finish, u.Duration.Milliseconds())
		if err != nil || after == nil {
			return err
		}
		return after(ctx, tx)
	})
	return wrap("record usage", err)
}

// UsageByDay sums usage per UTC day, key and model version since the given time, newest day first. An empty
// userID means everybody.
func (s *Store) UsageByDay(ctx context.Context, userID string, since time.Time) ([]Day, error) {
	if userID != "" && !validID(userID) {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx, `
		SELECT date_trunc('day', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS day, coalesce(key_id, ''), model_version,
			count(*), sum(prompt_tokens)::bigint, sum(completion_tokens)::bigint
		FROM usage
		WHERE at >= $1 AND ($2 = '' OR user_id::text = $2)
		GROUP BY 1, 2, 3 ORDER BY 1 DESC, 2, 3 LIMIT 10000`, since, userID)
	if err != nil {
		return nil, wrap("usage", err)
	}
	days, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Day, error) {
		var d Day
		err := row.Scan(&d.Day, &d.KeyID, &d.ModelVersion, &d.Requests, &d.PromptTokens, &d.CompletionTokens)
		return d, err
	})
	return days, wrap("usage", err)
}
