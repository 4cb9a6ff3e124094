//go:build linux || darwin

package checkpoint

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps a whole file of size bytes. The pages are private: what is written to
// them stays in this process.
func mapFile(f *os.File, size int64) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
}

func unmapFile(pages []byte) { _ = unix.Munmap(pages) } // can only fail for what is not mapped

// freeSpace is how many bytes the file system of a folder can still take.
func freeSpace(dir string) (int64, bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}
