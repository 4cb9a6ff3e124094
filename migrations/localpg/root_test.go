//go:build unix

package localpg

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Root starts the server as another user, says which folder that user can't enter, and a plain user needs nothing of it.
func TestRootAndOthers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("not root: the other tests are this one's second half already")
		return
	}
	closed := filepath.Join(folder(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{Dir: filepath.Join(closed, "pg"), NoInstall: true})
	if err == nil || !strings.Contains(err.Error(), "can't enter "+closed) {
		t.Errorf("in a folder closed to others: %v", err)
	}

	s := begin(t, Config{Dir: filepath.Join(folder(t), "pg"), NoInstall: true})
	pm, err := readPostmaster(s.data())
	if err != nil {
		t.Fatal(err)
	}
	// Where there is no /proc the server itself has refused to be root.
	if info, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pm.pid))); err == nil && info.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Error("the server runs as root")
	}

	// As nobody: the test binary's own folder is root's, so it goes where all can run it.
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "owner")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	_, url := owner(t, cmd, filepath.Join(dir, "pg"), "HOME="+dir)
	if query[int](t, url, `SELECT 1`) != 1 {
		t.Error("no answer")
	}
}
