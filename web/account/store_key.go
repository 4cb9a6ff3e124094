package account

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// keyColumns are of api_keys AS k.
const keyColumns = `k.id, k.customer_id::text, k.name, k.scopes, k.training_opt_in, k.rpm, k.tpm, k.daily_tokens,
	k.created_at, k.expires_at, k.revoked_at, k.last_used_at, coalesce(k.replaced_by, '')`

func keyFields(k *Key) []any {
	return []any{&k.ID, &k.CustomerID, &k.Name, &k.Scopes, &k.TrainingOptIn, &k.RPM, &k.TPM, &k.DailyTokens,
		&k.CreatedAt, &k.ExpiresAt, &k.RevokedAt, &k.LastUsedAt, &k.ReplacedBy}
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
	if n.TPM == 0 {
		n.TPM = DefaultTPM
	}
	var err error
	if n.Scopes, err = scopes(n.Scopes); err != nil {
		return Key{}, "", err
	}
	if err := n.limits().check(); err != nil {
		return Key{}, "", err
	}
	if n.Lifetime < 0 || n.Lifetime > 10*365*24*time.Hour {
		return Key{}, "", &InvalidError{"lifetime", "must be up to ten years"}
	}
	customer, err := s.User(ctx, n.CustomerID)
	if errors.Is(err, ErrNotFound) || err == nil && (customer.DisabledAt != nil || customer.Role != RoleCustomer && !customer.Role.Admin()) {
		return Key{}, "", &InvalidError{"customer", "must be an enabled customer or admin"}
	} else if err != nil {
		return Key{}, "", err
	}
	var k Key
	var whole string
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var err error
		if k, whole, err = insertKey(ctx, tx, n); err != nil {
			return err
		}
		return audit(ctx, tx, n.Actor, "apikey.create", k.ID, map[string]any{"customer": customer.ID, "scopes": n.Scopes, "training_opt_in": n.TrainingOptIn,
			"rpm": n.RPM, "tpm": n.TPM, "daily_tokens": n.DailyTokens})
	})
	if err != nil {
		return Key{}, "", wrap("create key", err)
	}
	return k, whole, nil
}

// insertKey writes a key of checked values; whole is the secret's only copy.
func insertKey(ctx context.Context, tx pgx.Tx, n NewKey) (k Key, whole string, err error) {
	var life *time.Duration
	if n.Lifetime > 0 {
		life = &n.Lifetime
	}
	id, secret := randomBase62(keyID), randomBase62(keySecret)
	rows, err := tx.Query(ctx, `
		INSERT INTO api_keys AS k (id, secret_hash, customer_id, name, scopes, training_opt_in, rpm, tpm, daily_tokens, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + $10::interval)
		RETURNING `+keyColumns, id, digest(secret), n.CustomerID, n.Name, n.Scopes, n.TrainingOptIn, n.RPM, n.TPM, n.DailyTokens, life)
	if err != nil {
		return Key{}, "", err
	}
	k, err = pgx.CollectExactlyOneRow(rows, scanKey)
	return k, keyPrefix + id + "_" + secret, err
}

// Key is one key; ErrNotFound where there is none of that id.
func (s *Store) Key(ctx context.Context, id string) (Key, error) {
	if !validKeyID(id) {
		return Key{}, wrap("key", ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `SELECT `+keyColumns+` FROM api_keys k WHERE k.id = $1`, id)
	if err != nil {
		return Key{}, wrap("key", err)
	}
	k, err := pgx.CollectExactlyOneRow(rows, scanKey)
	return k, wrap("key", err)
}

// ChangeKey gives a key other limits, scopes, consent and name. ErrConflict: it is revoked.
func (s *Store) ChangeKey(ctx context.Context, id string, c KeyChange) error {
	c.Name = strings.TrimSpace(c.Name)
	if err := checkName("name", c.Name); err != nil {
		return err
	}
	var err error
	if c.Scopes, err = scopes(c.Scopes); err != nil {
		return err
	}
	if err := c.Limits.check(); err != nil {
		return err
	}
	if !validKeyID(id) {
		return wrap("change key", ErrNotFound)
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := lockKey(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE api_keys SET name = $2, scopes = $3, training_opt_in = $4, rpm = $5, tpm = $6, daily_tokens = $7 WHERE id = $1`,
			id, c.Name, c.Scopes, c.TrainingOptIn, c.RPM, c.TPM, c.DailyTokens); err != nil {
			return err
		}
		return audit(ctx, tx, c.Actor, "apikey.change", id, map[string]any{"name": c.Name, "scopes": c.Scopes, "training_opt_in": c.TrainingOptIn,
			"rpm": c.RPM, "tpm": c.TPM, "daily_tokens": c.DailyTokens})
	})
	s.forget()
	return wrap("change key", err)
}

// lockKey reads a key that is to be changed; ErrConflict where it is revoked.
func lockKey(ctx context.Context, tx pgx.Tx, id string) (Key, error) {
	rows, err := tx.Query(ctx, `SELECT `+keyColumns+` FROM api_keys k WHERE k.id = $1 FOR UPDATE`, id)
	if err != nil {
		return Key{}, err
	}
	k, err := pgx.CollectExactlyOneRow(rows, scanKey)
	if err == nil && k.RevokedAt != nil {
		err = ErrConflict
	}
	return k, err
}

// RotateKey makes a key that takes the place of another: with its customer, name, scopes, limits and length of life. The old one works
// on for the overlap, at most MaxOverlap, and not longer than it would have. It returns the new one whole, the only time it can be
// seen. ErrConflict: the old one is revoked, or was rotated before.
func (s *Store) RotateKey(ctx context.Context, id string, overlap time.Duration, actor string) (Key, string, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Key{}, "", &InvalidError{"overlap", "must be up to 30 days"}
	}
	if !validKeyID(id) {
		return Key{}, "", wrap("rotate key", ErrNotFound)
	}
	var k Key
	var whole string
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		old, err := lockKey(ctx, tx, id)
		if err == nil && old.ReplacedBy != "" {
			err = ErrConflict
		}
		if err != nil {
			return err
		}
		n := NewKey{CustomerID: old.CustomerID, Name: old.Name, Scopes: old.Scopes, TrainingOptIn: old.TrainingOptIn,
			RPM: old.RPM, TPM: old.TPM, DailyTokens: old.DailyTokens}
		if old.ExpiresAt != nil {
			n.Lifetime = old.ExpiresAt.Sub(old.CreatedAt)
		}
		if k, whole, err = insertKey(ctx, tx, n); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE api_keys SET replaced_by = $2, expires_at = least(expires_at, now() + $3::interval) WHERE id = $1`, id, k.ID, overlap); err != nil {
			return err
		}
		return audit(ctx, tx, actor, "apikey.rotate", id, map[string]any{"by": k.ID, "overlap_s": int64(overlap.Seconds())})
	})
	s.forget()
	if err != nil {
		return Key{}, "", wrap("rotate key", err)
	}
	return k, whole, nil
}

func validKeyID(id string) bool { return len(id) == keyID && isBase62(id) }

// Keys lists a customer's keys (empty: everybody's), newest first, at most 1000.
func (s *Store) Keys(ctx context.Context, customerID string) ([]Key, error) {
	if customerID != "" && !validID(customerID) {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx, `
		SELECT `+keyColumns+` FROM api_keys k
		WHERE $1 = '' OR k.customer_id::text = $1
		ORDER BY k.created_at DESC, k.id LIMIT 1000`, customerID)
	if err != nil {
		return nil, wrap("keys", err)
	}
	list, err := pgx.CollectRows(rows, scanKey)
	return list, wrap("keys", err)
}

// RevokeKey stops a key at once; one that is revoked already is fine.
func (s *Store) RevokeKey(ctx context.Context, id, actor string) error {
	if !validKeyID(id) {
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
	s.forget()
	return wrap("revoke key", err)
}

// Authenticate returns the key of a request; ErrDenied where it is malformed, unknown, wrong, expired or
// revoked, or its customer disabled.
func (s *Store) Authenticate(ctx context.Context, key string) (Key, error) {
	id, secret, ok := parseKey(key)
	if !ok {
		return Key{}, ErrDenied
	}
	sum := sha256.Sum256([]byte(key))
	k, ok, turn := s.keys.find(sum)
	if ok && (k.ExpiresAt == nil || s.keys.clock().Before(*k.ExpiresAt)) {
		return k, nil
	}
	k = Key{}
	var hash []byte
	var stale bool
	err := s.pool.QueryRow(ctx, `
		SELECT `+keyColumns+`, k.secret_hash, coalesce(k.last_used_at < now() - interval '1 minute', true)
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
	s.keys.remember(sum, k, turn)
	return k, nil
}
