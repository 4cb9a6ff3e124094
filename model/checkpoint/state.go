package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// A state file is a safetensors file with two peculiarities: its __metadata__ has the
// one entry stateMeta, JSON, and its last tensor, sumName, is the SHA-256 of all that
// stands before it in the file, header included. One file, so that no part of a
// trainer's state can be newer than another.
const (
	stateMeta = "state"
	sumName   = "sha256"
	sumSize   = sha256.Size
)

// WriteState writes a trainer's state: meta as JSON and the tensors. The file holds
// its own checksum, and appears whole or not at all (as in [WriteTensors]).
func WriteState(path string, meta any, tensors []Tensor) error {
	if err := writeState(disk{}, path, meta, tensors); err != nil {
		return fmt.Errorf("write state %s: %w", filepath.Base(path), err)
	}
	return nil
}

func writeState(d disk, path string, meta any, tensors []Tensor) error {
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	entries, err := layout(tensors)
	if err != nil {
		return err
	}
	for _, t := range tensors {
		if t.Name == sumName {
			return fmt.Errorf("tensor name %q is reserved", sumName)
		}
	}
	var end int64
	if len(entries) > 0 {
		end = entries[len(entries)-1].end
	}
	entries = append(entries, entry{name: sumName, dtype: "U8", shape: []int{sumSize}, begin: end, end: end + sumSize})
	if len(entries) > maxTensors {
		return fmt.Errorf("%d tensors are over the limit of %d", len(tensors), maxTensors-1)
	}
	head, err := encodeHeader(entries, map[string]string{stateMeta: string(text)})
	if err != nil {
		return err
	}
	return d.writeFile(path, func(w io.Writer) error {
		h := sha256.New()
		both := io.MultiWriter(w, h)
		if _, err := both.Write(head); err != nil {
			return err
		}
		if err := encodeAll(both, tensors); err != nil {
			return err
		}
		_, err := w.Write(h.Sum(nil))
		return err
	})
}

// ReadState reads what [WriteState] wrote, meta by way of json.Unmarshal. A file
// that was changed by so much as a bit is refused with [ErrCorrupt], and meta is left
// alone then; one that is not there gives an error that is fs.ErrNotExist.
func ReadState(path string, meta any) (map[string]Tensor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, text, err := readState(f)
	if err == nil {
		if err = json.Unmarshal(text, meta); err != nil {
			err = fmt.Errorf("metadata: %w", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read state %s: %w", filepath.Base(path), err)
	}
	return all, nil
}

func readState(f *os.File) (map[string]Tensor, []byte, error) {
	h := sha256.New()
	r, err := newReader(f, io.TeeReader(f, h))
	if err != nil {
		return nil, nil, err
	}
	n := len(r.entries) - 1
	text, ok := r.meta[stateMeta]
	if n < 0 || !ok || r.entries[n].name != sumName || r.entries[n].end-r.entries[n].begin != sumSize {
		return nil, nil, corrupt("not a state file")
	}
	r.entries = r.entries[:n]
	all := make(map[string]Tensor, n)
	err = r.each(func(t Tensor) error {
		all[t.Name] = t
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if err := checkSum(f, h); err != nil {
		return nil, nil, err
	}
	return all, []byte(text), nil
}

// checkSum compares the hash of all that was read with what f ends with.
func checkSum(f io.Reader, h hash.Hash) error {
	want := make([]byte, sumSize)
	if _, err := io.ReadFull(f, want); err != nil {
		return corrupt("checksum: %v", err)
	}
	if !bytes.Equal(h.Sum(nil), want) {
		return corrupt("the checksum does not match")
	}
	return nil
}
