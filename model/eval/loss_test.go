package eval

import (
	"math"
	"testing"

	"github.com/rankloop/rankloop/model"
)

func TestHeldOutLoss(t *testing.T) {
	m, err := model.New(model.Config{Family: "gpt2", Vocab: 11, Context: 12, Layers: 1, Width: 16, Heads: 2, BOS: -1, EOS: 0}, 3)
	if err != nil {
		t.Fatal(err)
	}
	seqs := []model.Sequence{{IDs: []int32{1, 2, 3, 4, 5}, Start: 1}, {IDs: []int32{6, 7, 8}, Start: 2}, {IDs: []int32{9, 1, 9, 1, 9, 1}, Start: 3}}
	loss, perplexity, err := HeldOutLoss(t.Context(), m, seqs)
	if err != nil {
		t.Fatal(err)
	}
	total, n := 0.0, 0
	for _, s := range seqs {
		logits := m.Logits(s.IDs)
		for at := s.Start; at < len(s.IDs); at++ {
			sum := 0.0
			for _, z := range logits[at-1] {
				sum += math.Exp(float64(z))
			}
			total += math.Log(sum) - float64(logits[at-1][s.IDs[at]])
			n++
		}
	}
	if want := total / float64(n); math.Abs(loss.Mean-want) > 1e-5 || math.Abs(perplexity-math.Exp(want)) > 1e-4 {
		t.Errorf("loss %g, perplexity %g, want %g", loss.Mean, perplexity, want)
	}
	if loss.N != 8 || loss.Clusters != 3 || !(loss.Low < loss.Mean && loss.Mean < loss.High) {
		t.Errorf("%+v", loss)
	}
}
