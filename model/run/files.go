package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The state of a run after step S of epoch E is the folder <Options.Dir>/run/<run id>/E-S.state. It appears by a rename,
// whole and on disk, before the row names it.
const (
	cancelledKept = 30 * 24 * time.Hour // is how long a run that was cancelled can be gone on with

	stateDir    = "run"
	tmpPrefix   = ".tmp-"
	sweepMinAge = time.Hour // of files that no row names, and that a worker may be about to name
)

// stateName is the name of r's state, relative to Options.Dir; slashes whatever the system.
func stateName(r Run) string {
	return fmt.Sprintf("%s/%s/%d-%d.state", stateDir, r.ID, r.Epoch, r.Step)
}

func statePath(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }

func runDir(dir, id string) string { return filepath.Join(dir, stateDir, id) }

// saveState has save write into a new folder and gives it its name. A folder that is there already was written by the
// same epoch up to the same step, so it holds the same bytes and stays.
func saveState(path string, save func(dir string) error) (err error) {
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	tmp, err := os.MkdirTemp(parent, tmpPrefix) // 0700
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := save(tmp); err != nil {
		return err
	}
	if err := syncTree(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		if _, statErr := os.Stat(path); statErr == nil {
			return os.RemoveAll(tmp) // another worker of the epoch was faster
		}
		return err
	}
	return syncPath(parent)
}

// syncTree brings all files and folders under dir to the disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path)
	})
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// keepOnly removes the states that r has left behind; all of them where it names none.
func keepOnly(dir string, r Run) error {
	if r.StateFile == "" {
		return os.RemoveAll(runDir(dir, r.ID))
	}
	return removeStates(dir, r, func(fs.DirEntry) bool { return true })
}

// removeStates removes what r does not name and old says may go.
func removeStates(dir string, r Run, old func(fs.DirEntry) bool) error {
	entries, err := os.ReadDir(runDir(dir, r.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if stateDir+"/"+r.ID+"/"+e.Name() != r.StateFile && old(e) {
			errs = append(errs, os.RemoveAll(filepath.Join(runDir(dir, r.ID), e.Name())))
		}
	}
	return errors.Join(errs...)
}

// olderThan tells whether the entry's last change is that long ago.
func olderThan(e fs.DirEntry, age time.Duration) bool {
	info, err := e.Info()
	return err == nil && time.Since(info.ModTime()) > age
}
