package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func writeJSON(t *testing.T, file string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// command runs one command line in this process.
func command(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var a, b bytes.Buffer
	code = execute(context.Background(), args, streams{strings.NewReader(""), &a, &b})
	return code, a.String(), b.String()
}

// keys are the JSON names of a struct's fields, with dots.
func keys(typ reflect.Type, prefix string) (out []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		switch {
		case f.Anonymous:
			out = append(out, keys(ft, prefix)...)
		case name == "train" || name == "lora":
			out = append(out, keys(ft, prefix+name+".")...)
		default:
			out = append(out, prefix+name)
		}
	}
	return out
}

// The examples of the help are valid, and together they show every field.
func TestExamplesShowEveryField(t *testing.T) {
	shown := map[string]bool{}
	for kind, text := range map[string]string{"pretrain": pretrainExample, "sft": sftExample} {
		var cfg nextConfig
		if err := strictJSON([]byte(text), &cfg); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if err := cfg.Train.Validate(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		var walk func(v map[string]any, prefix string)
		walk = func(v map[string]any, prefix string) {
			for k, x := range v {
				shown[prefix+k] = true
				if m, ok := x.(map[string]any); ok {
					walk(m, prefix+k+".")
				}
			}
		}
		var doc map[string]any
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		walk(doc, "")
		if code, out, _ := command(t, "train", kind, "--print-config"); code != 0 || strings.TrimSpace(out) != text {
			t.Errorf("--print-config of %s: %d, %s", kind, code, out)
		}
		if code, out, _ := command(t, "train", kind, "--help"); code != 0 || !strings.Contains(out, `"keep_best": true`) {
			t.Errorf("the help of %s shows no configuration: %s", kind, out)
		}
	}
	for _, k := range keys(reflect.TypeFor[nextConfig](), "") {
		if !shown[k] && k != "preset" { // shape's place in the example
			t.Errorf("no example shows %s", k)
		}
	}
}

// Pretraining, fine-tuning of its result with adapters, and generation from it, by command lines.
func TestTrainFromFileToText(t *testing.T) {
	texts, chats, _ := nextData(t)
	dir := t.TempDir()
	base, sft := filepath.Join(dir, "base.json"), filepath.Join(dir, "sft.json")
	writeJSON(t, base, map[string]any{"shape": map[string]any{"family": "gpt2", "context": 64, "layers": 1, "width": 16, "heads": 2}, "vocab": 300,
		"data": []string{texts}, "train": map[string]any{"steps": 12, "lr": 0.01}})
	writeJSON(t, sft, map[string]any{"model": filepath.Join(dir, "base", "model"), "data": []string{chats},
		"train": map[string]any{"steps": 8, "lr": 0.01, "eval_every": 2, "keep_best": true, "save_every": 3, "lora": map[string]any{"rank": 2}}})
	if code, out, errs := command(t, "train", "pretrain", "--config", base, "--out", filepath.Join(dir, "base")); code != 0 || !strings.Contains(out, "held-out loss") ||
		!strings.Contains(errs, "memory: ") || !strings.ContainsAny(out, "▁█") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	code, out, errs := command(t, "train", "sft", "--config", sft, "--out", filepath.Join(dir, "sft"), "--json")
	var got nextResult
	if code != 0 || json.Unmarshal([]byte(out), &got) != nil || got.Steps != 8 || got.BestLoss == nil || got.HeldoutLoss == nil || len(got.Kept) != 2 {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	for _, folder := range append(got.Kept, got.Model, got.Best) {
		if code, out, errs := command(t, "generate", "--model", folder, "--prompt", "The", "--max-tokens", "3", "--ignore-eos", "--json"); code != 0 || !strings.Contains(out, "ids") {
			t.Errorf("%s: %d %s %s", folder, code, out, errs)
		}
	}
	for _, name := range []string{"adapter_config.json", "adapter_model.safetensors"} {
		if _, err := os.Stat(filepath.Join(got.Adapter, name)); err != nil {
			t.Error(err)
		}
	}
	if code, _, errs := command(t, "train", "sft", "--config", sft, "--out", filepath.Join(dir, "sft"), "--resume"); code != 1 || !strings.Contains(errs, "finished run") {
		t.Errorf("resuming a finished run: %d %s", code, errs)
	}
}

// What is wrong is said before anything is trained, with the exit code of its kind.
func TestTrainRefusals(t *testing.T) {
	texts, chats, _ := nextData(t)
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.jsonl")
	if err := os.WriteFile(bad, []byte("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":3}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shape := map[string]any{"family": "gpt2", "context": 64, "layers": 1, "width": 16, "heads": 2}
	good := func() map[string]any {
		return map[string]any{"shape": shape, "vocab": 300, "data": []string{texts}, "train": map[string]any{"steps": 2, "lr": 0.01}}
	}
	with := func(key string, value any) map[string]any {
		m := good()
		m[key] = value
		return m
	}
	for name, c := range map[string]struct {
		kind string
		cfg  map[string]any
		args []string
		code int
		want string
	}{
		"a bad row":             {"sft", with("data", []string{bad}), nil, 1, "bad.jsonl: line 1: messages[1].content is not a string"},
		"texts for sft":         {"sft", good(), nil, 1, "the rows are texts; this training takes"},
		"chats for pretraining": {"pretrain", with("data", []string{chats}), nil, 1, "the rows are conversations"},
		"no room":               {"pretrain", good(), []string{"--memory-limit", "0.000001"}, 1, "there is room for 1e-06 GB; it would take less with"},
		"an unknown field":      {"pretrain", with("learning", 1), nil, 2, `unknown field "learning"`},
		"a bad field":           {"pretrain", with("train", map[string]any{"lr": 3}), nil, 2, "lr: 3 is not in (0,1)"},
		"no data":               {"pretrain", with("data", []string{}), nil, 2, `"data" names no file`},
		"no template":           {"sft", func() map[string]any { m := with("template", "vicuna"); m["data"] = []string{chats}; return m }(), nil, 2, "vicuna"},
		"two beginnings":        {"pretrain", with("preset", "gpt2"), nil, 2, "one of the three"},
		"no preset":             {"pretrain", func() map[string]any { m := with("preset", "gpt9"); delete(m, "shape"); return m }(), nil, 2, `no preset "gpt9"`},
		"watch alone":           {"pretrain", good(), []string{"--watch"}, 2, "--watch goes with --submit"},
	} {
		file := filepath.Join(t.TempDir(), "c.json")
		writeJSON(t, file, c.cfg)
		out := filepath.Join(t.TempDir(), "out")
		code, _, errs := command(t, append([]string{"train", c.kind, "--config", file, "--out", out}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%s: %d %s", name, code, errs)
		}
		if _, err := os.Stat(filepath.Join(out, "metrics.jsonl")); err == nil {
			t.Errorf("%s: something was trained", name)
		}
	}
	if code, _, errs := command(t, "train", "pretrain", "--set", "data=[\""+texts+"\"]", "--set", "train.lr=0.1"); code != 2 || !strings.Contains(errs, "--out is wanted") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestCurve(t *testing.T) {
	x := []float64{8, 8, 4, 4, 1, 1}
	if got := curve(x, 3); got != "█▄▁" {
		t.Error(got)
	}
	if got := curve(x[:1], 10); got != "▁" || curve(nil, 3) != "" {
		t.Error(got)
	}
	if n := len([]rune(curve(slices.Repeat(x, 20), 40))); n != 40 {
		t.Error(n)
	}
}

// What a killed run has measured beyond its state is measured again, so it is taken out.
func TestMetricsGoOnAtTheStep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "metrics.jsonl")
	whole := "{\"loss\":3,\"step\":1}\n{\"loss\":2,\"step\":2}\n{\"loss\":1,\"step\":3}\n{\"los"
	for step, want := range []string{"", whole[:20], whole[:40], whole[:60]} {
		if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := openMetrics(file, step)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("next\n"); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if b, err := os.ReadFile(file); err != nil || string(b) != want+"next\n" {
			t.Errorf("step %d: %q %v", step, b, err)
		}
	}
}
