package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store keeps users, sessions, keys and usage in Postgres. Its methods may be called at the same time.
type Store struct {
	pool   *pgxpool.Pool
	hasher *hasher
	known  known[User]
	keys   known[Key]
	ledger ledger
}

// NewStore uses the pool; the caller closes it.
func NewStore(pool *pgxpool.Pool) *Store {
	return &Store{pool: pool, hasher: newHasher(), known: known[User]{clock: time.Now}, keys: known[Key]{clock: time.Now}}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// validID says whether the string may be compared with a uuid column; anything else names no row.
func validID(id string) bool {
	_, err := uuid.Parse(id)
	return err == nil && len(id) == 36
}

func audit(ctx context.Context, tx pgx.Tx, actor, act, subject string, detail any) error {
	if actor == "" {
		actor = "system"
	}
	b, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `SELECT audit_append($1, $2, $3, $4)`, actor, act, subject, b)
	return err
}

// wrap adds the operation to an error of the database; sentinels and typed errors pass through unchanged.
func wrap(op string, err error) error {
	var invalid *InvalidError
	var limit *LimitError
	var pg *pgconn.PgError
	switch {
	case err == nil, errors.As(err, &invalid), errors.As(err, &limit), errors.Is(err, ErrDenied), errors.Is(err, ErrBusy), errors.Is(err, ErrNoAccount), errors.Is(err, ErrNotFound), errors.Is(err, ErrConflict):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%s: %w", op, ErrNotFound)
	case errors.As(err, &pg) && pg.Code == "23505": // unique_violation
		return fmt.Errorf("%s: %w", op, ErrConflict)
	}
	return fmt.Errorf("account: %s: %w", op, err)
}
