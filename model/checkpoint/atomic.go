package checkpoint

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// tmpPrefix begins the name of everything that is not finished. Such files and
// folders may be left behind by a crash; nothing ever reads them, and Sweep removes
// them.
const tmpPrefix = ".tmp-"

// sweepAge is how old something unfinished must be to be taken for left behind.
const sweepAge = time.Hour

// disk writes so that a name stands for the whole content or for nothing, whatever
// happens in between: content under a temporary name, fsync, rename, fsync of the
// folder. before, where set, is told of each step; an error from it stops everything
// there and then, as a crash would.
type disk struct {
	before func(step, path string) error
}

// errCrash is what tests stop a disk with: nothing is cleaned up then.
var errCrash = errors.New("crash")

func (d disk) step(step, path string) error {
	if d.before == nil {
		return nil
	}
	return d.before(step, path)
}

// writeFile makes path hold what fill writes, whole or not at all (mode 0600).
func (d disk) writeFile(path string, fill func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), tmpPrefix+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, errCrash) {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err = d.fill(f, fill); err != nil {
		return err
	}
	if err = d.step("rename", path); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

// create writes a file under its own name, inside a folder that nobody reads yet.
func (d disk) create(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.fill(f, fill)
}

// createFile is create for content that is in memory.
func (d disk) createFile(path string, content []byte) error {
	return d.create(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// syncFiles makes the files of a folder durable that somebody else has written.
func (d disk) syncFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		err = d.step("fsync", f.Name())
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// fill writes through a buffer, then to the disk, and closes f.
func (d disk) fill(f *os.File, fill func(io.Writer) error) error {
	if err := d.step("write", f.Name()); err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, chunk)
	if err := fill(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := d.step("fsync", f.Name()); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// syncDir makes what happened to the names in dir durable.
func (d disk) syncDir(dir string) error {
	if err := d.step("dirsync", dir); err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // folders cannot be synced there; NTFS logs renames
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// writeDir makes dir a folder (mode 0700) with what fill puts into it, whole or not
// at all. Where dir is there already, replace says whether it may go; an empty
// folder always may.
func (d disk) writeDir(dir string, replace func() error, fill func(tmp string) error) (err error) {
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("it is not a folder: %w", fs.ErrExist)
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, tmpPrefix+filepath.Base(dir)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if !errors.Is(err, errCrash) {
			os.RemoveAll(tmp)
		}
	}()
	if err := fill(tmp); err != nil {
		return err
	}
	if err := d.syncDir(tmp); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // removes an empty folder only
		if err := replace(); err != nil {
			return err
		}
		if err := d.step("exchange", dir); err != nil {
			return err
		}
		if err := exchange(tmp, dir); err != nil {
			return err
		}
		return d.syncDir(parent) // tmp is the former folder now
	}
	if err := d.step("rename", dir); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return d.syncDir(parent)
}

// swapByRename is exchange for systems that cannot do it at once: between the two
// renames there is no folder, but never half a one.
func swapByRename(tmp, dir string) error {
	old := tmp + "-old"
	if err := os.Rename(dir, old); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	return os.Rename(old, tmp)
}

// Sweep removes what crashes have left unfinished in dir (not below it): temporary
// files and folders that are older than an hour, so that those of writers at work
// stay. A dir that is not there is fine.
func Sweep(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	var failed []error
	for _, e := range list {
		info, err := e.Info()
		if err != nil || !strings.HasPrefix(e.Name(), tmpPrefix) || time.Since(info.ModTime()) < sweepAge {
			continue
		}
		failed = append(failed, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(failed...)
}
