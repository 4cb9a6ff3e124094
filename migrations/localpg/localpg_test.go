//go:build unix

package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestDataSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "pg")
	s := begin(t, Config{Dir: dir, NoInstall: true})
	url := s.URL()
	do(t, url, `CREATE TABLE kept AS SELECT 42 AS x`)
	if user := query[string](t, url, `SELECT current_user || '@' || current_database()`); user != "rankloop@rankloop" {
		t.Errorf("connected as %s", user)
	}
	for setting, want := range map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "listen_addresses": "",
		"server_encoding": "UTF8", "TimeZone": "UTC", "password_encryption": "scram-sha-256"} {
		if got := query[string](t, url, `SHOW `+setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	for path, want := range map[string]os.FileMode{"password": 0o600, "": 0o700, "data": 0o700, "socket": 0o700, "lock": 0o600, "postgres.log": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: mode %v, %v; want %o", path, info.Mode(), err, want)
		}
	}
	if _, err := tryQuery[int](t.Context(), strings.Replace(url, "rankloop:", "rankloop:x", 1), `SELECT 1`); err == nil {
		t.Error("a wrong password is let in")
	}

	// An open transaction does not hold the stop up.
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `BEGIN; INSERT INTO kept VALUES (43)`); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stop(t, s)
	stop(t, s) // twice is fine
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if _, ok := Running(dir); ok {
		t.Error("a stopped server is running")
	}

	again := begin(t, Config{Dir: dir, NoInstall: true})
	if again.URL() != url {
		t.Errorf("the URL changed from %s to %s", url, again.URL())
	}
	if got := query[int](t, again.URL(), `SELECT sum(x)::int FROM kept`); got != 42 {
		t.Errorf("after the restart the table has %d, want 42", got)
	}
}

func TestOneOwner(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "pg")
	s := begin(t, Config{Dir: dir, NoInstall: true})
	_, err := Start(t.Context(), Config{Dir: dir, NoInstall: true})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("a second owner: %v, want ErrInUse with the first one's id", err)
	}
	if bin, version, err := Find(t.Context(), Config{Dir: dir}); err != nil || bin != s.bin.dir || version != s.Version() {
		t.Errorf("Find says %s %s, %v", bin, version, err)
	}
	url, ok := Running(dir)
	if !ok || url != s.URL() {
		t.Errorf("Running says %q, %v", url, ok)
	}
	if err := RemoveAbandoned(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("removing a living server's folder: %v", err)
	}
	if query[int](t, url, `SELECT 1`) != 1 {
		t.Error("the first owner's server is gone")
	}
}

// Nothing that was committed is lost when the server is killed, and it comes back by itself.
func TestKilledServerComesBack(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{Dir: filepath.Join(folder(t), "pg"), NoInstall: true})
	do(t, s.URL(), `CREATE TABLE kept (x int)`)
	for i := 1; i <= 3; i++ {
		query[int](t, s.URL(), `INSERT INTO kept VALUES (1) RETURNING x`)
		s.Kill9()
		began := time.Now()
		var n int
		waitFor(t, "the server to come back", func() (ok bool) {
			var err error
			n, err = tryQuery[int](t.Context(), s.URL(), `SELECT count(*)::int FROM kept`)
			return err == nil
		})
		t.Logf("back after %v", time.Since(began))
		if n != i {
			t.Errorf("%d rows after kill %d", n, i)
		}
	}
}

// A backend that is busy when its server is killed holds the memory for a while, and PostgreSQL refuses to start.
func TestKilledServerWithBusyBackend(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{Dir: filepath.Join(folder(t), "pg"), NoInstall: true})
	busy := make(chan error)
	go func() {
		_, err := tryQuery[int](t.Context(), s.URL(), `SELECT count(*)::int FROM generate_series(1, 10000000) x WHERE x % 7 = 3`)
		busy <- err
	}()
	waitFor(t, "the busy backend", func() bool {
		return query[bool](t, s.URL(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%generate_series%' AND pid <> pg_backend_pid() AND state = 'active')`)
	})
	pm, err := readPostmaster(s.data())
	if err != nil {
		t.Fatal(err)
	}
	signalProcess(pm.pid, os.Kill)
	<-busy // answers or breaks
	waitFor(t, "the server to come back", func() bool { _, err := tryQuery[int](t.Context(), s.URL(), `SELECT 1`); return err == nil })
}

// The server ends with its owner, however that ends, and the next owner finds all data.
func TestKilledOwner(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "pg")
	for i := 1; i <= 3; i++ {
		cmd, url := owner(t, self(t), dir)
		if i == 1 {
			do(t, url, `CREATE TABLE kept (x int)`)
		}
		query[int](t, url, `INSERT INTO kept VALUES (1) RETURNING x`)
		pm, err := readPostmaster(filepath.Join(dir, "data"))
		if err != nil || !pm.alive() {
			t.Fatalf("no server: %v", err)
		}
		cmd.Process.Kill()
		cmd.Wait()
		if i == 1 {
			waitFor(t, "the server to end with its owner", func() bool { return !pm.alive() })
		} // else the next owner comes while it is still at it
	}
	s := begin(t, Config{Dir: dir, NoInstall: true})
	if n := query[int](t, s.URL(), `SELECT count(*)::int FROM kept`); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
}

func TestKilledOwnerOfTemporaryFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "pg")
	cmd, _ := owner(t, self(t), dir, childTemporary+"=1")
	cmd.Process.Kill()
	cmd.Wait()
	waitFor(t, "the folder to go", func() bool { _, err := os.Stat(dir); return os.IsNotExist(err) })
}

// Without the kernel's help the watchdog ends the server.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	sleeper := exec.Command("sleep", "100")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	remove := filepath.Join(folder(t), "with space")
	if err := os.Mkdir(remove, 0o700); err != nil {
		t.Fatal(err)
	}
	dog, err := watch(sleeper.Process.Pid, remove)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if err := signalProcess(sleeper.Process.Pid, interruptSignal); err != nil { // alive until now
		t.Fatal(err)
	}
	dog.pipe.Close() // as when this process dies
	sleeper.Wait()
	dog.cmd.Wait()
	if _, err := os.Stat(remove); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

// A server whose owner is gone (and its watchdog too) is taken over.
func TestOrphanIsTakenOver(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "pg")
	s := begin(t, Config{Dir: dir, NoInstall: true})
	do(t, s.URL(), `CREATE TABLE kept AS SELECT 42 AS x`)
	stop(t, s)
	orphan := s.who.command(context.Background(), dir, s.bin.path("postgres"), s.arguments()...)
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { orphan.Wait(); close(ended) }()
	waitFor(t, "the orphan", func() bool { _, ok := Running(dir); return ok })
	url, _ := Running(dir)
	waitFor(t, "the orphan to answer", func() bool { _, err := tryQuery[int](t.Context(), url, `SELECT 1`); return err == nil })

	again := begin(t, Config{Dir: dir, NoInstall: true})
	<-ended
	if got := query[int](t, again.URL(), `SELECT x FROM kept`); got != 42 {
		t.Errorf("got %d", got)
	}
	if pm, err := readPostmaster(again.data()); err != nil || pm.pid == orphan.Process.Pid {
		t.Errorf("the server is still the orphan: %+v, %v", pm, err)
	}
}

// After a power cut the number in postmaster.pid may be another process's by now.
func TestStalePidFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "pg")
	s := begin(t, Config{Dir: dir, NoInstall: true})
	stop(t, s)
	sleeper := s.who.command(context.Background(), "/", "/bin/sleep", "100") // of the user that PostgreSQL runs as
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { sleeper.Process.Kill(); sleeper.Wait() }()
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	text := fmt.Sprintf("%d\n%s\n1700000000\n5432\n%s\n\n  1234567     12345\nready   \n", sleeper.Process.Pid, s.data(), s.addr.socketDir)
	if err := os.WriteFile(pidFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.who.own(pidFile); err != nil {
		t.Fatal(err)
	}
	if _, ok := Running(dir); ok {
		t.Error("another process is taken for a server")
	}
	begin(t, Config{Dir: dir, NoInstall: true})
}

// A path too long for a socket gets a loopback port; a killed initdb leaves nothing that counts.
func TestLongPathAndKilledInit(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), strings.Repeat("long", 25), "pg")
	half := filepath.Join(dir, "data.new-1")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	s := begin(t, Config{Dir: dir, NoInstall: true, Database: `odd "name`})
	if !strings.Contains(s.URL(), "127.0.0.1:") {
		t.Errorf("URL %s", s.URL())
	}
	if got := query[string](t, s.URL(), `SELECT current_database()`); got != `odd "name` {
		t.Errorf("database %s", got)
	}
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Error("the half-made cluster is still there")
	}
	s.Kill9()
	waitFor(t, "the same port again", func() bool { _, err := tryQuery[int](t.Context(), s.URL(), `SELECT 1`); return err == nil })
}

func TestClearRefusals(t *testing.T) {
	t.Parallel()
	newDir := func() string { return filepath.Join(folder(t), "pg") }
	withData := func(files map[string]string) string {
		dir := newDir()
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	other := withData(map[string]string{"data/PG_VERSION": "99\n", "password": "x"})
	for name, tt := range map[string]struct {
		cfg  Config
		want []string
	}{
		"no folder":     {Config{}, []string{"no data folder"}},
		"other version": {Config{Dir: other, NoInstall: true}, []string{"made by PostgreSQL 99", "type: "}},
		"other version, BinDir": {Config{Dir: other, BinDir: fakeBinaries(t, filepath.Join(folder(t), "bin"), "15.1")},
			[]string{"is version 15.1, the cluster needs 99"}},
		"no cluster":   {Config{Dir: withData(map[string]string{"data/x": ""}), NoInstall: true}, []string{"is no PostgreSQL cluster"}},
		"no password":  {Config{Dir: withData(map[string]string{"data/PG_VERSION": "99\n"}), BinDir: fakeBinaries(t, filepath.Join(folder(t), "bin"), "99.1")}, []string{"password is missing"}},
		"old binaries": {Config{Dir: newDir(), BinDir: fakeBinaries(t, filepath.Join(folder(t), "bin"), "13.22")}, []string{"13.22", "14 or newer"}},
		"no binaries":  {Config{Dir: newDir(), BinDir: "/nowhere"}, []string{"/nowhere", "no such file"}},
		"hidden":       {Config{Dir: newDir(), HideSystem: true, NoInstall: true, CacheDir: "/nowhere"}, []string{"no PostgreSQL 14 or newer found", "type: "}},
		"bad setting":  {Config{Dir: newDir(), NoInstall: true, Temporary: true, Settings: map[string]string{"max_connections": "many"}}, []string{"max_connections", "ended at once"}},
	} {
		began := time.Now()
		_, err := Start(t.Context(), tt.cfg)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q in it", name, err, want)
			}
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	if b, err := os.ReadFile(filepath.Join(other, "data", "PG_VERSION")); string(b) != "99\n" {
		t.Errorf("the other version's cluster was touched: %q, %v", b, err)
	}
}
