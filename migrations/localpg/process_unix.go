//go:build unix

package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

var (
	interruptSignal os.Signal = syscall.SIGINT
	quitSignal      os.Signal = syscall.SIGQUIT
	haltSignal      os.Signal = syscall.SIGSTOP
)

// account is the user that the server runs as. drop is set where this process is root and must become that user.
type account struct {
	name     string
	uid, gid uint32
	drop     bool
}

// chooseAccount picks the server's user: this one, or for root the owner of the cluster, "postgres" or "nobody".
func chooseAccount(data string) (account, error) {
	me := account{name: "user " + strconv.Itoa(os.Geteuid()), uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	if info, err := os.Stat(data); err == nil {
		st := info.Sys().(*syscall.Stat_t)
		if me.uid != 0 && st.Uid != me.uid {
			return me, fmt.Errorf("%s belongs to user %d, this process runs as user %d", data, st.Uid, me.uid)
		}
		if me.uid == 0 && st.Uid != 0 {
			return account{name: "user " + strconv.Itoa(int(st.Uid)), uid: st.Uid, gid: st.Gid, drop: true}, nil
		}
	}
	if me.uid != 0 {
		return me, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return account{name: name, uid: uint32(uid), gid: uint32(gid), drop: true}, nil
		}
	}
	return me, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody to run it as")
}

// command is exec.CommandContext as this account, in dir, with an environment that no PG* variable of the caller enters.
func (a account) command(ctx context.Context, dir, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a.drop {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return cmd
}

// own gives a file or folder to the account.
func (a account) own(path string) error {
	if !a.drop {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// prepareDir makes the data folder, gives it to the server's user and checks that this user can reach it.
func prepareDir(dir string) (account, error) {
	who, err := chooseAccount(filepath.Join(dir, "data"))
	if err != nil {
		return who, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return who, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return who, err
	}
	if err := who.canReach(dir); err != nil {
		return who, err
	}
	return who, who.own(dir)
}

// canReach says which parent of path the account may not enter.
func (a account) canReach(path string) error {
	if !a.drop {
		return nil
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		st, bit := info.Sys().(*syscall.Stat_t), os.FileMode(0o001)
		switch {
		case st.Uid == a.uid:
			bit = 0o100
		case st.Gid == a.gid:
			bit = 0o010
		}
		if info.Mode()&bit == 0 {
			return fmt.Errorf("user %s, whom PostgreSQL runs as, can't enter %s (mode %o): use a folder elsewhere, as %s, or type: chmod o+x %s",
				a.name, dir, info.Mode().Perm(), "/var/lib/rankloop", dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// lockDir takes the folder for this process until the file is closed or the process ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		owner, _ := os.ReadFile(f.Name())
		return nil, fmt.Errorf("%w by process %s: stop that one, or choose another folder", ErrInUse, strings.TrimSpace(string(owner)))
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ownGroup keeps the terminal's Ctrl-C away from a child.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func signalProcess(pid int, sig os.Signal) error {
	err := syscall.Kill(pid, sig.(syscall.Signal))
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// isPostgres tells whether a living process of this number is a PostgreSQL server.
func isPostgres(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, state, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(string(comm), "postgres") && !strings.HasPrefix(state, "Z")
	}
	out, err := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(out), "postgres")
}

// childrenOf lists the child processes of pid.
func childrenOf(pid int) []int {
	out, err := exec.Command("ps", "-A", "-o", "ppid=,pid=").Output()
	if err != nil {
		return childrenByProc(pid)
	}
	var children []int
	for line := range strings.Lines(string(out)) {
		var parent, child int
		if n, _ := fmt.Sscan(line, &parent, &child); n == 2 && parent == pid {
			children = append(children, child)
		}
	}
	return children
}

// childrenByProc is childrenOf on a Linux without ps.
func childrenByProc(pid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var children []int
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var state string
		var parent int
		_, rest, _ := strings.Cut(string(b), ") ")
		if n, _ := fmt.Sscan(rest, &state, &parent); n == 2 && parent == pid {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			children = append(children, child)
		}
	}
	return children
}
