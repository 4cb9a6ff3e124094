package checkpoint

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
)

var exportTo = flag.String("export", "", "write the folders of TestTransformers here, for testdata/transformers.py")

// transformersCases are one model of each class of transformers that is written, with
// weights that are a function of the seed, every norm and bias made unlike its start.
func transformersCases(t *testing.T) map[string]*Checkpoint {
	out := map[string]*Checkpoint{}
	for name, c := range map[string]struct {
		cfg  model.Config
		head model.Head
	}{
		"gpt1":        {model.Config{Family: "gpt1", Vocab: 100, Context: 12, Layers: 2, Width: 16, Heads: 2, BOS: -1, EOS: 99}, model.HeadLM},
		"gpt2":        {model.Config{Family: "gpt2", Vocab: 100, Context: 12, Layers: 2, Width: 16, Heads: 4, Hidden: 40, BOS: 99, EOS: 99}, model.HeadLM},
		"gpt2-score":  {model.Config{Family: "gpt2", Vocab: 100, Context: 12, Layers: 1, Width: 16, Heads: 2, BOS: 99, EOS: 99}, model.HeadScore},
		"llama":       {model.Config{Family: "llama", Vocab: 100, Context: 12, Layers: 2, Width: 16, Heads: 4, KVHeads: 2, Hidden: 24, NormEps: 1e-6, RopeTheta: 500, BOS: 1, EOS: 2}, model.HeadLM},
		"llama-tied":  {model.Config{Family: "llama", Vocab: 100, Context: 12, Layers: 1, Width: 16, Heads: 2, KVHeads: 1, Hidden: 24, Tied: true, BOS: 1, EOS: 2}, model.HeadLM},
		"llama-score": {model.Config{Family: "llama", Vocab: 100, Context: 12, Layers: 1, Width: 16, Heads: 2, Hidden: 24, Tied: true, BOS: 1, EOS: 2}, model.HeadScore},
		"qwen2":       {model.Config{Family: "llama", Vocab: 100, Context: 12, Layers: 2, Width: 16, Heads: 4, KVHeads: 2, Hidden: 24, QKVBias: true, Tied: true, BOS: -1, EOS: 98}, model.HeadLM},
	} {
		m := mustModel(t, c.cfg, c.head, false)
		for i, p := range m.Params() {
			for j := range p.Data {
				if len(p.Shape) == 1 {
					p.Data[j] += float32((i*31+j*7)%13) / 32
				} else {
					p.Data[j] *= 8 // attention that is not flat
				}
			}
		}
		out[name] = &Checkpoint{Model: m}
	}
	return out
}

// TestTransformers: exported folders have the tensors of transformers' classes, and
// their bytes mean to an independent reader what the model computes.
func TestTransformers(t *testing.T) {
	cases := transformersCases(t)
	if *exportTo != "" {
		for name, c := range cases {
			if err := c.Export(filepath.Join(*exportTo, name), Format{DType: "F32", MaxShard: map[string]int64{"llama": 6000}[name]}); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	var golden map[string]struct {
		Class   string
		Tensors map[string][]int
		IDs     []int32
		Logits  [][]float64
		Sums    []float64
		Score   float64
	}
	if err := json.Unmarshal(must(os.ReadFile("testdata/transformers.json")), &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden) != len(cases) {
		t.Errorf("%d cases, %d are known", len(cases), len(golden))
	}
	for name, c := range cases {
		g, dir := golden[name], save(t, c, "F32")
		tensors := must(ReadTensors(filepath.Join(dir, weightsName)))
		for k, x := range tensors {
			if want, ok := g.Tensors[k]; !ok || !slices.Equal(x.Shape, want) {
				t.Errorf("%s: %s has shape %v, transformers %v", name, k, x.Shape, want)
			}
		}
		if len(tensors) != len(g.Tensors) {
			t.Errorf("%s: %d tensors, transformers has %d", name, len(tensors), len(g.Tensors))
		}
		config, _ := must(decodeJSON(filepath.Join(dir, configName))).(map[string]any)
		if classes, _ := config["architectures"].([]any); len(classes) != 1 || classes[0] != g.Class {
			t.Errorf("%s: class %v, want %s", name, classes, g.Class)
		}
		back := must(Load(dir))
		if back.Model.Config() != c.Model.Config() || !sameWeights(back.Model, c.Model) {
			t.Errorf("%s: another model comes back", name)
		}
		worst := 0.0
		for i, row := range back.Model.Logits(g.IDs) {
			sum := 0.0
			for _, v := range row {
				sum += math.Exp(float64(v))
			}
			worst = max(worst, math.Abs(math.Log(sum)-g.Sums[i]))
			for j, want := range g.Logits[i] {
				worst = max(worst, math.Abs(float64(row[j])-want))
			}
		}
		if back.Model.ScalarHead() == model.HeadScore {
			seq := []model.Sequence{{IDs: g.IDs, Start: len(g.IDs)}}
			worst = max(worst, math.Abs(float64(back.Model.Score(seq, model.WantScore).Score[0])-g.Score))
		}
		if !(worst < 2e-5) {
			t.Errorf("%s: logits differ by %g", name, worst)
		}
	}
}
