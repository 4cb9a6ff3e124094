package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rankloop/rankloop/migrations"
	"github.com/rankloop/rankloop/migrations/localpg"
)

// databaseFlags choose the Postgres that a command works with.
type databaseFlags struct {
	DatabaseURL string `help:"Use this Postgres (14 or newer) instead of a private one." placeholder:"URL"`
	NoInstall   bool   `help:"Never fetch Postgres; say what to type instead."`
}

// database is an open, migrated Postgres; a private one ends with it.
type database struct {
	URL    string
	Pool   *pgxpool.Pool // requests of people and customers
	Jobs   *pgxpool.Pool // background work, so that training cannot starve labels
	local  *localpg.Server
	traces *tracing // nil: off
}

// open starts or reaches Postgres, migrates it and opens the pools. With share, a private Postgres that another rankloop keeps
// running on the folder is used as it is; without, that is an error.
func (f databaseFlags) open(ctx context.Context, dir string, share bool, log *slog.Logger) (*database, error) {
	db := &database{URL: f.DatabaseURL}
	if url, ok := localpg.Running(filepath.Join(dir, "postgres")); ok && share && db.URL == "" {
		db.URL = url // another rankloop on this folder keeps it
	}
	if db.URL == "" {
		server, err := f.private(ctx, dir, log)
		if err != nil {
			return nil, err
		}
		db.local, db.URL = server, server.URL()
	}
	if err := migrations.Up(ctx, db.URL); err != nil {
		db.Close()
		return nil, fmt.Errorf("migrate: %w", err)
	}
	var err error
	if db.traces, err = openTracing(ctx); err == nil {
		err = db.connect(ctx)
	}
	if err == nil {
		err = checkDurable(ctx, db.Pool)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// connect opens the pools.
func (db *database) connect(ctx context.Context) (err error) {
	if db.Pool, err = openPool(ctx, db.URL, "rankloop", 5*time.Second, db.traces.queries()); err == nil {
		db.Jobs, err = openPool(ctx, db.URL, "rankloop-jobs", time.Minute, db.traces.queries())
	}
	return err
}

// private starts the Postgres of a data folder, and makes it where there is none.
func (f databaseFlags) private(ctx context.Context, dir string, log *slog.Logger) (*localpg.Server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	return localpg.Start(ctx, localpg.Config{
		Dir: filepath.Join(dir, "postgres"), NoInstall: f.NoInstall,
		Logf: func(format string, args ...any) { log.Info(fmt.Sprintf(format, args...)) },
	})
}

// Close closes the pools and stops a private Postgres.
func (db *database) Close() {
	for _, p := range []*pgxpool.Pool{db.Pool, db.Jobs} {
		if p != nil {
			p.Close()
		}
	}
	limit, end := context.WithTimeout(context.Background(), 3*time.Second)
	defer end()
	db.traces.Close(limit)
	if db.local != nil {
		db.local.Stop()
	}
}

func openPool(ctx context.Context, url, name string, statement time.Duration, traces pgx.QueryTracer) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	cfg.MaxConns = int32(4*runtime.NumCPU() + 4)
	cfg.MaxConnLifetime = 30 * time.Minute
	cfg.HealthCheckPeriod = 15 * time.Second
	cfg.ConnConfig.Tracer = traces
	cfg.ConnConfig.ConnectTimeout = 3 * time.Second
	p := cfg.ConnConfig.RuntimeParams
	p["application_name"] = name
	p["statement_timeout"] = fmt.Sprint(statement.Milliseconds())
	p["lock_timeout"] = "2000"
	p["jit"] = "off" // no statement here runs as long as compiling one takes
	p["idle_in_transaction_session_timeout"] = fmt.Sprint(max(10*time.Second, statement).Milliseconds())
	return pgxpool.NewWithConfig(ctx, cfg)
}

// checkDurable refuses a server that may lose what it has acknowledged.
func checkDurable(ctx context.Context, pool *pgxpool.Pool) error {
	want := map[string]string{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "server_encoding": "UTF8"}
	for name, value := range want {
		var got string
		if err := pool.QueryRow(ctx, `SELECT current_setting($1)`, name).Scan(&got); err != nil {
			return fmt.Errorf("database: %w", err)
		}
		if got != value && !(name == "synchronous_commit" && (got == "remote_apply" || got == "remote_write" || got == "local")) {
			return fmt.Errorf("database: %s is %s; rankloop needs %s, so that an acknowledged ranking is never lost", name, got, value)
		}
	}
	return nil
}

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Apply what is missing."`
	Down   migrateDownCmd   `cmd:"" help:"Take everything back: the tables and what is in them."`
	Status migrateStatusCmd `cmd:"" help:"Show the schema's version."`
}

type urlFlag struct {
	DatabaseURL string `required:"" help:"The Postgres to work on." placeholder:"URL"`
}

type migrateUpCmd struct{ urlFlag }

func (migrateUpCmd) Help() string {
	return "Example:\n  rankloop migrate up --database-url postgres://user@localhost/rankloop"
}

func (c migrateUpCmd) Run(ctx context.Context) error { return migrations.Up(ctx, c.DatabaseURL) }

type migrateDownCmd struct {
	urlFlag
	Yes bool `help:"Really: every row is lost."`
}

func (migrateDownCmd) Help() string {
	return "Example:\n  rankloop migrate down --yes --database-url postgres://user@localhost/rankloop"
}

func (c migrateDownCmd) Run(ctx context.Context) error {
	if !c.Yes {
		return usageError{fmt.Errorf("migrate down drops every table; say --yes if that is meant")}
	}
	return migrations.Down(ctx, c.DatabaseURL, 0)
}

type migrateStatusCmd struct{ urlFlag }

func (migrateStatusCmd) Help() string {
	return "Example:\n  rankloop migrate status --database-url postgres://user@localhost/rankloop"
}

func (c migrateStatusCmd) Run(ctx context.Context, io streams) error {
	st, err := migrations.ReadStatus(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(io.out, "%+v\n", st)
	return err
}

// newLog returns a logger that writes lines for people; nothing it is given may be a secret or a body.
func newLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(traceHandler{slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})})
}
