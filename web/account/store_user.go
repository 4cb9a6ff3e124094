package account

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

const userColumns = `id::text, email, name, role, language, created_at, disabled_at`

func scanUser(row pgx.CollectableRow) (User, error) {
	var u User
	err := row.Scan(&u.ID, &u.Email, &u.Name, &u.Role, &u.Language, &u.CreatedAt, &u.DisabledAt)
	return u, err
}

// CreateUser makes a user and returns its password, generated where none is given. An address that is taken
// is ErrConflict.
func (s *Store) CreateUser(ctx context.Context, n NewUser) (User, string, error) {
	if err := n.normalise(); err != nil {
		return User{}, "", err
	}
	if n.Password == "" {
		n.Password = generatePassword()
	}
	hash, err := s.hashPassword(ctx, n.Password, n.Email)
	if err != nil {
		return User{}, "", err
	}
	var u User
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			INSERT INTO users (id, email, name, role, password_hash)
			VALUES ($1, $2, $3, $4, $5)
			RETURNING `+userColumns, newID(), n.Email, n.Name, n.Role, hash)
		if err != nil {
			return err
		}
		if u, err = pgx.CollectExactlyOneRow(rows, scanUser); err != nil {
			return err
		}
		return audit(ctx, tx, n.Actor, "user.create", u.ID, map[string]any{"role": u.Role})
	})
	if err != nil {
		return User{}, "", wrap("create user", err)
	}
	return u, n.Password, nil
}

// hashPassword checks the password and hashes it when a slot is free.
func (s *Store) hashPassword(ctx context.Context, password, email string) (string, error) {
	if err := checkPassword(password, email); err != nil {
		return "", err
	}
	if err := s.hasher.acquire(ctx); err != nil {
		return "", err
	}
	defer s.hasher.release()
	return s.hasher.hash(password), nil
}

// EnsureUser returns the user with the address, made if need be. The password is empty where the user was there.
func (s *Store) EnsureUser(ctx context.Context, n NewUser) (User, string, error) {
	if err := n.normalise(); err != nil {
		return User{}, "", err
	}
	u, err := s.UserByEmail(ctx, n.Email)
	if err == nil || !errors.Is(err, ErrNotFound) {
		return u, "", err
	}
	u, password, err := s.CreateUser(ctx, n)
	if errors.Is(err, ErrConflict) { // somebody else was faster
		u, err = s.UserByEmail(ctx, n.Email)
		return u, "", err
	}
	return u, password, err
}

// User returns one user.
func (s *Store) User(ctx context.Context, id string) (User, error) {
	if !validID(id) {
		return User{}, wrap("user", ErrNotFound)
	}
	return s.oneUser(ctx, `SELECT `+userColumns+` FROM users WHERE id = $1`, id)
}

// UserByEmail returns the user with the address.
func (s *Store) UserByEmail(ctx context.Context, email string) (User, error) {
	return s.oneUser(ctx, `SELECT `+userColumns+` FROM users WHERE email = $1`, strings.ToLower(strings.TrimSpace(email)))
}

func (s *Store) oneUser(ctx context.Context, sql string, args ...any) (User, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return User{}, wrap("user", err)
	}
	u, err := pgx.CollectExactlyOneRow(rows, scanUser)
	return u, wrap("user", err)
}

// Users lists the users with one of the roles (none: all) by address, at most 1000.
func (s *Store) Users(ctx context.Context, roles ...Role) ([]User, error) {
	if len(roles) == 0 {
		roles = Roles
	}
	rows, err := s.pool.Query(ctx, `SELECT `+userColumns+` FROM users WHERE role = ANY($1) ORDER BY email LIMIT 1000`, roles)
	if err != nil {
		return nil, wrap("users", err)
	}
	list, err := pgx.CollectRows(rows, scanUser)
	return list, wrap("users", err)
}

// UserFilter says which users to return; empty fields mean any.
type UserFilter struct {
	Text     string // part of the address or of the name
	Role     Role
	Disabled *bool
	After    string // address after which to go on
	Limit    int    // 0: 50; at most 200
}

// FindUsers lists users by address.
func (s *Store) FindUsers(ctx context.Context, f UserFilter) ([]User, error) {
	if f.Limit <= 0 {
		f.Limit = 50
	}
	rows, err := s.pool.Query(ctx, `
		SELECT `+userColumns+` FROM users
		WHERE email > $1 AND ($2 = '' OR strpos(email, lower($2)) > 0 OR strpos(lower(name), lower($2)) > 0)
			AND ($3 = '' OR role = $3) AND ($4::boolean IS NULL OR (disabled_at IS NOT NULL) = $4)
		ORDER BY email LIMIT $5`, f.After, clip(f.Text, 300), f.Role, f.Disabled, min(f.Limit, 200))
	if err != nil {
		return nil, wrap("find users", err)
	}
	list, err := pgx.CollectRows(rows, scanUser)
	return list, wrap("find users", err)
}

// Addresses are the e-mail addresses of users, by id; those that are not there are left out.
func (s *Store) Addresses(ctx context.Context, ids []string) (map[string]string, error) {
	out := map[string]string{}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !validID(id) })
	if len(ids) == 0 {
		return out, nil
	}
	rows, err := s.pool.Query(ctx, `SELECT id::text, email FROM users WHERE id = ANY($1::uuid[])`, ids)
	if err != nil {
		return nil, wrap("addresses", err)
	}
	var id, email string
	_, err = pgx.ForEachRow(rows, []any{&id, &email}, func() error { out[id] = email; return nil })
	return out, wrap("addresses", err)
}

// SetPassword gives the user a new password (empty: a generated one, returned) and ends all its sessions.
func (s *Store) SetPassword(ctx context.Context, id, password, actor string) (string, error) {
	u, err := s.User(ctx, id)
	if err != nil {
		return "", err
	}
	if password == "" {
		password = generatePassword()
	}
	hash, err := s.hashPassword(ctx, password, u.Email)
	if err != nil {
		return "", err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		return storePassword(ctx, tx, id, hash, actor, map[string]any{})
	})
	s.forget()
	return password, wrap("set password", err)
}

// SetRole changes what the user may do and ends all its sessions. The last owner and the last who administers keep the
// role (ErrConflict).
func (s *Store) SetRole(ctx context.Context, id string, role Role, actor string) error {
	if !role.Valid() {
		return &InvalidError{"role", wantRole}
	}
	return s.changeUser(ctx, id, role, "user.role", actor, `UPDATE users SET role = $2 WHERE id = $1`, id, role)
}

// Disable keeps the user from signing in and ends all its sessions. The last owner and the last who administers cannot be
// disabled (ErrConflict).
func (s *Store) Disable(ctx context.Context, id, actor string) error {
	return s.changeUser(ctx, id, "", "user.disable", actor, `UPDATE users SET disabled_at = coalesce(disabled_at, now()) WHERE id = $1`, id)
}

// Enable takes Disable back.
func (s *Store) Enable(ctx context.Context, id, actor string) error {
	return s.changeUser(ctx, id, RoleOwner, "user.enable", actor, `UPDATE users SET disabled_at = NULL WHERE id = $1`, id)
}

// changeUser carries out sql in one transaction with its audit row. after is the role that the user acts with afterwards,
// RoleOwner where nothing is taken away.
func (s *Store) changeUser(ctx context.Context, id string, after Role, act, actor, sql string, args ...any) error {
	if !validID(id) {
		return wrap(act, ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		return changeUser(ctx, tx, id, after, act, actor, sql, args...)
	})
	s.forget()
	return wrap(act, err)
}

func changeUser(ctx context.Context, tx pgx.Tx, id string, after Role, act, actor, sql string, args ...any) error {
	// All who administer are locked, in order, so that two of them cannot remove each other at the same moment.
	rows, err := tx.Query(ctx, `
		SELECT `+userColumns+` FROM users
		WHERE role IN ('admin', 'owner') AND disabled_at IS NULL
		ORDER BY id FOR UPDATE`)
	if err != nil {
		return err
	}
	admins, err := pgx.CollectRows(rows, scanUser)
	if err != nil {
		return err
	}
	if lastOfKind(admins, id, after) {
		return ErrConflict
	}
	old, err := userState(ctx, tx, id)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return err
	}
	fresh, err := userState(ctx, tx, id)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM sessions WHERE user_id = $1`, id); err != nil {
		return err
	}
	return audit(ctx, tx, actor, act, id, map[string]any{"old": old, "new": fresh})
}

// userState is what the audit log keeps of a user before and after a change; the row stays locked.
func userState(ctx context.Context, tx pgx.Tx, id string) (map[string]any, error) {
	var role Role
	var disabled bool
	err := tx.QueryRow(ctx, `SELECT role, disabled_at IS NOT NULL FROM users WHERE id = $1 FOR UPDATE`, id).Scan(&role, &disabled)
	return map[string]any{"role": role, "disabled": disabled}, err
}

// lastOfKind says whether the user's change to the role after would leave nobody who administers, or no owner where there
// is one.
func lastOfKind(admins []User, id string, after Role) bool {
	owners := 0
	var changed *User
	for i, u := range admins {
		if u.Role == RoleOwner {
			owners++
		}
		if u.ID == id {
			changed = &admins[i]
		}
	}
	switch {
	case changed == nil:
		return false
	case changed.Role == RoleOwner && owners == 1:
		return after != RoleOwner
	}
	return len(admins) == 1 && !after.Admin()
}

// SetLanguage keeps the language, a BCP 47 tag, in which the user reads the pages.
func (s *Store) SetLanguage(ctx context.Context, id, tag, actor string) error {
	if !validID(id) {
		return wrap("set language", ErrNotFound)
	}
	if len(tag) > 35 { // the longest that RFC 5646 asks to be supported
		return &InvalidError{"language", "must be a language tag such as zh-Hant"}
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `UPDATE users SET language = $2 WHERE id = $1 AND language <> $2`, id, tag)
		if err != nil || done.RowsAffected() == 0 { // the same again is no act
			return err
		}
		return audit(ctx, tx, actor, "user.language", id, map[string]any{"language": tag})
	})
	s.forget()
	return wrap("set language", err)
}
