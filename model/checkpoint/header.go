package checkpoint

import (
	"cmp"
	"encoding/binary"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of the format as rankloop reads it.
const (
	maxHeader  = 1 << 20 // bytes of JSON
	maxTensors = 4096    // per file
	maxDims    = 8

	maxMetadata = 1024 // lines
)

// elemSize lists the types that may stand in a header; only those of codecs can be
// read, the others (attention masks of old checkpoints) can only be passed over.
var elemSize = map[string]int64{
	"F64": 8, "F32": 4, "F16": 2, "BF16": 2,
	"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}

// entry is one line of the header: where in the data section a tensor lies.
type entry struct {
	name       string
	dtype      string
	shape      []int
	begin, end int64
}

// header is what stands before the data section.
type header struct {
	entries []entry // in data order: begins where the one before ends
	meta    map[string]string
	start   int64 // where in the file the data section begins
}

// readHeader reads and checks the header of a safetensors file of size bytes.
func readHeader(r io.Reader, size int64) (*header, error) {
	var length [8]byte
	if size < 8 {
		return nil, corrupt("%d bytes are too few for a header", size)
	}
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, corrupt("header length: %v", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	switch {
	case n > maxHeader:
		return nil, corrupt("header of %d bytes is over the limit of %d", n, maxHeader)
	case int64(n) > size-8:
		return nil, corrupt("header of %d bytes does not fit a file of %d", n, size)
	}
	var text strings.Builder // one allocation, of which all names are parts
	text.Grow(int(n))
	if _, err := io.CopyN(&text, r, int64(n)); err != nil {
		return nil, corrupt("header: %v", err)
	}
	h, err := parseHeader(text.String())
	if err != nil {
		return nil, err
	}
	h.start = 8 + int64(n)
	return h, h.checkLayout(size - h.start)
}

// checkLayout sees to it that the tensors fill the data section of size bytes
// exactly, one after the other, and sorts them in that order.
func (h *header) checkLayout(size int64) error {
	slices.SortFunc(h.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	var at int64
	for _, e := range h.entries {
		switch {
		case e.begin < at:
			return corrupt("tensor %.80q overlaps the one before it", e.name)
		case e.begin > at:
			return corrupt("hole of %d bytes before tensor %.80q", e.begin-at, e.name)
		}
		at = e.end
	}
	if at != size {
		return corrupt("the tensors need %d bytes of data, the file has %d", at, size)
	}
	return nil
}

// parseHeader is a strict reader of the one JSON shape a header may have. It is a
// scanner of its own, because json.Unmarshal lets the last of two equal names win and
// json.Decoder allocates twenty times what it reads.
func parseHeader(text string) (*header, error) {
	if text == "" || text[0] != '{' {
		return nil, corrupt("header does not begin with {")
	}
	if !utf8.ValidString(text) {
		return nil, corrupt("header is not UTF-8")
	}
	s := &scanner{text: text}
	h := &header{entries: make([]entry, 0, min(strings.Count(text, "data_offsets"), maxTensors))}
	err := s.object(func(name string) (err error) {
		if name == "__metadata__" {
			if h.meta != nil {
				return corrupt("name %.80q stands twice in the header", name)
			}
			h.meta, err = s.metadata()
			return err
		}
		if len(h.entries) == maxTensors {
			return corrupt("more than %d tensors", maxTensors)
		}
		e, err := s.entry(name)
		h.entries = append(h.entries, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	if s.space(); s.at < len(text) {
		return nil, corrupt("header goes on after its object")
	}
	byName := make([]int16, len(h.entries))
	for i := range byName {
		byName[i] = int16(i)
	}
	slices.SortFunc(byName, func(a, b int16) int { return strings.Compare(h.entries[a].name, h.entries[b].name) })
	for i := 1; i < len(byName); i++ {
		if name := h.entries[byName[i]].name; name == h.entries[byName[i-1]].name {
			return nil, corrupt("name %.80q stands twice in the header", name)
		}
	}
	return h, nil
}

func (s *scanner) metadata() (map[string]string, error) {
	meta := map[string]string{}
	err := s.object(func(key string) error {
		if _, twice := meta[key]; twice {
			return corrupt("metadata %.80q stands twice", key)
		}
		if len(meta) == maxMetadata {
			return corrupt("more than %d lines of metadata", maxMetadata)
		}
		if s.next() != '"' {
			return corrupt("metadata %.80q is not a string", key)
		}
		value, err := s.string()
		meta[key] = value
		return err
	})
	return meta, err
}

// entry reads {"dtype":..,"shape":[..],"data_offsets":[begin,end]}: each once, nothing else.
func (s *scanner) entry(name string) (entry, error) {
	e := entry{name: name}
	var dims [maxDims]int64
	var offsets [2]int64
	rank, bounds := -1, -1
	err := s.object(func(key string) (err error) {
		switch {
		case key == "dtype" && e.dtype == "":
			if s.next() == '"' {
				e.dtype, err = s.string()
			}
			if _, known := elemSize[e.dtype]; err == nil && !known {
				err = corrupt("tensor %.80q has the unknown dtype %.80q", name, e.dtype)
			}
		case key == "shape" && rank < 0:
			rank, err = s.sizes(name, dims[:])
		case key == "data_offsets" && bounds < 0:
			bounds, err = s.sizes(name, offsets[:])
		default:
			err = corrupt("tensor %.80q: unexpected or repeated key %.80q", name, key)
		}
		return err
	})
	if err != nil {
		return e, err
	}
	if e.dtype == "" || rank < 0 || bounds != 2 {
		return e, corrupt("tensor %.80q lacks dtype, shape or data_offsets", name)
	}
	e.begin, e.end = offsets[0], offsets[1]
	size := elemSize[e.dtype]
	e.shape = make([]int, rank)
	for i, n := range dims[:rank] {
		if n != 0 && size > math.MaxInt64/n {
			return e, corrupt("tensor %.80q: the product of its shape overflows", name)
		}
		size *= n
		e.shape[i] = int(n)
	}
	if e.begin > e.end || e.end-e.begin != size {
		return e, corrupt("tensor %.80q: offsets %d..%d do not hold the %d bytes of its shape", name, e.begin, e.end, size)
	}
	return e, nil
}

// reader goes through the data section of an open file once, in order.
type reader struct {
	*header
	in io.Reader
}

// newReader reads the header of f by way of in, which is f or a reader around it.
func newReader(f fs.File, in io.Reader) (*reader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	h, err := readHeader(in, info.Size())
	if err != nil {
		return nil, err
	}
	return &reader{header: h, in: in}, nil
}
