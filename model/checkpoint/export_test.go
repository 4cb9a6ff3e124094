package checkpoint

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/rankloop/rankloop/model"
)

// TestExportShards: every size of shard gives the same model and keeps the limit; the
// index says where each tensor is and how many bytes there are, under the names that
// transformers gives.
func TestExportShards(t *testing.T) {
	for _, cfg := range []model.Config{smallGPT2, smallLlama} {
		c := &Checkpoint{Model: mustModel(t, cfg, model.HeadScore, true)}
		for _, f := range []Format{{DType: "F32", MaxShard: 1}, {DType: "F32", MaxShard: 4000}, {DType: "F32", MaxShard: 20000}, {DType: "F16", MaxShard: 4000}, {DType: "BF16", MaxShard: 1 << 30}} {
			dir := filepath.Join(t.TempDir(), "model")
			var done, all int64
			f.Progress = func(d, n int64) {
				if d < done || d > n || all != 0 && n != all {
					t.Errorf("progress from %d of %d to %d of %d", done, all, d, n)
				}
				done, all = d, n
			}
			if err := c.Export(dir, f); err != nil {
				t.Fatal(err)
			}
			if done != all || all == 0 {
				t.Errorf("progress ends at %d of %d", done, all)
			}
			got, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if same := sameWeights(got.Model, c.Model); same != (f.DType == "F32") {
				t.Errorf("%s %s in %d bytes: same weights: %v", cfg.Family, f.DType, f.MaxShard, same)
			}
			files := must(filepath.Glob(filepath.Join(dir, "*.safetensors")))
			if f.MaxShard == 1<<30 {
				if len(files) != 1 || filepath.Base(files[0]) != weightsName {
					t.Errorf("one shard in the files %v", files)
				}
				continue
			}
			var index struct {
				Metadata struct {
					Total int64 `json:"total_size"`
				} `json:"metadata"`
				Map map[string]string `json:"weight_map"`
			}
			if err := json.Unmarshal(must(os.ReadFile(filepath.Join(dir, indexName))), &index); err != nil {
				t.Fatal(err)
			}
			var total int64
			found := map[string]string{}
			for i, file := range files {
				name := filepath.Base(file)
				if want := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(files)); name != want {
					t.Errorf("file %s, want %s", name, want)
				}
				var size int64
				tensors := must(ReadTensors(file))
				for k, x := range tensors {
					found[k] = name
					size += x.bytes()
				}
				if size > f.MaxShard && len(tensors) > 1 {
					t.Errorf("by %d: %s holds %d tensors of %d bytes", f.MaxShard, name, len(tensors), size)
				}
				total += size
			}
			if !maps.Equal(found, index.Map) || total != index.Metadata.Total {
				t.Errorf("by %d: index of %d bytes %v, want %d %v", f.MaxShard, index.Metadata.Total, index.Map, total, found)
			}
			if f.MaxShard == 1 && len(files) != len(found) {
				t.Errorf("%d files for %d tensors", len(files), len(found))
			}
			os.Remove(files[0])
			if _, err := Load(dir); err == nil {
				t.Error("loaded without its first file")
			}
		}
	}
	c := &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadLM, false)}
	for _, f := range []Format{{DType: "F32", MaxShard: -1}, {DType: "F64", MaxShard: 0}} {
		if err := c.Export(filepath.Join(t.TempDir(), "x"), f); err == nil {
			t.Errorf("exported as %s by %d", f.DType, f.MaxShard)
		}
	}
	// Indexes of other writers count in other ways, or not at all.
	dir := filepath.Join(t.TempDir(), "model")
	if err := c.Export(dir, Format{DType: "F32", MaxShard: 20000}); err != nil {
		t.Fatal(err)
	}
	var index map[string]any
	text := must(os.ReadFile(filepath.Join(dir, indexName)))
	for _, metadata := range []any{nil, map[string]any{"total_size": 1.5e9}, map[string]any{}} {
		if err := json.Unmarshal(text, &index); err != nil {
			t.Fatal(err)
		}
		index["metadata"] = metadata
		if err := os.WriteFile(filepath.Join(dir, indexName), must(json.Marshal(index)), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Remove(filepath.Join(dir, sumsName))
		if _, err := Load(dir); err != nil {
			t.Errorf("metadata %v: %v", metadata, err)
		}
	}
}

// TestShards: the division keeps the order, fills up and lets a large tensor stand alone.
func TestShards(t *testing.T) {
	of := func(sizes ...int) (out []Tensor) {
		for _, n := range sizes {
			out = append(out, Tensor{DType: "F32", Shape: []int{n}})
		}
		return out
	}
	for _, c := range []struct {
		sizes []int
		limit int64
		want  []int // tensors per file
	}{
		{[]int{1, 1, 1}, 0, []int{3}}, {[]int{1, 1, 1}, 8, []int{2, 1}}, {[]int{1, 9, 1}, 8, []int{1, 1, 1}},
		{[]int{9, 1, 1}, 8, []int{1, 2}}, {[]int{2, 2}, 15, []int{1, 1}}, {nil, 8, []int{0}},
		{make([]int, maxTensors+1), 0, []int{maxTensors, 1}},
	} {
		var got []int
		for _, part := range shards(of(c.sizes...), c.limit) {
			got = append(got, len(part))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d tensors by %d bytes: %v, want %v", len(c.sizes), c.limit, got, c.want)
		}
	}
}

// TestGeneration: what generation_config.json says comes back as it was; ids of the
// model's shape come first.
func TestGeneration(t *testing.T) {
	m := mustModel(t, smallLlama, model.HeadLM, false)
	folder := func(config func(map[string]any), generation string) fs.FS {
		files := edited(t, &Checkpoint{Model: m}, func(c map[string]any, _ map[string]Tensor) { config(c) })
		if generation != "" {
			files["m/"+generationName] = &fstest.MapFile{Data: []byte(generation)}
		}
		return files
	}
	keep := func(map[string]any) {}
	for _, c := range []struct {
		name       string
		config     func(map[string]any)
		generation string
		bos, eos   int
		ends       []int
		pad        int
		saved      string // generation_config.json as it is written again
	}{
		{"none", keep, "", -1, 1, nil, -1, `{"_from_model_config":true,"bos_token_id":null,"eos_token_id":1}`},
		{"sampling", keep, `{"eos_token_id":1,"pad_token_id":5,"temperature":0.6,"top_p":0.9,"do_sample":true,"transformers_version":"4.40"}`, -1, 1, []int{1}, 5,
			`{"bos_token_id":null,"do_sample":true,"eos_token_id":1,"pad_token_id":5,"temperature":0.6,"top_p":0.9,"transformers_version":"4.40"}`},
		{"list of ends", keep, `{"eos_token_id":[7,1,8]}`, -1, 1, []int{7, 1, 8}, -1, `{"bos_token_id":null,"eos_token_id":[7,1,8]}`},
		{"other ends", keep, `{"eos_token_id":[7,8],"pad_token_id":null}`, -1, 1, []int{7, 8}, -1, `{"bos_token_id":null,"eos_token_id":1,"pad_token_id":null}`},
		{"list in config.json", func(c map[string]any) { c["eos_token_id"] = []int{3, 4} }, "", -1, 3, []int{3, 4}, -1, `{"bos_token_id":null,"eos_token_id":[3,4]}`},
		{"lists in both", func(c map[string]any) { c["eos_token_id"] = []int{3, 4} }, `{"eos_token_id":[4,3,9]}`, -1, 3, []int{4, 3, 9}, -1, `{"bos_token_id":null,"eos_token_id":[4,3,9]}`},
		{"ids here only", func(c map[string]any) { delete(c, "eos_token_id") }, `{"bos_token_id":9,"eos_token_id":[7,8]}`, 9, 7, []int{7, 8}, -1, `{"bos_token_id":9,"eos_token_id":[7,8]}`},
	} {
		got, err := LoadFS(folder(c.config, c.generation), "m")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		cfg, g := got.Model.Config(), got.Generation
		if cfg.BOS != c.bos || cfg.EOS != c.eos || !slices.Equal(g.Ends(), c.ends) || g.Pad() != c.pad {
			t.Errorf("%s: BOS %d, EOS %d, ends %v, pad %d", c.name, cfg.BOS, cfg.EOS, g.Ends(), g.Pad())
		}
		dir := save(t, got, "F32")
		if text := must(json.Marshal(must(decodeJSON(filepath.Join(dir, generationName))))); string(text) != c.saved {
			t.Errorf("%s: saved as %s", c.name, text)
		}
		if back := must(Load(dir)); back.Model.Config() != cfg || mustDigest(t, save(t, back, "F32")) != mustDigest(t, dir) {
			t.Errorf("%s: another folder the second time", c.name)
		}
	}
	for _, bad := range []string{`[]`, `{"eos_token_id":"x"}`, `{"eos_token_id":[1.5]}`, `{"pad_token_id":{}}`, `{"bos_token_id":999,"eos_token_id":1`, `{`} {
		if _, err := LoadFS(folder(keep, bad), "m"); err == nil {
			t.Errorf("loaded with %s", bad)
		}
	}
}

func decodeJSON(path string) (v any, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return v, json.Unmarshal(data, &v)
}

// TestSpecialTokens: names of special tokens stand where transformers looks for them.
func TestSpecialTokens(t *testing.T) {
	dir := save(t, &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadLM, false), Tokenizer: mustTokenizer(t)}, "F32")
	for _, name := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		m, _ := must(decodeJSON(filepath.Join(dir, name))).(map[string]any)
		if m["eos_token"] != "<|endoftext|>" {
			t.Errorf("%s: %v", name, m)
		}
	}
}
