package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"io"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Limits of the format as rankloop reads it.
const (
	maxHeader  = 1 << 20 // bytes of JSON
	maxTensors = 4096    // per file
	maxDims    = 8
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
	raw := make([]byte, 8+n)
	copy(raw, length[:])
	if _, err := io.ReadFull(r, raw[8:]); err != nil {
		return nil, corrupt("header: %v", err)
	}
	h, err := parseHeader(raw[8:])
	if err != nil {
		return nil, err
	}
	h.start = int64(len(raw))
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
			return corrupt("tensor %q overlaps the one before it", e.name)
		case e.begin > at:
			return corrupt("hole of %d bytes before tensor %q", e.begin-at, e.name)
		}
		at = e.end
	}
	if at != size {
		return corrupt("the tensors need %d bytes of data, the file has %d", at, size)
	}
	return nil
}

// parseHeader is a strict reader of the one JSON shape a header may have. It works
// on tokens, because json.Unmarshal lets the last of two equal names win.
func parseHeader(text []byte) (*header, error) {
	if len(text) == 0 || text[0] != '{' {
		return nil, corrupt("header does not begin with {")
	}
	if !utf8.Valid(text) {
		return nil, corrupt("header is not UTF-8")
	}
	d := &decoder{json.NewDecoder(bytes.NewReader(text))}
	d.UseNumber()
	h := &header{}
	seen := map[string]bool{}
	err := d.object(func(name string) error {
		if seen[name] {
			return corrupt("name %q stands twice in the header", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			meta, err := d.metadata()
			h.meta = meta
			return err
		}
		if len(h.entries) == maxTensors {
			return corrupt("more than %d tensors", maxTensors)
		}
		e, err := d.entry(name)
		h.entries = append(h.entries, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, corrupt("header goes on after its object")
	}
	return h, nil
}

type decoder struct{ *json.Decoder }

func (d *decoder) next() (json.Token, error) {
	t, err := d.Token()
	if err != nil {
		return nil, corrupt("header: %v", err)
	}
	return t, nil
}

// object reads { key: value ... }, leaving each value to f.
func (d *decoder) object(f func(key string) error) error {
	t, err := d.next()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return corrupt("header: %v where an object belongs", t)
	}
	for d.More() {
		key, err := d.next()
		if err != nil {
			return err
		}
		if err := f(key.(string)); err != nil {
			return err
		}
	}
	_, err = d.next()
	return err
}

func (d *decoder) metadata() (map[string]string, error) {
	meta := map[string]string{}
	err := d.object(func(key string) error {
		if _, twice := meta[key]; twice {
			return corrupt("metadata %q stands twice", key)
		}
		t, err := d.next()
		if err != nil {
			return err
		}
		s, ok := t.(string)
		if !ok {
			return corrupt("metadata %q is not a string", key)
		}
		meta[key] = s
		return nil
	})
	return meta, err
}

// entry reads {"dtype":..,"shape":[..],"data_offsets":[begin,end]}: each once, nothing else.
func (d *decoder) entry(name string) (entry, error) {
	e := entry{name: name}
	var shape, offsets []int64
	err := d.object(func(key string) (err error) {
		switch {
		case key == "dtype" && e.dtype == "":
			var t json.Token
			if t, err = d.next(); err == nil {
				e.dtype, _ = t.(string)
			}
			if _, known := elemSize[e.dtype]; err == nil && !known {
				err = corrupt("tensor %q has the unknown dtype %v", name, t)
			}
		case key == "shape" && shape == nil:
			shape, err = d.ints(name, maxDims)
		case key == "data_offsets" && offsets == nil:
			offsets, err = d.ints(name, 2)
		default:
			err = corrupt("tensor %q: unexpected or repeated key %q", name, key)
		}
		return err
	})
	if err != nil {
		return e, err
	}
	if e.dtype == "" || shape == nil || len(offsets) != 2 {
		return e, corrupt("tensor %q lacks dtype, shape or data_offsets", name)
	}
	e.begin, e.end = offsets[0], offsets[1]
	size := elemSize[e.dtype]
	e.shape = make([]int, len(shape))
	for i, s := range shape {
		if s != 0 && size > math.MaxInt64/s {
			return e, corrupt("tensor %q: the product of its shape overflows", name)
		}
		size *= s
		e.shape[i] = int(s)
	}
	if e.begin > e.end || e.end-e.begin != size {
		return e, corrupt("tensor %q: offsets %d..%d do not hold the %d bytes of its shape", name, e.begin, e.end, size)
	}
	return e, nil
}

// ints reads an array of at most limit non-negative integers.
func (d *decoder) ints(name string, limit int) ([]int64, error) {
	t, err := d.next()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('[') {
		return nil, corrupt("tensor %q: %v where an array belongs", name, t)
	}
	out := []int64{}
	for d.More() {
		if len(out) == limit {
			return nil, corrupt("tensor %q: more than %d numbers in an array", name, limit)
		}
		t, err := d.next()
		if err != nil {
			return nil, err
		}
		number, ok := t.(json.Number)
		v, err := strconv.ParseInt(string(number), 10, 64)
		if !ok || err != nil || v < 0 {
			return nil, corrupt("tensor %q: %v is not a size", name, t)
		}
		out = append(out, v)
	}
	_, err = d.next()
	return out, err
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
