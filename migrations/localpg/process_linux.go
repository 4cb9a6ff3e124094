package localpg

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel tell the child to shut down when the thread that started it ends.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGINT }
