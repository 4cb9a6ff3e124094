package localpg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrInUse says that another living process owns the server of this folder.
var ErrInUse = errors.New("data folder is in use")

const (
	superuser       = "rankloop"
	defaultDatabase = "rankloop"
	socketPort      = 5432 // only part of the socket's file name
	stopTimeout     = 60 * time.Second
)

// Config says where the server lives and how it is made.
type Config struct {
	Dir        string               // data folder, made if missing; one per server
	Database   string               // made if missing; default "rankloop"
	BinDir     string               // use exactly these binaries (folder with postgres and initdb)
	HideSystem bool                 // do not look for binaries in the usual folders nor on PATH
	CacheDir   string               // where fetched binaries are kept; default DefaultCacheDir()
	NoInstall  bool                 // never fetch or install binaries
	Settings   map[string]string    // further server settings
	Temporary  bool                 // for tests: no fsync, and the folder is removed with the server or the process
	Logf       func(string, ...any) // says what is done; default silent
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("no data folder given")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, err
	}
	c.Dir = dir
	if c.Database == "" {
		c.Database = defaultDatabase
	}
	if c.CacheDir == "" {
		if c.CacheDir, err = DefaultCacheDir(); err != nil && !c.NoInstall {
			return c, err
		}
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	return c, nil
}

// DefaultDir is the data folder to use where none was chosen: under /var/lib for root (whose home other users can't
// enter), else in the user's home.
func DefaultDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/rankloop", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "rankloop"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "share", "rankloop"), nil
}

// DefaultCacheDir is where fetched binaries are kept.
func DefaultCacheDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/rankloop", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "rankloop"), nil
}

// Server is a running private PostgreSQL owned by this process.
type Server struct {
	cfg      Config
	who      account
	bin      binaries
	addr     address
	password string
	lock     *os.File

	mu       sync.Mutex
	process  *process
	stopping bool
	kept     chan struct{} // closed when the keeper has ended
	err      error         // why the server is gone for good; set before kept is closed
	stopOnce sync.Once
	stopErr  error
}

// Start starts the server of the folder, making the cluster if there is none, and returns when it takes connections.
// ctx bounds the start only.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("localpg: start in %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (_ *Server, err error) {
	s := &Server{cfg: cfg, kept: make(chan struct{})}
	if s.who, err = prepareDir(cfg.Dir); err != nil {
		return nil, err
	}
	if s.lock, err = lockDir(cfg.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.lock.Close()
		}
	}()
	major, err := clusterMajor(s.data())
	if err != nil {
		return nil, err
	}
	if s.bin, err = findBinaries(ctx, cfg, s.who, major); err != nil {
		return nil, err
	}
	if s.password, err = ensurePassword(cfg.Dir, s.who, major != 0); err != nil {
		return nil, err
	}
	if major == 0 {
		if err := s.initCluster(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.stopOrphan(ctx); err != nil {
		return nil, err
	}
	if s.addr, err = s.chooseAddress(); err != nil {
		return nil, err
	}
	if err := s.launch(ctx); err != nil {
		return nil, err
	}
	if err := s.ensureDatabase(ctx); err != nil {
		s.process.stop(stopTimeout)
		return nil, err
	}
	go s.keep()
	return s, nil
}

// URL is the connection string of the database, password included, in the form pgx and libpq read.
func (s *Server) URL() string { return s.addr.url(s.password, s.cfg.Database) }

// Version is the full version of the server, "15.18".
func (s *Server) Version() string { return s.bin.version }

// Done is closed when the server is gone for good: stopped, or dead and not to be brought back. Err tells which.
func (s *Server) Done() <-chan struct{} { return s.kept }

// Err is nil until Done is closed, and after Stop.
func (s *Server) Err() error {
	select {
	case <-s.kept:
		return s.err
	default:
		return nil
	}
}

// Stop ends the server (fast shutdown: open transactions are rolled back) and gives the folder free. It may be called
// more than once.
func (s *Server) Stop() error {
	s.stopOnce.Do(func() {
		s.mu.Lock()
		s.stopping = true
		p := s.process
		s.mu.Unlock()
		s.stopErr = p.stop(stopTimeout)
		<-s.kept
		s.lock.Close()
		if s.cfg.Temporary {
			s.stopErr = errors.Join(s.stopErr, os.RemoveAll(s.cfg.Dir))
		}
	})
	return s.stopErr
}

// Kill9 kills the server and all its children with SIGKILL, as a test of what follows. The server comes back by itself
// after that, as after any crash; clients must connect anew.
func (s *Server) Kill9() {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	p.kill9()
}

// keep brings the server back when it dies although nobody stopped it.
func (s *Server) keep() {
	defer close(s.kept)
	for {
		<-s.process.done
		s.mu.Lock()
		stopping := s.stopping
		s.mu.Unlock()
		if stopping {
			return
		}
		s.cfg.Logf("PostgreSQL ended unexpectedly (%v), starting it again", s.process.err)
		if err := s.launch(context.Background()); err != nil {
			s.mu.Lock()
			if !s.stopping {
				s.err = fmt.Errorf("localpg: PostgreSQL ended and did not start again: %w", err)
				s.cfg.Logf("%v", s.err)
			}
			s.mu.Unlock()
			return
		}
	}
}

func (s *Server) data() string { return filepath.Join(s.cfg.Dir, "data") }

// address is where the server listens: a socket folder, or a loopback port.
type address struct {
	socketDir string
	port      int
}

func (a address) url(password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(superuser, password), Path: "/" + database}
	if a.socketDir != "" {
		u.RawQuery = url.Values{"host": {a.socketDir}, "port": {strconv.Itoa(a.port)}}.Encode()
		return u.String()
	}
	u.Host = "127.0.0.1:" + strconv.Itoa(a.port)
	u.RawQuery = "sslmode=disable"
	return u.String()
}

// Running is the URL of the default database of the server that runs on dir, owned by whichever process. ok is false
// where none runs or its password can't be read.
func Running(dir string) (url string, ok bool) {
	pm, err := readPostmaster(filepath.Join(dir, "data"))
	if err != nil || !pm.ready || !pm.alive() {
		return "", false
	}
	password, err := os.ReadFile(filepath.Join(dir, "password"))
	if err != nil {
		return "", false
	}
	return pm.addr.url(strings.TrimSpace(string(password)), defaultDatabase), true
}

// RemoveAbandoned removes the folder of a Temporary server whose process is gone. A folder that a living process owns is
// left alone.
func RemoveAbandoned(dir string) error {
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	s := &Server{cfg: Config{Dir: dir, Logf: func(string, ...any) {}}}
	if err := s.stopOrphan(context.Background()); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
