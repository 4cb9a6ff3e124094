//go:build !linux

package pgtest

import "os"

// folder is where clusters live.
func folder() string { return os.TempDir() }
