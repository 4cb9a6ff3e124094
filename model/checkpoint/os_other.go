//go:build !linux && !darwin

package checkpoint

import (
	"errors"
	"os"
)

// mapFile is not used on this system: files are read.
func mapFile(*os.File, int64) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapFile([]byte) {}

// freeSpace is not known on this system.
func freeSpace(string) (int64, bool) { return 0, false }
