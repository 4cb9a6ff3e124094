package kernel

// Slab returns slices of zeros of these lengths, cut from one piece of memory at steps of 64 bytes: together they lie in huge pages
// (Floats), which each alone may be too small for.
func Slab(sizes []int) [][]float32 {
	all := 0
	for _, n := range sizes {
		all += roundUp(n, 16)
	}
	room, out := Floats(all), make([][]float32, len(sizes))
	for i, n := range sizes {
		out[i] = room[:n:n]
		room = room[roundUp(n, 16):]
	}
	return out
}
