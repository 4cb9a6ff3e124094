package migrations_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rankloop/rankloop/migrations"
	"github.com/rankloop/rankloop/migrations/pgtest"
)

// The test binary runs itself as the migrating process.
const (
	childURL   = "RANKLOOP_TEST_MIGRATE_URL"
	childSleep = "RANKLOOP_TEST_MIGRATE_SLEEP" // seconds; empty: the embedded files
)

func child(url string) int {
	var err error
	if sleep := os.Getenv(childSleep); sleep != "" {
		err = migrations.UpFiles(context.Background(), url, slowFiles(sleep))
	} else {
		err = migrations.Up(context.Background(), url)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func start(t *testing.T, url, sleep string) *osexec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(exe)
	cmd.Env = append(os.Environ(), childURL+"="+url, childSleep+"="+sleep)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd
}

// slowFiles have a second migration that sleeps after its work, and counts how often it was done.
func slowFiles(seconds string) fstest.MapFS {
	return fstest.MapFS{
		"0001_a.up.sql":   file(`CREATE SCHEMA river; CREATE TABLE done (what text)`),
		"0001_a.down.sql": file(`DROP TABLE done; DROP SCHEMA river`),
		"0002_b.up.sql":   file(`INSERT INTO done VALUES ('b'); CREATE TABLE b (x int); SELECT pg_sleep(` + seconds + `)`),
		"0002_b.down.sql": file(`DELETE FROM done WHERE what = 'b'; DROP TABLE b; SELECT pg_sleep(` + seconds + `)`),
		"0003_c.up.sql":   file(`INSERT INTO done VALUES ('c')`),
		"0003_c.down.sql": file(`DELETE FROM done WHERE what = 'c'`),
	}
}

func TestFourProcessesAtOnce(t *testing.T) {
	url := pgtest.EmptyURL(t)
	var all []*osexec.Cmd
	for range 4 {
		all = append(all, start(t, url, ""))
	}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Errorf("one of four: %v", err)
		}
	}
	if s := status(t, url); !s.OK() {
		t.Errorf("status after four at once: %+v", s)
	}
}

// A process is killed inside a file. Its backend goes on and commits, or is ended as well; either way the next Up ends
// clean, with each file done once.
func TestUpAfterKill(t *testing.T) {
	for _, orphan := range []string{"commits", "is ended"} {
		t.Run("backend "+orphan, func(t *testing.T) {
			t.Parallel()
			url := pgtest.EmptyURL(t)
			conn := connect(t, url)
			cmd := start(t, url, "2")
			const sleeping = `FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid() AND state = 'active'`
			waitFor(t, func() bool { return get[int](t, conn, `SELECT count(*)::int `+sleeping) == 1 })
			cmd.Process.Kill()
			cmd.Wait()
			if orphan == "is ended" {
				exec(t, conn, `SELECT pg_terminate_backend(pid) `+sleeping)
			}
			if !get[bool](t, conn, `SELECT dirty FROM schema_migrations`) {
				t.Fatal("the killed process left no dirty flag: the test tests nothing")
			}
			if err := migrations.UpFiles(t.Context(), url, slowFiles("0")); err != nil {
				t.Fatal(err)
			}
			if s := statusOf(t, url, slowFiles("0")); !s.OK() || s.Version != 3 {
				t.Errorf("status: %+v", s)
			}
			if got := get[string](t, conn, `SELECT string_agg(what, ',' ORDER BY what) FROM done`); got != "b,c" {
				t.Errorf("files did their work as %q, want b,c", got)
			}
		})
	}
}

// Whatever an interrupted step up or down can leave behind is settled; anything else is refused.
func TestDirtyStates(t *testing.T) {
	for _, tt := range []struct {
		name    string
		to      int // steps taken back from version 3 before
		flagged int
		work    string // what the interrupted file did before the kill, with its marker
		ok      bool
	}{
		{"up to 3 begun, not done", 1, 3, ``, true},
		{"up to 3 done, flag left", 0, 3, ``, true},
		{"up to 1 begun, not done", 3, 1, ``, true},
		{"down to 2 begun, not done", 0, 2, ``, true},
		{"down to 2 done, flag left", 0, 2, `DELETE FROM done WHERE what = 'c'; DELETE FROM schema_marker WHERE version = 3`, true},
		{"down to nothing begun, not done", 2, -1, ``, true},
		{"up to 3 from 1", 2, 3, ``, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, url, files := t.Context(), pgtest.EmptyURL(t), slowFiles("0")
			if err := migrations.UpFiles(ctx, url, files); err != nil {
				t.Fatal(err)
			}
			if tt.to > 0 {
				if err := migrations.DownFiles(ctx, url, files, tt.to); err != nil {
					t.Fatal(err)
				}
			}
			conn := connect(t, url)
			exec(t, conn, tt.work)
			exec(t, conn, `DELETE FROM schema_migrations`)
			exec(t, conn, `INSERT INTO schema_migrations (version, dirty) VALUES ($1, true)`, tt.flagged)
			err := migrations.UpFiles(ctx, url, files)
			if !tt.ok {
				if err == nil || !strings.Contains(err.Error(), "dirty") {
					t.Errorf("error %v, want a refusal", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := statusOf(t, url, files); !s.OK() || s.Version != 3 {
				t.Errorf("status: %+v", s)
			}
			if got := get[string](t, conn, `SELECT string_agg(what, ',' ORDER BY what) FROM done`); got != "b,c" {
				t.Errorf("files did their work as %q, want b,c", got)
			}
		})
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// Waiting for a killed process's backend ends with the caller's patience.
func TestWaitingForOrphanCanBeGivenUp(t *testing.T) {
	url := pgtest.EmptyURL(t)
	conn := connect(t, url)
	cmd := start(t, url, "5")
	waitFor(t, func() bool {
		return get[bool](t, conn, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(5)%' AND pid <> pg_backend_pid())`)
	})
	cmd.Process.Kill()
	cmd.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := migrations.UpFiles(ctx, url, slowFiles("0"))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 3*time.Second {
		t.Errorf("after %v: %v, want the deadline", time.Since(began), err)
	}
}
