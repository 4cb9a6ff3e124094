package decode

import (
	"context"
	"fmt"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// BenchmarkEngine is a step of the engine on the shape of the starter model.
func BenchmarkEngine(b *testing.B) {
	m, err := model.New(model.Config{Family: "gpt2", Vocab: 1280, Context: 128, Layers: 4, Width: 96, Heads: 4, BOS: -1, EOS: -1}, 1)
	if err != nil {
		b.Fatal(err)
	}
	m.Pack(model.WeightsFloat32)
	for _, n := range []int{1, 32} {
		b.Run(fmt.Sprintf("batch%d", n), func(b *testing.B) {
			e := newEngine(m, nil, EngineOptions{})
			ctx, cancel := context.WithCancel(context.Background())
			b.ReportAllocs()
			for b.Loop() {
				if len(e.batch.flows) == 0 {
					for i := range n {
						if _, err := e.Submit(ctx, Request{Prompt: counting(16, i), Key: fmt.Sprint(i), Params: Params{MaxTokens: 112, Temperature: 1, Seed: uint64(i), IgnoreEOS: true}}); err != nil {
							b.Fatal(err)
						}
					}
				}
				e.step()
			}
			cancel()
			e.step()
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "tok/s")
		})
	}
}
