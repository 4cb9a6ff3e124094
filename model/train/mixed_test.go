package train

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// walks are texts of a language of 64 words in which each has eight that may follow, so that there is a loss that no model gets below.
func walks(seed uint64, n int) Sequences {
	rng := rand.New(rand.NewPCG(seed, 2))
	out := make(Sequences, n)
	for i := range out {
		ids := make([]int32, 33)
		ids[0] = int32(rng.IntN(64))
		for j := 1; j < len(ids); j++ {
			ids[j] = (5*ids[j-1] + int32(rng.IntN(8)*rng.IntN(8)) + 1) % 64
		}
		out[i] = model.Sequence{IDs: ids, Start: 1}
	}
	return out
}

// Over 500 steps the loss in mixed precision stays within 1% of that in float32, and the run is not the same.
func TestMixedFollowsFloat32(t *testing.T) {
	const steps, window = 500, 25
	curve := func(precision string) (losses []float64) {
		m, err := model.New(model.Config{Family: "gpt2", Vocab: 64, Context: 33, Layers: 2, Width: 48, Heads: 3, BOS: -1, EOS: -1}, 3)
		if err != nil {
			t.Fatal(err)
		}
		tr := newTrainer(t, Config{Steps: steps, BatchTokens: 528, LR: 3e-3, Warmup: 20, Seed: 5, Precision: precision}, m, walks(1, 2000), nil)
		for !tr.Done() {
			metrics, err := tr.Step(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			losses = append(losses, metrics["loss"])
		}
		return losses
	}
	float32s, mixed := curve(Float32), curve(Mixed)
	mean := func(x []float64) (sum float64) {
		for _, v := range x {
			sum += v / float64(len(x))
		}
		return sum
	}
	same := true
	for at := 0; at < steps; at += window {
		a, b := mean(float32s[at:at+window]), mean(mixed[at:at+window])
		if math.Abs(a-b) > 0.01*a {
			t.Errorf("steps %d to %d: loss %.4f in mixed precision, %.4f in float32", at, at+window, b, a)
		}
		same = same && a == b
	}
	if last := mean(float32s[steps-window:]); same || last > 0.8*float32s[0] {
		t.Errorf("the same curve: %v; from %.3f to %.3f in float32", same, float32s[0], last)
	}
}
