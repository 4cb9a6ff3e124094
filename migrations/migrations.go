package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// RiverSchema is the schema of River's tables; every River client must be configured with it.
const RiverSchema = "river"

// MinServerVersion is the oldest PostgreSQL that rankloop runs on (server_version_num).
const MinServerVersion = 140000

// lockKey is the outer advisory lock ("rankloop" in ASCII).
const lockKey int64 = 0x72616e6b6c6f6f70

// markerTable holds one row per applied file, written in that file's own transaction.
const markerTable = `CREATE TABLE IF NOT EXISTS schema_marker (
	version bigint PRIMARY KEY,
	applied_at timestamptz NOT NULL DEFAULT now()
)`

//go:embed sql/*.sql
var embedded embed.FS

func files() fs.FS {
	sub, err := fs.Sub(embedded, "sql")
	if err != nil {
		panic(err) // the folder is part of the binary
	}
	return sub
}

// Up applies every migration that databaseURL lacks, rankloop's and River's. It may be called by any number of
// processes at once and after any crash of an earlier one.
func Up(ctx context.Context, databaseURL string) error {
	if err := up(ctx, databaseURL, files()); err != nil {
		return fmt.Errorf("migrations: up: %w", err)
	}
	return nil
}

// Down takes back the newest steps migrations of rankloop, or with steps <= 0 all of them and River's tables: every
// row is lost then. River's tables also go when the migration that made their schema is among the steps.
func Down(ctx context.Context, databaseURL string, steps int) error {
	if err := down(ctx, databaseURL, files(), steps); err != nil {
		return fmt.Errorf("migrations: down: %w", err)
	}
	return nil
}

func up(ctx context.Context, url string, files fs.FS) error {
	return locked(ctx, url, func(conn *pgx.Conn) error {
		if err := withMigrate(ctx, conn, files, func(s *session) error { return s.settle(ctx, s.m.Up) }); err != nil {
			return err
		}
		return riverMigrate(ctx, url, rivermigrate.DirectionUp)
	})
}

func down(ctx context.Context, url string, files fs.FS, steps int) error {
	return locked(ctx, url, func(conn *pgx.Conn) error {
		return withMigrate(ctx, conn, files, func(s *session) error {
			// Settle first: what "the newest" is must be known before counting down from it.
			if err := s.settle(ctx, func() error { return nil }); err != nil {
				return err
			}
			applied, err := markers(ctx, conn)
			if err != nil {
				return err
			}
			if steps <= 0 || steps >= len(applied) {
				steps = len(applied)
				if err := riverMigrate(ctx, url, rivermigrate.DirectionDown); err != nil {
					return err
				}
			}
			if steps == 0 {
				return nil
			}
			return s.settle(ctx, func() error { return s.m.Steps(-steps) })
		})
	})
}

// locked runs f on a dedicated connection that holds the outer lock. The connection's end is the lock's end.
func locked(ctx context.Context, url string, f func(conn *pgx.Conn) error) error {
	return direct(ctx, url, func(conn *pgx.Conn) error {
		var version int
		if err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
			return err
		}
		if version < MinServerVersion {
			return fmt.Errorf("PostgreSQL %d or newer is needed, this server is %d.%d",
				MinServerVersion/10000, version/10000, version%10000)
		}
		if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, lockKey); err != nil {
			return fmt.Errorf("waiting for another migration to end: %w", err)
		}
		if err := waitForOrphan(ctx, conn); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, markerTable); err != nil {
			return err
		}
		return f(conn)
	})
}

// direct runs f on a connection of its own, without the limits of requests.
func direct(ctx context.Context, url string, f func(conn *pgx.Conn) error) error {
	cfg, err := parse(url)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return f(conn)
}

// parse reads the URL and drops limits that suit requests but not migrations.
func parse(url string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		delete(cfg.RuntimeParams, name)
	}
	cfg.RuntimeParams["application_name"] = "rankloop-migrate"
	return cfg, nil
}

// session is golang-migrate at work, and the connection that holds the outer lock.
type session struct {
	conn *pgx.Conn
	m    *migrate.Migrate
	drv  database.Driver
	src  source.Driver
}

// withMigrate opens golang-migrate over files on a connection of its own.
func withMigrate(ctx context.Context, conn *pgx.Conn, files fs.FS, f func(*session) error) (err error) {
	src, err := newSource(files)
	if err != nil {
		return err
	}
	drv, err := migratepgx.WithInstance(stdlib.OpenDB(*conn.Config()), &migratepgx.Config{})
	if err != nil {
		return err
	}
	m, err := migrate.NewWithInstance("iofs", src, "pgx5", drv)
	if err != nil {
		return errors.Join(err, drv.Close())
	}
	stop := context.AfterFunc(ctx, func() { m.GracefulStop <- true }) // between two files, never inside one
	defer stop()
	defer func() {
		srcErr, dbErr := m.Close()
		err = errors.Join(err, srcErr, dbErr)
	}()
	return f(&session{conn, m, drv, src})
}

// riverMigrate brings River's tables all the way up or all the way down.
func riverMigrate(ctx context.Context, url string, direction rivermigrate.Direction) error {
	migrator, done, err := riverMigrator(ctx, url)
	if err != nil {
		return err
	}
	defer done()
	opts := &rivermigrate.MigrateOpts{}
	if direction == rivermigrate.DirectionDown {
		opts.TargetVersion = -1
	}
	if _, err := migrator.Migrate(ctx, direction, opts); err != nil {
		return fmt.Errorf("river: %w", err)
	}
	return nil
}

func riverMigrator(ctx context.Context, url string) (m *rivermigrate.Migrator[pgx.Tx], done func(), err error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, nil, err
	}
	if cfg.ConnConfig, err = parse(url); err != nil {
		return nil, nil, err
	}
	cfg.MaxConns = 2
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	m, err = rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: RiverSchema})
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return m, pool.Close, nil
}

// noMore tells that golang-migrate found nothing to do.
func noMore(err error) bool {
	return errors.Is(err, migrate.ErrNoChange) || errors.Is(err, os.ErrNotExist)
}
