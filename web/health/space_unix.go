//go:build linux || darwin

package health

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// diskOf is the space for ordinary users on the disk of a folder, or of the nearest one above it that exists.
func diskOf(dir string) Space {
	for {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err == nil {
			return Space{Free: int64(st.Bavail) * int64(st.Bsize), Total: int64(st.Blocks) * int64(st.Bsize)}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return Space{}
		}
		dir = parent
	}
}
