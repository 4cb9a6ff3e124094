package checkpoint

import (
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

type testMeta struct {
	Step   int
	Cursor []uint64
	Beta   float64
	Note   string
}

func TestStateRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	meta := testMeta{7, []uint64{1, math.MaxUint64}, 0.1, "a <b> \u2028"}
	list := []Tensor{
		{Name: "w", DType: "F32", Shape: []int{2}, F32: []float32{1, float32(math.Inf(-1))}},
		{Name: "ids", DType: "I64", Shape: []int{1}, I64: []int64{-5}},
	}
	for _, tensors := range [][]Tensor{list, nil} {
		if err := WriteState(path, meta, tensors); err != nil {
			t.Fatal(err)
		}
		var got testMeta
		all, err := ReadState(path, &got)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, meta) || len(all) != len(tensors) {
			t.Errorf("got %+v and %d tensors", got, len(all))
		}
		for _, w := range tensors {
			if !reflect.DeepEqual(all[w.Name], w) {
				t.Errorf("%s came back different", w.Name)
			}
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	var meta2 testMeta
	if _, err := ReadState(path+"x", &meta2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := WriteTensors(path, list, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadState(path, &meta2); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a file of tensors passes as a state: %v", err)
	}
	if err := WriteState(path, meta, []Tensor{{Name: sumName, DType: "F32", Shape: []int{0}}}); err == nil {
		t.Error("the reserved name was taken")
	}
	if err := WriteState(path, math.NaN(), nil); err == nil {
		t.Error("metadata that JSON cannot hold was written")
	}
}

// TestStateDamage: every single flipped bit and every truncation is found.
func TestStateDamage(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	w := make([]float32, 16)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	path := filepath.Join(t.TempDir(), "state")
	if err := WriteState(path, testMeta{Step: 3, Note: "x"}, []Tensor{{Name: "w", DType: "F32", Shape: []int{4, 4}, F32: w}}); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, at int, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		meta := testMeta{Note: "untouched"}
		if _, err := ReadState(path, &meta); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s %d: error %v", what, at, err)
		}
		if meta.Note != "untouched" {
			t.Errorf("%s %d: metadata of a broken file was given out", what, at)
		}
	}
	for bit := range 8 * len(sound) {
		b := append([]byte(nil), sound...)
		b[bit/8] ^= 1 << (bit % 8)
		try("bit", bit, b)
	}
	for n := range sound {
		try("cut at", n, sound[:n])
	}
	try("longer by", 1, append(sound[:len(sound):len(sound)], 0))
}

func FuzzReadState(f *testing.F) {
	path := filepath.Join(f.TempDir(), "state")
	if err := WriteState(path, testMeta{Step: 3}, nil); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		var meta any
		_, _ = ReadState(path, &meta)
	})
}
