package labeling

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Reading says how a file is to be read.
type Reading struct {
	Format  string `json:"format,omitempty"`  // "" = told by the file's first record
	Preset  string `json:"preset,omitempty"`  // of pairs: pandalm, autoj or llmbar
	Columns string `json:"columns,omitempty"` // of pairs: "prompt=..,a=..,b=..,label=.."
}

// ImportReport counts the lines of a file: Read = Imported + Duplicates + Rejected.
type ImportReport struct {
	Format     string       `json:"format,omitempty"` // that it was read as
	Read       int          `json:"read"`
	Imported   int          `json:"imported"`   // lines with at least one new ranking, demonstration or prompt
	Duplicates int          `json:"duplicates"` // lines with what was seen before, nothing else
	Rejected   int          `json:"rejected"`
	Reasons    []*LineError `json:"-"` // of the rejected lines, at most maxReasons
}

const maxReasons = 1000

func (r *ImportReport) reject(line int, err error) {
	if r.Rejected++; len(r.Reasons) < maxReasons {
		r.Reasons = append(r.Reasons, &LineError{line, err})
	}
}

var errStopped = errors.New("stopped")

// Import reads a file and passes on each record that is valid and new in this file.
// Lines that are not are counted, with their reason, and do not stop it; an unreadable
// file does. emit may answer with an InvalidError (the record is counted as rejected) or
// ErrConflict (as a duplicate); its other errors end the import.
func Import(r io.Reader, how Reading, emit func(Record) error) (ImportReport, error) {
	var report ImportReport
	seen := map[[32]byte]bool{}
	err := read(r, how, &report.Format, parsePlain, func(l parsedLine) error {
		report.Read++
		wrong, fresh := l.err, false
		for _, rec := range l.records {
			id := rec.identity()
			if seen[id] {
				continue
			}
			seen[id] = true
			var e *InvalidError
			switch err := emit(rec); {
			case err == nil:
				fresh = true
			case errors.As(err, &e):
				wrong = err
			case !errors.Is(err, ErrConflict):
				return &LineError{l.n, err}
			}
		}
		switch {
		case fresh:
			report.Imported++
		case wrong == nil:
			report.Duplicates++
		default:
			report.reject(l.n, wrong)
		}
		return nil
	})
	return report, err
}

// parsedLine is what a line holds, or what is wrong with it.
type parsedLine struct {
	n       int
	records []Record
	err     error
}

func parsePlain(f format, n int, text []byte) parsedLine {
	records, err := f.records(text)
	return parsedLine{n, records, err}
}

// read takes a file to pieces, has them parsed by several goroutines, and calls emit in
// the file's order. The name of the format is known when emit is first called.
func read[T any](r io.Reader, how Reading, name *string, parse func(f format, n int, text []byte) T, emit func(T) error) error {
	var f format
	if how.Format != "" || how.Preset != "" || how.Columns != "" {
		var err error
		if f, err = how.format(); err != nil {
			return err
		}
		*name = f.name
	}
	return parallel(func(piece func(n int, text []byte) error) error {
		return pieces(r, f.name, func(n int, text []byte) error {
			if f.name == "" {
				var err error
				if f, err = detect(text); err != nil {
					return err
				}
				*name = f.name
			}
			return piece(n, text)
		})
	}, func(n int, text []byte) T { return parse(f, n, text) }, emit)
}

func (how Reading) format() (format, error) {
	name := how.Format
	if name == "" {
		name = "pairs"
	}
	f, err := formatNamed(name)
	if err != nil || how.Preset == "" && how.Columns == "" {
		return f, err
	}
	if name != "pairs" && name != "csv" {
		return f, invalid("format", "%s takes no columns; pairs does", name)
	}
	columns, ok := pairPresets[how.Preset]
	if !ok {
		return f, invalid("preset", "%q is none of %s", how.Preset, strings.Join(Presets(), ", "))
	}
	if how.Columns != "" {
		if columns, err = parseColumns(how.Columns); err != nil {
			return f, err
		}
	}
	f.parse = columns.parse
	return f, nil
}

// Presets lists the column maps of pairs that have a name.
func Presets() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(pairPresets)), func(s string) bool { return s == "" })
}

// detect tells the format of a file by its first record.
func detect(text []byte) (format, error) {
	o, err := parseObject(text)
	if err != nil {
		return format{}, fmt.Errorf("the first record: %w", err)
	}
	for _, f := range formats {
		if f.detect == nil || !f.detect(o) {
			continue
		}
		if f.name == "pairs" {
			f.parse = pairPresets[presetOf(o)].parse
		}
		return f, nil
	}
	return format{}, invalid("format", "it cannot be told from the first record; name one of %s", strings.Join(FormatNames(), ", "))
}

// pieces calls f with every record of a file as one JSON text: JSON lines, a JSON array,
// CSV or parquet, the first three also in gzip.
func pieces(r io.Reader, name string, f func(n int, text []byte) error) error {
	in, err := plain(r)
	if err != nil {
		return err
	}
	b := bufio.NewReaderSize(in, 64<<10)
	head, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case string(head) == "PAR1":
		return parquetPieces(r, b, f)
	case name == "parquet":
		return errors.New("parquet: the file does not begin as one does")
	}
	if bytes.HasPrefix(head, []byte("\ufeff")) {
		if _, err := b.Discard(3); err != nil {
			return err
		}
	}
	first, err := firstByte(b)
	if err != nil {
		return err
	}
	switch {
	case first == '[' && name != "rankings":
		return elements(b, f)
	case first != 0 && first != '{' && (name == "pairs" || name == "csv" || name == "" && first != 'n'):
		return csvPieces(b, f)
	}
	return lines(b, f)
}

// firstByte looks past white space; 0 at the end, or where there is much of it.
func firstByte(b *bufio.Reader) (byte, error) {
	for n := 1; n <= 4096; n++ {
		head, err := b.Peek(n)
		if err == io.EOF {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		switch c := head[n-1]; c {
		case ' ', '\t', '\n', '\r':
		default:
			if c == '[' {
				_, err = b.Discard(n - 1)
			}
			return c, err
		}
	}
	return 0, nil
}

// csvPieces makes a JSON object of strings of every record of a CSV file, whose first
// record has the columns' names. Records count from 1 without that one.
func csvPieces(in io.Reader, f func(n int, text []byte) error) error {
	limited := &recordReader{r: in}
	c := csv.NewReader(limited)
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		return fmt.Errorf("csv: %w", err)
	}
	head = slices.Clone(head)
	for n := 1; ; n++ {
		limited.n = 0
		row, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("csv: %w", err)
		}
		text := []byte{'{'}
		for i, v := range row {
			if i > 0 {
				text = append(text, ',')
			}
			text = appendText(append(appendText(text, head[i]), ':'), v)
		}
		if err := f(n, append(text, '}')); err != nil {
			return err
		}
	}
}

// recordReader bounds what the CSV reader takes in for one record.
type recordReader struct {
	r io.Reader
	n int
}

func (l *recordReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.n += n; l.n > maxLine {
		return 0, fmt.Errorf("a record is longer than %d bytes", maxLine)
	}
	return n, err
}

// jsonText is v as JSON without HTML escapes.
func jsonText(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
