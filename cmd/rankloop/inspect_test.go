package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
)

func inspectJSON(t *testing.T, name string) (in inspection) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := execute(context.Background(), []string{"model", "inspect", name, "--json"}, streams{strings.NewReader(""), &out, &errs}); code != 0 {
		t.Fatalf("%s: exit %d: %s", name, code, errs.String())
	}
	if err := json.Unmarshal(out.Bytes(), &in); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return in
}

// Every published shape and a folder are measured the same way, however large.
func TestModelInspect(t *testing.T) {
	small := model.Config{Family: "gpt3", Vocab: 300, Context: 32, Layers: 2, Width: 16, Heads: 2, Window: 4, BOS: -1, EOS: -1}
	m, err := model.New(small, 1)
	if err != nil {
		t.Fatal(err)
	}
	m.AddHead(model.HeadScore, 1)
	dir := filepath.Join(t.TempDir(), "m")
	if err := (&checkpoint.Checkpoint{Model: m}).Save(dir, "BF16"); err != nil {
		t.Fatal(err)
	}
	in := inspectJSON(t, dir)
	digest, err := checkpoint.Digest(dir)
	if err != nil {
		t.Fatal(err)
	}
	if in.Parameters != int64(m.NumParams()) || in.Config != m.Config() || in.Head != "score" || in.Weights.Digest != digest || in.Weights.Bytes != 2*in.Parameters {
		t.Errorf("%+v", in)
	}
	for _, name := range append(model.Presets(), dir, "base") {
		in := inspectJSON(t, name)
		mem := func(key string) memorySize { return in.Memory[key] }
		C, L, T := int64(in.Config.Width), int64(in.Config.Layers), int64(in.Config.Context)
		switch {
		case in.Parameters < 1000 || in.FLOPs.Forward < float64(in.Parameters) || in.FLOPs.Train != 3*in.FLOPs.Forward:
			t.Errorf("%s: %d parameters, %+v", name, in.Parameters, in.FLOPs)
		case mem("infer_float32").Cache != 4*2*L*T*C:
			t.Errorf("%s: cache of %d bytes", name, mem("infer_float32").Cache)
		case mem("train_float32").Moments != 2*mem("train_float32").Weights || mem("train_float32").Gradients != mem("infer_float32").Weights:
			t.Errorf("%s: %+v", name, mem("train_float32"))
		case mem("infer_bf16").Weights >= mem("infer_float32").Weights*6/10, mem("lora8_bf16_recompute").Moments*5 > mem("train_bf16").Moments:
			t.Errorf("%s: BF16 or LoRA saves nothing: %+v", name, in.Memory)
		}
		for _, p := range memoryPlans {
			if m := mem(p.key); m.Total != m.Weights+m.Gradients+m.Moments+m.Activations+m.Cache || m.Activations <= 0 {
				t.Errorf("%s, %s: %+v", name, p.key, m)
			}
		}
	}
	var out, errs bytes.Buffer
	run := func(args ...string) int {
		out.Reset()
		errs.Reset()
		return execute(context.Background(), append([]string{"model", "inspect"}, args...), streams{strings.NewReader(""), &out, &errs})
	}
	if code := run("gpt3-175b"); code != 0 || !strings.Contains(out.String(), "174,604,259,328") {
		t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
	}
	if code := run("--list"); code != 0 || strings.Count(out.String(), "\n") != len(model.Presets())+1 {
		t.Errorf("exit %d: %s", code, out.String())
	}
	for _, args := range [][]string{{}, {"gpt5"}, {"gpt2", "--tokens", "1025"}, {"gpt2", "--tokens", "-1"}} {
		if code := run(args...); code != exitUsage || out.Len() > 0 || errs.Len() == 0 {
			t.Errorf("%v: exit %d: %s", args, code, out.String())
		}
	}
	if code := run(t.TempDir()); code != exitFailed {
		t.Errorf("an empty folder: exit %d", code)
	}
}
