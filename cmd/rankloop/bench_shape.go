package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/starter"
)

// shapeFlags say which model is measured.
type shapeFlags struct {
	Shape string `default:"gpt2-124m" help:"Shape of the model: ${bench_shapes}."`
}

// benchShape is a shape that is measured besides the published ones of package model.
type benchShape struct {
	name string
	cfg  model.Config
}

var benchShapes = []benchShape{
	// From a tenth of a million to thirty million parameters: where overheads, caches and the vocabulary rule.
	{"toy", gpt2Like(56, 79, 2, 64, 4)},         // 108,736 parameters: that of the experiments
	{"compact", gpt2Like(4096, 256, 5, 192, 6)}, // 3.1 million
	{"tiny", gpt2Like(2048, 256, 4, 128, 4)},
	{"mini", gpt2Like(4096, 512, 4, 256, 4)},
	{"small8k", gpt2Like(8192, 1024, 6, 384, 6)},
	{"small50k", gpt2Like(50257, 1024, 6, 384, 6)},
	// Of the family llama: Karpathy's stories15M (llama2.c, 2023) and SmolLM-135M (Hugging Face, 2024), with grouped queries.
	{"stories15m", model.Config{Family: "llama", Vocab: 32000, Context: 256, Layers: 6, Width: 288, Heads: 6, Hidden: 768, Tied: true, BOS: 1, EOS: 2}},
	{"smollm-135m", model.Config{Family: "llama", Vocab: 49152, Context: 2048, Layers: 30, Width: 576, Heads: 9, KVHeads: 3, Hidden: 1536, Tied: true, BOS: 0, EOS: 0}},
}

func gpt2Like(vocab, context, layers, width, heads int) model.Config {
	return model.Config{Family: "gpt2", Vocab: vocab, Context: context, Layers: layers, Width: width, Heads: heads, BOS: -1, EOS: -1}
}

// benchShapeNames are all shapes, for help and errors.
func benchShapeNames() string {
	names := []string{"starter"}
	for _, s := range benchShapes {
		names = append(names, s.name)
	}
	return strings.Join(slices.Concat(names, model.Presets()), ", ")
}

func (f shapeFlags) config() (model.Config, error) {
	if f.Shape == "starter" {
		d, err := starter.Describe("sft")
		return d.Config, err
	}
	for _, s := range benchShapes {
		if s.name == f.Shape {
			return s.cfg.WithDefaults(), nil
		}
	}
	if cfg, ok := model.Preset(f.Shape); ok {
		return cfg, nil
	}
	return model.Config{}, usageError{fmt.Errorf("--shape %s: unknown; there are %s", f.Shape, benchShapeNames())}
}

// benchModel makes a model with random weights that can read so many tokens.
func benchModel(s shapeFlags, tokens int) (*model.Transformer, error) {
	cfg, err := s.fitting(tokens)
	if err != nil {
		return nil, err
	}
	return model.New(cfg, 1)
}

// fitting is the shape, if so many tokens fit its context.
func (f shapeFlags) fitting(tokens int) (model.Config, error) {
	cfg, err := f.config()
	if err == nil && tokens > cfg.Context {
		err = usageError{fmt.Errorf("%d tokens do not fit the context of %d", tokens, cfg.Context)}
	}
	return cfg, err
}

// benchBatch makes sequences of random tokens with every one but the first a target, and the gradients of their mean loss.
func benchBatch(m *model.Transformer, n, length int) ([]model.Sequence, model.Grads) {
	rng := rand.New(rand.NewPCG(2, 3))
	var batch []model.Sequence
	var g model.Grads
	for range n {
		ids, row := make([]int32, length+1), make([]float32, length)
		for i := range ids {
			ids[i] = int32(rng.IntN(m.Config().Vocab))
		}
		for i := range row {
			row[i] = -1 / float32(n*length)
		}
		batch, g.Logprobs = append(batch, model.Sequence{IDs: ids, Start: 1}), append(g.Logprobs, row)
	}
	return batch, g
}
