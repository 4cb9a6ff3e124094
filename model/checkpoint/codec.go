package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
)

// chunk is the number of bytes converted at once; a multiple of every element size.
const chunk = 1 << 18

// each reads the tensors in data order and hands them to f.
func (r *reader) each(f func(Tensor) error) error {
	var largest int64
	for _, e := range r.entries {
		largest = max(largest, e.end-e.begin)
	}
	buf := make([]byte, min(chunk, largest))
	for _, e := range r.entries {
		t, err := readTensor(r.in, e, buf)
		if err != nil {
			return err
		}
		if err := f(t); err != nil {
			return err
		}
	}
	return nil
}

func readTensor(in io.Reader, e entry, buf []byte) (Tensor, error) {
	t := Tensor{Name: e.name, DType: e.dtype, Shape: e.shape}
	n := int((e.end - e.begin) / elemSize[e.dtype])
	le := binary.LittleEndian
	switch e.dtype {
	case "F32":
		t.F32 = make([]float32, n)
		return t, readInto(in, e, buf, t.F32, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) })
	case "F16":
		t.F32 = make([]float32, n)
		return t, readInto(in, e, buf, t.F32, func(b []byte) float32 { return fromF16(le.Uint16(b)) })
	case "BF16":
		t.F32 = make([]float32, n)
		return t, readInto(in, e, buf, t.F32, func(b []byte) float32 { return fromBF16(le.Uint16(b)) })
	case "F64":
		t.F64 = make([]float64, n)
		return t, readInto(in, e, buf, t.F64, func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) })
	case "I64":
		t.I64 = make([]int64, n)
		return t, readInto(in, e, buf, t.I64, func(b []byte) int64 { return int64(le.Uint64(b)) })
	case "I32":
		t.I64 = make([]int64, n)
		return t, readInto(in, e, buf, t.I64, func(b []byte) int64 { return int64(int32(le.Uint32(b))) })
	}
	return t, corrupt("tensor %q: dtype %s cannot be read", e.name, e.dtype)
}

// readInto fills dst from in, converting chunk by chunk.
func readInto[T any](in io.Reader, e entry, buf []byte, dst []T, convert func([]byte) T) error {
	size := int(elemSize[e.dtype])
	for len(dst) > 0 {
		n := min(len(dst), len(buf)/size)
		if _, err := io.ReadFull(in, buf[:n*size]); err != nil {
			return corrupt("tensor %q: %v", e.name, err)
		}
		for i := range dst[:n] {
			dst[i] = convert(buf[i*size : i*size+size])
		}
		dst = dst[n:]
	}
	return nil
}

// encodeHeader makes the length bytes and the JSON, padded with spaces so that the
// data section begins at a multiple of 8, as the format asks of writers.
func encodeHeader(entries []entry, meta map[string]string) ([]byte, error) {
	out := append(make([]byte, 8, 1024), '{')
	add := func(key string, value any) error {
		if len(out) > 9 {
			out = append(out, ',')
		}
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value)
		if err != nil {
			return err
		}
		out = append(append(append(out, k...), ':'), v...)
		return nil
	}
	if meta != nil {
		if err := add("__metadata__", meta); err != nil {
			return nil, err
		}
	}
	type line struct {
		DType   string   `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	for _, e := range entries {
		shape := e.shape
		if shape == nil {
			shape = []int{}
		}
		if err := add(e.name, line{e.dtype, shape, [2]int64{e.begin, e.end}}); err != nil {
			return nil, err
		}
	}
	out = append(out, '}')
	for len(out)%8 != 0 {
		out = append(out, ' ')
	}
	if len(out)-8 > maxHeader {
		return nil, fmt.Errorf("header of %d bytes is over the limit of %d", len(out)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(out, uint64(len(out)-8))
	return out, nil
}

// layout places the tensors one after the other and checks that what they say of
// themselves is true, so that nothing can be written that could not be read.
func layout(tensors []Tensor) ([]entry, error) {
	if len(tensors) > maxTensors {
		return nil, fmt.Errorf("%d tensors are over the limit of %d", len(tensors), maxTensors)
	}
	seen := map[string]bool{"__metadata__": true}
	entries := make([]entry, len(tensors))
	var at int64
	for i, t := range tensors {
		f32 := len(t.F32) + len(t.half)
		n, ok := map[string]int{"F32": f32, "F16": f32, "BF16": f32,
			"F64": len(t.F64), "I64": len(t.I64), "I32": len(t.I64)}[t.DType]
		if !ok {
			return nil, fmt.Errorf("tensor %q: dtype %q cannot be written", t.Name, t.DType)
		}
		if !utf8.ValidString(t.Name) {
			return nil, fmt.Errorf("tensor name %q is not UTF-8", t.Name)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor name %q stands twice or is reserved", t.Name)
		}
		seen[t.Name] = true
		if len(t.Shape) > maxDims {
			return nil, fmt.Errorf("tensor %q has %d dimensions, the limit is %d", t.Name, len(t.Shape), maxDims)
		}
		if f32+len(t.F64)+len(t.I64) != n || numel(t.Shape) != n {
			return nil, fmt.Errorf("tensor %q: %d elements for %s %v", t.Name, n, t.DType, t.Shape)
		}
		end := at + int64(n)*elemSize[t.DType]
		entries[i] = entry{t.Name, t.DType, t.Shape, at, end}
		at = end
	}
	return entries, nil
}

// numel is the product of a shape, -1 where a dimension is negative.
func numel(shape []int) int {
	n := 1
	for _, s := range shape {
		if s < 0 {
			return -1
		}
		n *= s
	}
	return n
}

func encodeTensors(w io.Writer, tensors []Tensor, meta map[string]string) error {
	entries, err := layout(tensors)
	if err != nil {
		return err
	}
	head, err := encodeHeader(entries, meta)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	return encodeAll(w, tensors)
}

func encodeAll(w io.Writer, tensors []Tensor) error {
	buf := make([]byte, chunk)
	for _, t := range tensors {
		if err := encodeData(w, t, buf); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

func encodeData(w io.Writer, t Tensor, buf []byte) error {
	for wide := make([]float32, min(len(t.half), pieceLen)); len(t.half) > 0; {
		n := min(len(t.half), len(wide))
		for i, h := range t.half[:n] {
			wide[i] = fromBF16(h)
		}
		if err := encodeData(w, Tensor{DType: t.DType, F32: wide[:n]}, buf); err != nil {
			return err
		}
		t.half = t.half[n:]
	}
	le := binary.LittleEndian
	switch t.DType {
	case "F32":
		return writeFrom(w, buf, t.F32, 4, func(b []byte, v float32) error { le.PutUint32(b, math.Float32bits(v)); return nil })
	case "F16":
		return writeFrom(w, buf, t.F32, 2, func(b []byte, v float32) error {
			h := toF16(v)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(v), 0) {
				return fmt.Errorf("%g is too large for F16", v)
			}
			le.PutUint16(b, h)
			return nil
		})
	case "BF16":
		return writeFrom(w, buf, t.F32, 2, func(b []byte, v float32) error {
			h := toBF16(v)
			if h&0x7fff == 0x7f80 && !math.IsInf(float64(v), 0) {
				return fmt.Errorf("%g is too large for BF16", v)
			}
			le.PutUint16(b, h)
			return nil
		})
	case "F64":
		return writeFrom(w, buf, t.F64, 8, func(b []byte, v float64) error { le.PutUint64(b, math.Float64bits(v)); return nil })
	case "I64":
		return writeFrom(w, buf, t.I64, 8, func(b []byte, v int64) error { le.PutUint64(b, uint64(v)); return nil })
	case "I32":
		return writeFrom(w, buf, t.I64, 4, func(b []byte, v int64) error {
			if v != int64(int32(v)) {
				return fmt.Errorf("%d does not fit I32", v)
			}
			le.PutUint32(b, uint32(v))
			return nil
		})
	}
	panic("checkpoint: layout let dtype " + t.DType + " pass")
}

func writeFrom[T any](w io.Writer, buf []byte, src []T, size int, put func([]byte, T) error) error {
	for len(src) > 0 {
		n := min(len(src), len(buf)/size)
		for i, v := range src[:n] {
			if err := put(buf[i*size:], v); err != nil {
				return err
			}
		}
		if _, err := w.Write(buf[:n*size]); err != nil {
			return err
		}
		src = src[n:]
	}
	return nil
}
