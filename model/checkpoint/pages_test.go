package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rankloop/rankloop/model"
)

// inMemory is a folder as a file system without files of the operating system, so
// that nothing can be mapped.
func inMemory(t testing.TB, dir string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for _, e := range must(os.ReadDir(dir)) {
		files["m/"+e.Name()] = &fstest.MapFile{Data: must(os.ReadFile(filepath.Join(dir, e.Name())))}
	}
	return files
}

// TestMappedLoad: mapped, read, of any type, in one file or many, the weights are the
// same to the bit; BF16 matrices are the rounded float32 ones.
func TestMappedLoad(t *testing.T) {
	for _, cfg := range []model.Config{smallGPT2, smallLlama} {
		c := &Checkpoint{Model: mustModel(t, cfg, model.HeadScore, true)}
		for _, f := range []Format{{DType: "F32", MaxShard: 0}, {DType: "F32", MaxShard: 4000}, {DType: "F16", MaxShard: 0}, {DType: "BF16", MaxShard: 0}, {DType: "BF16", MaxShard: 4000}} {
			dir := filepath.Join(t.TempDir(), "model")
			if err := c.Export(dir, f); err != nil {
				t.Fatal(err)
			}
			mapped, read := must(Load(dir)), must(LoadFS(inMemory(t, dir), "m"))
			if !sameWeights(mapped.Model, read.Model) {
				t.Errorf("%s %s: mapped and read weights differ", cfg.Family, f.DType)
			}
			half := must(LoadBF16(dir))
			read.Model.ToBF16()
			if !half.Model.BF16() || !slices.EqualFunc(half.Model.Params(), read.Model.Params(), func(a, b *model.Param) bool {
				return a.Name == b.Name && slices.Equal(a.Half, b.Half) && slices.Equal(a.Data, b.Data)
			}) {
				t.Errorf("%s %s: BF16 weights are not the rounded float32 ones", cfg.Family, f.DType)
			}
			if a, b := mustDigest(t, save(t, half, "BF16")), mustDigest(t, save(t, read, "BF16")); a != b {
				t.Errorf("%s %s: saved from BF16 as another folder", cfg.Family, f.DType)
			}
			seq := []model.Sequence{{IDs: []int32{3, 4, 5, 6}, Start: 1}}
			if a, b := half.Model.Score(seq, model.WantLogprobs).Logprobs[0], read.Model.Score(seq, model.WantLogprobs).Logprobs[0]; !slices.Equal(a, b) {
				t.Errorf("%s %s: log-probabilities %v, want %v", cfg.Family, f.DType, a, b)
			}
		}
	}
	c := &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadLM, false)}
	c.Model.Param("wte.weight").Data[7] = math.MaxFloat32
	if _, err := LoadBF16(save(t, c, "F32")); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "as BF16") {
		t.Errorf("too large for BF16: %v", err)
	}
}

// TestMappedIsPrivate: training a mapped model changes neither the file nor another
// model of the same file, and the folder may be replaced under both.
func TestMappedIsPrivate(t *testing.T) {
	c := &Checkpoint{Model: mustModel(t, smallLlama, model.HeadLM, false)}
	dir := save(t, c, "F32")
	before := must(os.ReadFile(filepath.Join(dir, weightsName)))
	a, b := must(Load(dir)), must(Load(dir))
	for _, p := range a.Model.Params() {
		for i := range p.Data {
			p.Data[i]++
		}
	}
	if !sameWeights(b.Model, c.Model) {
		t.Error("another model changed too")
	}
	if !bytes.Equal(must(os.ReadFile(filepath.Join(dir, weightsName))), before) {
		t.Error("the file changed")
	}
	if err := a.Save(dir, "F32"); err != nil {
		t.Fatal(err)
	}
	if got := must(Load(dir)); !sameWeights(got.Model, a.Model) || !sameWeights(b.Model, c.Model) {
		t.Error("other weights after the folder was replaced")
	}
	runtime.KeepAlive([]any{a, b})
}

// TestWhatIsMapped: files that somebody may change in place are read, whatever their
// offsets; and a header that puts the data at an odd place is no trouble.
func TestWhatIsMapped(t *testing.T) {
	if _, err := mapFile(nil, 0); errors.Is(err, errors.ErrUnsupported) {
		t.Log("this system reads all files")
		return
	}
	c := &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadLM, false)}
	dir := save(t, c, "F32")
	isMapped := func(published bool) bool {
		t.Helper()
		files, err := openWeights(os.DirFS(dir), published)
		if err != nil {
			t.Fatal(err)
		}
		defer closeAll(files)
		return files[0].pages != nil
	}
	path := filepath.Join(dir, weightsName)
	if !isMapped(true) || isMapped(false) {
		t.Error("a folder of this package is mapped, a file that can be written is not")
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if !isMapped(false) {
		t.Error("a file that nobody may write is not mapped")
	}
	// The same tensors behind a header one byte longer.
	raw := must(os.ReadFile(path))
	n := binary.LittleEndian.Uint64(raw)
	odd := binary.LittleEndian.AppendUint64(nil, n+1)
	odd = append(append(append(odd, raw[8:8+n]...), ' '), raw[8+n:]...)
	for name, text := range map[string][]byte{path: odd, filepath.Join(dir, sumsName): nil} {
		os.Remove(name)
		if text != nil {
			if err := os.WriteFile(name, text, 0o400); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !isMapped(false) {
		t.Error("not mapped")
	}
	if got := must(Load(dir)); !sameWeights(got.Model, c.Model) {
		t.Error("other weights from odd offsets")
	}
	if got := must(LoadBF16(dir)); !got.Model.BF16() {
		t.Error("no BF16 from odd offsets")
	}
}

// TestMappedMemory: a mapped load allocates what a header needs, not what weights do.
func TestMappedMemory(t *testing.T) {
	if _, err := mapFile(nil, 0); errors.Is(err, errors.ErrUnsupported) {
		return
	}
	cfg := smallGPT2
	cfg.Vocab, cfg.Width, cfg.BOS, cfg.EOS = 30000, 128, -1, -1
	m := mustModel(t, cfg, model.HeadLM, false)
	for dtype, load := range map[string]func(string) (*Checkpoint, error){"F32": Load, "BF16": LoadBF16} {
		dir := save(t, &Checkpoint{Model: m}, dtype)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c := must(load(dir))
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%s: %d bytes allocated for weights of %d", dtype, grown, 2*m.NumParams())
		}
		runtime.KeepAlive(c)
	}
}

// TestTensorsError: the list reads well and says what to do.
func TestTensorsError(t *testing.T) {
	many := strings.Fields(strings.Repeat("x ", 15))
	for _, c := range []struct {
		err  TensorsError
		want string
	}{
		{TensorsError{Missing: []string{headName}, Fit: 20}, `20 tensors fit; 1 missing: lm_head.weight (if the head is the embedding, say "tie_word_embeddings": true in config.json)`},
		{TensorsError{Missing: []string{"a", "b"}, Fit: 3}, "3 tensors fit; 2 missing: a, b (is a file of weights missing?)"},
		{TensorsError{Misshaped: []string{"a [2], not [3]"}, Fit: 1}, "1 tensors fit; 1 of another shape or type: a [2], not [3] (do config.json and the weights come from the same model?)"},
		{TensorsError{Missing: many, Extra: many}, "0 tensors fit; 15 missing: " + strings.Repeat("x, ", 11) + "x and 3 more; 15 not of this model: " +
			strings.Repeat("x, ", 11) + "x and 3 more (is model_type in config.json that of the weights?)"},
		{TensorsError{Extra: []string{"a"}, Fit: 9}, "9 tensors fit; 1 not of this model: a"},
	} {
		if got := c.err.Error(); got != "the weights are not those of config.json: "+c.want {
			t.Errorf("%s", got)
		}
	}
}
