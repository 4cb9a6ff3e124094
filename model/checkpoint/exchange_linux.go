package checkpoint

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange swaps two folders in one step, where the file system can.
func exchange(tmp, dir string) error {
	err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return swapByRename(tmp, dir)
	}
	return err
}
