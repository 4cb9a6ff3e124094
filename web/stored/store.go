package stored

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrNotFound says that the customer has no stored completion of that id.
var ErrNotFound = errors.New("stored: not found")

// Completion is one that is kept.
type Completion struct {
	ID           string
	CustomerID   string
	KeyID        string
	Created      time.Time // set by the database
	Model        string    // name of the version
	ModelVersion string    // its id
	Body         []byte    // JSON of the answer
	Messages     []byte    // JSON of what was asked; empty in lists
	Metadata     map[string]string
	User         string // of the customer's own, for whom it was
}

// Store keeps completions in Postgres. Its methods may be called at the same time.
type Store struct{ pool *pgxpool.Pool }

// NewStore uses the pool; the caller closes it.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Add keeps a completion, in the transaction of its usage.
func (s *Store) Add(ctx context.Context, tx pgx.Tx, c Completion) error {
	notes, err := notesOf(c.Metadata)
	if err == nil {
		_, err = tx.Exec(ctx, `INSERT INTO stored_completions (id, customer_id, key_id, model, model_version, body, messages, metadata, end_user)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, c.ID, c.CustomerID, c.KeyID, c.Model, c.ModelVersion, c.Body, c.Messages, notes, c.User)
	}
	return wrap("add", err)
}

func notesOf(m map[string]string) ([]byte, error) {
	if m == nil {
		m = map[string]string{}
	}
	return json.Marshal(m)
}

// Get is one completion, with its messages.
func (s *Store) Get(ctx context.Context, customerID, id string) (Completion, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, customer_id, key_id, created_at, model, model_version, body, messages, metadata, end_user
		FROM stored_completions WHERE id = $1 AND customer_id = $2`, id, customerID)
	if err != nil {
		return Completion{}, wrap("get", err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, scan)
	return c, wrap("get", err)
}

func scan(row pgx.CollectableRow) (Completion, error) {
	var c Completion
	err := row.Scan(&c.ID, &c.CustomerID, &c.KeyID, &c.Created, &c.Model, &c.ModelVersion, &c.Body, &c.Messages, &c.Metadata, &c.User)
	return c, err
}

// Query says which completions a list holds.
type Query struct {
	CustomerID string
	After      string            // the one that the last page ended with; empty: from the beginning
	Newest     bool              // the newest first
	Model      string            // name or id of the version; empty: any
	Metadata   map[string]string // all of which a completion must have
	Limit      int
}

// List is a page of completions without their messages, and whether more follow. ErrNotFound: the customer has none that is called After.
func (s *Store) List(ctx context.Context, q Query) (list []Completion, more bool, err error) {
	notes, err := notesOf(q.Metadata)
	if err != nil {
		return nil, false, wrap("list", err)
	}
	if q.After != "" {
		var there bool
		err := s.pool.QueryRow(ctx, `SELECT true FROM stored_completions WHERE id = $1 AND customer_id = $2`, q.After, q.CustomerID).Scan(&there)
		if err != nil {
			return nil, false, wrap("list", err)
		}
	}
	comparison, order := ">", "ASC"
	if q.Newest {
		comparison, order = "<", "DESC"
	}
	rows, err := s.pool.Query(ctx, `SELECT id, customer_id, key_id, created_at, model, model_version, body, ''::bytea, metadata, end_user
		FROM stored_completions
		WHERE customer_id = $1 AND ($2 = '' OR model = $2 OR model_version = $2) AND metadata @> $3
			AND ($4 = '' OR (created_at, id) `+comparison+` (SELECT created_at, id FROM stored_completions WHERE id = $4 AND customer_id = $1))
		ORDER BY created_at `+order+`, id `+order+` LIMIT $5`, q.CustomerID, q.Model, notes, q.After, q.Limit+1)
	if err != nil {
		return nil, false, wrap("list", err)
	}
	if list, err = pgx.CollectRows(rows, scan); err != nil {
		return nil, false, wrap("list", err)
	}
	if len(list) > q.Limit {
		return list[:q.Limit], true, nil
	}
	return list, false, nil
}

// Note replaces a completion's metadata.
func (s *Store) Note(ctx context.Context, customerID, id string, metadata map[string]string) (Completion, error) {
	notes, err := notesOf(metadata)
	if err != nil {
		return Completion{}, wrap("note", err)
	}
	rows, err := s.pool.Query(ctx, `UPDATE stored_completions SET metadata = $3 WHERE id = $1 AND customer_id = $2
		RETURNING id, customer_id, key_id, created_at, model, model_version, body, messages, metadata, end_user`, id, customerID, notes)
	if err != nil {
		return Completion{}, wrap("note", err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, scan)
	return c, wrap("note", err)
}

// Delete forgets a completion.
func (s *Store) Delete(ctx context.Context, customerID, id string) error {
	tag, err := s.pool.Exec(ctx, `DELETE FROM stored_completions WHERE id = $1 AND customer_id = $2`, id, customerID)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	return wrap("delete", err)
}

func wrap(op string, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrNotFound):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNotFound
	}
	return fmt.Errorf("stored: %s: %w", op, err)
}
