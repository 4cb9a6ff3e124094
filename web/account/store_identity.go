package account

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
)

// BeginSignIn keeps what a sign-in at a provider has to come back with. state goes through the provider, browser stays in a cookie: both
// are needed to go on.
func (s *Store) BeginSignIn(ctx context.Context, in SignIn) (state, browser string, err error) {
	state, stateHash := newSessionToken()
	browser, browserHash := newSessionToken()
	_, err = s.pool.Exec(ctx, `
		INSERT INTO sign_ins (state_hash, browser_hash, provider, nonce, verifier, next, user_id)
		VALUES ($1, $2, $3, $4, $5, $6, nullif($7, '')::uuid)`, stateHash, browserHash, in.Provider, in.Nonce, in.Verifier, in.Next, in.UserID)
	return state, browser, wrap("begin sign-in", err)
}

// TakeSignIn returns a sign-in that comes back, once. ErrNotFound for one that is unknown, was taken before, is too old, or was begun by
// another browser or at another provider.
func (s *Store) TakeSignIn(ctx context.Context, provider, state, browser string) (SignIn, error) {
	in := SignIn{Provider: provider}
	err := s.pool.QueryRow(ctx, `
		DELETE FROM sign_ins WHERE state_hash = $1 AND browser_hash = $2 AND provider = $3 AND created_at > now() - $4::interval
		RETURNING nonce, verifier, next, coalesce(user_id::text, '')`, digest(state), digest(browser), provider, SignInLife).
		Scan(&in.Nonce, &in.Verifier, &in.Next, &in.UserID)
	return in, wrap("take sign-in", err)
}

// Enter lets in who proved to be an identity. Where it is linked, a session begins; where an account has its address, the answer is an
// offer, since a provider's word alone opens no account that it did not make; else an account is made. ErrNoAccount where none may be,
// ErrDenied where the account is disabled.
func (s *Store) Enter(ctx context.Context, e Entry) (out Entrance, err error) {
	n := NewUser{Email: e.Email, Name: e.Name, Role: e.Role}
	if checkName("name", n.Name) != nil { // a provider's name is a suggestion
		n.Name = ""
	}
	if err := n.normalise(); err != nil {
		return out, err
	}
	e.Email = n.Email
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var userID string
		var made bool
		err := tx.QueryRow(ctx, `SELECT user_id::text, made_account FROM identities WHERE issuer = $1 AND subject = $2`, e.Issuer, e.Subject).Scan(&userID, &made)
		if err == nil {
			return s.enterLinked(ctx, tx, e, userID, made, &out)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		err = tx.QueryRow(ctx, `SELECT id::text FROM users WHERE email = $1`, e.Email).Scan(&userID)
		if err == nil {
			out.Offer, err = offer(ctx, tx, e, userID)
			return err
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if !e.Make {
			return ErrNoAccount
		}
		return makeEntered(ctx, tx, e, n, &out)
	})
	s.forget()
	return out, wrap("enter", err)
}

// enterLinked opens a session of the user that the identity is linked to. The account of an identity that made it takes the role that the
// claims say, unless it is an owner's.
func (s *Store) enterLinked(ctx context.Context, tx pgx.Tx, e Entry, userID string, made bool, out *Entrance) error {
	rows, err := tx.Query(ctx, `SELECT `+userColumns+` FROM users WHERE id = $1`, userID)
	if err != nil {
		return err
	}
	if out.User, err = pgx.CollectExactlyOneRow(rows, scanUser); err != nil {
		return err
	}
	if out.User.DisabledAt != nil {
		return ErrDenied
	}
	if made && e.Mapped && out.User.Role != e.Role && out.User.Role != RoleOwner {
		err := changeUser(ctx, tx, userID, e.Role, "user.role", "system:"+e.Provider, `UPDATE users SET role = $2 WHERE id = $1`, userID, e.Role)
		if err != nil && !errors.Is(err, ErrConflict) { // the last who administers stays
			return err
		}
		if err == nil {
			out.User.Role = e.Role
		}
	}
	if _, err := tx.Exec(ctx, `UPDATE identities SET email = $3 WHERE issuer = $1 AND subject = $2 AND email <> $3`, e.Issuer, e.Subject, e.Email); err != nil {
		return err
	}
	out.Token, err = insertSession(ctx, tx, userID, e.From, e.Provider)
	return err
}

func offer(ctx context.Context, tx pgx.Tx, e Entry, userID string) (string, error) {
	token, hash := newSessionToken()
	_, err := tx.Exec(ctx, `INSERT INTO identity_offers (token_hash, user_id, issuer, subject, provider, email, next) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		hash, userID, e.Issuer, e.Subject, e.Provider, e.Email, e.Next)
	return token, err
}

func makeEntered(ctx context.Context, tx pgx.Tx, e Entry, n NewUser, out *Entrance) error {
	rows, err := tx.Query(ctx, `INSERT INTO users (id, email, name, role, password_hash) VALUES ($1, $2, $3, $4, '') RETURNING `+userColumns, newID(), n.Email, n.Name, n.Role)
	if err != nil {
		return err
	}
	if out.User, err = pgx.CollectExactlyOneRow(rows, scanUser); err != nil {
		return err
	}
	u := out.User
	if err := audit(ctx, tx, "user:"+u.ID, "user.join", u.ID, map[string]any{"role": u.Role, "provider": e.Provider}); err != nil {
		return err
	}
	if err := link(ctx, tx, u.ID, e.Identity, true); err != nil {
		return err
	}
	out.Token, err = insertSession(ctx, tx, u.ID, e.From, e.Provider)
	return err
}

// link ties an identity to a user; one that is tied already is a unique_violation.
func link(ctx context.Context, tx pgx.Tx, userID string, i Identity, made bool) error {
	if _, err := tx.Exec(ctx, `INSERT INTO identities (id, issuer, subject, user_id, provider, email, made_account) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		newID(), i.Issuer, i.Subject, userID, i.Provider, strings.ToLower(i.Email), made); err != nil {
		return err
	}
	return audit(ctx, tx, "user:"+userID, "user.link", userID, map[string]any{"provider": i.Provider, "issuer": i.Issuer})
}

const offerColumns = `o.provider, o.issuer, o.subject, o.email, o.next, o.user_id::text, u.email
	FROM identity_offers o JOIN users u ON u.id = o.user_id`

// Offer is what the secret of an offer stands for: the identity, the address of the account it would be linked to, and the page to go on
// with. ErrNotFound for one that is unknown or too old.
func (s *Store) Offer(ctx context.Context, secret string) (i Identity, account, next string, err error) {
	var userID string
	err = s.pool.QueryRow(ctx, `SELECT `+offerColumns+` WHERE o.token_hash = $1 AND o.created_at > now() - $2::interval`, digest(secret), SignInLife).
		Scan(&i.Provider, &i.Issuer, &i.Subject, &i.Email, &next, &userID, &account)
	return i, account, next, wrap("offer", err)
}

// TakeOffer links the identity of an offer to its account, whose password proves it, and opens a session. ErrDenied and *LimitError are
// those of Login, after which the offer still stands.
func (s *Store) TakeOffer(ctx context.Context, secret, password string, from From) (token string, u User, err error) {
	i, account, _, err := s.Offer(ctx, secret)
	if err != nil {
		return "", u, err
	}
	err = s.withPassword(ctx, account, password, from.Address, func(tx pgx.Tx, owner User) error {
		u = owner
		tag, err := tx.Exec(ctx, `DELETE FROM identity_offers WHERE token_hash = $1`, digest(secret))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		if err := link(ctx, tx, u.ID, i, false); err != nil {
			return err
		}
		token, err = insertSession(ctx, tx, u.ID, from, i.Provider)
		return err
	})
	return token, u, wrap("take offer", err)
}

// LinkIdentity ties an identity to the account of somebody who is signed in. One that is tied to another account is ErrConflict; the same
// again is fine.
func (s *Store) LinkIdentity(ctx context.Context, userID string, i Identity) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var owner string
		err := tx.QueryRow(ctx, `SELECT user_id::text FROM identities WHERE issuer = $1 AND subject = $2`, i.Issuer, i.Subject).Scan(&owner)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return link(ctx, tx, userID, i, false)
		case err == nil && owner != userID:
			return ErrConflict
		}
		return err
	})
	return wrap("link identity", err)
}

// Identities lists who a user is at providers, oldest first.
func (s *Store) Identities(ctx context.Context, userID string) ([]Identity, error) {
	if !validID(userID) {
		return nil, wrap("identities", ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `
		SELECT id::text, issuer, subject, provider, email, made_account, created_at FROM identities WHERE user_id = $1 ORDER BY created_at, id`, userID)
	if err != nil {
		return nil, wrap("identities", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Identity])
	return list, wrap("identities", err)
}

// UnlinkIdentity unties an identity from its user, and ends the sessions that it opened. The last way to sign in stays (*InvalidError).
func (s *Store) UnlinkIdentity(ctx context.Context, userID, identityID, actor string) error {
	if !validID(userID) || !validID(identityID) {
		return wrap("unlink identity", ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var password bool // the user's row is locked first, so that two ways cannot go at the same moment
		if err := tx.QueryRow(ctx, `SELECT password_hash <> '' FROM users WHERE id = $1 FOR UPDATE`, userID).Scan(&password); err != nil {
			return err
		}
		var others int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM identities WHERE user_id = $1 AND id <> $2`, userID, identityID).Scan(&others); err != nil {
			return err
		}
		if !password && others == 0 {
			return &InvalidError{"identity", "is the only way to sign in: set a password first"}
		}
		var provider string
		if err := tx.QueryRow(ctx, `DELETE FROM identities WHERE id = $1 AND user_id = $2 RETURNING provider`, identityID, userID).Scan(&provider); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM sessions WHERE user_id = $1 AND provider = $2`, userID, provider); err != nil {
			return err
		}
		return audit(ctx, tx, actor, "user.unlink", userID, map[string]any{"provider": provider})
	})
	s.forget()
	return wrap("unlink identity", err)
}
