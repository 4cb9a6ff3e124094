package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Blobs stores folders under their digest. Any number of processes may use one store.
type Blobs interface {
	// Put copies the files of dir into the store and returns the folder's digest. A
	// second Put of the same content changes nothing, but mends a stored copy that
	// has been damaged.
	Put(ctx context.Context, dir string) (digest string, err error)
	// Open returns a folder to read (never to write), after checking that it still
	// has that digest: ErrCorrupt where it has not, ErrNotFound where it is not there.
	Open(ctx context.Context, digest string) (dir string, err error)
	// Delete removes a folder; one that is not there is fine.
	Delete(ctx context.Context, digest string) error
	// List gives the digests of all folders, sorted.
	List(ctx context.Context) ([]string, error)
}

// ErrNotFound says that a store has no folder of that digest.
var ErrNotFound = errors.New("checkpoint: not found")

// Dir is a store in a local folder, which is made (mode 0700) when first needed: each
// blob is a folder named by its digest. What crashes have left unfinished there is
// swept on each Put.
func Dir(root string) Blobs { return &dirBlobs{root: root} }

type dirBlobs struct {
	root string
	disk disk
}

// path is the place of a blob. A digest is the only thing that ever becomes part of a
// path, and it is hex digits.
func (b *dirBlobs) path(digest string) (string, error) {
	if !isDigest(digest) {
		return "", invalid("digest", "%q is not 64 hex digits", digest)
	}
	return filepath.Join(b.root, digest), nil
}

func (b *dirBlobs) Put(ctx context.Context, dir string) (string, error) {
	if err := Sweep(b.root); err != nil {
		return "", err
	}
	digest, err := Digest(dir)
	if err != nil {
		return "", fmt.Errorf("put: %w", err)
	}
	if _, err := b.Open(ctx, digest); err == nil {
		return digest, nil
	}
	path := filepath.Join(b.root, digest)
	damaged := func() error { // nobody else has put it since, so that no reader of a sound copy is disturbed
		if verify(path, digest) == nil {
			return fs.ErrExist
		}
		return nil
	}
	err = b.disk.writeDir(path, damaged, func(tmp string) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() || e.Name()[0] == '.' {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := b.copyFile(filepath.Join(tmp, e.Name()), filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
		return verify(tmp, digest) // dir may have changed while it was copied
	})
	if err != nil {
		if _, there := b.Open(ctx, digest); there == nil { // somebody else put it at the same time
			return digest, nil
		}
		return "", fmt.Errorf("put %s: %w", digest, err)
	}
	return digest, nil
}

func (b *dirBlobs) copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return b.disk.create(to, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

func (b *dirBlobs) Open(ctx context.Context, digest string) (string, error) {
	path, err := b.path(digest)
	if err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := verify(path, digest); err != nil {
		return "", fmt.Errorf("open %s: %w", digest, err)
	}
	return path, nil
}

// verify computes the digest of a folder anew, and that its list of sums agrees.
func verify(path, digest string) error {
	list, err := sumDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	said, err := readSums(os.DirFS(path))
	if err != nil {
		return err
	}
	for name, sum := range said {
		if list[name] != sum {
			return corrupt("%s is not what %s says", name, sumsName)
		}
	}
	if got := list.digest(); got != digest {
		return corrupt("the digest is %s", got)
	}
	return nil
}

func (b *dirBlobs) Delete(_ context.Context, digest string) error {
	path, err := b.path(digest)
	if err != nil {
		return err
	}
	// Out of sight in one step, so that nobody ever sees half of it.
	gone, err := os.MkdirTemp(b.root, tmpPrefix+"delete-*")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer os.RemoveAll(gone)
	err = os.Rename(path, filepath.Join(gone, "blob"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", digest, err)
	}
	return b.disk.syncDir(b.root)
}

func (b *dirBlobs) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(b.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && isDigest(e.Name()) {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}
