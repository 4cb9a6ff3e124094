package decode

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/rankloop/rankloop/model"
)

func BenchmarkGenerate(b *testing.B) {
	for _, width := range []int{96, 128} {
		m, err := model.New(model.Config{Family: "gpt2", Vocab: 768, Context: 128, Layers: 4, Width: width, Heads: 4, BOS: -1, EOS: 0}, 1)
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("C%d-batch%d", width, n), func(b *testing.B) {
				ask := make([][]int32, n)
				for i := range ask {
					ask[i] = make([]int32, 24)
					for t := range ask[i] {
						ask[i][t] = int32((i*31 + t*7) % 768)
					}
				}
				p := Params{MaxTokens: 48, Temperature: 1, IgnoreEOS: true}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Generate(context.Background(), m, ask, p, 0, nil); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*n*p.MaxTokens)/b.Elapsed().Seconds(), "tok/s")
			})
		}
	}
}

// BenchmarkDraw is a token from a vocabulary of the starter model's size.
func BenchmarkDraw(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, 1280)
	for i := range logits {
		logits[i] = float32(2 * rng.NormFloat64())
	}
	for name, p := range map[string]Params{
		"plain": {Temperature: 1}, "bias": {Temperature: 1, LogitBias: map[int32]float32{5: 2}}, "top-k": {Temperature: .8, TopK: 50}, "top-p": {Temperature: .8, TopP: .9},
		"cold": {Temperature: coldest, TopP: .9},
	} {
		b.Run(name, func(b *testing.B) {
			var s sampler
			b.ReportAllocs()
			for b.Loop() {
				s.draw(logits, &p, nil, rng)
			}
		})
	}
}
