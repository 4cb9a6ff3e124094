package localpg

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// clusterMajor is the major version of the cluster in data, 0 when there is none.
func clusterMajor(data string) (int, error) {
	b, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(data); err == nil {
			return 0, fmt.Errorf("%s exists but is no PostgreSQL cluster (no PG_VERSION); move it away", data)
		}
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("%s/PG_VERSION says %q: not a version rankloop can run", data, bytes.TrimSpace(b))
	}
	return major, nil
}

// ensurePassword reads the password file, or writes a new one where there is no cluster yet.
func ensurePassword(dir string, who account, clusterExists bool) (string, error) {
	path := filepath.Join(dir, "password")
	b, err := os.ReadFile(path)
	if err == nil && len(bytes.TrimSpace(b)) > 0 {
		return string(bytes.TrimSpace(b)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if clusterExists {
		return "", fmt.Errorf("%s is missing: the cluster beside it can't be entered without its password", path)
	}
	raw := make([]byte, 24)
	rand.Read(raw)
	password := hex.EncodeToString(raw)
	if err := writeFile(path, password+"\n", who); err != nil {
		return "", err
	}
	return password, nil
}

// writeFile writes a 0600 file of the server's user, whole or not at all.
func writeFile(path, content string, who account) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	if err := who.own(tmp.Name()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// initCluster makes the cluster in a folder beside its final place and renames it, so that a killed initdb leaves
// nothing that looks like a cluster.
func (s *Server) initCluster(ctx context.Context) error {
	leftovers, err := filepath.Glob(filepath.Join(s.cfg.Dir, "data.new-*"))
	if err != nil {
		return err
	}
	for _, dir := range leftovers {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	fresh := filepath.Join(s.cfg.Dir, "data.new-"+strconv.Itoa(os.Getpid()))
	s.cfg.Logf("initialising PostgreSQL %s in %s", s.bin.version, s.cfg.Dir)
	// C.UTF-8 sorts by code point with Unicode's upper and lower case; systems without it get C.
	for _, locale := range []string{"C.UTF-8", "C"} {
		args := []string{"-D", fresh, "-U", superuser, "-A", "scram-sha-256", "--pwfile", filepath.Join(s.cfg.Dir, "password"),
			"-E", "UTF8", "--locale", locale}
		if s.cfg.Temporary {
			args = append(args, "--no-sync")
		}
		out, err := s.who.command(ctx, s.cfg.Dir, s.bin.path("initdb"), args...).CombinedOutput()
		if err == nil {
			return os.Rename(fresh, s.data())
		}
		os.RemoveAll(fresh)
		if !bytes.Contains(out, []byte("invalid locale")) {
			return fmt.Errorf("initdb: %w\n%s", err, bytes.TrimSpace(out))
		}
	}
	return errors.New("initdb: no usable locale (tried C.UTF-8 and C)")
}

// chooseAddress prefers a socket in the folder; the path of one is limited to 107 bytes on Linux, 103 elsewhere.
func (s *Server) chooseAddress() (address, error) {
	dir := filepath.Join(s.cfg.Dir, "socket")
	if len(filepath.Join(dir, ".s.PGSQL."+strconv.Itoa(socketPort))) <= 103 {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return address{}, err
		}
		return address{socketDir: dir, port: socketPort}, s.who.own(dir)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return address{}, err
	}
	defer l.Close()
	return address{port: l.Addr().(*net.TCPAddr).Port}, nil
}

// arguments of the server.
func (s *Server) arguments() []string {
	settings := map[string]string{
		"port":                    strconv.Itoa(s.addr.port),
		"listen_addresses":        "",
		"unix_socket_directories": s.addr.socketDir,
		"unix_socket_permissions": "0700",
		"max_connections":         "200",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"logging_collector":       "off",
		"log_destination":         "stderr",
	}
	if s.addr.socketDir == "" {
		settings["listen_addresses"] = "127.0.0.1"
	}
	if s.cfg.Temporary {
		for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
			settings[name] = "off"
		}
	}
	for name, value := range s.cfg.Settings {
		settings[name] = value
	}
	args := []string{"-D", s.data()}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	return args
}

// ensureDatabase makes the configured database.
func (s *Server) ensureDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.addr.url(s.password, "postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, s.cfg.Database).Scan(&there); err != nil || there {
		return err
	}
	_, err = conn.Exec(ctx, `CREATE DATABASE `+pgx.Identifier{s.cfg.Database}.Sanitize())
	return err
}

// postmaster is what postmaster.pid says about a running (or dead) server.
type postmaster struct {
	pid   int
	addr  address
	ready bool // takes connections
}

func readPostmaster(data string) (postmaster, error) {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return postmaster{}, err
	}
	// Lines: pid, data folder, start time, port, socket folder, listen address, shared memory, status.
	lines := strings.Split(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid == 0 {
		return postmaster{}, fmt.Errorf("%s/postmaster.pid can't be read", data)
	}
	pm := postmaster{pid: max(pid, -pid)}
	if len(lines) > 4 {
		pm.addr.port, _ = strconv.Atoi(strings.TrimSpace(lines[3]))
		pm.addr.socketDir = strings.TrimSpace(lines[4])
	}
	pm.ready = len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready"
	return pm, nil
}

func (pm postmaster) alive() bool { return isPostgres(pm.pid) }

// stopOrphan ends a server that a killed owner left behind. The folder's lock is held, so nobody owns it.
func (s *Server) stopOrphan(ctx context.Context) error {
	pm, err := readPostmaster(s.data())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || !pm.alive() {
		// Left by a kill or a power cut. PostgreSQL checks the id only by number: where another process of this user has
		// it by now, it would refuse to start for ever. Its shared memory check still guards the data.
		return os.Remove(filepath.Join(s.data(), "postmaster.pid"))
	}
	s.cfg.Logf("stopping PostgreSQL (process %d) that an earlier process left behind", pm.pid)
	signals := []os.Signal{interruptSignal, quitSignal}
	for _, sig := range signals {
		if err := signalProcess(pm.pid, sig); err != nil {
			return fmt.Errorf("stopping the server left behind (process %d): %w", pm.pid, err)
		}
		for deadline := time.Now().Add(stopTimeout / 2); time.Now().Before(deadline); {
			if !pm.alive() {
				return nil
			}
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("the server left behind (process %d) does not end", pm.pid)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
