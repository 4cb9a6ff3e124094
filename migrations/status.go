package migrations

import (
	"context"
	"fmt"
	"io/fs"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivermigrate"
)

// Status is how far a database is behind (or ahead of) this binary.
type Status struct {
	Version      int64   `json:"version"`       // newest applied migration of rankloop, 0 when none
	Latest       int64   `json:"latest"`        // newest one this binary knows
	Pending      []int64 `json:"pending"`       // known and not applied, ascending
	Unknown      []int64 `json:"unknown"`       // applied and not known: a newer binary was here
	Dirty        bool    `json:"dirty"`         // a migration was interrupted; the next Up settles it
	RiverPending []int   `json:"river_pending"` // River's own versions not applied
}

// OK tells that this binary can work on the database as it is.
func (s Status) OK() bool {
	return !s.Dirty && len(s.Pending) == 0 && len(s.Unknown) == 0 && len(s.RiverPending) == 0
}

// ReadStatus compares the database with this binary. It takes no lock and changes nothing.
func ReadStatus(ctx context.Context, databaseURL string) (Status, error) {
	s, err := status(ctx, databaseURL, files())
	if err != nil {
		return Status{}, fmt.Errorf("migrations: status: %w", err)
	}
	return s, nil
}

func status(ctx context.Context, url string, files fs.FS) (Status, error) {
	var s Status
	src, err := newSource(files)
	if err != nil {
		return s, err
	}
	known, err := versions(src)
	if err != nil {
		return s, err
	}
	cfg, err := parse(url)
	if err != nil {
		return s, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return s, err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	var applied []int64
	if there, err := exists(ctx, conn, "schema_marker"); err != nil {
		return s, err
	} else if there {
		if applied, err = markers(ctx, conn); err != nil {
			return s, err
		}
	}
	if there, err := exists(ctx, conn, "schema_migrations"); err != nil {
		return s, err
	} else if there {
		if err := conn.QueryRow(ctx, `SELECT coalesce(bool_or(dirty), false) FROM schema_migrations`).Scan(&s.Dirty); err != nil {
			return s, err
		}
	}
	if len(known) > 0 {
		s.Latest = known[len(known)-1]
	}
	if len(applied) > 0 {
		s.Version = applied[len(applied)-1]
	}
	s.Pending = without(known, applied)
	s.Unknown = without(applied, known)

	migrator, done, err := riverMigrator(ctx, url)
	if err != nil {
		return s, err
	}
	defer done()
	have, err := migrator.ExistingVersions(ctx)
	if err != nil {
		return s, fmt.Errorf("river: %w", err)
	}
	for _, v := range migrator.AllVersions() {
		if !slices.ContainsFunc(have, func(h rivermigrate.Migration) bool { return h.Version == v.Version }) {
			s.RiverPending = append(s.RiverPending, v.Version)
		}
	}
	return s, nil
}

func exists(ctx context.Context, conn *pgx.Conn, table string) (there bool, err error) {
	err = conn.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, table).Scan(&there)
	return there, err
}

// without lists what a has and b has not.
func without(a, b []int64) []int64 {
	var rest []int64
	for _, v := range a {
		if !slices.Contains(b, v) {
			rest = append(rest, v)
		}
	}
	return rest
}
