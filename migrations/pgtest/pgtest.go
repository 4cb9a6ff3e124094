// Package pgtest gives a test its own migrated database on a private PostgreSQL.
//
// The first call in a test binary starts a cluster in a temporary folder (no fsync, root or not, PostgreSQL's binaries
// found or fetched as for the demo) and migrates one template database; each test then gets a copy of it, in about
// 100 ms. The cluster and its folder end with the process, also when that is killed. A test binary whose TestMain checks
// for leaked goroutines wraps its M: goleak.VerifyTestMain(pgtest.Wrap(m)).
//
// A missing PostgreSQL fails the test, it never skips it.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rankloop/rankloop/migrations"
	"github.com/rankloop/rankloop/migrations/localpg"
)

const (
	template  = "template_rankloop"
	dirPrefix = "rankloop-pgtest-"
	poolSize  = 16
)

var (
	mu      sync.Mutex
	server  *localpg.Server
	failure error // of the first start, told to every later test
	counter atomic.Int64
)

// New returns a pool on a migrated database of the test's own, closed and dropped when the test ends.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return Open(t, URL(t))
}

// Open returns a pool on url, closed when the test ends.
func Open(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// URL returns the address of a migrated database of the test's own, dropped when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	return create(t, template)
}

// EmptyURL is URL without the migrations.
func EmptyURL(t testing.TB) string {
	t.Helper()
	return create(t, "template0")
}

// Server is the cluster behind the test binary's databases, for tests that kill it.
func Server(t testing.TB) *localpg.Server {
	t.Helper()
	s, err := cluster()
	if err != nil {
		t.Fatalf("pgtest: no PostgreSQL for the test: %v", err)
	}
	return s
}

func create(t testing.TB, from string) string {
	t.Helper()
	s := Server(t)
	name := fmt.Sprintf("test_%d", counter.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	statement := `CREATE DATABASE ` + name + ` TEMPLATE ` + from
	if !strings.HasPrefix(s.Version(), "14.") { // which knows no other way
		statement += ` STRATEGY FILE_COPY`
	}
	if err := admin(ctx, s, statement); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := admin(ctx, s, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return withDatabase(s.URL(), name)
}

// cluster starts the binary's cluster at its first call.
func cluster() (*localpg.Server, error) {
	mu.Lock()
	defer mu.Unlock()
	if server != nil || failure != nil {
		return server, failure
	}
	server, failure = start()
	return server, failure
}

func start() (*localpg.Server, error) {
	sweep()
	dir, err := os.MkdirTemp(folder(), dirPrefix)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s, err := localpg.Start(ctx, localpg.Config{
		Dir:       dir,
		Temporary: true,
		Settings:  map[string]string{"max_connections": "400"},
		Logf:      func(format string, args ...any) { fmt.Fprintf(os.Stderr, "pgtest: "+format+"\n", args...) },
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	err = admin(ctx, s, `CREATE DATABASE `+template)
	if err == nil {
		err = migrations.Up(ctx, withDatabase(s.URL(), template))
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// admin runs one statement on a connection of its own: a pool would show up as leaked goroutines.
func admin(ctx context.Context, s *localpg.Server, statement string) error {
	conn, err := pgx.Connect(ctx, withDatabase(s.URL(), "postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// withDatabase puts another database name into a URL of localpg.
func withDatabase(url, name string) string {
	at := strings.LastIndex(url, "/rankloop?")
	return url[:at+1] + name + strings.TrimPrefix(url[at:], "/rankloop")
}

// sweep removes the folders of test binaries that were killed together with their watchdog.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(folder(), dirPrefix+"*"))
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > time.Minute {
			localpg.RemoveAbandoned(dir)
		}
	}
}

// M is a testing.M that stops the cluster after its tests.
type M struct{ m interface{ Run() int } }

// Wrap is for goleak.VerifyTestMain(pgtest.Wrap(m)).
func Wrap(m *testing.M) M { return M{m} }

// Main runs the tests, stops the cluster and exits: for a TestMain with nothing else to do.
func Main(m *testing.M) { os.Exit(Wrap(m).Run()) }

// Run runs the tests and stops the cluster.
func (m M) Run() int {
	code := m.m.Run()
	mu.Lock()
	defer mu.Unlock()
	if server != nil {
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest: stopping PostgreSQL:", err)
			code = max(code, 1)
		}
	}
	return code
}
