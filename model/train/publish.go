package train

import (
	"maps"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/token"
)

// Write saves weights of the run as a model folder: adapters are merged into a copy, bfloat16 stays bfloat16. What measures
// the weights goes into the card's metrics.
func (t *Trainer) Write(dir string, which Which, tok token.Tokenizer, card checkpoint.Card) error {
	return t.With(which, func(m *model.Transformer) error {
		if _, ok := m.LoRA(); ok {
			m = m.Clone()
			m.MergeLoRA()
		}
		card.Metrics = maps.Clone(card.Metrics)
		if card.Metrics == nil {
			card.Metrics = map[string]float64{}
		}
		maps.Copy(card.Metrics, t.Measures(which))
		dtype := "F32"
		if m.BF16() {
			dtype = "BF16"
		}
		return (&checkpoint.Checkpoint{Model: m, Tokenizer: tok, Card: card}).Save(dir, dtype)
	})
}

// WriteAdapter saves the adapters of the run as PEFT reads them; base names the model that they belong to.
func (t *Trainer) WriteAdapter(dir string, which Which, base string) error {
	return t.With(which, func(m *model.Transformer) error { return checkpoint.SaveAdapter(dir, m, base) })
}

// Measures are the numbers that go with weights of the run: step, and heldout_loss where it was taken at that step.
func (t *Trainer) Measures(which Which) map[string]float64 {
	m := map[string]float64{"step": float64(t.step)}
	if which == Best {
		m["step"], m["heldout_loss"] = float64(t.watch.BestStep), t.watch.BestLoss
	} else if t.watch.LastStep == t.step && t.step > 0 {
		m["heldout_loss"] = t.watch.LastLoss
	}
	return m
}
