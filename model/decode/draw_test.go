package decode

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// TestDrawIsTheDistribution: what draw draws from is Distribution but for rounding, with ties too, whatever the filters.
func TestDrawIsTheDistribution(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var s sampler
	for n := range 600 {
		logits := make([]float32, 1+rng.IntN(300))
		for i := range logits {
			logits[i] = float32(3 * rng.NormFloat64())
			if n%2 == 0 {
				logits[i] = float32(math.Round(float64(logits[i]))) // many tie
			}
		}
		p := Params{Temperature: .1 + 2*rng.Float64()}
		if n%3 == 0 {
			p.Temperature = 1
		}
		if rng.IntN(2) == 0 {
			p.TopK = 1 + rng.IntN(len(logits)+3)
		}
		if rng.IntN(3) > 0 {
			p.TopP = rng.Float64()
		}
		counts := map[int32]int{}
		if rng.IntN(2) == 0 {
			p.PresencePenalty, p.FrequencyPenalty = rng.Float64(), rng.Float64()
			counts[int32(rng.IntN(len(logits)))] = 2
			p.LogitBias = map[int32]float32{int32(rng.IntN(len(logits))): float32(4 * rng.NormFloat64())}
		}
		want := Distribution(logits, p, counts)
		id, lse := s.draw(logits, &p, counts, rng)
		if want := model.LogSumExp(logits); lse != want {
			t.Fatalf("case %d, %+v: log of the sum of exponents %g, want %g", n, p, lse, want)
		}
		if want[id] == 0 {
			t.Fatalf("case %d: token %d was drawn, which %+v leaves out", n, id, p)
		}
		total := s.add(s.soft)
		for i, w := range want {
			if got := float64(s.soft[i]) / total; math.Abs(got-w) > 1e-5*w+1e-9 {
				t.Fatalf("case %d, %d tokens, %+v: token %d has %g, want %g", n, len(logits), p, i, got, w)
			}
		}
	}
}
