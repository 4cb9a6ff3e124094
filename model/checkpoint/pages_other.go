//go:build !linux && !darwin

package checkpoint

import (
	"errors"
	"os"
)

// mapFile is not used on this system: files are read.
func mapFile(*os.File, int64) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapFile([]byte) {}
