package starter

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/train"
)

// small is a recipe and data that take a second.
func small() (Recipe, Data) {
	var d Data
	things := strings.Fields("drum kite bell hat boat")
	for i := range 200 {
		x, y := things[i%5], things[i*7%5]
		d.Texts = append(d.Texts, fmt.Sprintf("A fox found a %s and a %s by the river. The fox was happy.", x, y))
		d.Demos = append(d.Demos, [2]string{"Tell a story about a " + x + ".", "A fox found a " + x + "."})
	}
	d.HeldOutTexts, d.HeldOutDemos = d.Texts[:9], d.Demos[:9]
	return Recipe{
		Seed: 3, Vocab: 300, Model: model.Config{Family: "gpt2", Context: 64, Layers: 1, Width: 32, Heads: 2},
		Pretrain: train.Config{Epochs: 2, BatchTokens: 512, LR: 5e-3},
		SFT:      train.Config{Epochs: 2, BatchTokens: 512, LR: 5e-3},
	}, d
}

func TestTrainFollowsTheRecipe(t *testing.T) {
	r, d := small()
	var digests [2]string
	for i := range digests {
		dir := t.TempDir()
		phases := map[string]int{}
		err := Train(t.Context(), r, d, dir, func(phase string, step, total int, m map[string]float64) {
			phases[phase]++
			if step != phases[phase] || step > total {
				t.Errorf("%s: step %d of %d after %d", phase, step, total, phases[phase]-1)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if phases[PhaseTokenizer] != 1 || phases[PhasePretrain] < 5 || phases[PhaseSFT] < 5 {
			t.Errorf("phases %v", phases)
		}
		base, err := checkpoint.Load(filepath.Join(dir, "base"))
		if err != nil {
			t.Fatal(err)
		}
		sft, err := checkpoint.Load(filepath.Join(dir, "sft"))
		if err != nil {
			t.Fatal(err)
		}
		parent, err := checkpoint.Digest(filepath.Join(dir, "base"))
		if err != nil || len(sft.Card.Parents) != 1 || sft.Card.Parents[0] != parent {
			t.Errorf("parents %v, base is %s (%v)", sft.Card.Parents, parent, err)
		}
		if base.Card.Kind != "base" || sft.Card.Kind != "sft" || base.Tokenizer.Digest() != sft.Tokenizer.Digest() {
			t.Errorf("cards %q and %q", base.Card.Kind, sft.Card.Kind)
		}
		if a, b := base.Card.Metrics["heldout_loss"], sft.Card.Metrics["heldout_loss"]; !(a > 0 && a < 5 && b > 0 && b < 3) {
			t.Errorf("held-out losses %g and %g", a, b)
		}
		if base.Model.Digest() == sft.Model.Digest() {
			t.Error("fine-tuning changed nothing")
		}
		// Fine-tuning anew from the folder as it ships comes out at the same weights.
		demos, err := chat(base.Tokenizer, d.Demos, r.Model.Context)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run(t.Context(), r.SFT, base.Model, demos, nil, PhaseSFT, func(string, int, int, map[string]float64) {}); err != nil {
			t.Fatal(err)
		}
		if err := base.Save(filepath.Join(dir, "again"), "BF16"); err != nil {
			t.Fatal(err)
		}
		again, err := checkpoint.Load(filepath.Join(dir, "again"))
		if err != nil || again.Model.Digest() != sft.Model.Digest() {
			t.Errorf("fine-tuning from the folder makes another model (%v)", err)
		}
		if digests[i], err = checkpoint.Digest(filepath.Join(dir, "sft")); err != nil {
			t.Fatal(err)
		}
	}
	if digests[0] != digests[1] {
		t.Error("the same recipe made two models")
	}
}

func TestTrainEndsWithItsContext(t *testing.T) {
	r, d := small()
	ctx, cancel := context.WithCancel(t.Context())
	err := Train(ctx, r, d, t.TempDir(), func(phase string, step, _ int, _ map[string]float64) {
		if phase == PhasePretrain && step == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestDemonstrationsThatDoNotFit(t *testing.T) {
	r, d := small()
	for i := range 10 {
		d.Demos[i][1] = strings.Repeat("a drum and ", 60)
	}
	if err := Train(t.Context(), r, d, t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "longer than 64") {
		t.Error(err)
	}
}
