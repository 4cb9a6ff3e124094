package account

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Session is one sign-in of a user that still holds.
type Session struct {
	ID         string
	CreatedAt  time.Time
	LastSeenAt time.Time // to the minute
	Address    string    // it was opened from; empty: not known
	UserAgent  string
	Provider   string // it was opened by; empty: a password
	Current    bool   // the one that asks
}

// Sessions lists the sessions of a user that hold, the one seen last first, at most 200. token marks the one that asks; empty: none does.
func (s *Store) Sessions(ctx context.Context, userID, token string) ([]Session, error) {
	if !validID(userID) {
		return nil, wrap("sessions", ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `
		SELECT id::text, created_at, last_seen_at, address, user_agent, provider, token_hash = $2
		FROM sessions
		WHERE user_id = $1 AND created_at > now() - $3::interval AND last_seen_at > now() - $4::interval
		ORDER BY token_hash = $2 DESC, last_seen_at DESC, id LIMIT 200`, userID, digest(token), SessionLife, SessionIdle)
	if err != nil {
		return nil, wrap("sessions", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Session])
	return list, wrap("sessions", err)
}

// EndSession ends one session of the user.
func (s *Store) EndSession(ctx context.Context, userID, sessionID, actor string) error {
	if !validID(userID) || !validID(sessionID) {
		return wrap("end session", ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM sessions WHERE user_id = $1 AND id = $2`, userID, sessionID)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		return audit(ctx, tx, actor, "user.end_session", userID, map[string]any{"session": sessionID})
	})
	s.forget()
	return wrap("end session", err)
}

// RevokeSessions ends all sessions of the user but the one whose token is kept; empty: none is.
func (s *Store) RevokeSessions(ctx context.Context, userID, kept, actor string) error {
	if !validID(userID) {
		return wrap("revoke sessions", ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM sessions WHERE user_id = $1 AND token_hash <> $2`, userID, digest(kept))
		if err != nil {
			return err
		}
		return audit(ctx, tx, actor, "user.revoke_sessions", userID, map[string]any{"sessions": tag.RowsAffected()})
	})
	s.forget()
	return wrap("revoke sessions", err)
}

// ChangePassword gives a user who knows the old password a new one, under the limits of sign-ins. All sessions of the user end; token is
// that of a new one, for the browser that asked. A new password that cannot be used is *InvalidError and costs no attempt; a wrong old one
// is ErrDenied.
func (s *Store) ChangePassword(ctx context.Context, userID, old, fresh string, from From) (token string, err error) {
	u, err := s.User(ctx, userID)
	if err != nil {
		return "", err
	}
	if fresh == old {
		return "", &InvalidError{"password", "must differ from the old one"}
	}
	hash, err := s.hashPassword(ctx, fresh, u.Email)
	if err != nil {
		return "", err
	}
	err = s.withPassword(ctx, u.Email, old, from.Address, func(tx pgx.Tx, _ User) error {
		if err := storePassword(ctx, tx, u.ID, hash, "user:"+u.ID, map[string]any{}); err != nil {
			return err
		}
		token, err = insertSession(ctx, tx, u.ID, from, "")
		return err
	})
	s.forget()
	return token, wrap("change password", err)
}

// storePassword keeps the hash of a new password and ends all sessions of the user.
func storePassword(ctx context.Context, tx pgx.Tx, userID, hash, actor string, detail any) error {
	if _, err := tx.Exec(ctx, `UPDATE users SET password_hash = $2 WHERE id = $1`, userID, hash); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM sessions WHERE user_id = $1`, userID); err != nil {
		return err
	}
	return audit(ctx, tx, actor, "user.password", userID, detail)
}

// HasPassword says whether the user can sign in by a password.
func (s *Store) HasPassword(ctx context.Context, userID string) (has bool, err error) {
	if !validID(userID) {
		return false, wrap("password", ErrNotFound)
	}
	err = s.pool.QueryRow(ctx, `SELECT password_hash <> '' FROM users WHERE id = $1`, userID).Scan(&has)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return has, wrap("password", err)
}
