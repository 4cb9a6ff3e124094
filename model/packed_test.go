package model_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// A packed model gives the bits of the model whose weights it keeps: of the same one in float32, of the same one in mixed precision in
// BF16, and in eight bits, to the rounding of activations, of the one that its digest counts, with scaled weights. Batches,
// caches and clones change none.
func TestPacked(t *testing.T) {
	for i, cfg := range shapes {
		for _, m := range []*model.Transformer{lively(t, cfg, uint64(i)), adapted(t, cfg, uint64(i))} {
			merged := m.Clone()
			merged.MergeLoRA()
			_, wide := rounded(t, merged)
			ids := ragged(rand.New(rand.NewPCG(uint64(i), 9)), cfg, 1)[0].IDs
			ids = ids[:min(len(ids), cfg.Context)]
			for _, w := range []model.Weights{model.WeightsFloat32, model.WeightsBF16, model.WeightsInt8} {
				packed := m.Clone()
				packed.Pack(w)
				name := cfg.Family + " " + string(w)
				bytes := int64(0)
				for _, p := range packed.Params() {
					bytes += p.Bytes()
				}
				if want := cfg.PackedBytes(w) + 4*int64(cfg.Width+1); bytes != want { // and the value head with its bias
					t.Errorf("%s: the weights take %d bytes, said were %d", name, bytes, want)
				}
				if packed.Packed() != w || packed.NumParams() != merged.NumParams() || packed.Clone().Digest() != packed.Digest() {
					t.Errorf("%s: packed as %q, %d parameters", name, packed.Packed(), packed.NumParams())
				}
				like := merged
				switch w {
				case model.WeightsBF16:
					like = wide
					like.SetMixed(true)
				case model.WeightsInt8: // the numbers that it stands for
					like = merged.Clone()
					for j, p := range packed.Params() {
						copy(like.Params()[j].Data, p.Float32())
					}
				}
				if packed.Digest() != like.Digest() {
					t.Errorf("%s: another digest", name)
				}
				got, want := packed.Logits(ids), like.Logits(ids)
				if w == model.WeightsBF16 { // rounding again what is rounded changes nothing
					mixed := merged.Clone()
					mixed.SetMixed(true)
					for r, row := range mixed.Logits(ids) {
						sameBits(t, name+": logits in mixed precision", row, want[r])
					}
				}
				if w != model.WeightsInt8 {
					for r := range got {
						sameBits(t, name+": logits", got[r], want[r])
					}
				} else {
					near(t, name, got, want, 1e-3)
					near(t, name, got, merged.Logits(ids), 0.1)
				}
				a, b := packed.NewCache(), packed.NewCache()
				packed.Extend([]*model.Cache{a}, [][]int32{ids[:1]})
				for r := 1; r < len(ids); r++ { // beside another sequence
					b.Reset()
					out := packed.Extend([]*model.Cache{b, a}, [][]int32{ids[:r], ids[r : r+1]})
					sameBits(t, name+": logits with a cache", out[1], got[r])
					sameBits(t, name+": logits beside it", out[0], got[r-1])
				}
			}
		}
	}
}

// near demands that numbers agree to a share of their largest magnitude.
func near(t *testing.T, what string, got, want [][]float32, share float64) {
	t.Helper()
	for r := range got {
		largest := 0.0
		for _, v := range want[r] {
			largest = max(largest, math.Abs(float64(v)))
		}
		for j, v := range got[r] {
			if off := math.Abs(float64(v - want[r][j])); !(off <= share*largest) {
				t.Fatalf("%s: row %d, %d is %g, want %g (largest %g)", what, r, j, v, want[r][j], largest)
			}
		}
	}
}

// What a packed model cannot do is said, and what it takes is what its form promises.
func TestPackedIsForReading(t *testing.T) {
	cfg := model.Config{Family: "gpt2", Vocab: 640, Context: 16, Layers: 2, Width: 128, Heads: 4, BOS: -1, EOS: -1}
	m, err := model.New(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	bytes := func(m *model.Transformer) (n int64) {
		for _, p := range m.Params() {
			n += p.Bytes()
		}
		return n
	}
	for w, most := range map[model.Weights]float64{model.WeightsFloat32: 1.001, model.WeightsBF16: 0.51, model.WeightsInt8: 0.28} {
		p := m.Clone()
		p.Pack(w)
		if share := float64(bytes(p)) / float64(bytes(m)); share > most {
			t.Errorf("%s takes %.3f of float32", w, share)
		}
		if parsed, err := model.ParseWeights(string(w)); err != nil || parsed != w {
			t.Errorf("%s is parsed as %q: %v", w, parsed, err)
		}
		var invalid *model.InvalidError
		if _, err := model.NewAdamW().Step(p, 1); !errors.As(err, &invalid) {
			t.Errorf("%s: Step says %v", w, err)
		}
		if err := p.AddLoRA(model.LoRA{Rank: 2, Alpha: 2, Targets: []string{"attn"}}, 1); !errors.As(err, &invalid) {
			t.Errorf("%s: AddLoRA says %v", w, err)
		}
		for name, f := range map[string]func(){
			"Forward": func() { p.Forward([]model.Sequence{{IDs: []int32{1, 2}, Start: 1}}, model.WantLogprobs) },
			"Pack":    func() { p.Pack(w) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: %s goes through", w, name)
					}
				}()
				f()
			}()
		}
	}
	if _, err := model.ParseWeights("int4"); err == nil {
		t.Errorf("int4: %v", err)
	}
}
