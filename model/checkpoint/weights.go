package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
)

// weightFile is an open file of weights whose header has been read. Its content is
// either mapped or read through in.
type weightFile struct {
	name  string
	file  fs.File
	pages []byte // the whole file, nil where it is not mapped
	*reader
	hash hash.Hash // of what has been read, of the whole file where it is mapped; nil where nobody asks
}

const (
	weightsName = "model.safetensors"
	indexName   = "model.safetensors.index.json"
	maxShards   = 1024
)

// openWeights opens model.safetensors, or the files that its index names. They are
// mapped where nobody changes them: that is so where published says that the folder
// was written by this package, and where a file's mode allows nobody to write.
func openWeights(fsys fs.FS, published bool) (files []*weightFile, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	names, index, err := weightNames(fsys)
	if err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for _, name := range names {
		f, err := openWeight(fsys, name, published)
		if err != nil {
			return files, err
		}
		files = append(files, f)
		for _, e := range f.entries {
			if other, twice := seen[canonical(e.name)]; twice {
				return files, corrupt("tensor %q stands in %s and %s", e.name, other, name)
			}
			seen[canonical(e.name)] = name
			if index != nil && index[e.name] != name {
				return files, corrupt("tensor %q of %s is in %q by the index", e.name, name, index[e.name])
			}
		}
	}
	for name := range index {
		if seen[canonical(name)] == "" {
			return files, corrupt("tensor %q of the index is in no file", name)
		}
	}
	return files, nil
}

func openWeight(fsys fs.FS, name string, published bool) (_ *weightFile, err error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	f := &weightFile{name: name, file: file}
	defer func() {
		if err != nil {
			closeAll([]*weightFile{f})
			err = fmt.Errorf("%s: %w", name, err)
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	var in io.Reader = file
	if published {
		f.hash = sha256.New()
		in = io.TeeReader(file, f.hash)
	}
	if disk, ok := file.(*os.File); ok && littleEndian && (published || info.Mode().Perm()&0o222 == 0) && info.Size() <= math.MaxInt {
		if f.pages, err = mapFile(disk, info.Size()); err == nil {
			if published {
				f.hash.Write(f.pages)
			}
			in = bytes.NewReader(f.pages)
		}
	}
	f.reader, err = newReader(file, in)
	return f, err
}

// closeAll closes the files and gives back the pages that no model has taken.
func closeAll(files []*weightFile) {
	for _, f := range files {
		f.file.Close()
		if f.pages != nil {
			unmapFile(f.pages)
		}
	}
}

// weightNames lists the files of weights; where says which tensor is in which, nil
// where there is no index.
func weightNames(fsys fs.FS) (names []string, where map[string]string, err error) {
	if _, err := fs.Stat(fsys, weightsName); err == nil {
		return []string{weightsName}, nil, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	data, err := readSmall(fsys, indexName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("neither %s nor %s: %w", weightsName, indexName, fs.ErrNotExist)
	}
	if err != nil {
		return nil, nil, err
	}
	return parseIndex(data)
}

// parseIndex reads model.safetensors.index.json: its files, sorted, and which tensor
// is in which.
func parseIndex(data []byte) (names []string, where map[string]string, err error) {
	var index weightIndex
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, nil, invalid(indexName, "%v", err)
	}
	for _, name := range index.Map {
		if !plainName(name) || !strings.HasSuffix(name, ".safetensors") {
			return nil, nil, invalid(indexName, "%q is not a safetensors file of the folder", name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 || len(names) > maxShards {
		return nil, nil, invalid(indexName, "%d files", len(names))
	}
	return names, index.Map, nil
}

// plainName says whether name is that of a file directly in a folder, on any system.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\:\x00") && fs.ValidPath(name)
}
