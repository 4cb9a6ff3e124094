package conversation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store is the room's door to Postgres; it is safe for use by many goroutines. owner is always the id of the person who asks:
// what is somebody else's is not found.
type Store struct{ pool *pgxpool.Pool }

// NewStore makes a store on a pool whose database is migrated.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool} }

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func isID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// wrap names the operation once, and turns "no rows" into ErrNotFound.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return fmt.Errorf("conversation: %s: %w", op, err)
}

const columns = `c.id, c.customer_id, c.title, coalesce((SELECT left(t.content, 120) FROM conversation_turns t
	WHERE t.conversation_id = c.id AND t.role = 'user' ORDER BY t.id LIMIT 1), ''), c.training, coalesce(c.leaf::text, ''), c.settings, c.shared_at, c.created_at, c.updated_at`

func scan(row pgx.CollectableRow) (c Conversation, err error) {
	err = row.Scan(&c.ID, &c.Owner, &c.Title, &c.First, &c.Training, &c.Leaf, &c.Settings, &c.SharedAt, &c.CreatedAt, &c.UpdatedAt)
	return c, err
}

// List lists a person's conversations, those that were spoken in last first, at most limit, behind the one with the id before
// ("" = from the newest). With words only those whose title or turns hold them.
func (s *Store) List(ctx context.Context, owner, words, before string, limit int) ([]Conversation, error) {
	if before != "" && !isID(before) {
		return nil, &InvalidError{"before", "must be the id of a conversation"}
	}
	var from *string
	if before != "" {
		from = &before
	}
	rows, err := s.pool.Query(ctx, `SELECT `+columns+` FROM conversations c
		WHERE c.customer_id = $1
			AND ($2::uuid IS NULL OR (c.updated_at, c.id) < (SELECT b.updated_at, b.id FROM conversations b WHERE b.id = $2 AND b.customer_id = $1))
			AND ($3 = '' OR c.title ILIKE $3 OR EXISTS (SELECT FROM conversation_turns t WHERE t.conversation_id = c.id AND t.content ILIKE $3))
		ORDER BY c.updated_at DESC, c.id DESC LIMIT $4`, owner, from, pattern(words), limit)
	if err != nil {
		return nil, wrap("list", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	return list, wrap("list", err)
}

// pattern finds words as they stand, anywhere.
func pattern(words string) string {
	if words = strings.TrimSpace(words); words == "" {
		return ""
	}
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(words) + "%"
}

// Create begins a conversation.
func (s *Store) Create(ctx context.Context, owner string, training bool, settings Settings) (Conversation, error) {
	if err := settings.Check(); err != nil {
		return Conversation{}, err
	}
	rows, err := s.pool.Query(ctx, `INSERT INTO conversations AS c (id, customer_id, training, settings)
		SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM conversations WHERE customer_id = $2) < $5 RETURNING `+columns, newID(), owner, training, settings, MaxConversations)
	if err != nil {
		return Conversation{}, wrap("create", err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrFull
	}
	return c, wrap("create", err)
}

// Get returns a conversation without its turns.
func (s *Store) Get(ctx context.Context, owner, id string) (Conversation, error) {
	if !isID(id) {
		return Conversation{}, wrap("get", ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `SELECT `+columns+` FROM conversations c WHERE c.id = $1 AND c.customer_id = $2`, id, owner)
	if err != nil {
		return Conversation{}, wrap("get", err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, scan)
	return c, wrap("get", err)
}

// Update changes a conversation. after (may be nil) is called in the same transaction where the decision on training changed.
func (s *Store) Update(ctx context.Context, owner, id string, c Change, after func(ctx context.Context, tx pgx.Tx, training bool) error) (Conversation, error) {
	if err := c.check(); err != nil {
		return Conversation{}, err
	}
	if !isID(id) {
		return Conversation{}, wrap("update", ErrNotFound)
	}
	if c.Leaf != nil && !isID(*c.Leaf) {
		return Conversation{}, &InvalidError{"leaf", "must be a turn of the conversation"}
	}
	var out Conversation
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var was bool
		if err := tx.QueryRow(ctx, `SELECT training FROM conversations WHERE id = $1 AND customer_id = $2 FOR UPDATE`, id, owner).Scan(&was); err != nil {
			return err
		}
		if c.Leaf != nil {
			var there bool
			if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM conversation_turns WHERE id = $1 AND conversation_id = $2)`, *c.Leaf, id).Scan(&there); err != nil {
				return err
			}
			if !there {
				return &InvalidError{"leaf", "must be a turn of the conversation"}
			}
		}
		rows, err := tx.Query(ctx, `UPDATE conversations c SET title = coalesce($2, title), training = coalesce($3, training), leaf = coalesce($4::uuid, leaf),
			settings = coalesce($5, settings) WHERE id = $1 RETURNING `+columns, id, c.Title, c.Training, c.Leaf, c.Settings)
		if err != nil {
			return err
		}
		if out, err = pgx.CollectExactlyOneRow(rows, scan); err != nil {
			return err
		}
		if after == nil || out.Training == was {
			return nil
		}
		return after(ctx, tx, out.Training)
	})
	return out, wrap("update", err)
}

// Delete forgets a conversation with all its turns.
func (s *Store) Delete(ctx context.Context, owner, id string) error {
	if !isID(id) {
		return wrap("delete", ErrNotFound)
	}
	tag, err := s.pool.Exec(ctx, `DELETE FROM conversations WHERE id = $1 AND customer_id = $2`, id, owner)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	return wrap("delete", err)
}

// Presets lists a person's presets by name.
func (s *Store) Presets(ctx context.Context, owner string) ([]Preset, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, name, settings FROM chat_presets WHERE customer_id = $1 ORDER BY lower(name), id LIMIT $2`, owner, MaxPresets)
	if err != nil {
		return nil, wrap("presets", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Preset])
	return list, wrap("presets", err)
}

// SavePreset keeps settings under a name; one of the same name is replaced.
func (s *Store) SavePreset(ctx context.Context, owner, name string, settings Settings) (Preset, error) {
	name = strings.TrimSpace(name)
	if name == "" || !text(name) || len([]rune(name)) > maxPreset {
		return Preset{}, &InvalidError{"name", "must be 1 to 60 characters"}
	}
	if err := settings.Check(); err != nil {
		return Preset{}, err
	}
	p := Preset{Name: name, Settings: settings}
	err := s.pool.QueryRow(ctx, `INSERT INTO chat_presets (id, customer_id, name, settings)
		SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM chat_presets WHERE customer_id = $2 AND name <> $3) < $5
		ON CONFLICT (customer_id, name) DO UPDATE SET settings = excluded.settings RETURNING id`, newID(), owner, name, settings, MaxPresets).Scan(&p.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrFull
	}
	return p, wrap("save preset", err)
}

// DeletePreset forgets a preset.
func (s *Store) DeletePreset(ctx context.Context, owner, id string) error {
	if !isID(id) {
		return wrap("delete preset", ErrNotFound)
	}
	tag, err := s.pool.Exec(ctx, `DELETE FROM chat_presets WHERE id = $1 AND customer_id = $2`, id, owner)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	return wrap("delete preset", err)
}
