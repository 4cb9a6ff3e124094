package account

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Life of a session.
const (
	SessionIdle = 8 * time.Hour  // since the last request
	SessionLife = 24 * time.Hour // since sign-in
)

// Failed sign-ins allowed at once; the bucket is full again after loginWindow.
const (
	loginPerAccount = 5
	loginPerAddress = 20
	loginWindow     = 15 * time.Minute
)

// Login checks the password and opens a session. The answer is ErrDenied for an unknown address, a wrong
// password and a disabled user alike, after the same work; *LimitError after too many failures for the account
// or from the address ip. Sessions of an older token are left alone: the caller ends the one it replaces.
func (s *Store) Login(ctx context.Context, email, password, ip, userAgent string) (token string, u User, err error) {
	err = s.withPassword(ctx, email, password, ip, func(tx pgx.Tx, owner User) (err error) {
		u = owner
		token, err = insertSession(ctx, tx, u.ID, From{ip, userAgent}, "")
		return err
	})
	return token, u, wrap("login", err)
}

// CheckPassword is Login without a session, for acts that ask for the password again.
func (s *Store) CheckPassword(ctx context.Context, userID, password, ip string) error {
	u, err := s.User(ctx, userID)
	if err == nil {
		err = s.withPassword(ctx, u.Email, password, ip, func(pgx.Tx, User) error { return nil })
	}
	return wrap("check password", err)
}

// withPassword checks the password of the account under the limits of sign-ins, and calls act in the transaction that takes the attempt
// back.
func (s *Store) withPassword(ctx context.Context, email, password, ip string, act func(tx pgx.Tx, u User) error) error {
	email = strings.ToLower(strings.TrimSpace(email))
	if err := s.hasher.acquire(ctx); err != nil {
		return err
	}
	defer s.hasher.release()
	account, address := bucket("account", email), bucket("address", ip)
	if err := s.takeLogin(ctx, address, loginPerAddress); err != nil {
		return err
	}
	if err := s.takeLogin(ctx, account, loginPerAccount); err != nil {
		return err
	}
	u, renewed, err := s.matchPassword(ctx, email, password)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if renewed != "" {
			if _, err := tx.Exec(ctx, `UPDATE users SET password_hash = $2 WHERE id = $1`, u.ID, renewed); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `DELETE FROM login_buckets WHERE bucket = $1`, account); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE login_buckets SET tokens = least($2, tokens + 1) WHERE bucket = $1`, address, loginPerAddress); err != nil {
			return err
		}
		return act(tx, u)
	})
}

// matchPassword needs a slot of the hasher. renewed is the hash to store where the stored one was made with older parameters.
func (s *Store) matchPassword(ctx context.Context, email, password string) (u User, renewed string, err error) {
	hash, known := "", true
	err = s.pool.QueryRow(ctx, `SELECT `+userColumns+`, password_hash FROM users WHERE email = $1`, clip(email, 254)).
		Scan(&u.ID, &u.Email, &u.Name, &u.Role, &u.Language, &u.CreatedAt, &u.DisabledAt, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		known = false
	} else if err != nil {
		return User{}, "", err
	}
	if hash == "" { // nobody, or somebody who signs in by a provider only: the same work
		hash, known = s.hasher.dummy, false
	}
	if len(password) > 4*maxPassword { // no stored password is that long
		password, known = "", false
	}
	ok, stale := s.hasher.verify(password, hash)
	if !ok || !known || u.DisabledAt != nil {
		return User{}, "", ErrDenied
	}
	if stale {
		renewed = s.hasher.hash(password)
	}
	return u, renewed, nil
}

// From is where a session is opened.
type From struct {
	Address string // of the network
	Agent   string // what the browser calls itself
}

// insertSession opens a session of the user, removes those that are over, and returns its token. provider is what let the user in; empty: a
// password.
func insertSession(ctx context.Context, tx pgx.Tx, userID string, from From, provider string) (string, error) {
	if _, err := tx.Exec(ctx, `DELETE FROM sessions WHERE user_id = $1 AND (created_at < now() - $2::interval OR last_seen_at < now() - $3::interval)`,
		userID, SessionLife, SessionIdle); err != nil {
		return "", err
	}
	token, hash := newSessionToken()
	if _, err := tx.Exec(ctx, `INSERT INTO sessions (token_hash, user_id, user_agent, address, provider) VALUES ($1, $2, $3, $4, $5)`,
		hash, userID, clip(from.Agent, 200), clip(from.Address, 64), provider); err != nil {
		return "", err
	}
	detail := map[string]any{}
	if provider != "" {
		detail["provider"] = provider
	}
	return token, audit(ctx, tx, "user:"+userID, "user.login", userID, detail)
}

// takeLogin takes one token from the bucket or says how long to wait for the next; a refusal takes nothing.
func (s *Store) takeLogin(ctx context.Context, bucket string, size int) error {
	var left float64
	refill := float64(size) / loginWindow.Seconds() // tokens a second
	err := s.pool.QueryRow(ctx, `
		INSERT INTO login_buckets AS b (bucket, tokens) VALUES ($1, $2::float8 - 1)
		ON CONFLICT (bucket) DO UPDATE SET
			tokens = least($2::float8, b.tokens + $3::float8 * extract(epoch FROM now() - b.updated_at)) - 1,
			updated_at = now()
		WHERE b.tokens + $3::float8 * extract(epoch FROM now() - b.updated_at) >= 1
		RETURNING tokens`, bucket, size, refill).Scan(&left)
	if err == nil || !errors.Is(err, pgx.ErrNoRows) {
		return wrap("login", err)
	}
	err = s.pool.QueryRow(ctx, `
		SELECT tokens + $2::float8 * extract(epoch FROM now() - updated_at) FROM login_buckets WHERE bucket = $1`,
		bucket, refill).Scan(&left)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return wrap("login", err)
	}
	return &LimitError{RetryAfter: time.Duration(max(1, (1-left)/refill) * float64(time.Second))}
}

// Session returns the signed-in user of a cookie's value, and keeps the session awake. ErrDenied for a session
// that is unknown or over.
func (s *Store) Session(ctx context.Context, token string) (User, error) {
	if len(token) != 43 {
		return User{}, ErrDenied
	}
	sum := sha256.Sum256([]byte(token))
	u, ok, turn := s.known.find(sum)
	if ok {
		return u, nil
	}
	hash := sum[:]
	var seen time.Duration
	err := s.pool.QueryRow(ctx, `
		SELECT u.id::text, u.email, u.name, u.role, u.language, u.created_at, u.disabled_at, now() - s.last_seen_at
		FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.token_hash = $1 AND u.disabled_at IS NULL
			AND s.created_at > now() - $2::interval AND s.last_seen_at > now() - $3::interval`,
		hash, SessionLife, SessionIdle).
		Scan(&u.ID, &u.Email, &u.Name, &u.Role, &u.Language, &u.CreatedAt, &u.DisabledAt, &seen)
	if errors.Is(err, pgx.ErrNoRows) {
		return User{}, ErrDenied
	}
	if err != nil {
		return User{}, wrap("session", err)
	}
	if seen > time.Minute { // one write a minute is enough for a limit of hours
		if _, err := s.pool.Exec(ctx, `UPDATE sessions SET last_seen_at = now() WHERE token_hash = $1`, hash); err != nil {
			return User{}, wrap("session", err)
		}
	}
	s.known.remember(sum, u, turn)
	return u, nil
}

// Logout ends the session whose cookie has that value; one that is unknown is fine. provider is what had opened it, empty for a password.
func (s *Store) Logout(ctx context.Context, token string) (provider string, err error) {
	err = s.pool.QueryRow(ctx, `DELETE FROM sessions WHERE token_hash = $1 RETURNING provider`, digest(token)).Scan(&provider)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	s.forget()
	return provider, wrap("logout", err)
}

// Sweep removes sessions that are over, buckets that are full again, and sign-ins by a provider that nobody finished.
func (s *Store) Sweep(ctx context.Context) error {
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{`DELETE FROM sessions WHERE created_at < now() - $1::interval OR last_seen_at < now() - $2::interval`, []any{SessionLife, SessionIdle}},
		{`DELETE FROM login_buckets WHERE updated_at < now() - $1::interval`, []any{loginWindow}},
		{`DELETE FROM sign_ins WHERE created_at < now() - $1::interval`, []any{SignInLife}},
		{`DELETE FROM identity_offers WHERE created_at < now() - $1::interval`, []any{SignInLife}},
	} {
		if _, err := s.pool.Exec(ctx, q.sql, q.args...); err != nil {
			return wrap("sweep", err)
		}
	}
	return nil
}

// bucket names a token bucket; addresses that people typed are kept as a digest only.
func bucket(kind, subject string) string {
	sum := sha256.Sum256([]byte(subject))
	return kind + ":" + hex.EncodeToString(sum[:16])
}

// clip shortens s to n bytes and makes it storable: valid UTF-8 without NUL.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}
