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
