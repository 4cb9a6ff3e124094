package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// TestDescribe: what Describe says is what Load loads, but it does not read the weights.
func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		cfg   model.Config
		head  model.Head
		dtype string
	}{{smallGPT1, model.HeadLM, "F32"}, {smallGPT2, model.HeadScore, "BF16"}, {smallGPT3, model.HeadLM, "F16"}, {smallQwen2, model.HeadValue, "F32"}} {
		dir := save(t, &Checkpoint{Model: mustModel(t, c.cfg, c.head, c.head != model.HeadLM), Card: Card{Kind: "policy"}}, c.dtype)
		loaded, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := Digest(dir)
		if err != nil {
			t.Fatal(err)
		}
		bytes := map[string]int64{"F32": 4, "F16": 2, "BF16": 2}[c.dtype] * int64(loaded.Model.NumParams())
		check := func(when string) {
			d, err := Describe(dir)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			if d.Config != loaded.Model.Config() || d.Head != c.head || d.Parameters != int64(loaded.Model.NumParams()) || d.Card.Kind != "policy" ||
				!slices.Equal(d.DTypes, []string{c.dtype}) || d.WeightBytes != bytes || d.Digest != digest {
				t.Errorf("%s: %+v", when, d)
			}
		}
		check("as saved")
		file := filepath.Join(dir, weightsName)
		data := must(os.ReadFile(file))
		data[len(data)-1] ^= 1
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); !errors.Is(err, ErrCorrupt) {
			t.Errorf("changed weights load: %v", err)
		}
		check("weights changed, which only Load reads")
		if err := os.WriteFile(file, data[:len(data)-1], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Describe(dir); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a file that is too short: %v", err)
		}
	}
	dir := save(t, &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadLM, false)}, "F32")
	if err := os.Remove(filepath.Join(dir, sumsName)); err != nil {
		t.Fatal(err)
	}
	narrow := smallGPT2
	narrow.Hidden = 32
	config := must(encodeConfig(narrow.WithDefaults(), model.HeadLM, "F32"))
	if err := os.WriteFile(filepath.Join(dir, configName), config, 0o600); err != nil {
		t.Fatal(err)
	}
	var bad *TensorsError
	if _, err := Describe(dir); !errors.As(err, &bad) || len(bad.Misshaped) != 6 {
		t.Errorf("a config of another model: %v", err)
	}
}
