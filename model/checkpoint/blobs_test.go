package checkpoint

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rankloop/rankloop/model"
)

func smallFolder(t testing.TB, seed uint64) string {
	t.Helper()
	m, err := model.New(model.Config{Family: "gpt2", Vocab: 20, Context: 4, Layers: 1, Width: 8, Heads: 1, BOS: -1, EOS: -1}, seed)
	if err != nil {
		t.Fatal(err)
	}
	return save(t, &Checkpoint{Model: m}, "F32")
}

func TestBlobs(t *testing.T) {
	ctx := t.Context()
	root := filepath.Join(t.TempDir(), "models")
	store := Dir(root)
	if list, err := store.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("new store lists %v, %v", list, err)
	}
	a, b := smallFolder(t, 1), smallFolder(t, 2)
	var digests []string
	for _, dir := range []string{a, b, a} {
		digest, err := store.Put(ctx, dir)
		if err != nil || digest != mustDigest(t, dir) {
			t.Fatalf("put: %s, %v", digest, err)
		}
		digests = append(digests, digest)
	}
	want := slices.Compact(slices.Sorted(slices.Values(digests)))
	if list, err := store.List(ctx); err != nil || !slices.Equal(list, want) || len(list) != 2 {
		t.Errorf("list %v, %v, want %v", list, err, want)
	}
	dir, err := store.Open(ctx, digests[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", ".", "..", "../" + digests[0], strings.ToUpper(digests[0]), digests[0] + "/", digests[0][:63], strings.Repeat("/", 64)} {
		if _, err := store.Open(ctx, bad); err == nil {
			t.Errorf("opened %q", bad)
		}
		if err := store.Delete(ctx, bad); err == nil {
			t.Errorf("deleted %q", bad)
		}
	}
	if _, err := store.Open(ctx, strings.Repeat("0", 64)); !errors.Is(err, ErrNotFound) {
		t.Errorf("open of nothing: %v", err)
	}
	for range 2 {
		if err := store.Delete(ctx, digests[0]); err != nil {
			t.Error(err)
		}
	}
	if _, err := store.Open(ctx, digests[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("open after delete: %v", err)
	}
	if left, _ := os.ReadDir(root); len(left) != 1 {
		t.Errorf("%d entries left", len(left))
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := store.Put(cancelled, a); !errors.Is(err, context.Canceled) {
		t.Errorf("put when cancelled: %v", err)
	}
	if err := Dir(filepath.Join(root, "absent")).Delete(ctx, digests[0]); err != nil {
		t.Error(err)
	}
}

// TestBlobDamage: a store never gives out what was not put in, and Put mends it.
func TestBlobDamage(t *testing.T) {
	ctx, root, dir := t.Context(), t.TempDir(), smallFolder(t, 3)
	store := Dir(root)
	digest, err := store.Put(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	stored := filepath.Join(root, digest)
	for _, e := range must(os.ReadDir(stored)) {
		path := filepath.Join(stored, e.Name())
		sound := must(os.ReadFile(path))
		for bit := 0; bit < 8*len(sound); bit += 61 {
			b := slices.Clone(sound)
			b[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Open(ctx, digest); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s: bit %d flipped: %v", e.Name(), bit, err)
			}
		}
		if _, err := store.Put(ctx, dir); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(ctx, digest); err != nil {
			t.Errorf("%s: not mended: %v", e.Name(), err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(ctx, digest); !errors.Is(err, ErrCorrupt) && e.Name() != sumsName {
			t.Errorf("%s removed: %v", e.Name(), err)
		}
		if err := os.WriteFile(path, sound, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A folder made elsewhere has no list of sums: the digest alone must do.
	if err := os.Remove(filepath.Join(dir, sumsName)); err != nil {
		t.Fatal(err)
	}
	bare := Dir(t.TempDir())
	if digest, err = bare.Put(ctx, dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(must(bare.Open(ctx, digest)), weightsName)
	b := must(os.ReadFile(path))
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bare.Open(ctx, digest); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a bit flipped in a folder without sums: %v", err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(ctx, dir); err == nil {
		t.Error("a folder with a link in it was put")
	}
}

// TestBlobsTogether: many writers of one content, as several processes would be.
func TestBlobsTogether(t *testing.T) {
	root, dir := t.TempDir(), smallFolder(t, 4)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			store := Dir(root)
			digest, err := store.Put(context.Background(), dir)
			if err == nil {
				_, err = store.Open(context.Background(), digest)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if left := must(os.ReadDir(root)); len(left) != 1 {
		t.Errorf("%d entries, want 1", len(left))
	}
}

func TestSweep(t *testing.T) {
	root := t.TempDir()
	store := Dir(root)
	old := time.Now().Add(-2 * sweepAge)
	for name, stays := range map[string]bool{tmpPrefix + "old": false, tmpPrefix + "new": true, "other": true} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Join(path, "deep"), 0o700); err != nil {
			t.Fatal(err)
		}
		if name != tmpPrefix+"new" {
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
		defer func() {
			if _, err := os.Stat(path); (err == nil) != stays {
				t.Errorf("%s: %v, want it to stay: %t", name, err, stays)
			}
		}()
	}
	if _, err := store.Put(t.Context(), smallFolder(t, 5)); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(filepath.Join(root, "absent")); err != nil {
		t.Error(err)
	}
}
