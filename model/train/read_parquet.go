package train

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/rankloop/rankloop/model/token"
)

// Bounds of a parquet file. Its headers are looked at before a page is read, so that a file that lies about its sizes is
// refused before memory is taken for it.
const (
	maxFooter     = 8 << 20   // bytes of metadata
	maxPage       = 256 << 20 // decoded bytes of one page
	maxPageValues = 16 << 20
	maxPages      = 1 << 20   // of one column
	maxRows       = 100 << 20 // of one file
)

// parquet reads the columns text, or prompt and completion (strings), or messages (a list of structs of role and content).
func (r Reading) parquet(in *collector, file io.ReaderAt, size int64) (err error) {
	defer func() {
		if p := recover(); p != nil { // the library's answer to some damaged files
			err = fmt.Errorf("parquet: the file is damaged: %v", p)
		}
	}()
	var tail [8]byte
	if _, err := file.ReadAt(tail[:], size-8); size < 12 || err != nil || string(tail[4:]) != "PAR1" {
		return errors.New("parquet: the file does not end as one does")
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:])); n > min(maxFooter, size-12) {
		return fmt.Errorf("parquet: %d bytes of metadata in a file of %d", n, size)
	}
	f, err := parquet.OpenFile(file, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	if f.NumRows() < 0 || f.NumRows() > maxRows {
		return fmt.Errorf("parquet: %d rows, not at most %d", f.NumRows(), maxRows)
	}
	cols, err := mapped(r.Map)
	if err != nil {
		return err
	}
	root := f.Root()
	if err := cols.settle(func(column string) bool { return root.Column(column) != nil }); err != nil {
		return err
	}
	table := &table{file: file, size: size, max: r.MaxBytes}
	for _, field := range cols.fields() {
		for _, column := range cols.named[field] {
			if err := table.add(root, column, cols.kind == KindMessages); err != nil {
				return err
			}
		}
	}
	n := 0
	for i, group := range f.RowGroups() {
		if err := table.open(group, &f.Metadata().RowGroups[i]); err != nil {
			return fmt.Errorf("parquet: %w", err)
		}
		for range group.NumRows() {
			n++
			if err := table.next(); err != nil {
				table.close()
				return fmt.Errorf("parquet: row %d: %w", n, err)
			}
			row, err := cols.row(table.text, table.messages)
			if err := in.take(n, row, err); err != nil {
				table.close()
				return err
			}
		}
		table.close()
	}
	return nil
}

// table reads some leaf columns of a file side by side.
type table struct {
	file    io.ReaderAt
	size    int64
	leaves  []*leaf
	decoded int64 // bytes of values handed out so far
	max     int64
}

// leaf is one column of strings.
type leaf struct {
	column string // top-level name
	field  string // role or content inside messages, "" otherwise
	index  int
	depth  int // definition level of a value that is there
	nested bool

	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	buf    [64]parquet.Value
	at, n  int

	cells []cell // of the present row
}

type cell struct {
	text string
	null bool
}

// add finds a column's leaves.
func (t *table) add(root *parquet.Column, column string, messages bool) error {
	top := root.Column(column)
	if top == nil {
		return fmt.Errorf("there is no column %s; there are %s", column, names(root))
	}
	var found []*leaf
	var walk func(c *parquet.Column)
	walk = func(c *parquet.Column) {
		if !c.Leaf() {
			for _, child := range c.Columns() {
				walk(child)
			}
			return
		}
		name := ""
		if messages {
			if name = c.Name(); name != "role" && name != "content" {
				return // a struct may have more fields
			}
		}
		if c.Type().Kind() == parquet.ByteArray && c.MaxRepetitionLevel() == map[bool]int{true: 1}[messages] {
			found = append(found, &leaf{column: column, field: name, index: c.Index(), depth: c.MaxDefinitionLevel(), nested: messages})
		}
	}
	walk(top)
	switch {
	case !messages && (len(found) != 1 || !top.Leaf()):
		return fmt.Errorf("column %s is not of strings", column)
	case messages && (len(found) != 2 || found[0].field == found[1].field):
		return fmt.Errorf("column %s is not a list of structs with the strings role and content", column)
	}
	t.leaves = append(t.leaves, found...)
	return nil
}

func names(root *parquet.Column) string {
	var list []string
	for _, c := range root.Columns() {
		list = append(list, c.Name())
	}
	return strings.Join(list, ", ")
}

// open begins a row group.
func (t *table) open(group parquet.RowGroup, meta *format.RowGroup) error {
	for _, l := range t.leaves {
		if l.index >= len(meta.Columns) {
			return fmt.Errorf("column %s has no data", l.column)
		}
		if err := t.checkPages(&meta.Columns[l.index].MetaData); err != nil {
			return fmt.Errorf("column %s: %w", l.column, err)
		}
		l.pages, l.at, l.n, l.values = group.ColumnChunks()[l.index].Pages(), 0, 0, nil
	}
	return nil
}

func (t *table) close() {
	for _, l := range t.leaves {
		parquet.Release(l.page)
		if l.pages != nil {
			l.pages.Close()
		}
		l.page, l.pages, l.values = nil, nil, nil
	}
}

// checkPages looks at the header of every page of a chunk without reading the pages.
func (t *table) checkPages(meta *format.ColumnMetaData) error {
	at := meta.DataPageOffset
	if d := meta.DictionaryPageOffset; d > 0 && d < at {
		at = d
	}
	end := at + meta.TotalCompressedSize
	if at < 4 || meta.TotalCompressedSize < 0 || end > t.size {
		return errors.New("it lies outside the file")
	}
	for n := 0; at < end; n++ {
		header, length, err := pageHeader(t.file, at, end)
		if err != nil {
			return err
		}
		packed, size := int64(header.CompressedPageSize), int64(header.UncompressedPageSize)
		values := int64(max(header.DataPageHeader.V.NumValues, header.DataPageHeaderV2.V.NumValues, header.DictionaryPageHeader.V.NumValues))
		switch {
		case n == maxPages:
			return fmt.Errorf("it has more than %d pages", maxPages)
		case packed < 0 || size < 0 || values < 0 || at+length+packed > end:
			return fmt.Errorf("page %d has impossible sizes", n)
		case size > maxPage || values > maxPageValues:
			return fmt.Errorf("page %d decodes to %d bytes, %d values; at most %d and %d are read", n, size, values, maxPage, maxPageValues)
		case size > ratioGrace && size > maxRatio*packed:
			return fmt.Errorf("page %d decodes to more than %d times its size", n, maxRatio)
		}
		at += length + packed
	}
	return nil
}

// pageHeader decodes the header of the page at a place and says how long the header is.
func pageHeader(file io.ReaderAt, at, end int64) (h format.PageHeader, length int64, err error) {
	var protocol thrift.CompactProtocol
	for _, size := range []int64{8 << 10, 16 << 20} { // statistics in a header may be as long as the longest value
		buf := make([]byte, min(size, end-at))
		if _, err = file.ReadAt(buf, at); err != nil {
			return h, 0, err
		}
		h = format.PageHeader{}
		r := protocol.NewReaderFromBytes(buf)
		if err = thrift.NewDecoder(r).Decode(&h); err == nil {
			return h, int64(r.BytesRead()), nil
		}
	}
	return h, 0, fmt.Errorf("header of a page: %w", err)
}

// next reads one row of every leaf.
func (t *table) next() error {
	for _, l := range t.leaves {
		l.cells = l.cells[:0]
		for {
			v, err := l.peek()
			if err == io.EOF && len(l.cells) > 0 {
				break
			}
			if err != nil {
				return fmt.Errorf("column %s: %w", l.column, err)
			}
			if len(l.cells) > 0 && v.RepetitionLevel() == 0 {
				break
			}
			l.at++
			c := cell{null: v.IsNull() || v.DefinitionLevel() < l.depth}
			if !c.null {
				b := v.ByteArray()
				if t.decoded += int64(len(b)) + 1; t.decoded > t.max {
					return fmt.Errorf("the file decodes to more than %d bytes (max_bytes)", t.max)
				}
				if len(b) > maxRow {
					return fmt.Errorf("column %s: a value is longer than %d MiB", l.column, maxRow>>20)
				}
				c.text = string(b)
			}
			if l.cells = append(l.cells, c); len(l.cells) > maxPageValues {
				return fmt.Errorf("column %s: a list of more than %d", l.column, maxPageValues)
			}
		}
	}
	return nil
}

// peek returns the next value of the leaf; io.EOF after the last of the row group.
func (l *leaf) peek() (parquet.Value, error) {
	for l.at == l.n {
		if l.values == nil {
			parquet.Release(l.page)
			l.page = nil
			page, err := l.pages.ReadPage()
			if err != nil {
				return parquet.Value{}, err
			}
			l.page, l.values = page, page.Values()
		}
		n, err := l.values.ReadValues(l.buf[:])
		l.at, l.n = 0, n
		if err != nil {
			l.values = nil // the page's last values, or damage; the next page will tell
			if err != io.EOF {
				return parquet.Value{}, err
			}
		}
		if n > 0 && l.values == nil {
			for i := range l.buf[:n] { // the next ReadPage releases the page that they point into
				l.buf[i] = l.buf[i].Clone()
			}
		}
	}
	return l.buf[l.at], nil
}

// text is the string in a column of the present row.
func (t *table) text(column string) (string, error) {
	for _, l := range t.leaves {
		if l.column == column {
			return l.cells[0].get(column)
		}
	}
	return "", wrong(column, "is missing")
}

func (c cell) get(field string) (string, error) {
	switch {
	case c.null:
		return "", wrong(field, "is missing")
	case !utf8.ValidString(c.text):
		return "", wrong(field, "is not UTF-8")
	}
	return c.text, nil
}

// messages is the conversation in a column of the present row.
func (t *table) messages(column string) ([]token.Message, error) {
	var roles, contents []cell
	for _, l := range t.leaves {
		if l.column == column && l.field == "role" {
			roles = l.cells
		} else if l.column == column {
			contents = l.cells
		}
	}
	if len(roles) != len(contents) {
		return nil, wrong(column, "has %d roles and %d contents", len(roles), len(contents))
	}
	if len(roles) == 1 && roles[0].null && contents[0].null {
		return nil, nil // an empty list
	}
	out := make([]token.Message, len(roles))
	for i := range roles {
		at := fmt.Sprintf("%s[%d].", column, i)
		var err error
		if out[i].Role, err = roles[i].get(at + "role"); err != nil {
			return nil, err
		}
		if out[i].Content, err = contents[i].get(at + "content"); err != nil {
			return nil, err
		}
	}
	return out, nil
}
