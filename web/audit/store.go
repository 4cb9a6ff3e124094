package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Entry is one act.
type Entry struct {
	ID      int64           `json:"id"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"` // user:<id>, key:<id>, system:<what>
	Act     string          `json:"act"`   // <room>.<verb>
	Subject string          `json:"subject"`
	Detail  json.RawMessage `json:"detail"`
	Sealed  bool            `json:"sealed"` // part of the hash chain already
}

// Query says which entries to return; an empty field means any.
type Query struct {
	Actor   string // whole
	Act     string // whole, or a prefix that ends in a dot: "user."
	Subject string // whole
	Before  int64  // only ids below; 0 = from the newest
	Limit   int    // 0 = 100; at most 1000
}

// Store reads the audit log, and writes what no other room does.
type Store struct{ pool *pgxpool.Pool }

// NewStore uses the pool; the caller closes it.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Append writes an entry of its own, for acts that other programs carry out and that have no transaction here.
func (s *Store) Append(ctx context.Context, actor, act, subject string, detail map[string]any) error {
	if _, err := s.pool.Exec(ctx, `SELECT audit_append($1, $2, $3, $4)`, actor, act, subject, detail); err != nil {
		return fmt.Errorf("audit: append %s: %w", act, err)
	}
	return nil
}

// Search returns entries, newest first.
func (s *Store) Search(ctx context.Context, q Query) ([]Entry, error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	rows, err := s.pool.Query(ctx, `
		SELECT id, at, actor, act, subject, detail, NOT EXISTS (SELECT FROM audit_pending u WHERE u.id = audit.id)
		FROM audit
		WHERE ($1 = '' OR actor = $1)
			AND ($2 = '' OR act = $2 OR (right($2, 1) = '.' AND starts_with(act, $2)))
			AND ($3 = '' OR subject = $3)
			AND ($4 = 0 OR id < $4)
		ORDER BY id DESC LIMIT $5`, q.Actor, q.Act, q.Subject, q.Before, min(q.Limit, 1000))
	if err != nil {
		return nil, fmt.Errorf("audit: search: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Entry, error) {
		var e Entry
		err := row.Scan(&e.ID, &e.At, &e.Actor, &e.Act, &e.Subject, &e.Detail, &e.Sealed)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("audit: search: %w", err)
	}
	return list, nil
}

// Verdict is what a walk along the hash chain found.
type Verdict struct {
	Checked  int64  `json:"checked"`  // entries in the chain
	Unsealed int64  `json:"unsealed"` // entries that are not yet in it
	Broken   *int64 `json:"broken"`   // id of the first entry that does not fit; null: all fit
}

// Verify recomputes the hash chain.
func (s *Store) Verify(ctx context.Context) (Verdict, error) {
	var v Verdict
	err := s.pool.QueryRow(ctx, `SELECT checked, unsealed, broken FROM audit_verify()`).Scan(&v.Checked, &v.Unsealed, &v.Broken)
	if err != nil {
		return v, fmt.Errorf("audit: verify: %w", err)
	}
	return v, nil
}

// Unsealed counts the entries that are not part of the hash chain yet, and says how old the first of them is.
func (s *Store) Unsealed(ctx context.Context) (n int64, oldest time.Duration, err error) {
	var seconds float64
	err = s.pool.QueryRow(ctx, `SELECT count(*), coalesce(extract(epoch FROM now() - min(a.at)), 0)::float8 FROM audit_pending u JOIN audit a USING (id)`).Scan(&n, &seconds)
	if err != nil {
		return 0, 0, fmt.Errorf("audit: unsealed: %w", err)
	}
	return n, time.Duration(seconds * float64(time.Second)), nil
}
