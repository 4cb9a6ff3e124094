package model_test

import (
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// The numbers of parameters are those of the published checkpoints, to the last one for
// GPT and GPT-2, and the papers' rounded ones for GPT-3.
func TestPresets(t *testing.T) {
	exact := map[string]int64{
		"gpt-117m": 116534784, "gpt2": 124439808, "gpt2-medium": 354823168, "gpt2-large": 774030080, "gpt2-xl": 1557611200,
	}
	rounded := map[string]float64{
		"gpt3-125m": 125e6, "gpt3-350m": 350e6, "gpt3-760m": 760e6, "gpt3-1.3b": 1.3e9, "gpt3-2.7b": 2.7e9, "gpt3-6.7b": 6.7e9, "gpt3-13b": 13e9, "gpt3-175b": 175e9,
	}
	for _, name := range model.Presets() {
		c, ok := model.Preset(name)
		if err := c.Validate(); !ok || err != nil {
			t.Errorf("%s: %v", name, err)
		}
		n, named := c.NumParams(), false
		if want, ok := exact[name]; ok {
			named = true
			if n != want {
				t.Errorf("%s: %d parameters, published are %d", name, n, want)
			}
		}
		if want, ok := rounded[name]; ok {
			named = true
			if off := float64(n)/want - 1; off < -0.02 || off > 0.03 {
				t.Errorf("%s: %d parameters, the paper's %g", name, n, want)
			}
		}
		if !named {
			t.Errorf("%s: no number to compare with", name)
		}
	}
	if len(model.Presets()) != len(exact)+len(rounded) {
		t.Errorf("%v", model.Presets())
	}
	a, _ := model.Preset("GPT3-XL")
	b, _ := model.Preset("gpt3-1.3b")
	if a != b || a.Heads != 16 || a.Window != 256 || !a.Tied {
		t.Errorf("%+v", a)
	}
	if _, ok := model.Preset("gpt4"); ok || slices.Contains(model.Presets(), "gpt4") {
		t.Error("a preset from nowhere")
	}
}
