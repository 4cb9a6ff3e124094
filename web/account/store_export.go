package account

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Export calls each with what is kept of a user: the account, sessions, identities at providers, invitations, keys without their secrets,
// what each used by day, and every request that is counted, oldest first; kind is account, session, identity, invitation, key, key_day or
// request. It leaves a row in the audit log.
func (s *Store) Export(ctx context.Context, userID, actor string, each func(kind string, row json.RawMessage) error) error {
	if !validID(userID) {
		return wrap("export", ErrNotFound)
	}
	if err := s.Flush(ctx); err != nil {
		return err
	}
	if err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		return audit(ctx, tx, actor, "user.export", userID, map[string]any{})
	}); err != nil {
		return wrap("export", err)
	}
	for _, q := range []struct{ kind, sql string }{
		{"account", `SELECT (to_jsonb(t) - '{password_hash}'::text[])::text FROM users t WHERE id = $1`},
		{"session", `SELECT (to_jsonb(t) - '{token_hash}'::text[])::text FROM sessions t WHERE user_id = $1 ORDER BY created_at`},
		{"identity", `SELECT to_jsonb(t)::text FROM identities t WHERE user_id = $1 ORDER BY created_at`},
		{"key", `SELECT (to_jsonb(t) - '{secret_hash}'::text[])::text FROM api_keys t WHERE customer_id = $1 ORDER BY created_at, id`},
		{"invitation", `SELECT (to_jsonb(t) - '{token_hash}'::text[])::text FROM invitations t
			WHERE user_id = $1 OR id = (SELECT invitation_id FROM users WHERE id = $1) ORDER BY created_at, id`},
		{"key_day", `SELECT to_jsonb(t)::text FROM key_days t WHERE key_id IN (SELECT id FROM api_keys WHERE customer_id = $1) ORDER BY day, key_id`},
	} {
		rows, err := s.pool.Query(ctx, q.sql, userID)
		if err != nil {
			return wrap("export", err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return wrap("export", err)
		}
		for _, row := range list {
			if err := each(q.kind, json.RawMessage(row)); err != nil {
				return err
			}
		}
	}
	return wrap("export", s.exportRequests(ctx, userID, each))
}

// exportPage is how many rows are read at once: a reader that is slow holds no statement open.
const exportPage = 1000

func (s *Store) exportRequests(ctx context.Context, userID string, each func(kind string, row json.RawMessage) error) error {
	type line struct {
		Row string
		At  time.Time
		ID  string
	}
	last := line{At: time.Unix(0, 0), ID: "00000000-0000-0000-0000-000000000000"}
	for {
		rows, err := s.pool.Query(ctx, `SELECT to_jsonb(t)::text, at, id::text FROM usage t WHERE user_id = $1 AND (at, id) > ($2, $3::uuid) ORDER BY at, id LIMIT $4`,
			userID, last.At, last.ID, exportPage)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[line])
		if err != nil {
			return err
		}
		for _, l := range list {
			if err := each("request", json.RawMessage(l.Row)); err != nil {
				return err
			}
		}
		if len(list) < exportPage {
			return nil
		}
		last = list[len(list)-1]
	}
}
