package model

import (
	"math"
	"testing"
)

// The weights, applied to the values, give what the attention gave.
func TestAttentionWeights(t *testing.T) {
	for _, cfg := range []Config{
		{Family: "gpt2", Vocab: 30, Context: 20, Layers: 2, Width: 24, Heads: 3, BOS: -1, EOS: -1},
		{Family: "gpt3", Vocab: 30, Context: 20, Layers: 3, Width: 24, Heads: 3, Window: 3, BOS: -1, EOS: -1},
		{Family: "llama", Vocab: 30, Context: 20, Layers: 2, Width: 24, Heads: 6, KVHeads: 2, BOS: -1, EOS: -1},
	} {
		m, err := New(cfg, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range m.params {
			for j := range p.Data {
				p.Data[j] *= float32(5 + i%3)
			}
		}
		ids := []int32{1, 5, 9, 2, 2, 7, 29, 0}
		T, D, KV := len(ids), m.cfg.headDim(), m.cfg.KVHeads
		p := m.inspect(ids)
		W := m.body.widths().qkv
		for l, heads := range m.Attention(ids) {
			for h, rows := range heads {
				values := (m.cfg.Heads + KV + h/(m.cfg.Heads/KV)) * D
				for i, row := range rows {
					sum := 0.0
					for j, w := range row {
						sum += float64(w)
						banded := cfg.Family == "gpt3" && l%2 == 1
						if (j > i || banded && j <= i-3) != (w == 0) {
							t.Errorf("%s: position %d sees %d", cfg.Family, i, j)
						}
					}
					if math.Abs(sum-1) > 1e-5 {
						t.Errorf("%s: row %d sums to %g", cfg.Family, i, sum)
					}
					for d := range D {
						want, got := float64(p.layers[l].att[i*m.cfg.Width+h*D+d]), 0.0
						for j := range T {
							got += float64(row[j]) * float64(p.layers[l].qkv[j*W+values+d])
						}
						if math.Abs(got-want) > 1e-5*(1+math.Abs(want)) {
							t.Fatalf("%s: layer %d head %d position %d: %g, attention gave %g", cfg.Family, l, h, i, got, want)
						}
					}
				}
			}
		}
	}
}
