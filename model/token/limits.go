package token

import (
	"fmt"
	"io"
	"io/fs"
)

// Limits on tokenizer files. The largest published vocabularies have 256k entries
// and files of 35 MB.
const (
	maxFile  = 128 << 20 // bytes of one file
	maxVocab = 1 << 20   // ids, also merges
	maxToken = 4096      // bytes of one token
	maxAdded = 256       // bytes of an added token: a text is searched for it at each byte
)

// readLimited reads a whole file of at most maxFile bytes.
func readLimited(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("token: read %s: %w", name, err)
	}
	if len(data) > maxFile {
		return nil, invalid(name, "over the limit of %d bytes", maxFile)
	}
	return data, nil
}
