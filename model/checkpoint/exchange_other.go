//go:build !linux

package checkpoint

func exchange(tmp, dir string) error { return swapByRename(tmp, dir) }
