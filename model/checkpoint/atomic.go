package checkpoint

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// tmpPrefix begins the name of everything that is not finished. Such files and
// folders may be left behind by a crash; nothing ever reads them.
const tmpPrefix = ".tmp-"

// writeFile makes path hold what fill writes, whole or not at all (mode 0600).
func writeFile(path string, fill func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tmpPrefix+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err = fillAndSync(f, fill); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// fillAndSync writes through a buffer, then to the disk, and closes f.
func fillAndSync(f *os.File, fill func(io.Writer) error) error {
	w := bufio.NewWriterSize(f, chunk)
	if err := fill(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// syncDir makes renames inside dir durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // folders cannot be synced there, NTFS logs renames
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
