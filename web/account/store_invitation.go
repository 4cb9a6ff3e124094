package account

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// A link stops with the right of the one who made it: an admin who was disabled or demoted leaves no way in behind.
const invitationColumns = `i.id::text, i.role, coalesce(i.user_id::text, ''), coalesce(u.email, ''), coalesce(i.project_id::text, ''), i.note, i.max_uses, i.uses,
	coalesce(i.created_by::text, ''), i.created_at, i.expires_at, i.revoked_at,
	CASE WHEN i.revoked_at IS NOT NULL THEN 'revoked'
		WHEN i.uses >= i.max_uses THEN 'used'
		WHEN i.expires_at <= now() THEN 'expired'
		WHEN m.disabled_at IS NOT NULL OR m.id IS NOT NULL AND NOT (m.role = 'owner' OR m.role = 'admin' AND coalesce(u.role, i.role) NOT IN ('admin', 'owner')) THEN 'withdrawn'
		WHEN u.disabled_at IS NOT NULL THEN 'withdrawn'
		ELSE 'open' END
	FROM invitations i LEFT JOIN users m ON m.id = i.created_by LEFT JOIN users u ON u.id = i.user_id`

func scanInvitation(row pgx.CollectableRow) (Invitation, error) {
	var i Invitation
	err := row.Scan(&i.ID, &i.Role, &i.UserID, &i.Email, &i.ProjectID, &i.Note, &i.MaxUses, &i.Uses, &i.CreatedBy, &i.CreatedAt, &i.ExpiresAt, &i.RevokedAt, &i.State)
	return i, err
}

// Invite makes a link to join and returns it with its token, which is stored nowhere.
func (s *Store) Invite(ctx context.Context, n NewInvitation) (Invitation, string, error) {
	if err := n.normalise(); err != nil {
		return Invitation{}, "", err
	}
	return s.createInvitation(ctx, "user.invite", `
		INSERT INTO invitations (id, token_hash, role, project_id, note, max_uses, created_by, expires_at)
		VALUES ($1, $2, $3, nullif($4, '')::uuid, $5, $6, $7, now() + $8::interval)`,
		"user:"+n.CreatedBy.ID, map[string]any{"role": n.Role, "uses": n.MaxUses, "days": n.Life.Hours() / 24},
		n.Role, n.ProjectID, n.Note, n.MaxUses, n.CreatedBy.ID, n.Life)
}

// InvitePassword makes a link with which the user sets a new password once; links made for it before stop. by must
// manage the user's role, else ErrDenied; nil is the command line.
func (s *Store) InvitePassword(ctx context.Context, userID string, by *User) (Invitation, string, error) {
	u, err := s.User(ctx, userID)
	if err != nil {
		return Invitation{}, "", err
	}
	maker, actor := "", "command line"
	if by != nil {
		if !by.Role.Manages(u.Role) {
			return Invitation{}, "", ErrDenied
		}
		maker, actor = by.ID, "user:"+by.ID
	}
	if u.DisabledAt != nil {
		return Invitation{}, "", &InvalidError{"user", "is disabled: enable the account first"}
	}
	return s.createInvitation(ctx, "user.password_link", `
		WITH former AS (UPDATE invitations SET revoked_at = now() WHERE user_id = $4 AND revoked_at IS NULL AND uses = 0)
		INSERT INTO invitations (id, token_hash, role, user_id, max_uses, created_by, expires_at)
		VALUES ($1, $2, $3, $4, 1, nullif($5, '')::uuid, now() + $6::interval)`,
		actor, map[string]any{"user": u.ID}, u.Role, u.ID, maker, PasswordLink)
}

// createInvitation runs insert, whose first two parameters are the id and the hash of a new token.
func (s *Store) createInvitation(ctx context.Context, act, insert, actor string, detail any, args ...any) (Invitation, string, error) {
	token, hash := newSessionToken()
	id := newID()
	var i Invitation
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insert, append([]any{id, hash}, args...)...); err != nil {
			return err
		}
		if err := audit(ctx, tx, actor, act, id, detail); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT `+invitationColumns+` WHERE i.id = $1`, id)
		if err != nil {
			return err
		}
		i, err = pgx.CollectExactlyOneRow(rows, scanInvitation)
		return err
	})
	return i, token, wrap("invite", err)
}

// Invitation is the open invitation of a link's token; ErrNotFound for one that is unknown or works no more. The row is
// found by the digest of 256 random bits, so that how long it takes tells nothing of tokens that exist.
func (s *Store) Invitation(ctx context.Context, token string) (Invitation, error) {
	return openInvitation(ctx, s.pool, token, "")
}

type rowsQuerier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func openInvitation(ctx context.Context, q rowsQuerier, token, lock string) (Invitation, error) {
	if len(token) != 43 {
		return Invitation{}, wrap("invitation", ErrNotFound)
	}
	rows, err := q.Query(ctx, `SELECT `+invitationColumns+` WHERE i.token_hash = $1 `+lock, digest(token))
	if err != nil {
		return Invitation{}, wrap("invitation", err)
	}
	i, err := pgx.CollectExactlyOneRow(rows, scanInvitation)
	if err == nil && i.State != InvitationOpen {
		err = ErrNotFound
	}
	return i, wrap("invitation", err)
}

// Join takes a link up: it makes the account, whose role is the invitation's, and signs it in. An address that is taken
// is ErrConflict, and the link keeps its use.
func (s *Store) Join(ctx context.Context, token string, n NewUser, from From) (session string, u User, i Invitation, err error) {
	if i, err = s.Invitation(ctx, token); err != nil {
		return "", u, i, err
	}
	if i.ForPassword() {
		return "", u, i, wrap("join", ErrNotFound)
	}
	n.Role = i.Role
	if err := n.normalise(); err != nil {
		return "", u, i, err
	}
	hash, err := s.hashPassword(ctx, n.Password, n.Email)
	if err != nil {
		return "", u, i, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if i, err = useInvitation(ctx, tx, token); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			INSERT INTO users (id, email, name, role, password_hash, invitation_id)
			VALUES ($1, $2, $3, $4, $5, $6)
			RETURNING `+userColumns, newID(), n.Email, n.Name, i.Role, hash, i.ID)
		if err != nil {
			return err
		}
		if u, err = pgx.CollectExactlyOneRow(rows, scanUser); err != nil {
			return err
		}
		if err := audit(ctx, tx, "user:"+u.ID, "user.join", u.ID, map[string]any{"role": u.Role, "invitation": i.ID}); err != nil {
			return err
		}
		session, err = insertSession(ctx, tx, u.ID, from, "")
		return err
	})
	return session, u, i, wrap("join", err)
}

// JoinPassword takes a link up that sets a password: all sessions of the user end, and a new one begins.
func (s *Store) JoinPassword(ctx context.Context, token, password string, from From) (session string, u User, err error) {
	i, err := s.Invitation(ctx, token)
	if err != nil {
		return "", u, err
	}
	if !i.ForPassword() {
		return "", u, wrap("set password", ErrNotFound)
	}
	hash, err := s.hashPassword(ctx, password, i.Email)
	if err != nil {
		return "", u, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if i, err = useInvitation(ctx, tx, token); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT `+userColumns+` FROM users WHERE id = $1 AND disabled_at IS NULL FOR UPDATE`, i.UserID)
		if err != nil {
			return err
		}
		if u, err = pgx.CollectExactlyOneRow(rows, scanUser); err != nil {
			return err
		}
		if err := storePassword(ctx, tx, u.ID, hash, "user:"+u.ID, map[string]any{"invitation": i.ID}); err != nil {
			return err
		}
		session, err = insertSession(ctx, tx, u.ID, from, "")
		return err
	})
	s.forget()
	return session, u, wrap("set password", err)
}

// useInvitation counts one use under the row's lock: of many who take up the last one at once, one does.
func useInvitation(ctx context.Context, tx pgx.Tx, token string) (Invitation, error) {
	i, err := openInvitation(ctx, tx, token, "FOR UPDATE OF i")
	if err != nil {
		return i, err
	}
	_, err = tx.Exec(ctx, `UPDATE invitations SET uses = uses + 1 WHERE id = $1`, i.ID)
	return i, err
}

// Invitations lists links, newest first, at most 200: those that still work, and others for 30 days.
func (s *Store) Invitations(ctx context.Context) ([]Invitation, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+invitationColumns+`
		WHERE i.expires_at > now() - interval '30 days' ORDER BY i.created_at DESC, i.id DESC LIMIT 200`)
	if err != nil {
		return nil, wrap("invitations", err)
	}
	list, err := pgx.CollectRows(rows, scanInvitation)
	return list, wrap("invitations", err)
}

// RevokeInvitation stops a link at once. One that is stopped already is fine; by must manage its role, else ErrDenied.
func (s *Store) RevokeInvitation(ctx context.Context, id string, by User) error {
	if !validID(id) {
		return wrap("revoke invitation", ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+invitationColumns+` WHERE i.id = $1 FOR UPDATE OF i`, id)
		if err != nil {
			return err
		}
		i, err := pgx.CollectExactlyOneRow(rows, scanInvitation)
		if err != nil {
			return err
		}
		if !by.Role.Manages(i.Role) {
			return ErrDenied
		}
		if i.RevokedAt != nil {
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE invitations SET revoked_at = now() WHERE id = $1`, id); err != nil {
			return err
		}
		return audit(ctx, tx, "user:"+by.ID, "user.revoke_invitation", id, map[string]any{})
	})
	return wrap("revoke invitation", err)
}
