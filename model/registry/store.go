package registry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store reads and writes the tables model_versions, model_parents and serving.
type Store struct{ pool *pgxpool.Pool }

// NewStore returns a Store on the pool.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool} }

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// columns of a Version, in the order of scan; v is model_versions.
const columns = `v.id::text, v.kind, v.name, v.digest, v.round_id::text, v.run_id::text, v.snapshot, v.metrics, v.code, v.created_at, v.weights_gone_at,
	array(SELECT p.parent_id::text FROM model_parents p WHERE p.version_id = v.id ORDER BY p.position)`

func (v *Version) fields() []any {
	return []any{&v.ID, &v.Kind, &v.Name, &v.Digest, &v.RoundID, &v.RunID, &v.Snapshot, &v.Metrics, &v.Code, &v.CreatedAt, &v.GoneAt, &v.Parents}
}

func scan(row pgx.CollectableRow) (Version, error) {
	var v Version
	err := row.Scan(v.fields()...)
	return v, err
}

// program is the version of this program, as far as its build tells: of the module, else the commit, with + where files were changed.
var program = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	code := settings["vcs.revision"]
	if code == "" && info.Main.Version != "(devel)" {
		code = info.Main.Version
	}
	if settings["vcs.modified"] == "true" && code != "" {
		code += "+"
	}
	return code
})

// Register adds a version, or returns the one that is there already with the same kind, digest and run: a repeated last
// step of a run registers nothing twice. ID is chosen where it is empty. Metrics that are not finite are left out.
// Parents must be registered.
func (s *Store) Register(ctx context.Context, tx pgx.Tx, v Version) (Version, error) {
	if err := v.validate(); err != nil {
		return Version{}, err
	}
	if v.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return Version{}, err
		}
		v.ID = id.String()
	}
	if v.Code == "" {
		v.Code = program()
	}
	added, err := tx.Exec(ctx, `
		INSERT INTO model_versions (id, kind, name, digest, round_id, run_id, snapshot, metrics, code)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (kind, digest, coalesce(run_id, '00000000-0000-0000-0000-000000000000')) DO NOTHING`,
		v.ID, v.Kind, v.Name, v.Digest, v.RoundID, v.RunID, v.Snapshot, finite(v.Metrics), v.Code)
	if err != nil {
		return Version{}, fmt.Errorf("registry: register %s %s: %w", v.Kind, v.Digest, err)
	}
	if added.RowsAffected() > 0 {
		for i, parent := range v.Parents {
			if !isID(parent) {
				return Version{}, &InvalidError{"parents", fmt.Sprintf("%q is no version id", parent)}
			}
			ok, err := tx.Exec(ctx, `
				INSERT INTO model_parents (version_id, position, parent_id)
				SELECT $1, $2, id FROM model_versions WHERE id = $3
				ON CONFLICT (version_id, parent_id) DO NOTHING`, v.ID, i, parent)
			if err != nil {
				return Version{}, fmt.Errorf("registry: register %s %s: parent %s: %w", v.Kind, v.Digest, parent, err)
			}
			if ok.RowsAffected() == 0 && !slices.Contains(v.Parents[:i], parent) {
				return Version{}, &InvalidError{"parents", "there is no version " + parent}
			}
		}
	}
	got, err := one(ctx, tx, `SELECT `+columns+` FROM model_versions v
		WHERE kind = $1 AND digest = $2 AND run_id IS NOT DISTINCT FROM $3`, v.Kind, v.Digest, v.RunID)
	if err != nil {
		return Version{}, fmt.Errorf("registry: register %s %s: %w", v.Kind, v.Digest, err)
	}
	return got, nil
}

// Get returns the version of that id.
func (s *Store) Get(ctx context.Context, id string) (Version, error) {
	if !isID(id) {
		return Version{}, fmt.Errorf("registry: version %q: %w", id, ErrNotFound)
	}
	v, err := one(ctx, s.pool, `SELECT `+columns+` FROM model_versions v WHERE v.id = $1`, id)
	if err != nil {
		return Version{}, fmt.Errorf("registry: version %s: %w", id, err)
	}
	return v, nil
}

// Find returns the newest version whose id, name or digest is ref, or whose digest begins with ref (8 characters or more).
func (s *Store) Find(ctx context.Context, ref string) (Version, error) {
	v, err := one(ctx, s.pool, `SELECT `+columns+` FROM model_versions v
		WHERE v.id::text = $1 OR v.name = $1 OR v.digest = $1 OR length($1) >= 8 AND starts_with(v.digest, $1)
		ORDER BY v.created_at DESC, v.id DESC LIMIT 1`, ref)
	if err != nil {
		return Version{}, fmt.Errorf("registry: version %q: %w", ref, err)
	}
	return v, nil
}

// List returns versions, newest first, at most limit; kind "" means all kinds.
func (s *Store) List(ctx context.Context, kind string, limit int) ([]Version, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+columns+` FROM model_versions v
		WHERE $1 IN ('', v.kind) ORDER BY v.created_at DESC, v.id DESC LIMIT $2`, kind, limit)
	if err != nil {
		return nil, fmt.Errorf("registry: list: %w", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("registry: list: %w", err)
	}
	return list, nil
}

// Lineage returns the version and all its ancestors, each once at its smallest depth, nearest first.
func (s *Store) Lineage(ctx context.Context, id string) ([]Ancestor, error) {
	return s.Near(ctx, id, math.MaxInt32)
}

// Near returns the version and its ancestors up to so many steps back, as Lineage does.
func (s *Store) Near(ctx context.Context, id string, depth int) ([]Ancestor, error) {
	if !isID(id) {
		return nil, fmt.Errorf("registry: lineage of %q: %w", id, ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `
		WITH RECURSIVE line (id, depth) AS (
			SELECT id, 0 FROM model_versions WHERE id = $1
			UNION
			SELECT p.parent_id, line.depth + 1 FROM line JOIN model_parents p ON p.version_id = line.id WHERE line.depth < $2
		), nearest AS (
			SELECT id, min(depth) AS depth FROM line GROUP BY id
		)
		SELECT nearest.depth, `+columns+` FROM nearest JOIN model_versions v ON v.id = nearest.id
		ORDER BY nearest.depth, v.created_at DESC, v.id DESC`, id, depth)
	if err != nil {
		return nil, fmt.Errorf("registry: lineage of %s: %w", id, err)
	}
	line, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Ancestor, error) {
		var a Ancestor
		err := row.Scan(append([]any{&a.Depth}, a.fields()...)...)
		return a, err
	})
	if err == nil && len(line) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("registry: lineage of %s: %w", id, err)
	}
	return line, nil
}

// one runs a query for a single version.
func one(ctx context.Context, q querier, sql string, args ...any) (Version, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return Version{}, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return v, err
}

func isID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && len(s) == 36 && id != uuid.Nil
}
