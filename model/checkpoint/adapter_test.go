package checkpoint

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// adapted is a model with adapters that do something.
func adapted(t testing.TB, cfg model.Config, head model.Head, l model.LoRA) *model.Transformer {
	t.Helper()
	m := mustModel(t, cfg, head, head != model.HeadLM)
	if err := m.AddLoRA(l, 3); err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params() {
		if strings.HasSuffix(p.Name, ".lora_B") {
			for i := range p.Data {
				p.Data[i] = float32(i%7) / 50
			}
		}
	}
	return m
}

// TestAdapter: adapters come back onto the model beneath, whatever their targets; and
// merged they are the merged model.
func TestAdapter(t *testing.T) {
	for _, c := range []struct {
		cfg  model.Config
		head model.Head
		l    model.LoRA
	}{
		{smallGPT2, model.HeadLM, model.LoRA{Rank: 2, Alpha: 8}},
		{smallGPT2, model.HeadScore, model.LoRA{Rank: 3, Alpha: 1.5, Targets: []string{"c_attn", "c_proj", "c_fc"}}},
		{smallLlama, model.HeadValue, model.LoRA{Rank: 1, Alpha: 2}},
		{smallLlama, model.HeadLM, model.LoRA{Rank: 4, Alpha: 4, Targets: []string{"q_proj", "down_proj"}}},
	} {
		m := adapted(t, c.cfg, c.head, c.l)
		dir := filepath.Join(t.TempDir(), "adapter")
		if err := SaveAdapter(dir, m, "base/model"); err != nil {
			t.Fatal(err)
		}
		got := mustModel(t, c.cfg, model.HeadLM, false)
		if err := LoadAdapter(got, dir); err != nil {
			t.Fatal(err)
		}
		byName := func(a, b *model.Param) int { return strings.Compare(a.Name, b.Name) }
		pa, pb := got.Params(), m.Params()
		slices.SortFunc(pa, byName)
		slices.SortFunc(pb, byName)
		for i, p := range pa {
			if p.Name != pb[i].Name || !slices.Equal(p.Data, pb[i].Data) || p.Frozen != pb[i].Frozen {
				t.Errorf("%s: %s differs from %s", c.cfg.Family, p.Name, pb[i].Name)
			}
		}
		a, _ := got.LoRA()
		if b, _ := m.LoRA(); a.Rank != b.Rank || a.Alpha != b.Alpha || !slices.Equal(a.Targets, b.Targets) {
			t.Errorf("settings %+v, want %+v", a, b)
		}
		if err := LoadAdapter(got, dir); err == nil {
			t.Error("a second set of adapters")
		}
		if err := (&Checkpoint{Model: m}).Save(filepath.Join(t.TempDir(), "x"), "F32"); err == nil {
			t.Error("a model with adapters was saved as one without")
		}
		m.MergeLoRA()
		got.MergeLoRA()
		if !slices.Equal(m.Logits([]int32{5, 6, 7})[2], got.Logits([]int32{5, 6, 7})[2]) {
			t.Error("other logits when merged")
		}
	}
}

// TestAdapterLayout: names, shapes and settings are PEFT's.
func TestAdapterLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	if err := SaveAdapter(dir, adapted(t, smallGPT2, model.HeadScore, model.LoRA{Rank: 2, Alpha: 8}), "gpt2"); err != nil {
		t.Fatal(err)
	}
	tensors := must(ReadTensors(filepath.Join(dir, "adapter_model.safetensors")))
	for name, shape := range map[string][]int{
		"base_model.model.transformer.h.0.attn.c_attn.lora_A.weight": {2, 16},
		"base_model.model.transformer.h.1.attn.c_attn.lora_B.weight": {48, 2},
		"base_model.model.score.weight":                              {1, 16},
		"base_model.model.score.bias":                                {1},
	} {
		if !slices.Equal(tensors[name].Shape, shape) {
			t.Errorf("%s has shape %v, want %v", name, tensors[name].Shape, shape)
		}
	}
	if len(tensors) != 6 {
		t.Errorf("%d tensors", len(tensors))
	}
	config, _ := must(decodeJSON(filepath.Join(dir, "adapter_config.json"))).(map[string]any)
	for key, want := range map[string]any{"peft_type": "LORA", "r": 2.0, "lora_alpha": 8.0, "fan_in_fan_out": true, "bias": "none",
		"base_model_name_or_path": "gpt2", "task_type": "SEQ_CLS"} {
		if config[key] != want {
			t.Errorf("%s is %v, want %v", key, config[key], want)
		}
	}
	if err := SaveAdapter(dir, adapted(t, smallLlama, model.HeadLM, model.LoRA{Rank: 1, Alpha: 1}), ""); err != nil {
		t.Fatal(err)
	}
	config, _ = must(decodeJSON(filepath.Join(dir, "adapter_config.json"))).(map[string]any)
	if config["fan_in_fan_out"] != false || config["task_type"] != "CAUSAL_LM" || config["base_model_name_or_path"] != nil {
		t.Errorf("settings %v", config)
	}
	if _, ok := must(ReadTensors(filepath.Join(dir, "adapter_model.safetensors")))["base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"]; !ok {
		t.Error("no adapter of q_proj")
	}
	if err := SaveAdapter(dir, mustModel(t, smallGPT2, model.HeadLM, false), ""); err == nil {
		t.Error("saved adapters that are not there")
	}
}

// TestAdapterRefuses: settings that compute something else and tensors of another
// model are refused, and the model stays as it was.
func TestAdapterRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	m := adapted(t, smallLlama, model.HeadLM, model.LoRA{Rank: 2, Alpha: 4})
	if err := SaveAdapter(dir, m, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, sumsName)); err != nil {
		t.Fatal(err)
	}
	text := must(os.ReadFile(filepath.Join(dir, adapterConfigName)))
	base := mustModel(t, smallLlama, model.HeadLM, false)
	digest := base.Digest()
	try := func(what string) error {
		t.Helper()
		err := LoadAdapter(base, dir)
		if _, ok := base.LoRA(); err != nil && (ok || base.Digest() != digest) {
			t.Errorf("%s: the model changed", what)
		}
		base.MergeLoRA()
		return err
	}
	set := func(key string, value any) {
		var config map[string]any
		if err := json.Unmarshal(text, &config); err != nil {
			t.Fatal(err)
		}
		if config[key] = value; key == "" {
			config = nil
		}
		if err := os.WriteFile(filepath.Join(dir, adapterConfigName), must(json.Marshal(config)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		key   string
		value any
	}{
		{"use_rslora", true}, {"use_dora", true}, {"bias", "all"}, {"peft_type", "IA3"}, {"rank_pattern", map[string]int{"q_proj": 4}},
		{"alpha_pattern", map[string]int{"q_proj": 4}}, {"layers_to_transform", []int{0}}, {"modules_to_save", []string{"lm_head"}},
		{"modules_to_save", []string{"score", "value"}}, {"target_modules", "all-linear"}, {"target_modules", []string{}},
		{"target_modules", []string{"c_attn"}}, {"target_modules", []string{"q_proj"}}, {"r", 3}, {"r", 0}, {"lora_alpha", "x"},
		{"init_lora_weights", "pissa"}, {"something_new", 1}, {"", nil}, {"lora_bias", true}, {"modules_to_save", []string{"score"}},
	} {
		set(c.key, c.value)
		var invalid *InvalidError
		var tensors *TensorsError
		var inModel *model.InvalidError
		if err := try(c.key); !errors.As(err, &invalid) && !errors.As(err, &tensors) && !errors.As(err, &inModel) {
			t.Errorf("%s %v: error %v", c.key, c.value, err)
		}
	}
	for _, key := range []string{"peft_version", "base_model_name_or_path", "layers_to_transform", "lora_dropout"} {
		set(key, map[string]any{"peft_version": "0.17", "base_model_name_or_path": "x", "lora_dropout": 0.1}[key])
		if err := try(key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		digest = base.Digest()
	}
	set("r", 2)
	path := filepath.Join(dir, adapterWeightsName)
	tensors := must(ReadTensors(path))
	for name, edit := range map[string]func(map[string]Tensor){
		"missing": func(x map[string]Tensor) { delete(x, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight") },
		"extra":   func(x map[string]Tensor) { x["more"] = Tensor{DType: "F32", Shape: []int{1}, F32: []float32{1}} },
		"NaN": func(x map[string]Tensor) {
			a := x["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]
			a.F32 = slices.Clone(a.F32)
			a.F32[0] = float32(math.NaN())
			x["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"] = a
		},
	} {
		other := map[string]Tensor{}
		for k, v := range tensors {
			other[k] = v
		}
		edit(other)
		if err := os.WriteFile(path, packed(t, other), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := try(name); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	os.Remove(path)
	if err := try("no file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no weights: %v", err)
	}
}
