package setting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store keeps the settings.
type Store struct {
	pool  *pgxpool.Pool
	usual map[Name]float64 // defaults of this process, from its flags
	life  time.Duration
	clock func() time.Time

	mu    sync.Mutex
	known map[Name]float64 // set by admins
	till  time.Time
}

// NewStore uses the pool; the caller closes it. What was read holds for a second: a change in another process is seen no later than
// that.
func NewStore(pool *pgxpool.Pool) *Store {
	return &Store{pool: pool, usual: map[Name]float64{}, life: time.Second, clock: time.Now}
}

func (s *Store) definitions() []Definition {
	list := Definitions()
	for i, d := range list {
		if v, ok := s.usual[d.Name]; ok {
			list[i].Default = v
			list[i].Max = max(d.Max, v)
		}
	}
	return list
}

// Definition is what is known of a setting beforehand, with the default of this process.
func (s *Store) Definition(name Name) (Definition, error) {
	for _, d := range s.definitions() {
		if d.Name == name {
			return d, nil
		}
	}
	return Definition{}, fmt.Errorf("%s: %w", name, ErrNotFound)
}

// Usual replaces the default of a setting, as a flag of this process does. Call it before the store is used.
func (s *Store) Usual(name Name, v float64) { s.usual[name] = v }

// Get is what holds now. Where the database cannot be asked, what was last known holds on.
func (s *Store) Get(name Name) float64 {
	d, err := s.Definition(name)
	if err != nil {
		panic(err) // the names are constants
	}
	if v, ok := s.read()[name]; ok {
		return v
	}
	return d.Default
}

// Chosen is what an admin has set; false where the default holds.
func (s *Store) Chosen(name Name) (float64, bool) {
	v, ok := s.read()[name]
	return v, ok
}

// Int is Get of a whole number.
func (s *Store) Int(name Name) int { return int(s.Get(name)) }

// read returns what admins have set, from memory within a second.
func (s *Store) read() map[Name]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	if now.Before(s.till) {
		return s.known
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if fresh, err := s.load(ctx); err == nil {
		s.known = fresh
	}
	s.till = now.Add(s.life)
	return s.known
}

func (s *Store) load(ctx context.Context) (map[Name]float64, error) {
	rows, err := s.pool.Query(ctx, `SELECT name, value FROM settings`)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	out := map[Name]float64{}
	var name Name
	var value float64
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		out[name] = value
		return nil
	})
	return out, err
}

// List is every setting with what holds now, read anew.
func (s *Store) List(ctx context.Context) ([]Value, error) {
	set, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	var out []Value
	for _, d := range s.definitions() {
		v, ok := set[d.Name]
		if !ok {
			v = d.Default
		}
		out = append(out, Value{d, v, ok})
	}
	return out, nil
}

// NewChange is a change that is asked for.
type NewChange struct {
	Name   Name
	Value  *float64 // nil: the default again
	Actor  string
	Reason string
	Was    *string // the value that the asker saw, as Text; nil: whatever it is
}

// Set changes a setting, and writes the change down. A change to what holds already is none.
func (s *Store) Set(ctx context.Context, n NewChange) error {
	d, err := s.Definition(n.Name)
	if err != nil {
		return err
	}
	if n.Value != nil {
		if err := d.check(*n.Value); err != nil {
			return err
		}
	}
	if len([]rune(n.Reason)) > 1000 {
		return &InvalidError{"reason", "must be at most 1000 characters"}
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return set(ctx, tx, d, n) })
	s.mu.Lock()
	s.till = time.Time{}
	s.mu.Unlock()
	return err
}

func set(ctx context.Context, tx pgx.Tx, d Definition, n NewChange) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('setting'), hashtext($1))`, n.Name); err != nil {
		return err
	}
	var raw []byte
	if err := tx.QueryRow(ctx, `SELECT (SELECT value FROM settings WHERE name = $1)`, n.Name).Scan(&raw); err != nil {
		return err
	}
	old, err := decode(raw)
	if err != nil {
		return err
	}
	holds := d.Default
	if old != nil {
		holds = *old
	}
	if n.Was != nil && *n.Was != Text(holds) {
		return ErrConflict
	}
	if old == nil && n.Value == nil || old != nil && n.Value != nil && *old == *n.Value {
		return nil
	}
	if n.Value == nil {
		_, err = tx.Exec(ctx, `DELETE FROM settings WHERE name = $1`, n.Name)
	} else {
		_, err = tx.Exec(ctx, `INSERT INTO settings (name, value) VALUES ($1, to_jsonb($2::float8)) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, n.Name, *n.Value)
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `WITH c AS (INSERT INTO setting_changes (name, actor, old, new, reason) VALUES ($1, $2, to_jsonb($3::float8), to_jsonb($4::float8), $5) RETURNING name)
		SELECT audit_append($2, 'setting.set', c.name, jsonb_build_object('old', $3::float8, 'new', $4::float8, 'reason', $5::text)) FROM c`, n.Name, n.Actor, old, n.Value, n.Reason)
	return err
}

// History is the changes of a setting, or of all where name is empty, the newest first, before an id (0: from the newest on).
func (s *Store) History(ctx context.Context, name Name, before int64, limit int) ([]Change, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, name, at, actor, old, new, reason FROM setting_changes
		WHERE ($1 = '' OR name = $1) AND ($2 = 0 OR id < $2) ORDER BY id DESC LIMIT $3`, name, before, limit)
	if err != nil {
		return nil, fmt.Errorf("settings: history: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Change, err error) {
		var was, is json.RawMessage
		if err := row.Scan(&c.ID, &c.Name, &c.At, &c.Actor, &was, &is, &c.Reason); err != nil {
			return c, err
		}
		if c.Old, err = decode(was); err == nil {
			c.New, err = decode(is)
		}
		return c, err
	})
}

// Undo puts back what held before a change.
func (s *Store) Undo(ctx context.Context, id int64, actor, reason string) error {
	var name Name
	var raw []byte
	err := s.pool.QueryRow(ctx, `SELECT name, old FROM setting_changes WHERE id = $1`, id).Scan(&name, &raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("settings: undo %d: %w", id, err)
	}
	old, err := decode(raw)
	if err != nil {
		return err
	}
	return s.Set(ctx, NewChange{Name: name, Value: old, Actor: actor, Reason: reason})
}
