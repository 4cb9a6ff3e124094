package labeling

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Limits of the files that are read.
const (
	maxLine  = 16 << 20 // bytes of one line
	maxDepth = 32       // nesting of JSON
	maxRatio = 100      // decoded bytes per gzip byte, beyond the first MiB
	maxFile  = 64 << 30 // decoded bytes of a whole file
)

// LineError says what is wrong with one line of a file. Lines count from 1; where the
// file is a JSON array, CSV or parquet, records do.
type LineError struct {
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

func (e *LineError) Unwrap() error { return e.Err }

// eachLine calls f with every line of r that is not blank; r may be gzip, which is told
// by its first bytes. A line is valid only during the call.
func eachLine(r io.Reader, f func(line int, text []byte) error) error {
	in, err := plain(r)
	if err != nil {
		return err
	}
	return lines(bufio.NewReaderSize(in, 64<<10), f)
}

func lines(b *bufio.Reader, f func(line int, text []byte) error) error {
	var long []byte
	for n := 1; ; n++ {
		text, err := b.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long[:0], text...)
			for errors.Is(err, bufio.ErrBufferFull) {
				text, err = b.ReadSlice('\n')
				if long = append(long, text...); len(long) > maxLine {
					return &LineError{n, invalid("", "longer than %d bytes", maxLine)}
				}
			}
			text = long
		}
		if err != nil && err != io.EOF {
			return &LineError{n, err}
		}
		if n == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			if err := f(n, text); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// elements calls f with every element of the JSON array that b begins with; they count
// as lines do.
func elements(b *bufio.Reader, f func(n int, text []byte) error) error {
	if _, err := b.ReadByte(); err != nil { // the bracket
		return err
	}
	var text []byte
	depth, quoted, n, comma := 0, false, 1, false
	for {
		c, err := b.ReadByte()
		if err == io.EOF {
			return &LineError{n, invalid("", "the array does not end")}
		}
		if err != nil {
			return &LineError{n, err}
		}
		switch {
		case quoted:
			if c == '\\' {
				text = append(text, c)
				if c, err = b.ReadByte(); err != nil {
					return &LineError{n, invalid("", "the array does not end")}
				}
			} else {
				quoted = c != '"'
			}
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			depth--
		case depth == 0 && (c == ',' || c == ']'):
			if text = bytes.TrimSpace(text); len(text) > 0 || c == ',' || comma {
				if err := f(n, text); err != nil {
					return err
				}
			}
			if comma = c == ','; !comma {
				return atEnd(b)
			}
			text, n = text[:0], n+1
			continue
		}
		if text = append(text, c); len(text) > maxLine {
			return &LineError{n, invalid("", "longer than %d bytes", maxLine)}
		}
	}
}

// atEnd wants nothing but white space after an array.
func atEnd(b *bufio.Reader) error {
	for {
		c, err := b.ReadByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return invalid("", "text after the JSON array")
		}
	}
}

// plain undoes gzip, and stops what grows out of proportion.
func plain(r io.Reader) (io.Reader, error) {
	counted := &countReader{r: r}
	b := bufio.NewReader(counted)
	head, err := b.Peek(2)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if !bytes.Equal(head, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return &capReader{z: z, in: counted}, nil
}

type countReader struct {
	r io.Reader
	n int64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

type capReader struct {
	z  io.Reader
	in *countReader
	n  int64
}

func (c *capReader) Read(p []byte) (int, error) {
	n, err := c.z.Read(p)
	c.n += int64(n)
	switch {
	case c.n > maxFile:
		return 0, fmt.Errorf("gzip: more than %d bytes", int64(maxFile))
	case c.n > 1<<20 && c.n > maxRatio*c.in.n:
		return 0, fmt.Errorf("gzip: %d bytes from %d; more than %d to 1 is refused", c.n, c.in.n, maxRatio)
	}
	return n, err
}

// object is the strictly decoded JSON object of one line.
type object map[string]json.RawMessage

// parseObject decodes one JSON object. It refuses what encoding/json would repair or
// pass over: invalid UTF-8, lone surrogates, NUL, doubled keys, text after the object,
// deep nesting. The fields may point into text.
func parseObject(text []byte) (object, error) {
	if o, ok := scanObject(text); ok {
		return o, nil
	}
	return parseSlowly(text)
}

func parseSlowly(text []byte) (object, error) {
	if err := checkEscapes(text); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := walk(d, "", 0); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalid("", "text after the JSON value")
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil || o == nil {
		return nil, invalid("", "not a JSON object")
	}
	return o, nil
}

// walk reads one value and checks depth and keys.
func walk(d *json.Decoder, path string, depth int) error {
	if depth > maxDepth {
		return invalid("", "nested deeper than %d", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return invalid("JSON", "%v", err)
	}
	switch t {
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return invalid("JSON", "%v", err)
			}
			name := k.(string)
			if seen[name] {
				return invalid(path+name, "given twice")
			}
			seen[name] = true
			if err := walk(d, path+name+".", depth+1); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for d.More() {
			if err := walk(d, path, depth+1); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	if _, err = d.Token(); err != nil { // the closing bracket
		return invalid("JSON", "%v", err)
	}
	return nil
}

// checkEscapes looks at the bytes: valid UTF-8, and every \u escape a character that
// text can hold.
func checkEscapes(text []byte) error {
	if !utf8.Valid(text) {
		return invalid("", "invalid UTF-8")
	}
	escape := func(i int) (rune, bool) { // of \uXXXX at i
		if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
			return 0, false
		}
		v, err := strconv.ParseUint(string(text[i+2:i+6]), 16, 16)
		return rune(v), err == nil
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		r, ok := escape(i)
		if !ok {
			i++ // another escape; the decoder judges it
			continue
		}
		i += 5
		switch {
		case r == 0:
			return invalid("", "NUL (\\u0000)")
		case r >= 0xdc00 && r < 0xe000:
			return invalid("", "lone surrogate \\u%s", fmt.Sprintf("%04x", r))
		case r >= 0xd800 && r < 0xdc00:
			if low, ok := escape(i + 1); !ok || low < 0xdc00 || low >= 0xe000 {
				return invalid("", "lone surrogate \\u%s", fmt.Sprintf("%04x", r))
			}
			i += 6
		}
	}
	return nil
}

// only refuses fields that are not in the list.
func (o object) only(fields ...string) error {
	for name := range o {
		if !slices.Contains(fields, name) {
			return invalid(name, "unknown field")
		}
	}
	return nil
}

// field decodes a field into v and tells whether it is there; null counts as absent.
func field[T any](o object, name string, v *T) (bool, error) {
	raw, ok := o[name]
	if !ok || string(raw) == "null" {
		return false, nil
	}
	if p, ok := any(v).(*string); ok {
		if *p, ok = unquote(raw); ok {
			return true, nil
		}
	}
	if err := json.Unmarshal(raw, v); err != nil {
		var e *json.UnmarshalTypeError
		if errors.As(err, &e) {
			return true, invalid(name, "%s where %s is wanted", e.Value, e.Type)
		}
		return true, invalid(name, "%v", err)
	}
	return true, nil
}

// need is field for one that must be there.
func need[T any](o object, name string, v *T) error {
	ok, err := field(o, name, v)
	if err == nil && !ok {
		return invalid(name, "missing")
	}
	return err
}
