package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// maxLine bounds one line of input.
const maxLine = 16 << 20

// eachLine decodes each JSON line of r into a T, strictly, calls f and writes what it returns as one JSON line, so that
// there is one output line per input line, in order. Empty lines are passed over. Errors name the line.
func eachLine[T, U any](r io.Reader, w io.Writer, f func(T) (U, error)) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), maxLine)
	out := bufio.NewWriter(w)
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	for n := 1; sc.Scan(); n++ {
		line := bytes.TrimSpace(sc.Bytes())
		if len(line) == 0 {
			continue
		}
		var in T
		if err := strictJSON(line, &in); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		res, err := f(in)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		buf.Reset()
		if err := enc.Encode(res); err != nil {
			return err
		}
		// Some readers take U+0085 for a line's end, as they do U+2028, which the encoder escapes itself.
		if _, err := out.Write(bytes.ReplaceAll(buf.Bytes(), []byte("\u0085"), []byte(`\u0085`))); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("reading input: %w", err)
	}
	return out.Flush()
}

// strictJSON decodes exactly one value and refuses unknown fields.
func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("more than one JSON value")
	}
	return nil
}
