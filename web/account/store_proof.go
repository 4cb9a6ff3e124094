package account

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// ProofLife is for how long a proof of who somebody is holds for acts that want a fresh one. A sign-in is one.
const ProofLife = 10 * time.Minute

// Proved says whether the session whose cookie has that value was proved within ProofLife. ErrDenied: there is no such session.
func (s *Store) Proved(ctx context.Context, token string) (lately bool, err error) {
	err = s.pool.QueryRow(ctx, `SELECT proved_at > now() - $2::interval FROM sessions WHERE token_hash = $1`, digest(token), ProofLife).Scan(&lately)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrDenied
	}
	return lately, wrap("proof", err)
}

// Prove takes the user's password, under the limits of sign-ins, as a proof for the session. Errors are those of Login.
func (s *Store) Prove(ctx context.Context, userID, token, password, ip string) error {
	u, err := s.User(ctx, userID)
	if err == nil {
		err = s.withPassword(ctx, u.Email, password, ip, func(tx pgx.Tx, u User) error {
			tag, err := tx.Exec(ctx, `UPDATE sessions SET proved_at = now() WHERE token_hash = $1 AND user_id = $2`, digest(token), u.ID)
			if err != nil {
				return err
			}
			if tag.RowsAffected() == 0 {
				return ErrDenied
			}
			return audit(ctx, tx, "user:"+u.ID, "user.prove", u.ID, map[string]any{})
		})
	}
	return wrap("proof", err)
}
