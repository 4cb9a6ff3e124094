package labeling

import (
	"encoding/binary"
	"io"
	"time"

	"github.com/google/uuid"
)

// Rows in COPY's binary format (PostgreSQL manual, COPY, "Binary Format"): a count of fields, then each with its length in
// front, -1 for null; all in network order. Written by hand because a set of rows is millions of values, and finding out for
// each what it is costs more than the value.

// copyRow is such rows one after another; its methods add a field of the last row.
type copyRow []byte

// copyHead begins the format: signature, flags, length of the extension.
var copyHead = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")

func (b copyRow) row(fields int) copyRow {
	return binary.BigEndian.AppendUint16(b, uint16(fields))
}

func (b copyRow) size(n int) copyRow { return binary.BigEndian.AppendUint32(b, uint32(n)) }

func (b copyRow) null() copyRow { return b.size(-1) }

func (b copyRow) bytes(v []byte) copyRow {
	if v == nil {
		return b.null()
	}
	return append(b.size(len(v)), v...)
}

func (b copyRow) text(v string) copyRow { return append(b.size(len(v)), v...) }

func (b copyRow) textOrNull(v string) copyRow {
	if v == "" {
		return b.null()
	}
	return b.text(v)
}

// uuid takes an id that newID made or the database gave.
func (b copyRow) uuid(v string) copyRow {
	id := uuid.MustParse(v)
	return append(b.size(16), id[:]...)
}

func (b copyRow) bool(v bool) copyRow {
	if v {
		return append(b.size(1), 1)
	}
	return append(b.size(1), 0)
}

func (b copyRow) int2(v int) copyRow { return binary.BigEndian.AppendUint16(b.size(2), uint16(v)) }
func (b copyRow) int4(v int) copyRow { return binary.BigEndian.AppendUint32(b.size(4), uint32(v)) }
func (b copyRow) int8(v int) copyRow { return binary.BigEndian.AppendUint64(b.size(8), uint64(v)) }

// postgresEpoch is 2000, in microseconds since 1970.
const postgresEpoch = 946684800_000_000

// at is a timestamptz: microseconds since 2000.
func (b copyRow) at(t time.Time) copyRow { return b.int8(int(t.UnixMicro() - postgresEpoch)) }

// jsonb is version 1 of its format, then the text that add appends.
func (b copyRow) jsonb(add func([]byte) []byte) copyRow {
	start := len(b)
	b = add(append(b.size(0), 1))
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// Types of arrays' elements (pg_type.dat).
const (
	oidInt2 = 21
	oidInt4 = 23
)

// int2s and int4s are arrays of one dimension that counts from 1.
func (b copyRow) int2s(list []int) copyRow {
	b = b.array(oidInt2, len(list), 2)
	for _, v := range list {
		b = b.int2(v)
	}
	return b
}

func (b copyRow) int4s(list []int32) copyRow {
	if list == nil {
		return b.null()
	}
	b = b.array(oidInt4, len(list), 4)
	for _, v := range list {
		b = b.int4(int(v))
	}
	return b
}

func (b copyRow) array(oid, n, width int) copyRow {
	if n == 0 {
		return b.size(12).word(0).word(0).word(oid)
	}
	return b.size(20 + n*(4+width)).word(1).word(0).word(oid).word(n).word(1)
}

func (b copyRow) word(v int) copyRow { return binary.BigEndian.AppendUint32(b, uint32(v)) }

// copyReader is n rows as a stream; they are made while the former are on their way.
type copyReader struct {
	n, fields int
	row       func(b copyRow, i int) copyRow
	at        int
	buf       copyRow
	left      []byte
	ended     bool
}

func newCopyReader(n, fields int, row func(b copyRow, i int) copyRow) *copyReader {
	return &copyReader{n: n, fields: fields, row: row, left: copyHead}
}

func (r *copyReader) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		r.buf = r.buf[:0]
		for ; r.at < r.n && len(r.buf) < len(p); r.at++ {
			r.buf = r.row(r.buf.row(r.fields), r.at)
		}
		if r.at == r.n {
			r.buf, r.ended = append(r.buf, 0xff, 0xff), true
		}
		r.left = r.buf
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}
