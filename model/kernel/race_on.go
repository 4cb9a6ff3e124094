//go:build race

package kernel

import (
	"runtime"
	"unsafe"
)

const raceEnabled = true

func raceRead(at unsafe.Pointer, bytes int)  { runtime.RaceReadRange(at, bytes) }
func raceWrite(at unsafe.Pointer, bytes int) { runtime.RaceWriteRange(at, bytes) }
