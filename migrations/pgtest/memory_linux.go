package pgtest

import (
	"os"

	"golang.org/x/sys/unix"
)

// memoryNeeded is what the databases of the largest test binary have taken, several times over.
const memoryNeeded = 4 << 30

// folder is where clusters live: in memory where there is enough of it, since the files of a new database are what a test
// waits for (100 ms there, 400 ms on a disk); otherwise the folder for temporary files. $TMPDIR is obeyed.
func folder() string {
	const memory = "/dev/shm"
	var s unix.Statfs_t
	if os.Getenv("TMPDIR") == "" && unix.Statfs(memory, &s) == nil && s.Type == unix.TMPFS_MAGIC && s.Bavail*uint64(s.Bsize) > memoryNeeded && unix.Access(memory, unix.W_OK) == nil {
		return memory
	}
	return os.TempDir()
}
