package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	launchTries = 20
	maxLog      = 8 << 20 // bytes; a larger log is begun anew at the next start
)

// process is one life of the server. A goroutine waits for it and keeps its thread as long: Linux sends the parent-death
// signal when the thread that started the child ends, not the process.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended; err is set before
	err  error
}

// launch starts the server and returns when it takes connections.
func (s *Server) launch(ctx context.Context) error {
	var last error
	for try := range launchTries {
		s.mu.Lock()
		if s.stopping {
			s.mu.Unlock()
			return errors.New("stopped")
		}
		logAt, err := s.spawn()
		s.mu.Unlock()
		if err != nil {
			return err
		}
		err = s.waitReady(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.process.done:
		default: // alive but not ready: no further try helps
			return errors.Join(err, s.process.stop(stopTimeout))
		}
		tail := s.logSince(logAt)
		last = fmt.Errorf("PostgreSQL ended at once (%v):\n%s", s.process.err, tail)
		if !s.process.signalled() && !transient(tail) {
			return last
		}
		if err := sleep(ctx, min(time.Second, time.Duration(try+1)*100*time.Millisecond)); err != nil {
			return errors.Join(err, last)
		}
	}
	return last
}

// signalled tells that the process, which has ended, was killed; then the next may live.
func (p *process) signalled() bool {
	state := p.cmd.ProcessState
	return state != nil && !state.Exited()
}

// transient tells a refusal that passes: children of a killed server still hold its memory, or a port is taken.
func transient(log string) bool {
	for _, text := range []string{"shared memory block", "is still in use", "lock file", "could not bind", "Address already in use"} {
		if strings.Contains(log, text) {
			return true
		}
	}
	return false
}

// spawn starts the server's process and its watchdog, and returns the log's length before.
func (s *Server) spawn() (logAt int64, err error) {
	logFile, err := s.openLog()
	if err != nil {
		return 0, err
	}
	defer logFile.Close()
	if logAt, err = logFile.Seek(0, io.SeekEnd); err != nil {
		return 0, err
	}
	cmd := s.who.command(context.Background(), s.cfg.Dir, s.bin.path("postgres"), s.arguments()...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	dieWithParent(cmd)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, after the child
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		dog, err := watch(cmd.Process.Pid, s.temporaryDir())
		if err != nil {
			cmd.Process.Kill()
			cmd.Wait()
			started <- err
			return
		}
		started <- nil
		p.err = cmd.Wait()
		dog.stop()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return 0, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	s.process = p
	return logAt, nil
}

func (s *Server) temporaryDir() string {
	if s.cfg.Temporary {
		return s.cfg.Dir
	}
	return ""
}

// watchdog is a shell that ends the server when this process is gone, however it went: it reads from a pipe whose other
// end nobody else holds.
type watchdog struct {
	cmd  *exec.Cmd
	pipe *os.File
}

const watchScript = `read _
kill -INT "$1" 2>/dev/null
n=0
while kill -0 "$1" 2>/dev/null && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done
kill -QUIT "$1" 2>/dev/null
if [ -n "$2" ]; then rm -rf -- "$2"; fi`

func watch(pid int, remove string) (*watchdog, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command("/bin/sh", "-c", watchScript, "rankloop-watchdog", strconv.Itoa(pid), remove)
	cmd.Dir = "/"
	cmd.Stdin = r
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	return &watchdog{cmd, w}, nil
}

func (d *watchdog) stop() {
	d.cmd.Process.Kill()
	d.cmd.Wait()
	d.pipe.Close()
}

// waitReady returns when the server answers a query, or with an error when it has ended or never will.
func (s *Server) waitReady(ctx context.Context) error {
	url := s.addr.url(s.password, "postgres")
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && strings.HasPrefix(pgErr.Code, "28") {
			return fmt.Errorf("the server does not take the password in %s: %w", filepath.Join(s.cfg.Dir, "password"), err)
		}
		select {
		case <-s.process.done:
			return errors.New("ended")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w (last: %v)", ctx.Err(), err)
		case <-time.After(15 * time.Millisecond):
		}
	}
}

func (s *Server) logPath() string { return filepath.Join(s.cfg.Dir, "postgres.log") }

func (s *Server) openLog() (*os.File, error) {
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if info, err := os.Stat(s.logPath()); err == nil && info.Size() > maxLog {
		flags |= os.O_TRUNC
	}
	return os.OpenFile(s.logPath(), flags, 0o600)
}

// logSince is the end of what the server logged after the given length, at most 2,000 bytes.
func (s *Server) logSince(at int64) string {
	b, err := os.ReadFile(s.logPath())
	if err != nil || int64(len(b)) < at {
		return ""
	}
	b = b[at:]
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}

// stop ends the process: fast shutdown, then immediate, then SIGKILL.
func (p *process) stop(limit time.Duration) error {
	for _, sig := range []os.Signal{interruptSignal, quitSignal} {
		p.cmd.Process.Signal(sig)
		select {
		case <-p.done:
			return nil
		case <-time.After(limit / 2):
		}
	}
	p.kill9()
	<-p.done
	return errors.New("PostgreSQL did not stop in time and was killed")
}

// kill9 kills the server and its children. The server is halted first so that it can't clean up after them.
func (p *process) kill9() {
	pid := p.cmd.Process.Pid
	select {
	case <-p.done:
		return
	default:
	}
	signalProcess(pid, haltSignal)
	for _, child := range childrenOf(pid) {
		signalProcess(child, os.Kill)
	}
	p.cmd.Process.Kill()
}
