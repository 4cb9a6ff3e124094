package health

import (
	"bytes"
	"fmt"
	"os"
)

// memory is what Linux could still give without swapping; elsewhere it is not known.
func memory() Space {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return Space{}
	}
	return parseMemory(b)
}

func parseMemory(meminfo []byte) (s Space) {
	for line := range bytes.Lines(meminfo) {
		var kb int64
		if _, err := fmt.Sscanf(string(line), "MemTotal: %d kB", &kb); err == nil {
			s.Total = kb << 10
		}
		if _, err := fmt.Sscanf(string(line), "MemAvailable: %d kB", &kb); err == nil {
			s.Free = kb << 10
		}
	}
	return s
}
