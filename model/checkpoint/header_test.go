package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/rankloop/rankloop/model"
)

// slowHeader is parseHeader on the tokens of encoding/json.
func slowHeader(text []byte) (*header, error) {
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
		if len(meta) == maxMetadata {
			return corrupt("too much metadata")
		}
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
		v, err := strconv.ParseInt(number.String(), 10, 64)
		if !ok || err != nil || v < 0 {
			return nil, corrupt("tensor %q: %v is not a size", name, t)
		}
		out = append(out, v)
	}
	_, err = d.next()
	return out, err
}

// FuzzHeader: the scanner takes what encoding/json takes, means the same by it, and
// allocates no more than the text and 1 MiB.
func FuzzHeader(f *testing.F) {
	for _, text := range []string{one, `{}`, `{"__metadata__":{"a":"b","":""}}`, `{"__metadata__":{"a":"b"},"a":{"shape":[ ],"dtype":"F64","data_offsets":[0,8]}} `,
		`{"\u0061\n\"\\\/":{"dtype":"I8","shape":[1,2],"data_offsets":[0,2]}}`, `{"\ud83d\ude00\ud800x\udc00\u00e9":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}}`,
		`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},}`, `{"a" "b"}`, `{"a":{"dtype":"F32","shape":[1,],"data_offsets":[0,4]}}`, "{\"\x01\":{}}",
		`{"a":{"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,4]}}`, `{"a":{"dtype":"F32","shape":[1e3],"data_offsets":[0,-4]}}`, `{"\ud83d\u":1}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxHeader {
			return
		}
		shared := string(text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := parseHeader(shared)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(len(text))+1<<20 {
			t.Fatalf("%d bytes allocated for a header of %d", grown, len(text))
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("error without a reason: %v", err)
		}
		want, slowErr := slowHeader(text)
		if (err == nil) != (slowErr == nil) {
			t.Fatalf("%.200q: %v, encoding/json says %v", text, err, slowErr)
		}
		if err != nil {
			return
		}
		if len(got.entries) != len(want.entries) || len(got.entries) > 0 && !reflect.DeepEqual(got.entries, want.entries) || !reflect.DeepEqual(got.meta, want.meta) {
			t.Fatalf("%.200q: %+v, encoding/json has %+v", text, got, want)
		}
	})
}

// TestHeaderMemory: the worst headers of each kind cost no more than their own length
// and 1 MiB, whether they are refused or not.
func TestHeaderMemory(t *testing.T) {
	tensors := func(n int, name, shape string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d%s":{"dtype":"F32","shape":[%s],"data_offsets":[%d,%d]}`, i, name, shape, 4*i, 4*i+4)
		}
		return "{" + b.String()[1:] + "}"
	}
	metadata := func(n int, value string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d":"%s"`, i, value)
		}
		return `{"__metadata__":{` + b.String()[1:] + `}}`
	}
	for name, text := range map[string]string{
		"most tensors":          tensors(maxTensors, "", "1"),
		"most, long names":      tensors(maxTensors, strings.Repeat("x", 140), "1,1,1,1,1,1,1,1"),
		"one too many":          tensors(maxTensors+1, "", "1"),
		"much metadata":         metadata(90000, ""),
		"most metadata":         metadata(maxMetadata, strings.Repeat("x", 900)),
		"one long name":         `{"` + strings.Repeat("x", 1<<20-100) + `":1}`,
		"escapes":               `{"` + strings.Repeat(`\u4e2d`, 170000) + `":1}`,
		"many escaped names":    `{"__metadata__":{"` + strings.Repeat(`\n","":"`, 100000) + `"}}`,
		"deep":                  `{"a":` + strings.Repeat("[", 1000000),
		"a long number":         `{"a":{"shape":[` + strings.Repeat("1", 1000000) + `]}}`,
		"words without meaning": `{"a":{"` + strings.Repeat("data_offsets", 80000) + `":1}}`,
	} {
		file := rawFile(text, 0)
		if strings.HasPrefix(name, "most") && !strings.Contains(name, "metadata") {
			file = rawFile(text, 4*maxTensors)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readHeader(bytes.NewReader(file), int64(len(file)))
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(len(file))+1<<20 {
			t.Errorf("%s: %d bytes allocated for a file of %d", name, grown, len(file))
		}
		if fine := strings.HasPrefix(name, "most"); (err == nil) != fine {
			t.Errorf("%s: error %.200v", name, err)
		}
	}
}

// FuzzLoad: a folder whose weights are anything loads, mapped or not, or gives a reason.
func FuzzLoad(f *testing.F) {
	cfg := smallLlama
	cfg.Vocab, cfg.Width, cfg.Heads, cfg.KVHeads, cfg.Hidden, cfg.Layers = 4, 4, 1, 1, 2, 1
	c := &Checkpoint{Model: mustModel(f, cfg, model.HeadScore, true)}
	for _, dtype := range []string{"F32", "F16", "BF16"} {
		files := inMemory(f, save(f, c, dtype))
		f.Add(files["m/"+configName].Data, files["m/"+weightsName].Data)
	}
	f.Fuzz(func(t *testing.T, config, weights []byte) {
		files := fstest.MapFS{"m/" + configName: {Data: config}, "m/" + weightsName: {Data: weights}}
		got, err := LoadFS(files, "m")
		if err != nil {
			return
		}
		if n := got.Model.NumParams(); n > len(weights) {
			t.Fatalf("%d parameters out of %d bytes", n, len(weights))
		}
	})
}
