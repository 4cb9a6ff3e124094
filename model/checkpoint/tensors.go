package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Tensor is a named array of a safetensors file, row-major.
//
// DType is "F32", "F16", "BF16", "F64", "I64" or "I32". Exactly one of the slices is
// used: F32 for the first three (widened exactly on reading, rounded to nearest even
// on writing), F64 for F64, I64 for the two integer types. Its length is the product
// of Shape; an empty Shape is a scalar of one element.
type Tensor struct {
	Name  string
	DType string
	Shape []int
	F32   []float32
	F64   []float64
	I64   []int64

	half []uint16 // BF16 in memory, instead of F32: only to be written
}

// bytes is the size of the tensor's data in a file.
func (t Tensor) bytes() int64 { return int64(numel(t.Shape)) * elemSize[t.DType] }

// ErrCorrupt marks a file that is not what it claims to be: broken format, a
// checksum or digest that does not match, a value that is not finite.
var ErrCorrupt = errors.New("corrupt")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// ReadTensors reads a whole safetensors file. It refuses, with an error that wraps
// [ErrCorrupt], anything outside the rules listed in the package comment; it
// allocates no more than the file's own length says (twice that for 16-bit types).
func ReadTensors(path string) (map[string]Tensor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := readAll(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return all, nil
}

// ReadTensorsFS is [ReadTensors] for a file of a file system such as embed.FS.
func ReadTensorsFS(fsys fs.FS, name string) (map[string]Tensor, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := readAll(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return all, nil
}

// WriteTensors writes a safetensors file with the tensors in the order given and
// meta as its __metadata__ (nil: none). The file appears under its name whole or
// not at all: temporary file in the same folder, fsync, rename, fsync of the folder;
// mode 0600.
func WriteTensors(path string, tensors []Tensor, meta map[string]string) error {
	err := disk{}.writeFile(path, func(w io.Writer) error { return encodeTensors(w, tensors, meta) })
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

func readAll(f fs.File) (map[string]Tensor, error) {
	r, err := newReader(f, f)
	if err != nil {
		return nil, err
	}
	out := make(map[string]Tensor, len(r.entries))
	err = r.each(func(t Tensor) error {
		out[t.Name] = t
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
