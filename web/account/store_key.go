package account

import (
	"context"
	"crypto/subtle"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const keyColumns = `id, customer_id::text, name, scopes, training_opt_in, rpm, created_at, expires_at, revoked_at, last_used_at`

func keyFields(k *Key) []any {
	return []any{&k.ID, &k.CustomerID, &k.Name, &k.Scopes, &k.TrainingOptIn, &k.RPM, &k.CreatedAt, &k.ExpiresAt, &k.RevokedAt, &k.LastUsedAt}
}

func scanKey(row pgx.CollectableRow) (Key, error) {
	var k Key
	err := row.Scan(keyFields(&k)...)
	return k, err
}

// CreateKey makes an API key for a customer and returns it whole, the only time it can be seen.
func (s *Store) CreateKey(ctx context.Context, n NewKey) (Key, string, error) {
	n.Name = strings.TrimSpace(n.Name)
	if err := checkName("name", n.Name); err != nil {
		return Key{}, "", err
	}
	if len(n.Scopes) == 0 {
		n.Scopes = DefaultScopes
	}
	if n.RPM == 0 {
		n.RPM = DefaultRPM
	}
	var err error
	if n.Scopes, err = scopes(n.Scopes); err != nil {
		return Key{}, "", err
	}
	switch {
	case n.RPM < 1 || n.RPM > 1_000_000:
		return Key{}, "", &InvalidError{"rpm", "must be 1 to 1000000 requests a minute"}
	case n.Lifetime < 0 || n.Lifetime > 10*365*24*time.Hour:
		return Key{}, "", &InvalidError{"lifetime", "must be up to ten years"}
	}
	customer, err := s.User(ctx, n.CustomerID)
	if errors.Is(err, ErrNotFound) || err == nil && (customer.DisabledAt != nil || customer.Role != RoleCustomer && !customer.Role.Admin()) {
		return Key{}, "", &InvalidError{"customer", "must be an enabled customer or admin"}
	} else if err != nil {
		return Key{}, "", err
	}
	var life *time.Duration
	if n.Lifetime > 0 {
		life = &n.Lifetime
	}
	id, secret := randomBase62(keyID), randomBase62(keySecret)
	var k Key
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			INSERT INTO api_keys (id, secret_hash, customer_id, name, scopes, training_opt_in, rpm, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8::interval)
			RETURNING `+keyColumns, id, digest(secret), customer.ID, n.Name, n.Scopes, n.TrainingOptIn, n.RPM, life)
		if err != nil {
			return err
		}
		if k, err = pgx.CollectExactlyOneRow(rows, scanKey); err != nil {
			return err
		}
		return audit(ctx, tx, n.Actor, "apikey.create", id, map[string]any{"customer": customer.ID, "scopes": n.Scopes, "training_opt_in": n.TrainingOptIn, "rpm": n.RPM})
	})
	if err != nil {
		return Key{}, "", wrap("create key", err)
	}
	return k, keyPrefix + id + "_" + secret, nil
}

// Keys lists a customer's keys (empty: everybody's), newest first, at most 1000.
func (s *Store) Keys(ctx context.Context, customerID string) ([]Key, error) {
	if customerID != "" && !validID(customerID) {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx, `
		SELECT `+keyColumns+` FROM api_keys
		WHERE $1 = '' OR customer_id::text = $1
		ORDER BY created_at DESC, id LIMIT 1000`, customerID)
	if err != nil {
		return nil, wrap("keys", err)
	}
	list, err := pgx.CollectRows(rows, scanKey)
	return list, wrap("keys", err)
}

// RevokeKey stops a key at once; one that is revoked already is fine.
func (s *Store) RevokeKey(ctx context.Context, id, actor string) error {
	if len(id) != keyID || !isBase62(id) {
		return wrap("revoke key", ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		return audit(ctx, tx, actor, "apikey.revoke", id, map[string]any{})
	})
	return wrap("revoke key", err)
}

// Authenticate returns the key of a request; ErrDenied where it is malformed, unknown, wrong, expired or
// revoked, or its customer disabled.
func (s *Store) Authenticate(ctx context.Context, key string) (Key, error) {
	id, secret, ok := parseKey(key)
	if !ok {
		return Key{}, ErrDenied
	}
	var k Key
	var hash []byte
	var stale bool
	err := s.pool.QueryRow(ctx, `
		SELECT `+prefixed("k.", keyColumns)+`, k.secret_hash, coalesce(k.last_used_at < now() - interval '1 minute', true)
		FROM api_keys k JOIN users u ON u.id = k.customer_id
		WHERE k.id = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND u.disabled_at IS NULL`, id).
		Scan(append(keyFields(&k), &hash, &stale)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return Key{}, ErrDenied
	}
	if err != nil {
		return Key{}, wrap("authenticate", err)
	}
	if subtle.ConstantTimeCompare(hash, digest(secret)) != 1 {
		return Key{}, ErrDenied
	}
	if stale {
		if _, err := s.pool.Exec(ctx, `UPDATE api_keys SET last_used_at = now() WHERE id = $1`, id); err != nil {
			return Key{}, wrap("authenticate", err)
		}
	}
	return k, nil
}

func prefixed(prefix, columns string) string {
	return prefix + strings.ReplaceAll(columns, ", ", ", "+prefix)
}
