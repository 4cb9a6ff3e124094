package kernel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Floats returns n zeros. Large slices ask the system for huge pages, which is worth up to a tenth of the memory's bandwidth.
func Floats(n int) []float32 {
	x := make([]float32, n)
	const page = 2 << 20
	if 4*n < 2*page {
		return x
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*n)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % 4096)
	b = b[skip:]
	unix.Madvise(b[:len(b)&^4095], unix.MADV_HUGEPAGE) //nolint:errcheck // only a hint
	return x
}
