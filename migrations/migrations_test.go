package migrations_test

import (
	"context"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/rankloop/rankloop/migrations"
	"github.com/rankloop/rankloop/migrations/pgtest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		os.Exit(child(url))
	}
	goleak.VerifyTestMain(pgtest.Wrap(m))
}

func TestUpDownStatus(t *testing.T) {
	ctx, url := t.Context(), pgtest.EmptyURL(t)

	before := status(t, url)
	if before.Version != 0 || before.OK() || len(before.Pending) == 0 || len(before.RiverPending) == 0 {
		t.Errorf("status of an empty database: %+v", before)
	}
	for range 2 { // the second finds nothing to do
		if err := migrations.Up(ctx, url); err != nil {
			t.Fatal(err)
		}
		if after := status(t, url); !after.OK() || after.Version != after.Latest {
			t.Fatalf("status after Up: %+v", after)
		}
	}
	first := schema(t, url)

	// Down one at a time, so that each file is tried by itself.
	for n := len(before.Pending); n > 0; n-- {
		if err := migrations.Down(ctx, url, 1); err != nil {
			t.Fatal(err)
		}
		if after := status(t, url); len(after.Pending) != len(before.Pending)-n+1 || after.Dirty {
			t.Fatalf("status after taking back %d: %+v", len(before.Pending)-n+1, after)
		}
	}
	if left := schema(t, url); strings.Contains(left, "audit") || strings.Contains(left, "river") {
		t.Errorf("left after Down:\n%s", left)
	}
	if err := migrations.Up(ctx, url); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, schema(t, url)); diff != "" {
		t.Errorf("Up after Down made another schema:\n%s", diff)
	}
	if err := migrations.Down(ctx, url, 0); err != nil {
		t.Fatal(err)
	}
	if after := status(t, url); after.Version != 0 || len(after.RiverPending) == 0 {
		t.Errorf("status after Down of all: %+v", after)
	}
}

func TestFailingFileLeavesCleanDatabase(t *testing.T) {
	ctx, url := t.Context(), pgtest.EmptyURL(t)
	files := fstest.MapFS{
		"0001_a.up.sql":   file(`CREATE SCHEMA river; CREATE TABLE a (x int)`),
		"0001_a.down.sql": file(`DROP TABLE a; DROP SCHEMA river`),
		"0002_b.up.sql":   file(`CREATE TABLE b (x int); SELECT 1/0`),
		"0002_b.down.sql": file(`DROP TABLE b`),
	}
	for range 2 {
		err := migrations.UpFiles(ctx, url, files)
		if err == nil || !strings.Contains(err.Error(), "division by zero") {
			t.Fatalf("error %v, want the file's own", err)
		}
		if s := statusOf(t, url, files); s.Dirty || s.Version != 1 {
			t.Fatalf("status after a failing file: %+v", s)
		}
	}
	files["0002_b.up.sql"] = file(`CREATE TABLE b (x int)`)
	if err := migrations.UpFiles(ctx, url, files); err != nil {
		t.Fatal(err)
	}
	// A newer binary was here.
	delete(files, "0002_b.up.sql")
	delete(files, "0002_b.down.sql")
	if s := statusOf(t, url, files); s.OK() || !cmp.Equal(s.Unknown, []int64{2}) {
		t.Errorf("status of a newer database: %+v", s)
	}
}

// The embedded files follow the rules of doc.go.
func TestFiles(t *testing.T) {
	forbidden := regexp.MustCompile(`(?im)^\s*(BEGIN|COMMIT|ROLLBACK|START TRANSACTION)\s*;|CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY|REFERENCES\s+river\.`)
	name := regexp.MustCompile(`^\d{4}_[a-z_]+\.(up|down)\.sql$`)
	pairs := map[string]int{}
	names, err := fs.Glob(migrations.Files(), "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if !name.MatchString(n) {
			t.Errorf("%s: not NNNN_name.up.sql or .down.sql", n)
		}
		base, _, _ := strings.Cut(n, ".")
		pairs[base]++
		b, err := fs.ReadFile(migrations.Files(), n)
		if err != nil {
			t.Fatal(err)
		}
		if m := forbidden.Find(b); m != nil {
			t.Errorf("%s: has %q", n, m)
		}
	}
	for base, n := range pairs {
		if n != 2 {
			t.Errorf("%s: needs both up and down", base)
		}
	}
}

func file(sql string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(sql)} }

func status(t *testing.T, url string) migrations.Status {
	t.Helper()
	return statusOf(t, url, migrations.Files())
}

func statusOf(t *testing.T, url string, files fs.FS) migrations.Status {
	t.Helper()
	s, err := migrations.StatusFiles(t.Context(), url, files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func get[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// schema lists all columns and indexes of a database but the bookkeeping.
func schema(t *testing.T, url string) string {
	t.Helper()
	return get[string](t, connect(t, url), `
		SELECT coalesce(string_agg(line, E'\n' ORDER BY line), '') FROM (
			SELECT concat_ws(' ', table_schema, table_name, column_name, data_type, is_nullable, column_default) AS line
			FROM information_schema.columns
			WHERE table_schema IN ('public', 'river') AND table_name NOT IN ('schema_marker', 'schema_migrations')
			UNION ALL SELECT indexdef FROM pg_indexes
			WHERE schemaname IN ('public', 'river') AND tablename NOT IN ('schema_marker', 'schema_migrations')
			UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
		) lines`)
}
