package model_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
)

func TestConfigValidate(t *testing.T) {
	ok := model.Config{Family: "gpt2", Vocab: 10, Context: 8, Layers: 1, Width: 12, Heads: 3, BOS: -1, EOS: -1}
	if err := ok.Validate(); err != nil {
		t.Fatal(err)
	}
	llama := ok
	llama.Family, llama.KVHeads = "llama", 1
	if err := llama.Validate(); err != nil {
		t.Fatal(err)
	}
	gpt3 := ok
	gpt3.Family, gpt3.Window = "gpt3", 4
	if err := gpt3.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		base   model.Config
		change func(c *model.Config)
		field  string
	}{
		"family":        {ok, func(c *model.Config) { c.Family = "rnn" }, "Family"},
		"vocab":         {ok, func(c *model.Config) { c.Vocab = 0 }, "Vocab"},
		"context":       {ok, func(c *model.Config) { c.Context = -1 }, "Context"},
		"layers":        {ok, func(c *model.Config) { c.Layers = 1 << 30 }, "Layers"},
		"heads":         {ok, func(c *model.Config) { c.Heads = 5 }, "Heads"},
		"kv heads":      {llama, func(c *model.Config) { c.KVHeads = 2 }, "KVHeads"},
		"gpt2 kv":       {ok, func(c *model.Config) { c.KVHeads = 1 }, "KVHeads"},
		"odd head":      {llama, func(c *model.Config) { c.Width, c.Heads = 9, 3 }, "Heads"},
		"eps":           {ok, func(c *model.Config) { c.NormEps = math.NaN() }, "NormEps"},
		"theta":         {llama, func(c *model.Config) { c.RopeTheta = -1 }, "RopeTheta"},
		"eos":           {ok, func(c *model.Config) { c.EOS = 10 }, "EOS"},
		"bos":           {ok, func(c *model.Config) { c.BOS = -2 }, "BOS"},
		"not its field": {ok, func(c *model.Config) { c.Window = 8 }, "Window"},
		"no theta":      {ok, func(c *model.Config) { c.RopeTheta = 500 }, "RopeTheta"},
		"no biases":     {ok, func(c *model.Config) { c.QKVBias = true }, "QKVBias"},
		"no rope":       {ok, func(c *model.Config) { c.RopeScaling = model.RopeScaling{Kind: "linear", Factor: 2} }, "RopeScaling"},
		"window":        {gpt3, func(c *model.Config) { c.Window = -1 }, "Window"},
		"llama window":  {llama, func(c *model.Config) { c.Window = 4 }, "Window"},
		"scaling kind":  {llama, func(c *model.Config) { c.RopeScaling = model.RopeScaling{Kind: "yarn", Factor: 2} }, "RopeScaling"},
		"scaling alone": {llama, func(c *model.Config) { c.RopeScaling = model.RopeScaling{Factor: 2} }, "RopeScaling"},
		"factor":        {llama, func(c *model.Config) { c.RopeScaling = model.RopeScaling{Kind: "linear", Factor: math.NaN()} }, "RopeScaling"},
		"linear bounds": {llama, func(c *model.Config) { c.RopeScaling = model.RopeScaling{Kind: "linear", Factor: 2, LowFreq: 1} }, "RopeScaling"},
		"llama3 order": {llama, func(c *model.Config) {
			c.RopeScaling = model.RopeScaling{Kind: "llama3", Factor: 2, LowFreq: 4, HighFreq: 4, Original: 8}
		}, "RopeScaling"},
		"llama3 original": {llama, func(c *model.Config) {
			c.RopeScaling = model.RopeScaling{Kind: "llama3", Factor: 2, LowFreq: 1, HighFreq: 4}
		}, "RopeScaling"},
		"parameters": {ok, func(c *model.Config) { c.Width, c.Heads, c.Hidden, c.Layers = 1<<23, 1, 8, 1<<20 }, "Width"},
	} {
		cfg := c.base
		c.change(&cfg)
		var bad *model.InvalidError
		if err := cfg.Validate(); !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := model.New(cfg, 0); err == nil {
			t.Errorf("%s: New accepted it", name)
		}
	}
}

func TestNewIsSeeded(t *testing.T) {
	for _, cfg := range shapes {
		a, _ := model.New(cfg, 1)
		b, _ := model.New(cfg, 1)
		c, _ := model.New(cfg, 2)
		if a.Digest() != b.Digest() || a.Digest() == c.Digest() {
			t.Error("the weights are not a function of the seed")
		}
		for _, p := range a.Params() {
			var sum, squares float64
			for _, x := range p.Data {
				sum += float64(x)
				squares += float64(x) * float64(x)
			}
			n := float64(len(p.Data))
			std := math.Sqrt(squares/n - sum/n*sum/n)
			if len(p.Shape) == 2 && n > 500 && (std < 0.008 || std > 0.022) {
				t.Errorf("%s: standard deviation %g", p.Name, std)
			}
		}
	}
}

func TestHeads(t *testing.T) {
	m, _ := model.New(shapes[0], 1)
	bare := m.NumParams()
	if m.ScalarHead() != model.HeadLM || m.Param("score.weight") != nil {
		t.Error("a scalar head from nowhere")
	}
	m.AddHead(model.HeadScore, 4)
	if p := m.Param("score.weight"); p == nil || !slices.Equal(p.Shape, []int{1, 24}) || m.NumParams() != bare+24 {
		t.Error("no score.weight")
	}
	m.AddHeadBias()
	m.AddHeadBias()
	weights := slices.Clone(m.Param("score.weight").Data)
	m.TurnHead(model.HeadValue)
	if m.ScalarHead() != model.HeadValue || m.Param("score.weight") != nil || m.Param("value.bias") == nil ||
		!slices.Equal(weights, m.Param("value.weight").Data) {
		t.Error("the head did not turn into a value head")
	}
	c := m.Clone()
	if c.Digest() != m.Digest() || c.ScalarHead() != model.HeadValue {
		t.Error("the clone is another model")
	}
	c.Params()[0].Data[0]++
	if c.Digest() == m.Digest() {
		t.Error("the clone shares its weights, or the digest does not see them")
	}
	m.AddHead(model.HeadScore, 5)
	if m.NumParams() != bare+24 || m.Param("value.weight") != nil || m.Param("value.bias") != nil {
		t.Error("two scalar heads")
	}
}

// A panic is what a programming error gives.
func TestMisuse(t *testing.T) {
	m := lively(t, shapes[0], 1)
	plain, _ := model.New(shapes[0], 1)
	good := []model.Sequence{{IDs: []int32{1, 2, 3}, Start: 1}}
	pass := m.Forward(good, model.WantLogprobs)
	pass.Backward(model.Grads{})
	for name, f := range map[string]func(){
		"token":             func() { m.Score([]model.Sequence{{IDs: []int32{1, 53}, Start: 1}}, model.WantLogprobs) },
		"start 0":           func() { m.Score([]model.Sequence{{IDs: []int32{1, 2}}}, model.WantLogprobs) },
		"start beyond":      func() { m.Score([]model.Sequence{{IDs: []int32{1, 2}, Start: 3}}, model.WantLogprobs) },
		"no scalar head":    func() { plain.Score(good, model.WantValues) },
		"twice":             func() { pass.Backward(model.Grads{}) },
		"of Score":          func() { m.Score(good, model.WantLogprobs).Backward(model.Grads{}) },
		"grads not wanted":  func() { m.Forward(good, model.WantLogprobs).Backward(model.Grads{Score: []float32{1}}) },
		"grads too short":   func() { m.Forward(good, model.WantLogprobs).Backward(model.Grads{Logprobs: [][]float32{{1}}}) },
		"logits beyond":     func() { m.Logits(make([]int32, 41)) },
		"cache of another":  func() { m.Extend([]*model.Cache{plain.NewCache()}, [][]int32{{1}}) },
		"nothing to extend": func() { m.Extend([]*model.Cache{m.NewCache()}, [][]int32{{}}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
