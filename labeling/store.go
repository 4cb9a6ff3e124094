package labeling

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store is the room's door to Postgres. A public method is one act; where it takes a
// pgx.Tx the caller joins it with acts of other rooms. A Store is safe for use by
// many goroutines.
type Store struct {
	pool      *pgxpool.Pool
	measuring sync.Map // project id -> rates
	part      int      // tasks of a part of the figures; 0: figuresPart
	served    served
}

// NewStore makes a store on a pool whose database is migrated.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// querier is what a pool and a transaction have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// newID is a UUIDv7: ids made later sort later.
func newID() (string, error) {
	id, err := uuid.NewV7()
	return id.String(), err
}

// isID tells whether s can be the id of a row at all; what cannot is not found.
func isID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// wrap names the operation and the id once, and turns "no rows" into ErrNotFound.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}

// violates tells whether err is a unique violation of the named constraint or index.
func violates(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == constraint
}

// deadlocked tells whether Postgres gave this statement up to resolve a deadlock.
func deadlocked(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "40P01"
}

// imported marks labelers who are known from a file alone.
const imported = "import:"

// outside tells whether a labeler is nobody who works here: known from a file alone, or a customer who said what it prefers.
// Such labelers are heard, but neither judged nor paid.
func outside(labelerID string) bool {
	return strings.HasPrefix(labelerID, imported) || strings.HasPrefix(labelerID, customerLabeler)
}

// actor is how the audit log names a labeler.
func actor(labelerID string) string {
	if outside(labelerID) {
		return labelerID
	}
	return "user:" + labelerID
}

// audit appends a row to the audit log in the transaction of the act.
func audit(ctx context.Context, tx pgx.Tx, actor, act, subject string, detail map[string]any) error {
	_, err := tx.Exec(ctx, `SELECT audit_append($1, $2, $3, $4)`, actor, act, subject, detail)
	return err
}
