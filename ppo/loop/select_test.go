package loop

import (
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/reward"
)

// TestWorthOfEnsemble: one model is unsure where rewards are close, an ensemble where its members differ. The second member is
// the first with its head turned round on request, so that both agree on nothing, or the same, so that they agree on all.
func TestWorthOfEnsemble(t *testing.T) {
	first, err := model.New(model.Config{Family: "gpt2", Vocab: 16, Context: 8, Layers: 1, Width: 16, Heads: 2, BOS: -1, EOS: 0}, 3)
	if err != nil {
		t.Fatal(err)
	}
	first.AddHead(model.HeadScore, 4)
	turned := first.Clone()
	for i, w := range turned.Param("score.weight").Data {
		turned.Param("score.weight").Data[i] = -w
	}
	seq := func(ids ...int32) model.Sequence { return model.Sequence{IDs: ids, Start: 1} }
	answers := [][]model.Sequence{
		{seq(1, 2, 3), seq(1, 4, 5), seq(1, 6)},
		{seq(1, 7, 8), seq(1, 7, 8)}, // the same twice: all members agree that it is a tie
		{seq(1, 9)},
	}
	worth := func(second *model.Transformer) []float64 {
		t.Helper()
		cp := &checkpoint.Checkpoint{Model: first}
		if second != nil {
			cp.Members = []*model.Transformer{second}
			cp.Card.Ensemble = &checkpoint.Ensemble{Combine: reward.CombineMin, Std: 1, Members: []checkpoint.Norm{{Std: 1}}}
		}
		scorer, err := reward.Open(cp)
		if err != nil {
			t.Fatal(err)
		}
		got, err := worthOf(t.Context(), scorer, answers)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := worth(nil); got[1] != 0.25 || got[0] >= 0.25 || got[2] != 0 {
		t.Errorf("one model: %v; the tie is worth most to it", got)
	}
	if got := worth(first); !slices.Equal(got, []float64{0, 0, 0}) {
		t.Errorf("two members that are one: %v; they agree on everything", got)
	}
	if got := worth(turned); !(got[0] > 0) || got[1] != 0 || got[2] != 0 {
		t.Errorf("members that agree on nothing: %v; only the first prompt tells them apart", got)
	}
}
