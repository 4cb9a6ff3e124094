package labeling

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	pq "github.com/parquet-go/parquet-go/format"
)

// Parquet with the columns of TRL: strings, numbers and booleans, and lists of structs of
// role and content. Written with zstd, a row group every rowsPerGroup rows or
// bytesPerGroup of text, which is what is held in memory.

// Bounds of a parquet file, looked at before memory is taken for a page.
const (
	maxFooter    = 8 << 20
	maxPage      = 256 << 20
	maxValues    = 16 << 20 // of one page
	maxPages     = 1 << 20  // of one column
	rowsPerGroup = 4096

	bytesPerGroup = 4 << 20
)

// parquetPieces makes a JSON object of every row. A file is read where it stands; what
// comes as a stream is kept in a temporary file first.
func parquetPieces(r io.Reader, rest io.Reader, f func(n int, text []byte) error) (err error) {
	defer func() {
		if p := recover(); p != nil { // the library's answer to some damaged files
			err = fmt.Errorf("parquet: the file is damaged: %v", p)
		}
	}()
	file, ok := r.(*os.File)
	if !ok {
		if file, err = os.CreateTemp("", "rankloop-parquet-*"); err != nil {
			return err
		}
		defer os.Remove(file.Name())
		defer file.Close()
		if _, err := io.Copy(file, io.LimitReader(rest, maxFile)); err != nil {
			return err
		}
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return parquetRows(file, info.Size(), f)
}

func parquetRows(file io.ReaderAt, size int64, f func(n int, text []byte) error) error {
	var tail [8]byte
	if size < 12 {
		return errors.New("parquet: the file is too short")
	}
	if _, err := file.ReadAt(tail[:], size-8); err != nil || string(tail[4:]) != "PAR1" {
		return errors.New("parquet: the file does not end as one does")
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:])); n > min(maxFooter, size-12) {
		return fmt.Errorf("parquet: %d bytes of metadata in a file of %d", n, size)
	}
	p, err := parquet.OpenFile(file, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	for i := range p.Metadata().RowGroups {
		for j := range p.Metadata().RowGroups[i].Columns {
			if err := checkPages(file, size, &p.Metadata().RowGroups[i].Columns[j].MetaData); err != nil {
				return fmt.Errorf("parquet: column %d: %w", j, err)
			}
		}
	}
	columns := parquetColumns(p.Root())
	n := 0
	buf := make([]parquet.Row, 64)
	for _, group := range p.RowGroups() {
		rows := group.Rows()
		for {
			got, err := rows.ReadRows(buf)
			for _, row := range buf[:got] {
				n++
				text, err := columns.object(row)
				if err == nil {
					err = f(n, text)
				}
				if err != nil {
					rows.Close()
					return err
				}
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				rows.Close()
				return fmt.Errorf("parquet: row %d: %w", n+1, err)
			}
		}
		if err := rows.Close(); err != nil {
			return fmt.Errorf("parquet: %w", err)
		}
	}
	return nil
}

// checkPages looks at the header of every page of a column without reading the pages.
func checkPages(file io.ReaderAt, size int64, meta *pq.ColumnMetaData) error {
	at := meta.DataPageOffset
	if d := meta.DictionaryPageOffset; d > 0 && d < at {
		at = d
	}
	end := at + meta.TotalCompressedSize
	if at < 4 || meta.TotalCompressedSize < 0 || end > size {
		return errors.New("it lies outside the file")
	}
	for n := 0; at < end; n++ {
		h, length, err := pageHeader(file, at, end)
		if err != nil {
			return err
		}
		packed, open := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
		values := int64(max(h.DataPageHeader.V.NumValues, h.DataPageHeaderV2.V.NumValues, h.DictionaryPageHeader.V.NumValues))
		switch {
		case n == maxPages:
			return fmt.Errorf("more than %d pages", maxPages)
		case packed < 0 || open < 0 || values < 0 || at+length+packed > end:
			return fmt.Errorf("page %d has impossible sizes", n)
		case open > maxPage || values > maxValues || open > 1<<20 && open > maxRatio*packed:
			return fmt.Errorf("page %d decodes to %d bytes and %d values, which is refused", n, open, values)
		}
		at += length + packed
	}
	return nil
}

func pageHeader(file io.ReaderAt, at, end int64) (h pq.PageHeader, length int64, err error) {
	var protocol thrift.CompactProtocol
	for _, size := range []int64{8 << 10, 16 << 20} { // statistics may be as long as the longest value
		head := make([]byte, min(size, end-at))
		if _, err = file.ReadAt(head, at); err != nil {
			return h, 0, err
		}
		h = pq.PageHeader{}
		r := protocol.NewReaderFromBytes(head)
		if err = thrift.NewDecoder(r).Decode(&h); err == nil {
			return h, int64(r.BytesRead()), nil
		}
	}
	return h, 0, fmt.Errorf("header of a page: %w", err)
}

// parquetColumn is a top-level column that can become a field: of one value, or a
// conversation, which has two leaves.
type parquetColumn struct {
	name          string
	leaf          int // index of its leaf; -1: a conversation
	role, content int
	kind          parquet.Kind
	depth         [2]int // definition levels of values that are there
}

type parquetSchema []parquetColumn

// parquetColumns leaves out columns of other shapes.
func parquetColumns(root *parquet.Column) parquetSchema {
	var list parquetSchema
	for _, top := range root.Columns() {
		c := parquetColumn{name: top.Name(), leaf: -1, role: -1, content: -1}
		if top.Leaf() {
			c.leaf, c.kind, c.depth[0] = top.Index(), top.Type().Kind(), top.MaxDefinitionLevel()
			if top.MaxRepetitionLevel() == 0 {
				list = append(list, c)
			}
			continue
		}
		var walk func(p *parquet.Column)
		walk = func(p *parquet.Column) {
			for _, child := range p.Columns() {
				switch {
				case !child.Leaf():
					walk(child)
				case child.Name() == "role":
					c.role, c.depth[0] = child.Index(), child.MaxDefinitionLevel()
				case child.Name() == "content":
					c.content, c.depth[1] = child.Index(), child.MaxDefinitionLevel()
				}
			}
		}
		if walk(top); c.role >= 0 && c.content >= 0 {
			list = append(list, c)
		}
	}
	return list
}

// object is a row as JSON.
func (s parquetSchema) object(row parquet.Row) ([]byte, error) {
	by := map[int][]parquet.Value{}
	for _, v := range row {
		by[v.Column()] = append(by[v.Column()], v)
	}
	b := []byte{'{'}
	for _, c := range s {
		var field []byte
		if c.leaf >= 0 {
			if values := by[c.leaf]; len(values) == 1 && !values[0].IsNull() {
				field = appendValue(nil, values[0], c.kind)
			}
		} else {
			roles, contents := by[c.role], by[c.content]
			if len(roles) != len(contents) {
				return nil, fmt.Errorf("parquet: column %s has %d roles and %d contents", c.name, len(roles), len(contents))
			}
			var turns []Message
			for i := range roles {
				if roles[i].DefinitionLevel() < c.depth[0] || contents[i].DefinitionLevel() < c.depth[1] {
					continue // an empty list, or a turn that is null
				}
				turns = append(turns, Message{string(roles[i].ByteArray()), string(contents[i].ByteArray())})
			}
			if turns != nil {
				field = appendMessages(nil, turns)
			}
		}
		if field == nil {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(appendText(b, c.name), ':'), field...)
	}
	return append(b, '}'), nil
}

// appendValue adds one value as JSON; nothing for kinds that no format has.
func appendValue(b []byte, v parquet.Value, kind parquet.Kind) []byte {
	switch kind {
	case parquet.Boolean:
		return strconv.AppendBool(b, v.Boolean())
	case parquet.Int32:
		return strconv.AppendInt(b, int64(v.Int32()), 10)
	case parquet.Int64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case parquet.Float, parquet.Double:
		f := v.Double()
		if kind == parquet.Float {
			f = float64(v.Float())
		}
		text, err := json.Marshal(f)
		if err != nil { // NaN, infinity
			return nil
		}
		return append(b, text...)
	case parquet.ByteArray:
		return appendText(b, string(v.ByteArray()))
	}
	return nil
}

type parquetTurn struct {
	Role    string `parquet:"role"`
	Content string `parquet:"content"`
}

type parquetRow struct {
	Prompt        []parquetTurn `parquet:"prompt,list"`
	Chosen        []parquetTurn `parquet:"chosen,list"`
	Rejected      []parquetTurn `parquet:"rejected,list"`
	ScoreChosen   int32         `parquet:"score_chosen"`
	ScoreRejected int32         `parquet:"score_rejected"`
	Margin        int32         `parquet:"margin"`
	Group         string        `parquet:"group"`
	Labeler       string        `parquet:"labeler"`
	Customer      string        `parquet:"customer"`
	Split         string        `parquet:"split"`
}

type parquetEncoder struct {
	w           *parquet.GenericWriter[parquetRow]
	rows, bytes int // in the present row group
}

func encodeParquet(w io.Writer) encoder {
	return &parquetEncoder{w: parquet.NewGenericWriter[parquetRow](w, parquet.Compression(&zstd.Codec{}), parquet.CreatedBy("rankloop", "1", ""))}
}

func (e *parquetEncoder) write(p RankedPrompt) (int, error) {
	turns := func(list []Message) []parquetTurn {
		out := make([]parquetTurn, len(list))
		for i, m := range list {
			out[i] = parquetTurn(m)
		}
		return out
	}
	answer := func(i int) []parquetTurn { return []parquetTurn{{"assistant", p.Completions[i].Text}} }
	var rows []parquetRow
	for _, k := range p.Rankings {
		for _, pair := range Pairs(k.Ranks) {
			if p.Completions[pair[0]].Text == p.Completions[pair[1]].Text {
				continue
			}
			won, lost := int32(len(k.Ranks)-k.Ranks[pair[0]]), int32(len(k.Ranks)-k.Ranks[pair[1]])
			rows = append(rows, parquetRow{turns(conversationOf(p)), answer(pair[0]), answer(pair[1]), won, lost, won - lost,
				groupOf(p, k), k.LabelerID, p.CustomerID, p.Split})
		}
	}
	if len(rows) == 0 {
		return 0, nil
	}
	n, err := e.w.Write(rows)
	for _, r := range rows {
		for _, list := range [][]parquetTurn{r.Prompt, r.Chosen, r.Rejected} {
			for _, m := range list {
				e.bytes += len(m.Content)
			}
		}
	}
	if e.rows += n; err == nil && (e.rows >= rowsPerGroup || e.bytes >= bytesPerGroup) {
		e.rows, e.bytes, err = 0, 0, e.w.Flush()
	}
	return n, err
}

func (e *parquetEncoder) close() error { return e.w.Close() }
