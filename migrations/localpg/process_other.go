//go:build !unix

package localpg

import (
	"context"
	"errors"
	"os"
	"os/exec"
)

var errUnsupported = errors.New("a private PostgreSQL is not supported on this system; give the address of a server with --database-url")

var interruptSignal, quitSignal, haltSignal os.Signal = os.Interrupt, os.Kill, os.Kill

type account struct{}

func (account) command(ctx context.Context, dir, path string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, path, args...)
}
func (account) own(string) error               { return nil }
func (account) canReach(string) error          { return nil }
func chooseAccount(string) (account, error)    { return account{}, errUnsupported }
func prepareDir(string) (account, error)       { return account{}, errUnsupported }
func lockDir(string) (*os.File, error)         { return nil, errUnsupported }
func ownGroup(*exec.Cmd)                       {}
func dieWithParent(*exec.Cmd)                  {}
func signalProcess(pid int, _ os.Signal) error { return errUnsupported }
func isPostgres(int) bool                      { return false }
func childrenOf(int) []int                     { return nil }
