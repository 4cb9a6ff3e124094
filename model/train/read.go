package train

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rankloop/rankloop/model/token"
)

// Kind says what the rows of a file hold. All rows of one file are of one kind.
type Kind string

// Kinds of rows.
const (
	KindText     Kind = "text"              // a document
	KindMessages Kind = "messages"          // a conversation, whose assistant turns are the targets
	KindPairs    Kind = "prompt+completion" // an instruction and its answer
)

// Row is one row of training data; the fields of its kind are set.
type Row struct {
	Kind               Kind
	Text               string
	Messages           []token.Message
	Prompt, Completion string
}

// Bounds of what is read, whatever the files say.
const (
	maxRow     = 64 << 20 // bytes of one line, document or value
	maxRatio   = 100      // decoded bytes per compressed byte
	ratioGrace = 1 << 20  // decoded bytes before the ratio counts
	maxBadRows = 20       // after so many a file is given up
	// DefaultMaxBytes is the default of Reading.MaxBytes.
	DefaultMaxBytes = 16 << 30
)

// Reading says how files of data are read. The zero value goes by the files' names and fields.
type Reading struct {
	// Format is text, jsonl or parquet; "" goes by the name: .parquet, .jsonl or .ndjson or .json (one object a line), anything
	// else is text. Any of the first two may be compressed by gzip (seen by its first bytes, whatever the name).
	Format string `json:"format,omitempty"`
	// WholeFile takes a text file as one document; otherwise a blank line ends a document.
	WholeFile bool `json:"whole_file,omitempty"`
	// Map names the file's column for text, messages, prompt or completion where it has another name; several columns joined by +
	// become one text with a blank line between those that are not empty: {"prompt": "instruction+input", "completion": "output"}.
	Map map[string]string `json:"map,omitempty"`
	// MaxBytes bounds what a file may decode to; 0 = 16 GiB.
	MaxBytes int64 `json:"max_bytes,omitempty"`
}

// RowError says what is wrong with one row of a file.
type RowError struct {
	File   string // its base name
	Unit   string // what Row counts: line, or row (parquet)
	Row    int    // from 1
	Field  string // such as messages[2].content; "" = the row as such
	Reason string
}

func (e RowError) Error() string {
	field := e.Field
	if field != "" {
		field += " "
	}
	return fmt.Sprintf("%s: %s %d: %s%s", e.File, e.Unit, e.Row, field, e.Reason)
}

// RowErrors are the bad rows of one file, the first 20 at most.
type RowErrors []RowError

func (e RowErrors) Error() string {
	lines := make([]string, len(e))
	for i, r := range e {
		lines[i] = r.Error()
	}
	if len(e) == maxBadRows {
		lines = append(lines, fmt.Sprintf("%s: the rows after these %d were not looked at", e[0].File, maxBadRows))
	}
	return strings.Join(lines, "\n")
}

// Validate reports the first field that is wrong, as *InvalidError.
func (r Reading) Validate() error {
	switch r.Format {
	case "", "text", "jsonl", "parquet":
	default:
		return invalid("format", "%q is not text, jsonl or parquet", r.Format)
	}
	if r.MaxBytes < 0 {
		return invalid("max_bytes", "%d is negative", r.MaxBytes)
	}
	_, err := mapped(r.Map)
	return err
}

// Each reads the rows of a file in order, one at a time. Rows that cannot be read come back as RowErrors once the file is
// through or 20 of them were met; what f returns ends the reading at once.
func (r Reading) Each(path string, f func(Row) error) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if r.MaxBytes == 0 {
		r.MaxBytes = DefaultMaxBytes
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", path)
	}
	return r.each(filepath.Base(path), file, info.Size(), f)
}

func (r Reading) each(name string, file io.ReaderAt, size int64, f func(Row) error) error {
	in := &collector{file: name, f: f, unit: "line"}
	head := make([]byte, 6)
	n, err := file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("%s: %w", name, err)
	}
	head = head[:n]
	plain := strings.TrimSuffix(strings.ToLower(name), ".gz")
	format := r.Format
	switch ext := filepath.Ext(plain); {
	case format != "":
	case bytes.HasPrefix(head, []byte("PAR1")), ext == ".parquet":
		format = "parquet"
	case ext == ".jsonl", ext == ".ndjson", ext == ".json":
		format = "jsonl"
	default:
		format = "text"
	}
	if format == "parquet" {
		in.unit = "row"
		err = r.parquet(in, file, size)
	} else {
		var stream io.Reader
		if stream, err = r.open(head, io.NewSectionReader(file, 0, size)); err == nil && format == "jsonl" {
			err = r.jsonl(in, stream)
		} else if err == nil {
			err = r.text(in, stream)
		}
	}
	switch {
	case in.stopped != nil:
		return in.stopped
	case err != nil && err != errEnough:
		return fmt.Errorf("%s: %w", name, err)
	case len(in.bad) > 0:
		return in.bad
	}
	return nil
}

// collector passes rows on and gathers those that are wrong.
type collector struct {
	file, unit string
	f          func(Row) error
	bad        RowErrors
	stopped    error // what f returned
}

// errEnough ends the reading of a file: f has had enough, or there are too many bad rows.
var errEnough = fmt.Errorf("enough")

// fieldError is what is wrong with a field of the row at hand.
type fieldError struct{ field, reason string }

func (e *fieldError) Error() string { return e.field + " " + e.reason }

func wrong(field, format string, args ...any) error {
	return &fieldError{field, fmt.Sprintf(format, args...)}
}

// take passes on row n, or notes what is wrong with it.
func (c *collector) take(n int, row Row, err error) error {
	if err != nil {
		e := RowError{File: c.file, Unit: c.unit, Row: n, Reason: err.Error()}
		if f, ok := err.(*fieldError); ok {
			e.Field, e.Reason = f.field, f.reason
		}
		if c.bad = append(c.bad, e); len(c.bad) == maxBadRows {
			return errEnough
		}
		return nil
	}
	if len(c.bad) > 0 {
		return nil // the file is refused; only further errors are of interest
	}
	if c.stopped = c.f(row); c.stopped != nil {
		return errEnough
	}
	return nil
}

// open unwraps gzip and bounds what comes out.
func (r Reading) open(head []byte, raw io.Reader) (io.Reader, error) {
	for magic, what := range map[string]string{"PK\x03\x04": "a zip archive", "BZh": "compressed by bzip2", "\x28\xb5\x2f\xfd": "compressed by zstd",
		"\xfd7zXZ\x00": "compressed by xz", "PAR1": "a parquet file"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return nil, fmt.Errorf("it is %s; text, JSON lines, either of them in gzip, and parquet are read", what)
		}
	}
	return newBounded(head, raw, r.MaxBytes)
}

// lines calls f with each line, without its end, numbered from 1.
func lines(r io.Reader, f func(n int, line []byte) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), maxRow)
	n := 0
	for sc.Scan() {
		n++
		line := sc.Bytes()
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if err := f(n, line); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil {
		if err == bufio.ErrTooLong {
			err = fmt.Errorf("is longer than %d MiB", maxRow>>20)
		}
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}

// MarshalJSON writes the row as a JSON line of its kind, which Each reads back.
func (r Row) MarshalJSON() ([]byte, error) {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	var v any
	switch r.Kind {
	case KindText:
		v = struct {
			Text string `json:"text"`
		}{r.Text}
	case KindMessages:
		list := make([]message, len(r.Messages))
		for i, m := range r.Messages {
			list[i] = message{m.Role, m.Content}
		}
		v = struct {
			Messages []message `json:"messages"`
		}{list}
	case KindPairs:
		v = struct {
			Prompt     string `json:"prompt"`
			Completion string `json:"completion"`
		}{r.Prompt, r.Completion}
	default:
		return nil, invalid("row", "the kind %q is not known", r.Kind)
	}
	return json.Marshal(v)
}
