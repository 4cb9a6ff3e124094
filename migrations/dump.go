package migrations

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Dump is the content of a database at one instant, to be read table by table. It is text of COPY, which every PostgreSQL reads.
type Dump struct {
	Schema    int64            `json:"schema"`    // version, see Status
	Tables    []DumpTable      `json:"tables"`    // in the order of reading
	Sequences map[string]int64 `json:"sequences"` // last value given out; those that gave none out are left out

	tx pgx.Tx
}

// DumpTable is a table and those of its columns that hold something of their own.
type DumpTable struct {
	Name    string   `json:"name"` // with its schema
	Columns []string `json:"columns"`
}

// own are the tables that say where the schema is; they are made by migrating.
const own = `'schema_migrations', 'schema_marker', 'river_migration'`

// ReadDump opens a dump of a database that is as this binary needs it, and calls f; rows that come meanwhile are not in it.
func ReadDump(ctx context.Context, databaseURL string, f func(*Dump) error) error {
	s, err := ReadStatus(ctx, databaseURL)
	if err != nil {
		return err
	}
	if !s.OK() {
		return fmt.Errorf("migrations: dump: the database is at version %d of the schema, not at %d: migrate first", s.Version, s.Latest)
	}
	err = direct(ctx, databaseURL, func(conn *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			d, err := openDump(ctx, tx)
			if err != nil {
				return err
			}
			d.Schema = s.Version
			return f(d)
		})
	})
	if err != nil {
		return fmt.Errorf("migrations: dump: %w", err)
	}
	return nil
}

func openDump(ctx context.Context, tx pgx.Tx) (*Dump, error) {
	d := &Dump{tx: tx, Sequences: map[string]int64{}}
	rows, err := tx.Query(ctx, `
		SELECT format('%I.%I', n.nspname, c.relname), array_agg(quote_ident(a.attname) ORDER BY a.attnum)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relkind = 'r' AND n.nspname IN ('public', '`+RiverSchema+`') AND c.relname NOT IN (`+own+`)
			AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
		GROUP BY 1 ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	if d.Tables, err = pgx.CollectRows(rows, pgx.RowToStructByPos[DumpTable]); err != nil {
		return nil, err
	}
	if rows, err = tx.Query(ctx, `SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences
		WHERE schemaname IN ('public', '`+RiverSchema+`') AND last_value IS NOT NULL`); err != nil {
		return nil, err
	}
	var name string
	var last int64
	_, err = pgx.ForEachRow(rows, []any{&name, &last}, func() error { d.Sequences[name] = last; return nil })
	return d, err
}

// Copy writes the rows of a table, one a line, and returns how many.
func (d *Dump) Copy(ctx context.Context, t DumpTable, w io.Writer) (int64, error) {
	tag, err := d.tx.Conn().PgConn().CopyTo(ctx, w, fmt.Sprintf(`COPY %s (%s) TO STDOUT`, t.Name, strings.Join(t.Columns, ", ")))
	return tag.RowsAffected(), err
}

// Strings runs a query of one column of text on the same instant.
func (d *Dump) Strings(ctx context.Context, sql string) ([]string, error) {
	rows, err := d.tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// ErrNotEmpty says that a database holds something that a dump would replace.
var ErrNotEmpty = errors.New("the database is not empty")

// Load is a database that a dump is read into.
type Load struct {
	tx    pgx.Tx
	known map[string]bool // tables of the schema
}

// LoadDump brings an empty database to the version of the schema that the dump was made at, calls f to fill it in one transaction, and
// migrates on to this binary's version. Constraints and triggers, which held when the rows were written, are not run again; that takes
// a superuser, or the right to set session_replication_role.
func LoadDump(ctx context.Context, databaseURL string, d Dump, f func(*Load) error) error {
	err := upTo(ctx, databaseURL, files(), d.Schema)
	if err == nil {
		err = direct(ctx, databaseURL, func(conn *pgx.Conn) error {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return load(ctx, tx, d, f) })
		})
	}
	if err == nil {
		err = up(ctx, databaseURL, files())
	}
	if err != nil {
		return fmt.Errorf("migrations: load: %w", err)
	}
	return nil
}

// upTo applies what is lacking up to a version.
func upTo(ctx context.Context, url string, files fs.FS, version int64) error {
	s, err := status(ctx, url, files)
	if err != nil {
		return err
	}
	if version > s.Latest {
		return fmt.Errorf("the dump is of version %d of the schema, this program knows %d: use a newer program", version, s.Latest)
	}
	if s.Version > version {
		return ErrNotEmpty
	}
	return locked(ctx, url, func(conn *pgx.Conn) error {
		err := withMigrate(ctx, conn, files, func(s *session) error {
			return s.settle(ctx, func() error { return s.m.Migrate(uint(version)) })
		})
		if err != nil {
			return err
		}
		return riverMigrate(ctx, url, "up")
	})
}

func load(ctx context.Context, tx pgx.Tx, d Dump, f func(*Load) error) error {
	if _, err := tx.Exec(ctx, `SET LOCAL session_replication_role = replica`); err != nil {
		return err
	}
	there, err := openDump(ctx, tx)
	if err != nil {
		return err
	}
	l := &Load{tx: tx, known: map[string]bool{}}
	names := make([]string, len(there.Tables))
	for i, t := range there.Tables {
		names[i], l.known[t.Name] = t.Name, true
	}
	for _, t := range []string{"users", "prompts", "model_versions"} {
		var some bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+t+`)`).Scan(&some); err != nil {
			return err
		}
		if some {
			return ErrNotEmpty
		}
	}
	if _, err := tx.Exec(ctx, `TRUNCATE `+strings.Join(names, ", ")); err != nil {
		return err
	}
	if err := f(l); err != nil {
		return err
	}
	for name, last := range d.Sequences {
		if _, err := tx.Exec(ctx, `SELECT setval($1::regclass, $2)`, name, last); err != nil {
			return err
		}
	}
	return nil
}

// Copy fills a table with rows as Dump.Copy wrote them, and returns how many.
func (l *Load) Copy(ctx context.Context, t DumpTable, r io.Reader) (int64, error) {
	if !l.known[t.Name] {
		return 0, fmt.Errorf("there is no table %s", t.Name)
	}
	tag, err := l.tx.Conn().PgConn().CopyFrom(ctx, r, fmt.Sprintf(`COPY %s (%s) FROM STDIN`, t.Name, strings.Join(t.Columns, ", ")))
	if err != nil {
		return 0, fmt.Errorf("table %s: %w", t.Name, err)
	}
	return tag.RowsAffected(), nil
}

// Exec runs a statement on what has been filled.
func (l *Load) Exec(ctx context.Context, sql string, args ...any) error {
	_, err := l.tx.Exec(ctx, sql, args...)
	return err
}

// Strings runs a query of one column of text on what has been filled.
func (l *Load) Strings(ctx context.Context, sql string) ([]string, error) {
	rows, err := l.tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
