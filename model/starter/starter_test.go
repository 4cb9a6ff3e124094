package starter

import (
	"testing"

	"github.com/rankloop/rankloop/model/checkpoint"
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
	}
}
