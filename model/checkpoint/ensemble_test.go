package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/rankloop/rankloop/model"
)

func ensembleOf(t testing.TB) *Checkpoint {
	t.Helper()
	second := mustModel(t, smallGPT2, model.HeadScore, false)
	second.AddHead(model.HeadScore, 99)
	return &Checkpoint{Model: mustModel(t, smallGPT2, model.HeadScore, false), Members: []*model.Transformer{second},
		Card: Card{Kind: "reward", RewardMean: 1, RewardStd: 2, Ensemble: &Ensemble{Combine: "min", Mean: -0.5, Std: 1, Members: []Norm{{0.25, 3}}}}}
}

// TestEnsembleFolder: members come back bit for bit, in one piece or in shards, and whoever asks for one model gets the first.
func TestEnsembleFolder(t *testing.T) {
	c := ensembleOf(t)
	dir := save(t, c, "F32")
	sharded := filepath.Join(t.TempDir(), "sharded")
	if err := c.Export(sharded, Format{DType: "F32", MaxShard: 4096}); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, sharded} {
		got, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Members) != 1 || !sameWeights(got.Model, c.Model) || !sameWeights(got.Members[0], c.Members[0]) {
			t.Errorf("%s: other weights", filepath.Base(dir))
		}
		if e := got.Card.Ensemble; e == nil || e.Combine != "min" || e.Mean != -0.5 || e.Members[0] != (Norm{0.25, 3}) {
			t.Errorf("%s: card %+v", filepath.Base(dir), got.Card)
		}
	}
	if d, err := Describe(dir); err != nil || d.Card.Ensemble == nil {
		t.Errorf("described as %+v, %v", d.Card, err)
	}
	half, err := LoadBF16(dir)
	if err != nil || half.Members[0].Param("wte.weight").Half == nil {
		t.Errorf("the member of a bfloat16 ensemble is none (%v)", err)
	}
}

// TestEnsembleDamage: a member that is missing, changed, or more than the card says is not believed.
func TestEnsembleDamage(t *testing.T) {
	name := memberName(0)
	dir := save(t, ensembleOf(t), "F32")
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a changed member: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing member: %v", err)
	}
	for what, spoil := range map[string]func(*Checkpoint){
		"no norm":    func(c *Checkpoint) { c.Card.Ensemble.Members = nil },
		"std 0":      func(c *Checkpoint) { c.Card.Ensemble.Members[0].Std = 0 },
		"combined":   func(c *Checkpoint) { c.Card.Ensemble.Std = -1 },
		"no card":    func(c *Checkpoint) { c.Card.Ensemble = nil },
		"no members": func(c *Checkpoint) { c.Members = nil },
		"lambda":     func(c *Checkpoint) { c.Card.Ensemble.Lambda = -1 },
		"shape":      func(c *Checkpoint) { c.Members[0] = mustModel(t, smallLlama, model.HeadScore, false) },
	} {
		c := ensembleOf(t)
		spoil(c)
		var e *InvalidError
		if err := c.Save(filepath.Join(t.TempDir(), "x"), "F32"); !errors.As(err, &e) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
