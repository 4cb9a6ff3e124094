package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// sumsName is the list of all other files of a folder with their SHA-256, in the form
// that `sha256sum --check` reads. Save writes it, Load believes no file that differs
// from it. To change a saved folder by hand, delete it.
const sumsName = "SHA256SUMS"

// maxSmall bounds the files that are read whole: JSON and the list of sums.
const maxSmall = 16 << 20

// readSmall reads a whole file of at most maxSmall bytes.
func readSmall(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(data) > maxSmall {
		err = invalid(name, "over the limit of %d bytes", maxSmall)
	}
	return data, err
}

// sums maps file names to 64 hex digits; nil where a folder has no list.
type sums map[string]string

func readSums(fsys fs.FS) (sums, error) {
	data, err := readSmall(fsys, sumsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := sums{}
	for line := range strings.Lines(string(data)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		_, twice := list[name]
		if !ok || !isDigest(sum) || !plainName(name) || twice || !strings.HasSuffix(line, "\n") {
			return nil, corrupt("%s: line %q", sumsName, line)
		}
		list[name] = sum
	}
	return list, nil
}

// encode is the content of the list, sorted by name.
func (s sums) encode() []byte {
	var b bytes.Buffer
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s  %s\n", s[name], name)
	}
	return b.Bytes()
}

// check compares the sum of a file with the list; without a list all is well.
func (s sums) check(name, sum string) error {
	if s == nil {
		return nil
	}
	want, ok := s[name]
	if !ok {
		return corrupt("%s is not in %s", name, sumsName)
	}
	if want != sum {
		return corrupt("%s is not what %s says", name, sumsName)
	}
	return nil
}

// checkFiles compares the files that are there with the list, those in skip excepted.
func (s sums) checkFiles(fsys fs.FS, skip func(name string) bool) error {
	for name := range s {
		if skip(name) {
			continue
		}
		sum, err := hashFile(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			return corrupt("%s is missing", name)
		}
		if err != nil {
			return err
		}
		if err := s.check(name, sum); err != nil {
			return err
		}
	}
	return nil
}

func hashFile(fsys fs.FS, name string) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// isDigest says whether s is 64 lower-case hex digits.
func isDigest(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// Digest is the SHA-256, 64 hex digits, of a folder's files: of the list that
// sha256sum would print for them, sorted by name. SHA256SUMS itself is left out (it
// says nothing new), and so are names that begin with a dot. A folder with folders or
// links in it has none.
func Digest(dir string) (string, error) {
	list, err := sumDir(dir)
	if err != nil {
		return "", fmt.Errorf("digest of %s: %w", dir, err)
	}
	return list.digest(), nil
}

func (s sums) digest() string {
	sum := sha256.Sum256(s.encode())
	return hex.EncodeToString(sum[:])
}

func sumDir(dir string) (sums, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	fsys := os.DirFS(dir)
	list := sums{}
	for _, e := range entries {
		switch {
		case e.Name() == sumsName || strings.HasPrefix(e.Name(), "."):
			continue
		case !e.Type().IsRegular():
			return nil, invalid(e.Name(), "is not a regular file")
		}
		if list[e.Name()], err = hashFile(fsys, e.Name()); err != nil {
			return nil, err
		}
	}
	return list, nil
}
