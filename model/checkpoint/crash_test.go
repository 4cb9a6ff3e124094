package checkpoint

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// stopAt is a disk that stops dead before its n-th step, as a crash would, and tells
// whether it came to that.
func stopAt(n int) (disk, *bool) {
	stopped := false
	return disk{before: func(string, string) error {
		if n--; n < 0 {
			stopped = true
			return errCrash
		}
		return nil
	}}, &stopped
}

// TestCrashInWrite: a file is the old or the new one whatever step a crash comes at.
func TestCrashInWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	write := func(d disk, step int) error {
		return writeState(d, path, step, []Tensor{{Name: "w", DType: "I64", Shape: []int{1}, I64: []int64{int64(step)}}})
	}
	if err := write(disk{}, 0); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		d, stopped := stopAt(n)
		err := write(d, n+1)
		if *stopped != errors.Is(err, errCrash) {
			t.Fatalf("step %d: %v", n, err)
		}
		var step int
		all, err := ReadState(path, &step)
		if err != nil {
			t.Fatalf("after a crash at step %d: %v", n, err)
		}
		if all["w"].I64[0] != int64(step) || step > n+1 {
			t.Errorf("after a crash at step %d: metadata %d beside weights %d", n, step, all["w"].I64[0])
		}
		if !*stopped {
			if step != n+1 || n != 4 {
				t.Errorf("done after %d steps with state %d", n, step)
			}
			break
		}
	}
}

// TestOrderOfSteps: content is on the disk before its name is, and the name before
// the call returns.
func TestOrderOfSteps(t *testing.T) {
	var steps []string
	d := disk{before: func(step, path string) error {
		steps = append(steps, step)
		return nil
	}}
	path := filepath.Join(t.TempDir(), "x")
	if err := d.writeFile(path, func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"write", "fsync", "rename", "dirsync"}; !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
	steps = nil
	c := &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadLM, false), Tokenizer: mustTokenizer(t)}
	for range 2 {
		if err := c.export(d, filepath.Join(filepath.Dir(path), "model"), Format{DType: "F32"}); err != nil {
			t.Fatal(err)
		}
	}
	files := []string{"fsync", "fsync", "fsync"} // the tokenizer's
	for range 5 {
		files = append(files, "write", "fsync")
	}
	want := append(slices.Clone(files), "dirsync", "rename", "dirsync")
	want = append(append(want, files...), "dirsync", "exchange", "dirsync")
	if !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
}

// TestCrashInSave: at whatever step a crash comes, there is no folder, the whole old
// one or the whole new one; and the next Save works.
func TestCrashInSave(t *testing.T) {
	old := &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadLM, false), Card: Card{Kind: "old"}}
	fresh := &Checkpoint{Model: mustModel(t, smallLlama, model.HeadScore, false), Card: Card{Kind: "new"}, Tokenizer: mustTokenizer(t)}
	for _, there := range []bool{false, true} {
		for n, done := 0, false; !done; n++ {
			parent := t.TempDir()
			dir := filepath.Join(parent, "model")
			if there {
				if err := old.Save(dir, "F32"); err != nil {
					t.Fatal(err)
				}
			}
			d, stopped := stopAt(n)
			err := fresh.export(d, dir, Format{DType: "BF16"})
			if *stopped != errors.Is(err, errCrash) {
				t.Fatalf("step %d: %v", n, err)
			}
			done = !*stopped
			got, err := Load(dir)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				if there || done {
					t.Errorf("step %d: the folder is gone", n)
				}
			case err != nil:
				t.Errorf("step %d: half a folder: %v", n, err)
			case got.Card.Kind != "new" && !(there && got.Card.Kind == "old"):
				t.Errorf("step %d: a %q folder", n, got.Card.Kind)
			case done && got.Card.Kind != "new":
				t.Error("done, and the folder is the old one")
			}
			if err := fresh.Save(dir, "BF16"); err != nil {
				t.Errorf("step %d: saving afterwards: %v", n, err)
			}
			for _, e := range must(os.ReadDir(parent)) {
				if e.Name() != "model" && !strings.HasPrefix(e.Name(), tmpPrefix) {
					t.Errorf("step %d: %s was left behind", n, e.Name())
				}
			}
			if done && len(must(os.ReadDir(parent))) != 1 {
				t.Error("something is left behind without a crash")
			}
		}
	}
}

// TestCrashInPut: a store lists and gives out whole folders only.
func TestCrashInPut(t *testing.T) {
	dir := smallFolder(t, 6)
	for n, done := 0, false; !done; n++ {
		d, stopped := stopAt(n)
		store := &dirBlobs{root: t.TempDir(), disk: d}
		digest, err := store.Put(t.Context(), dir)
		if *stopped == (err == nil) && len(must(store.List(t.Context()))) == 0 {
			t.Fatalf("step %d: %v", n, err)
		}
		done = !*stopped
		for _, digest := range must(store.List(t.Context())) {
			if _, err := store.Open(t.Context(), digest); err != nil {
				t.Errorf("step %d: listed but broken: %v", n, err)
			}
		}
		store.disk = disk{}
		if digest, err = store.Put(t.Context(), dir); err != nil {
			t.Errorf("step %d: putting again: %v", n, err)
		}
		if _, err := store.Open(t.Context(), digest); err != nil {
			t.Errorf("step %d: %v", n, err)
		}
	}
}

// TestSaveLeavesOthersAlone: only what Save wrote is ever replaced.
func TestSaveLeavesOthersAlone(t *testing.T) {
	c := &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadLM, false)}
	parent := t.TempDir()
	empty := filepath.Join(parent, "deep", "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.Save(empty, "F32"); err != nil {
		t.Errorf("into an empty folder: %v", err)
	}
	if err := c.Save(empty, "F32"); err != nil {
		t.Errorf("over a saved folder: %v", err)
	}
	note := filepath.Join(empty, "notes.txt")
	if err := os.WriteFile(note, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(parent, "link")
	if err := os.Symlink(empty, link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{empty, parent, file, link} {
		if err := c.Save(dir, "F32"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("over %s: %v", dir, err)
		}
	}
	for _, path := range []string{note, file} {
		if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	if len(must(os.ReadDir(parent))) != 3 {
		t.Error("something is left behind")
	}
}

// TestSwapByRename is the way of systems without an exchange.
func TestSwapByRename(t *testing.T) {
	parent := t.TempDir()
	a, b := filepath.Join(parent, "a"), filepath.Join(parent, "b")
	for _, dir := range []string{a, b} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "name"), []byte(filepath.Base(dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := swapByRename(a, b); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{a: "b", b: "a"} {
		if got, err := os.ReadFile(filepath.Join(dir, "name")); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", dir, got, err)
		}
	}
	if err := swapByRename(filepath.Join(parent, "absent"), b); err == nil {
		t.Error("swapped with nothing")
	}
	if got, err := os.ReadFile(filepath.Join(b, "name")); err != nil || string(got) != "a" {
		t.Errorf("a swap that failed left %q, %v", got, err)
	}
}
