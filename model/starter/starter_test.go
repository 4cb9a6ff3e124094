package starter

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/train"
)

func TestWeightsThatShip(t *testing.T) {
	for name, load := range map[string]func() (*checkpoint.Checkpoint, error){"base": Base, "sft": SFT} {
		c, err := load()
		if err != nil {
			t.Fatal(err)
		}
		again, err := load()
		if err != nil || again != c {
			t.Errorf("%s: loaded twice", name)
		}
		if c.Card.Kind != name || c.Tokenizer == nil || c.Tokenizer.EOS() < 0 {
			t.Errorf("%s: card %q, tokenizer %v", name, c.Card.Kind, c.Tokenizer)
		}
		if n := c.Model.NumParams(); n < 300_000 || n > 1_000_000 {
			t.Errorf("%s: %d weights", name, n)
		}
		if cfg := c.Model.Config(); cfg.Vocab != c.Tokenizer.Vocab() {
			t.Errorf("%s: vocabulary %d of the model, %d of the tokenizer", name, cfg.Vocab, c.Tokenizer.Vocab())
		}
		recipe, err := json.Marshal(Default())
		if err != nil || c.Card.Notes != "recipe "+string(recipe) {
			t.Errorf("%s: made by the %s, Default is %s", name, c.Card.Notes, recipe)
		}
	}
	if !strings.Contains(Card, "# ") {
		t.Error("the model card is empty")
	}
}

// The perplexity of new texts rises by less than 1% where the weights are kept in fewer bits.
func TestWeightsInFewerBits(t *testing.T) {
	base, err := Base()
	if err != nil {
		t.Fatal(err)
	}
	texts := train.Texts(base.Tokenizer, simulate.Starter().Corpus(99, 300), base.Model.Config().Context)
	loss := func(m *model.Transformer) float64 {
		l, n, err := train.HeldOut(t.Context(), m, texts, 8192)
		if err != nil || n < 5000 {
			t.Fatalf("%d targets: %v", n, err)
		}
		return l
	}
	want := loss(base.Model)
	for _, w := range []model.Weights{model.WeightsBF16, model.WeightsInt8} {
		got := loss(base.Model.PackedCopy(w))
		t.Logf("%s: perplexity %.4f, in float32 %.4f", w, math.Exp(got), math.Exp(want))
		if math.Abs(math.Exp(got-want)-1) > 0.01 || got == want {
			t.Errorf("%s: perplexity %.4f, in float32 %.4f", w, math.Exp(got), math.Exp(want))
		}
	}
}

// The world must still write the texts that the weights were trained on, or the recipe no longer makes them.
func TestTheRecipeStillMakesTheDataOfTheWeights(t *testing.T) {
	r := Default()
	base, err := Base()
	if err != nil {
		t.Fatal(err)
	}
	sft, err := SFT()
	if err != nil {
		t.Fatal(err)
	}
	w := simulate.Starter()
	texts := train.Texts(base.Tokenizer, w.Corpus(r.Seed, r.Texts), r.Model.Context)
	if got := texts.Digest(); got != base.Card.Snapshot {
		t.Errorf("the corpus is %s, base was pretrained on %s", got, base.Card.Snapshot)
	}
	var demos [][2]string
	for _, d := range w.Demonstrations(r.Seed, r.Demos) {
		demos = append(demos, [2]string{d.Prompt, d.Response})
	}
	seqs, err := chat(sft.Tokenizer, demos, r.Model.Context)
	if err != nil {
		t.Fatal(err)
	}
	if got := seqs.Digest(); got != sft.Card.Snapshot {
		t.Errorf("the demonstrations are %s, SFT was tuned on %s", got, sft.Card.Snapshot)
	}
}
