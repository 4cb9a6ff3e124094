package account

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Record stores what a request used and calls after (may be nil) in the same transaction, so that a prompt joins
// the labeling pool exactly when its usage is counted. Without after, requests that end while others are being recorded share the next
// transaction: a key's requests would otherwise wait for each other's commits one by one.
func (s *Store) Record(ctx context.Context, u Usage, after func(ctx context.Context, tx pgx.Tx) error) error {
	if after == nil {
		return wrap("record usage", s.ledger.add(ctx, s, entry{usage: u}))
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return record(ctx, tx, []Usage{u}, after) })
	return wrap("record usage", err)
}

// record writes rows of usage, calls after, and adds to the keys' days.
func record(ctx context.Context, tx pgx.Tx, list []Usage, after func(ctx context.Context, tx pgx.Tx) error) error {
	n := len(list)
	ids, keys, users, endpoints, versions, finishes := make([]string, n), make([]*string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	read, cached, written, took := make([]int, n), make([]int, n), make([]int, n), make([]int64, n)
	days := map[string]int64{}
	for i, u := range list {
		ids[i], users[i], endpoints[i], versions[i], finishes[i] = newID(), u.UserID, u.Endpoint, u.ModelVersion, u.Finish
		read[i], cached[i], written[i], took[i] = u.PromptTokens, u.CachedTokens, u.CompletionTokens, u.Duration.Milliseconds()
		if u.KeyID != "" {
			keys[i] = &u.KeyID
			days[u.KeyID] += int64(u.PromptTokens) + int64(u.CompletionTokens)
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO usage (id, key_id, user_id, endpoint, model_version, prompt_tokens, cached_tokens, completion_tokens, finish, duration_ms)
		SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::int[], $7::int[], $8::int[], $9::text[], $10::bigint[])`,
		ids, keys, users, endpoints, versions, read, cached, written, finishes, took)
	if err == nil && after != nil {
		err = after(ctx, tx)
	}
	if err != nil || len(days) == 0 {
		return err
	}
	order := slices.Sorted(maps.Keys(days)) // whoever wants several of them takes them in this order
	tokens := make([]int64, len(order))
	for i, k := range order {
		tokens[i] = days[k]
	}
	// Last, since requests of one key wait for each other from here to the commit.
	_, err = tx.Exec(ctx, `
		INSERT INTO key_days AS d (key_id, day, tokens) SELECT k, (now() AT TIME ZONE 'UTC')::date, n FROM unnest($1::text[], $2::bigint[]) u(k, n)
		ON CONFLICT (key_id, day) DO UPDATE SET tokens = d.tokens + excluded.tokens`, order, tokens)
	return err
}
