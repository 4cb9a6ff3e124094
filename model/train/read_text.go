package train

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// text reads documents of plain text: a blank line ends one, or the file does. Space around a document is taken off.
func (r Reading) text(in *collector, stream io.Reader) error {
	var doc strings.Builder
	first := 1
	flush := func() error {
		text := strings.TrimSpace(doc.String())
		doc.Reset()
		if text == "" {
			return nil
		}
		return in.take(first, Row{Kind: KindText, Text: text}, nil)
	}
	err := lines(stream, func(n int, line []byte) error {
		if !r.WholeFile && len(bytes.TrimSpace(line)) == 0 {
			return flush()
		}
		if !utf8.Valid(line) {
			return in.take(n, Row{}, fmt.Errorf("is not UTF-8"))
		}
		if doc.Len() == 0 {
			first = n
		}
		if doc.Len()+len(line) >= maxRow {
			doc.Reset()
			return in.take(first, Row{}, fmt.Errorf("the document that begins here is longer than %d MiB", maxRow>>20))
		}
		doc.Write(line)
		doc.WriteByte('\n')
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}
