package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

// rawFile is a safetensors file put together by hand.
func rawFile(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func readRaw(b []byte) (map[string]Tensor, error) {
	return ReadTensorsFS(fstest.MapFS{"x.safetensors": {Data: b}}, "x.safetensors")
}

const one = `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`

func TestReadAccepts(t *testing.T) {
	for name, b := range map[string][]byte{
		"one":            rawFile(one, 8),
		"no tensors":     rawFile(`{}`, 0),
		"padded":         rawFile(one+"   \n", 8),
		"metadata":       rawFile(`{"__metadata__":{"format":"pt"},"a":{"shape":[],"dtype":"F64","data_offsets":[0,8]}}`, 8),
		"any order":      rawFile(`{"a":{"dtype":"I32","shape":[1],"data_offsets":[8,12]},"b":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}`, 12),
		"empty tensor":   rawFile(`{"a":{"dtype":"F16","shape":[0,7],"data_offsets":[0,0]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}`, 2),
		"eight dims":     rawFile(`{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}`, 4),
		"4096 tensors":   rawFile(manyTensors(4096), 4096*4),
		"header of 1 MB": rawFile(one+strings.Repeat(" ", maxHeader-len(one)), 8),
	} {
		if _, err := readRaw(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func manyTensors(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"t%d":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}`, i, 4*i, 4*i+4)
	}
	return "{" + b.String()[1:] + "}"
}

// TestReadRefuses has one case per rule of the package comment.
func TestReadRefuses(t *testing.T) {
	tensor := func(body string) []byte { return rawFile(`{"a":{`+body+`}}`, 8) }
	huge := rawFile(one, 8)
	binary.LittleEndian.PutUint64(huge, math.MaxUint64)
	for name, c := range map[string]struct {
		file   []byte
		reason string
	}{
		"empty file":            {nil, "too few"},
		"seven bytes":           {make([]byte, 7), "too few"},
		"header over the limit": {rawFile(one+strings.Repeat(" ", maxHeader), 8), "over the limit"},
		"header of 2^64-1":      {huge, "over the limit"},
		"header past the end":   {rawFile(one, 8)[:20], "does not fit"},
		"header not JSON":       {rawFile(`{"a"`, 0), "header"},
		"header an array":       {rawFile(`[]`, 0), "does not begin"},
		"header after space":    {rawFile(` {}`, 0), "does not begin"},
		"header empty":          {rawFile(``, 0), "does not begin"},
		"header not UTF-8":      {rawFile("{\"\xff\":0}", 0), "UTF-8"},
		"header goes on":        {rawFile(one+`{}`, 8), "goes on"},
		"name twice": {rawFile(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
			"twice"},
		"name twice by escape": {rawFile(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
			"twice"},
		"metadata twice":         {rawFile(`{"__metadata__":{"a":"b","a":"c"}}`, 0), "twice"},
		"metadata not strings":   {rawFile(`{"__metadata__":{"a":1}}`, 0), "not a string"},
		"metadata not an object": {rawFile(`{"__metadata__":"a"}`, 0), "object"},
		"too many tensors":       {rawFile(manyTensors(4097), 4097*4), "more than 4096"},
		"too many dimensions":    {tensor(`"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]`), "more than 8"},
		"tensor a number":        {rawFile(`{"a":1}`, 0), "object"},
		"unknown dtype":          {tensor(`"dtype":"F8","shape":[8],"data_offsets":[0,8]`), "dtype"},
		"dtype that is no type":  {tensor(`"dtype":7,"shape":[8],"data_offsets":[0,8]`), "dtype"},
		"dtype not readable":     {tensor(`"dtype":"BOOL","shape":[8],"data_offsets":[0,8]`), "cannot be read"},
		"dtype twice":            {tensor(`"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]`), "repeated"},
		"shape twice":            {tensor(`"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]`), "repeated"},
		"unknown key":            {tensor(`"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1`), "unexpected"},
		"wrong case":             {tensor(`"DType":"F32","shape":[2],"data_offsets":[0,8]`), "unexpected"},
		"no dtype":               {tensor(`"shape":[2],"data_offsets":[0,8]`), "lacks"},
		"no shape":               {tensor(`"dtype":"F32","data_offsets":[0,8]`), "lacks"},
		"no offsets":             {tensor(`"dtype":"F32","shape":[2]`), "lacks"},
		"three offsets":          {tensor(`"dtype":"F32","shape":[2],"data_offsets":[0,8,8]`), "more than 2"},
		"shape not an array":     {tensor(`"dtype":"F32","shape":2,"data_offsets":[0,8]`), "array"},
		"negative dimension":     {tensor(`"dtype":"F32","shape":[-2],"data_offsets":[0,8]`), "not a size"},
		"fraction":               {tensor(`"dtype":"F32","shape":[2.0],"data_offsets":[0,8]`), "not a size"},
		"exponent":               {tensor(`"dtype":"F32","shape":[2e0],"data_offsets":[0,8]`), "not a size"},
		"dimension over int64":   {tensor(`"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]`), "not a size"},
		"string dimension":       {tensor(`"dtype":"F32","shape":["2"],"data_offsets":[0,8]`), "not a size"},
		"product overflows":      {tensor(`"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]`), "overflows"},
		"product overflows to 0": {tensor(`"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]`), "overflows"},
		"offsets backwards":      {tensor(`"dtype":"F32","shape":[2],"data_offsets":[8,0]`), "do not hold"},
		"offsets too short":      {tensor(`"dtype":"F32","shape":[2],"data_offsets":[0,4]`), "do not hold"},
		"hole at the start":      {rawFile(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "hole"},
		"hole between": {rawFile(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, 12),
			"hole"},
		"overlap": {rawFile(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
			"overlaps"},
		"same place": {rawFile(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8),
			"overlaps"},
		"data too short":  {rawFile(one, 7), "data"},
		"data too long":   {rawFile(one, 9), "data"},
		"data a petabyte": {rawFile(`{"a":{"dtype":"F32","shape":[281474976710656],"data_offsets":[0,1125899906842624]}}`, 8), "data"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readRaw(c.file)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.reason)
		}
		if len(c.file) < 1000 && after.TotalAlloc-before.TotalAlloc > 2<<20 {
			t.Errorf("%s: %d bytes allocated", name, after.TotalAlloc-before.TotalAlloc)
		}
	}
}

func TestTensorsRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	big := make([]float32, chunk) // more than one chunk
	for i := range big {
		big[i] = math.Float32frombits(rng.Uint32())
		if big[i] != big[i] {
			big[i] = 0
		}
	}
	inf := float32(math.Inf(1))
	want := []Tensor{
		{Name: "big", DType: "F32", Shape: []int{4, chunk / 4}, F32: big},
		{Name: "half", DType: "F16", Shape: []int{5}, F32: []float32{0, -1.5, 65504, 6e-8 * 0, -inf}},
		{Name: "bf", DType: "BF16", Shape: []int{3}, F32: []float32{1, -3.140625, inf}},
		{Name: "scalar", DType: "F64", Shape: []int{}, F64: []float64{math.Pi}},
		{Name: "empty", DType: "I64", Shape: []int{0}, I64: []int64{}},
		{Name: "ids", DType: "I64", Shape: []int{2}, I64: []int64{math.MinInt64, math.MaxInt64}},
		{Name: "näme \"<>&\u2028", DType: "I32", Shape: []int{1, 2}, I64: []int64{math.MinInt32, math.MaxInt32}},
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteTensors(path, want, map[string]string{"a": "b", "step": "7"}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadTensors(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("%d tensors, want %d", len(got), len(want))
	}
	for _, w := range want {
		if !reflect.DeepEqual(got[w.Name], w) {
			t.Errorf("%s came back different", w.Name)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := binary.LittleEndian.Uint64(raw); n%8 != 0 {
		t.Errorf("data begins at %d, not a multiple of 8", 8+n)
	}
	if _, err := ReadTensors(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	ok := Tensor{Name: "a", DType: "F32", Shape: []int{2}, F32: []float32{1, 2}}
	for name, list := range map[string][]Tensor{
		"name twice":     {ok, ok},
		"reserved name":  {{Name: "__metadata__", DType: "F32", Shape: []int{0}, F32: []float32{}}},
		"name not UTF-8": {{Name: "\xff", DType: "F32", Shape: []int{0}}},
		"unknown dtype":  {{Name: "a", DType: "U8", Shape: []int{1}, I64: []int64{1}}},
		"wrong length":   {{Name: "a", DType: "F32", Shape: []int{3}, F32: []float32{1, 2}}},
		"wrong slice":    {{Name: "a", DType: "F32", Shape: []int{1}, F64: []float64{1}}},
		"two slices":     {{Name: "a", DType: "F32", Shape: []int{1}, F32: []float32{1}, I64: []int64{1}}},
		"negative":       {{Name: "a", DType: "F32", Shape: []int{-1, -2}, F32: []float32{1, 2}}},
		"nine dims":      {{Name: "a", DType: "F32", Shape: []int{1, 1, 1, 1, 1, 1, 1, 1, 1}, F32: []float32{1}}},
		"over F16":       {{Name: "a", DType: "F16", Shape: []int{1}, F32: []float32{65520}}},
		"over BF16":      {{Name: "a", DType: "BF16", Shape: []int{1}, F32: []float32{math.MaxFloat32}}},
		"over I32":       {{Name: "a", DType: "I32", Shape: []int{1}, I64: []int64{1 << 31}}},
		"too many":       make([]Tensor, maxTensors+1),
	} {
		dir := t.TempDir()
		if err := WriteTensors(filepath.Join(dir, "x"), list, nil); err == nil {
			t.Errorf("%s: written", name)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: %s was left behind", name, left[0].Name())
		}
	}
}

// TestHalf walks through every F16 and BF16 number, and checks the rounding of others
// against the two neighbours.
func TestHalf(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		if f := fromBF16(h); f == f && toBF16(f) != h {
			t.Fatalf("BF16 %#04x -> %g -> %#04x", h, f, toBF16(f))
		}
		f := fromF16(h)
		if f == f && toF16(f) != h {
			t.Fatalf("F16 %#04x -> %g -> %#04x", h, f, toF16(f))
		}
		exp, frac := int(h>>10&31), float64(h&1023)
		want := math.Ldexp(1+frac/1024, exp-15)
		switch {
		case exp == 0:
			want = math.Ldexp(frac/1024, -14)
		case exp == 31 && frac == 0:
			want = math.Inf(1)
		case exp == 31:
			want = math.NaN()
		}
		if h&0x8000 != 0 {
			want = -want
		}
		if g := float64(f); g != want && (g == g || want == want) || math.Signbit(g) != math.Signbit(want) && g == g {
			t.Fatalf("F16 %#04x is %g, want %g", h, f, want)
		}
	}
	for _, n := range []float32{float32(math.NaN()), -float32(math.NaN())} {
		if f := fromF16(toF16(n)); f == f {
			t.Error("NaN became a number in F16")
		}
		if f := fromBF16(toBF16(n)); f == f {
			t.Error("NaN became a number in BF16")
		}
	}
	nearest := func(name string, f float32, to func(float32) uint16, from func(uint16) float32) {
		h := to(f)
		got := float64(from(h))
		for _, other := range []uint16{h - 1, h + 1} {
			o := float64(from(other))
			if math.IsNaN(o) || math.IsInf(o, 0) || math.IsInf(got, 0) || math.Signbit(o) != math.Signbit(got) {
				continue
			}
			d, e := math.Abs(got-float64(f)), math.Abs(o-float64(f))
			if e < d || e == d && h&1 == 1 {
				t.Fatalf("%s: %g became %g, %g is nearer or even", name, f, got, o)
			}
		}
	}
	rng := rand.New(rand.NewPCG(7, 8))
	for range 200000 {
		f := math.Float32frombits(rng.Uint32())
		if f == f {
			nearest("BF16", f, toBF16, fromBF16)
		}
		nearest("F16", float32(math.Ldexp(rng.Float64()*2-1, rng.IntN(44)-27)), toF16, fromF16)
		h := uint16(rng.IntN(0x7bff)) // halfway between two neighbours
		nearest("F16", (fromF16(h)+fromF16(h+1))/2, toF16, fromF16)
		nearest("BF16", math.Float32frombits(uint32(h)<<16|0x8000), toBF16, fromBF16)
	}
}

func FuzzReadTensors(f *testing.F) {
	f.Add(rawFile(one, 8))
	f.Add(rawFile(`{"__metadata__":{"a":"b"},"a":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]},"b":{"dtype":"I64","shape":[],"data_offsets":[4,12]}}`, 12))
	f.Fuzz(func(t *testing.T, file []byte) {
		all, err := readRaw(file)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error without a reason: %v", err)
			}
			return
		}
		// What can be read can be written, and then reads the same.
		var list []Tensor
		for _, x := range all {
			list = append(list, x)
		}
		var b bytes.Buffer
		if err := encodeTensors(&b, list, nil); err != nil {
			t.Fatal(err)
		}
		again, err := readRaw(b.Bytes())
		if err != nil || len(again) != len(all) {
			t.Fatalf("written anew: %v", err)
		}
	})
}
