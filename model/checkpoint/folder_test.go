package checkpoint

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

var (
	smallGPT2  = model.Config{Family: "gpt2", Vocab: 300, Context: 16, Layers: 2, Width: 16, Heads: 2, Tied: true, BOS: 298, EOS: 298}
	smallLlama = model.Config{Family: "llama", Vocab: 300, Context: 16, Layers: 2, Width: 16, Heads: 4, KVHeads: 2, Hidden: 24, NormEps: 1e-6, RopeTheta: 500, BOS: -1, EOS: 1}
)

func mustModel(t testing.TB, cfg model.Config, head model.Head, bias bool) *model.Transformer {
	t.Helper()
	m, err := model.New(cfg, 11)
	if err != nil {
		t.Fatal(err)
	}
	if head != model.HeadLM {
		m.AddHead(head, 12)
		if bias {
			m.AddHeadBias()
			m.Param(map[model.Head]string{model.HeadScore: "score.bias", model.HeadValue: "value.bias"}[head]).Data[0] = 0.25
		}
	}
	return m
}

func mustTokenizer(t testing.TB) token.Tokenizer {
	t.Helper()
	tok, err := token.Train(slices.Values(slices.Repeat([]string{"the fox and the hen went to the well"}, 3)), 290, []string{token.EndOfText})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func save(t testing.TB, c *Checkpoint, dtype string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := c.Save(dir, dtype); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sameWeights compares all tensors bit by bit.
func sameWeights(a, b *model.Transformer) bool {
	pa, pb := a.Params(), b.Params()
	return slices.EqualFunc(pa, pb, func(x, y *model.Param) bool {
		return x.Name == y.Name && slices.Equal(x.Shape, y.Shape) && slices.EqualFunc(x.Data, y.Data, func(v, w float32) bool {
			return math.Float32bits(v) == math.Float32bits(w)
		})
	})
}

// TestFolderRoundTrip: families, heads and types; F32 comes back bit for bit, and the
// folder's content is a function of the checkpoint.
func TestFolderRoundTrip(t *testing.T) {
	card := Card{Kind: "reward", Parents: []string{"a", "b"}, Snapshot: "s", Metrics: map[string]float64{"acc": 0.75}, RewardMean: -0.5, RewardStd: 2, Notes: "x"}
	tied := smallLlama
	tied.Tied = true
	for _, cfg := range []model.Config{smallGPT2, smallLlama, tied} {
		for _, head := range []model.Head{model.HeadLM, model.HeadScore, model.HeadValue} {
			for _, bias := range []bool{false, true} {
				c := &Checkpoint{Model: mustModel(t, cfg, head, bias), Tokenizer: mustTokenizer(t), Card: card}
				dir := save(t, c, "F32")
				got, err := Load(dir)
				if err != nil {
					t.Fatal(err)
				}
				if got.Model.Config() != c.Model.Config() {
					t.Errorf("config %+v, want %+v", got.Model.Config(), c.Model.Config())
				}
				if !sameWeights(got.Model, c.Model) || got.Model.ScalarHead() != head {
					t.Errorf("%s %v: other weights", cfg.Family, head)
				}
				if a, _ := json.Marshal(got.Card); string(a) != string(must(json.Marshal(card))) {
					t.Errorf("card %s", a)
				}
				if got.Tokenizer.Digest() != c.Tokenizer.Digest() {
					t.Error("other tokenizer")
				}
				if a, b := mustDigest(t, dir), mustDigest(t, save(t, got, "F32")); a != b {
					t.Error("saving again gives another digest")
				}
			}
		}
	}
	for _, dtype := range []string{"F16", "BF16"} {
		c := &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadLM, false)}
		got, err := Load(save(t, c, dtype))
		if err != nil {
			t.Fatal(err)
		}
		if got.Tokenizer != nil || got.Card.Kind != "" {
			t.Error("a tokenizer or card out of nothing")
		}
		for i, p := range c.Model.Params() {
			for j, v := range p.Data {
				want := fromBF16(toBF16(v))
				if dtype == "F16" {
					want = fromF16(toF16(v))
				}
				if got.Model.Params()[i].Data[j] != want {
					t.Fatalf("%s %s[%d] = %g, want %g", dtype, p.Name, j, got.Model.Params()[i].Data[j], want)
				}
			}
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func mustDigest(t testing.TB, dir string) string {
	t.Helper()
	d, err := Digest(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestFolderFiles: names, modes and sums, as another program sees them.
func TestFolderFiles(t *testing.T) {
	dir := save(t, &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadScore, false), Tokenizer: mustTokenizer(t)}, "F32")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	want := []string{"SHA256SUMS", "config.json", "generation_config.json", "model.safetensors", "rankloop.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"}
	if !slices.Equal(names, want) {
		t.Errorf("files %v", names)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder has mode %v", info.Mode())
	}
	if tool, err := exec.LookPath("sha256sum"); err == nil {
		cmd := exec.Command(tool, "--check", "--strict", "SHA256SUMS")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("sha256sum --check: %v\n%s", err, out)
		}
	}
	all, err := ReadTensors(filepath.Join(dir, weightsName))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"transformer.wte.weight", "transformer.h.0.attn.c_attn.weight", "transformer.ln_f.bias", "score.weight"} {
		if _, ok := all[name]; !ok {
			t.Errorf("no tensor %s", name)
		}
	}
	if _, ok := all["lm_head.weight"]; ok {
		t.Error("the tied head was written")
	}
}

// edited saves a small folder and changes its files without a list of sums.
func edited(t testing.TB, c *Checkpoint, edit func(config map[string]any, tensors map[string]Tensor)) fstest.MapFS {
	t.Helper()
	dir := save(t, c, "F32")
	var config map[string]any
	if err := json.Unmarshal(must(os.ReadFile(filepath.Join(dir, configName))), &config); err != nil {
		t.Fatal(err)
	}
	tensors := must(ReadTensors(filepath.Join(dir, weightsName)))
	edit(config, tensors)
	return fstest.MapFS{"m/config.json": {Data: must(json.Marshal(config))}, "m/model.safetensors": {Data: packed(t, tensors)}}
}

func packed(t testing.TB, tensors map[string]Tensor) []byte {
	t.Helper()
	var list []Tensor
	for name, x := range tensors {
		x.Name = name
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	var b bytes.Buffer
	if err := encodeTensors(&b, list, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLoadForms: what other writers do differently means the same.
func TestLoadForms(t *testing.T) {
	rename := func(tensors map[string]Tensor, f func(string) string) {
		for name, x := range tensors {
			delete(tensors, name)
			tensors[f(name)] = x
		}
	}
	gpt2, llama := mustModel(t, smallGPT2, model.HeadLM, false), mustModel(t, smallLlama, model.HeadLM, false)
	for name, c := range map[string]struct {
		m    *model.Transformer
		edit func(config map[string]any, tensors map[string]Tensor)
	}{
		"gpt2 without prefix": {gpt2, func(_ map[string]any, x map[string]Tensor) { rename(x, canonical) }},
		"gpt2 with its head": {gpt2, func(_ map[string]any, x map[string]Tensor) {
			x["lm_head.weight"] = x["transformer.wte.weight"]
		}},
		"gpt2 with old buffers": {gpt2, func(_ map[string]any, x map[string]Tensor) {
			x["transformer.h.0.attn.bias"] = Tensor{DType: "F32", Shape: []int{1}, F32: []float32{1}}
			x["transformer.h.1.attn.masked_bias"] = Tensor{DType: "F32", Shape: []int{}, F32: []float32{float32(math.Inf(-1))}}
		}},
		"gpt2 with few fields": {gpt2, func(c map[string]any, _ map[string]Tensor) {
			for _, k := range []string{"architectures", "n_inner", "n_ctx", "activation_function", "tie_word_embeddings", "torch_dtype"} {
				delete(c, k)
			}
			c["n_inner"], c["unknown_field"] = nil, []int{1}
		}},
		"llama without prefix": {llama, func(_ map[string]any, x map[string]Tensor) { rename(x, canonical) }},
		"llama with inv_freq": {llama, func(_ map[string]any, x map[string]Tensor) {
			x["model.layers.0.self_attn.rotary_emb.inv_freq"] = Tensor{DType: "F32", Shape: []int{2}, F32: []float32{1, 2}}
		}},
		"llama of newer versions": {llama, func(c map[string]any, _ map[string]Tensor) {
			delete(c, "rope_theta")
			delete(c, "torch_dtype")
			c["dtype"], c["rope_scaling"], c["head_dim"] = "float32", nil, 4
			c["rope_parameters"] = map[string]any{"rope_type": "default", "rope_theta": 500.0}
			c["eos_token_id"] = []int{1, 2}
		}},
	} {
		got, err := LoadFS(edited(t, &Checkpoint{Model: c.m}, c.edit), "m")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Model.Config() != c.m.Config() || !sameWeights(got.Model, c.m) {
			t.Errorf("%s: another model: %+v", name, got.Model.Config())
		}
	}
	// A reward model of transformers has no LM head.
	rm := mustModel(t, smallLlama, model.HeadScore, false)
	got, err := LoadFS(edited(t, &Checkpoint{Model: rm}, func(_ map[string]any, x map[string]Tensor) { delete(x, headName) }), "m")
	if err != nil {
		t.Fatal(err)
	}
	seq := []model.Sequence{{IDs: []int32{3, 4, 5}, Start: 3}}
	if a, b := got.Model.Score(seq, model.WantScore).Score[0], rm.Score(seq, model.WantScore).Score[0]; a != b {
		t.Errorf("score %g, want %g", a, b)
	}
	// generation_config.json fills in what config.json does not say.
	files := edited(t, &Checkpoint{Model: gpt2}, func(c map[string]any, _ map[string]Tensor) { delete(c, "eos_token_id") })
	files["m/generation_config.json"] = &fstest.MapFile{Data: []byte(`{"eos_token_id":[7,8],"bos_token_id":9,"temperature":0.5}`)}
	if got, err := LoadFS(files, "m"); err != nil || got.Model.Config().EOS != 7 || got.Model.Config().BOS != 298 {
		t.Errorf("generation_config.json: %v", err)
	}
}

func TestLoadShards(t *testing.T) {
	m := mustModel(t, smallLlama, model.HeadLM, false)
	whole := map[string]Tensor{}
	files := edited(t, &Checkpoint{Model: m}, func(_ map[string]any, x map[string]Tensor) {
		for k, v := range x {
			whole[k] = v
		}
	})
	delete(files, "m/model.safetensors")
	shards := []map[string]Tensor{{}, {}}
	index := map[string]string{}
	i := 0
	for name, x := range whole {
		shards[i%2][name] = x
		index[name] = []string{"model-1.safetensors", "model-2.safetensors"}[i%2]
		i++
	}
	files["m/model-1.safetensors"] = &fstest.MapFile{Data: packed(t, shards[0])}
	files["m/model-2.safetensors"] = &fstest.MapFile{Data: packed(t, shards[1])}
	put := func(index map[string]string) {
		files["m/"+indexName] = &fstest.MapFile{Data: must(json.Marshal(map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": index}))}
	}
	files["m/deep/model-1.safetensors"], files["m/deep/model-2.safetensors"] = files["m/model-1.safetensors"], files["m/model-2.safetensors"]
	put(index)
	got, err := LoadFS(files, "m")
	if err != nil {
		t.Fatal(err)
	}
	if !sameWeights(got.Model, m) {
		t.Error("other weights")
	}
	for name, edit := range map[string]func(map[string]string){
		"subfolder": func(x map[string]string) {
			for name := range x {
				x[name] = strings.Replace(x[name], "model", "deep/model", 1)
			}
		},
		"path":         func(x map[string]string) { x[headName] = "../model-1.safetensors" },
		"absolute":     func(x map[string]string) { x[headName] = "/etc/passwd.safetensors" },
		"backslash":    func(x map[string]string) { x[headName] = `..\model-1.safetensors` },
		"another type": func(x map[string]string) { x[headName] = "config.json" },
		"no such file": func(x map[string]string) { x[headName] = "model-3.safetensors" },
		"wrong file": func(x map[string]string) {
			x[headName] = map[string]string{"model-1.safetensors": "model-2.safetensors", "model-2.safetensors": "model-1.safetensors"}[x[headName]]
		},
		"in no file":    func(x map[string]string) { x["model.more.weight"] = "model-1.safetensors" },
		"not the index": func(x map[string]string) { delete(x, headName) },
		"empty":         func(x map[string]string) { clear(x) },
	} {
		other := map[string]string{}
		for k, v := range index {
			other[k] = v
		}
		edit(other)
		put(other)
		if _, err := LoadFS(files, "m"); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	put(index)
	shards[1]["model.embed_tokens.weight"], shards[0]["model.embed_tokens.weight"] = whole["model.embed_tokens.weight"], whole["model.embed_tokens.weight"]
	files["m/model-1.safetensors"] = &fstest.MapFile{Data: packed(t, shards[0])}
	files["m/model-2.safetensors"] = &fstest.MapFile{Data: packed(t, shards[1])}
	if _, err := LoadFS(files, "m"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a tensor in two files: %v", err)
	}
}

// TestLoadMismatch: one error lists all that does not fit.
func TestLoadMismatch(t *testing.T) {
	c := &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadLM, false)}
	_, err := LoadFS(edited(t, c, func(_ map[string]any, x map[string]Tensor) {
		delete(x, "transformer.ln_f.bias")
		delete(x, "transformer.h.1.ln_2.weight")
		x["transformer.h.9.ln_1.weight"] = x["transformer.h.0.ln_1.weight"]
		x["extra"] = Tensor{DType: "I64", Shape: []int{1}, I64: []int64{1}}
		x["transformer.wpe.weight"] = Tensor{DType: "F32", Shape: []int{16, 17}, F32: make([]float32, 16*17)}
		b := x["transformer.h.0.ln_1.bias"]
		x["transformer.h.0.ln_1.bias"] = Tensor{DType: "F64", Shape: b.Shape, F64: make([]float64, len(b.F32))}
	}), "m")
	var bad *TensorsError
	if !errors.As(err, &bad) {
		t.Fatalf("error %v", err)
	}
	if !slices.Equal(bad.Missing, []string{"h.1.ln_2.weight", "ln_f.bias"}) || !slices.Equal(bad.Extra, []string{"extra", "transformer.h.9.ln_1.weight"}) ||
		!slices.Equal(bad.Misshaped, []string{"transformer.h.0.ln_1.bias F64", "transformer.wpe.weight [16 17], not [16 16]"}) {
		t.Errorf("missing %q, extra %q, misshaped %q", bad.Missing, bad.Extra, bad.Misshaped)
	}
	for name, edit := range map[string]func(config map[string]any, tensors map[string]Tensor){
		"both heads": func(_ map[string]any, x map[string]Tensor) {
			x["score.weight"] = Tensor{DType: "F32", Shape: []int{1, 16}, F32: make([]float32, 16)}
			x["value.weight"] = x["score.weight"]
		},
		"bias alone": func(_ map[string]any, x map[string]Tensor) {
			x["score.bias"] = Tensor{DType: "F32", Shape: []int{1}, F32: []float32{1}}
		},
		"two class score": func(_ map[string]any, x map[string]Tensor) {
			x["score.weight"] = Tensor{DType: "F32", Shape: []int{2, 16}, F32: make([]float32, 32)}
		},
		"name with and without prefix": func(_ map[string]any, x map[string]Tensor) { x["ln_f.bias"] = x["transformer.ln_f.bias"] },
		"another head": func(_ map[string]any, x map[string]Tensor) {
			w := x["transformer.wte.weight"]
			w.F32 = slices.Clone(w.F32)
			w.F32[5]++
			x["lm_head.weight"] = w
		},
		"NaN":      func(_ map[string]any, x map[string]Tensor) { x["transformer.ln_f.bias"].F32[3] = float32(math.NaN()) },
		"infinite": func(_ map[string]any, x map[string]Tensor) { x["transformer.wte.weight"].F32[7] = float32(math.Inf(1)) },
		"huge":     func(c map[string]any, _ map[string]Tensor) { c["n_embd"], c["n_layer"] = 1<<20, 1<<10 },
		"long":     func(c map[string]any, _ map[string]Tensor) { c["n_positions"] = 1 << 24 },
	} {
		files := edited(t, c, edit)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := LoadFS(files, "m")
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
			t.Errorf("%s: %d bytes allocated", name, grown)
		}
		if err == nil {
			t.Errorf("%s: loaded", name)
		} else if name == "NaN" && !strings.Contains(err.Error(), `"transformer.ln_f.bias": element 3 is NaN`) {
			t.Errorf("NaN: %v", err)
		}
	}
	c.Model.Param("ln_f.bias").Data[0] = float32(math.NaN())
	if err := c.Save(filepath.Join(t.TempDir(), "x"), "F32"); err == nil || !strings.Contains(err.Error(), "ln_f.bias") {
		t.Errorf("NaN saved: %v", err)
	}
	c.Model.Param("ln_f.bias").Data[0] = 1e30
	if err := c.Save(filepath.Join(t.TempDir(), "x"), "F16"); err == nil {
		t.Error("1e30 saved as F16")
	}
	if err := c.Save(filepath.Join(t.TempDir(), "x"), "F64"); err == nil {
		t.Error("saved as F64")
	}
	for _, card := range []Card{{Metrics: map[string]float64{"loss": math.NaN()}}, {RewardMean: math.NaN()}, {RewardStd: math.Inf(1)}, {RewardStd: -1}} {
		var bad *InvalidError
		other := &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadLM, false), Card: card}
		if err := other.Save(filepath.Join(t.TempDir(), "x"), "F32"); !errors.As(err, &bad) {
			t.Errorf("%+v saved: %v", card, err)
		}
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty folder: %v", err)
	}
	tok := &Checkpoint{Model: mustModel(t, model.Config{Family: "gpt2", Vocab: 100, Context: 4, Layers: 1, Width: 4, Heads: 1, BOS: -1, EOS: -1}, model.HeadLM, false), Tokenizer: mustTokenizer(t)}
	if _, err := Load(save(t, tok, "F32")); err == nil {
		t.Error("a tokenizer with more ids than the model was loaded")
	}
}

// TestFolderDamage: single flipped bits of every file are found: every bit of the
// weights' header and of the small files, thousands of the data.
func TestFolderDamage(t *testing.T) {
	cfg := smallLlama
	cfg.Vocab, cfg.Width, cfg.Heads, cfg.KVHeads, cfg.Hidden, cfg.Layers = 20, 8, 2, 1, 8, 1
	dir := save(t, &Checkpoint{Model: mustModel(t, cfg, model.HeadScore, false), Card: Card{Kind: "reward", RewardMean: 1, RewardStd: 2}}, "BF16")
	files := fstest.MapFS{}
	total := 0
	for _, e := range must(os.ReadDir(dir)) {
		files["m/"+e.Name()] = &fstest.MapFile{Data: must(os.ReadFile(filepath.Join(dir, e.Name())))}
		total += len(files["m/"+e.Name()].Data)
	}
	flips := 0
	try := func(name string, bit int) {
		flips++
		data := files[name].Data
		data[bit/8] ^= 1 << (bit % 8)
		if _, err := LoadFS(files, "m"); err == nil {
			t.Errorf("%s: bit %d flipped and nobody noticed", name, bit)
		}
		data[bit/8] ^= 1 << (bit % 8)
	}
	rng := rand.New(rand.NewPCG(13, 14))
	for name, f := range files {
		n := 8 * len(f.Data)
		switch {
		case name == "m/"+weightsName:
			head := 8 * 8 * 24
			for bit := range head {
				try(name, bit)
			}
			for range 4000 {
				try(name, head+rng.IntN(n-head))
			}
		default:
			for bit := range n {
				try(name, bit)
			}
		}
	}
	if flips < 10000 {
		t.Errorf("%d flips", flips)
	}
	if _, err := LoadFS(files, "m"); err != nil {
		t.Errorf("sound again: %v", err)
	}
	for name := range files {
		if name == "m/"+sumsName {
			continue
		}
		f := files[name]
		delete(files, name)
		if _, err := LoadFS(files, "m"); err == nil {
			t.Errorf("%s missing and nobody noticed", name)
		}
		files[name] = &fstest.MapFile{Data: f.Data[:len(f.Data)-1]}
		if _, err := LoadFS(files, "m"); err == nil {
			t.Errorf("%s cut off and nobody noticed", name)
		}
		files[name] = f
	}
}

// TestReferenceFolders loads every model folder of the reference numbers.
func TestReferenceFolders(t *testing.T) {
	root := os.Getenv("RANKLOOP_FIXTURES")
	if root == "" {
		root = filepath.Join("..", "testdata", "fixtures")
	}
	for _, family := range []string{"gpt2", "llama", "rm"} {
		dirs, err := filepath.Glob(filepath.Join(root, "numerics", family, "*", weightsName))
		if err != nil || len(dirs) == 0 {
			t.Errorf("no cases of %s", family)
		}
		for _, file := range dirs {
			dir := filepath.Dir(file)
			c, err := Load(dir)
			if err != nil {
				t.Error(err)
				continue
			}
			if (c.Model.ScalarHead() == model.HeadScore) != (family == "rm") {
				t.Errorf("%s: head %v", dir, c.Model.ScalarHead())
			}
			back, err := Load(save(t, c, "F32"))
			if err != nil || !sameWeights(back.Model, c.Model) {
				t.Errorf("%s: saved and loaded: %v", dir, err)
			}
		}
	}
}

func FuzzConfig(f *testing.F) {
	for _, cfg := range []model.Config{smallGPT1, smallGPT2, smallGPT3, smallLlama, smallQwen2, scaledLlama} {
		f.Add(must(encodeConfig(cfg.WithDefaults(), model.HeadScore, "F32")))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := ParseConfig(data)
		if err != nil {
			return
		}
		text, err := encodeConfig(cfg, model.HeadLM, "F32")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseConfig(text); err != nil || again != cfg {
			t.Fatalf("%+v written and read is %+v, %v", cfg, again, err)
		}
	})
}

func FuzzSums(f *testing.F) {
	f.Add([]byte(hex.EncodeToString(make([]byte, 32)) + "  a.json\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := readSums(fstest.MapFS{sumsName: {Data: data}})
		if err != nil {
			return
		}
		again, err := readSums(fstest.MapFS{sumsName: {Data: list.encode()}})
		if err != nil || len(again) != len(list) {
			t.Fatalf("%v, %v", again, err)
		}
	})
}
