//go:build amd64 && !noasm

package kernel

import "math/bits"

// wideCore says that the first-level data cache has 48 kB or more. With AVX-512 that is a core with two multiply-adds of 512 bits
// a cycle (Ice Lake and later, Zen 5), to which memory is twice as far as to one with one (Zen 4): what is read there in place
// from many pages holds it up, and copies repay sooner. No result depends on it.
var wideCore = firstLevel(cpuid) >= 48<<10

// asks is cpuid, or what a processor answered to it.
type asks func(leaf, sub uint32) (a, b, c, d uint32)

// firstLevel is the size of the first-level data cache in bytes, 0 if the processor does not say.
func firstLevel(ask asks) int {
	if highest, _, _, _ := ask(0, 0); highest >= 4 {
		if n := cacheSize(ask, 4); n > 0 {
			return n
		}
	}
	if highest, _, _, _ := ask(0x80000000, 0); highest >= 0x8000001d { // AMD
		return cacheSize(ask, 0x8000001d)
	}
	return 0
}

// cacheSize is what a leaf that lists the caches says of the first one of level 1 that holds data.
func cacheSize(ask asks, leaf uint32) int {
	for sub := range uint32(8) {
		a, b, c, _ := ask(leaf, sub)
		kind, level := a&31, a>>5&7
		if kind == 0 {
			break
		}
		if level == 1 && kind != 2 { // not instructions
			more, size := bits.Mul32((b>>22+1)*(b>>12&1023+1)*(b&4095+1), c+1)
			if more == 0 {
				return int(size)
			}
		}
	}
	return 0
}
