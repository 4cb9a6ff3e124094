package model_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// rounded returns m as a BF16 model, and a float32 model of the same, rounded numbers.
func rounded(t testing.TB, m *model.Transformer) (half, wide *model.Transformer) {
	t.Helper()
	wide, half = m.Clone(), m.Clone()
	half.ToBF16()
	for i, p := range half.Params() {
		q := wide.Params()[i]
		if matrix := len(p.Shape) > 1 && p.Name != "value.weight" && !strings.Contains(p.Name, ".lora_"); (p.Half != nil) != matrix || (p.Data != nil) == matrix || p.Len() != q.Len() {
			t.Fatalf("%s %v has %d halves and %d floats", p.Name, p.Shape, len(p.Half), len(p.Data))
		}
		copy(q.Data, p.Float32())
	}
	return half, wide
}

// A BF16 model computes to the bit what a float32 model of the same numbers computes:
// passes, gradients, decoding, also beside adapters.
func TestBF16EqualsRoundedFloat32(t *testing.T) {
	for i, cfg := range shapes {
		for _, m := range []*model.Transformer{lively(t, cfg, uint64(i)), adapted(t, cfg, uint64(i))} {
			half, wide := rounded(t, m)
			if !half.BF16() || wide.BF16() || half.Digest() != wide.Digest() || half.NumParams() != wide.NumParams() {
				t.Errorf("%s: digest %s, want %s", cfg.Family, half.Digest(), wide.Digest())
			}
			if c := half.Clone(); !c.BF16() || c.Digest() != half.Digest() {
				t.Errorf("%s: a clone differs", cfg.Family)
			}
			rng := rand.New(rand.NewPCG(uint64(i), 4))
			batch := ragged(rng, cfg, 9)
			for j := range batch {
				batch[j].IDs = batch[j].IDs[:min(len(batch[j].IDs), cfg.Context)]
				batch[j].Start = min(batch[j].Start, len(batch[j].IDs))
			}
			got, want := half.Forward(batch, everything), wide.Forward(batch, everything)
			for j := range batch {
				sameBits(t, cfg.Family+": Logprobs", got.Logprobs[j], want.Logprobs[j])
				sameBits(t, cfg.Family+": Values", got.Values[j], want.Values[j])
			}
			g := randomGrads(rng, want)
			got.Backward(g)
			want.Backward(g)
			for j, p := range half.Params() {
				sameBits(t, cfg.Family+": gradient of "+p.Name, p.Grad, wide.Params()[j].Grad)
			}
			ids := batch[0].IDs
			whole, cache := wide.Logits(ids), half.NewCache()
			for at := range ids {
				logits := half.Extend([]*model.Cache{cache}, [][]int32{ids[at : at+1]})[0]
				sameBits(t, fmt.Sprintf("%s decoded to %d", cfg.Family, at), logits, whole[at])
			}
			half.MergeLoRA()
			wide.MergeLoRA()
			for j, p := range half.Params() {
				q := wide.Params()[j]
				if p.Half != nil {
					near := make([]uint16, p.Len())
					kernel.Narrow(near, q.Data)
					if !slices.Equal(near, p.Half) {
						t.Errorf("%s: %s is not the rounded merged matrix", cfg.Family, p.Name)
					}
					continue
				}
				sameBits(t, p.Name, p.Data, q.Data)
			}
		}
	}
}

func TestNewBF16(t *testing.T) {
	for _, cfg := range append(shapes, model.Config{Family: "gpt2", Vocab: 3000, Context: 8, Layers: 1, Width: 64, Heads: 2, BOS: -1, EOS: -1}) {
		m, err := model.New(cfg, 5)
		if err != nil {
			t.Fatal(err)
		}
		m.ToBF16()
		b, err := model.NewBF16(cfg, 5)
		if err != nil {
			t.Fatal(err)
		}
		if m.Digest() != b.Digest() || !b.BF16() {
			t.Errorf("%s: NewBF16 differs from New and ToBF16", cfg.Family)
		}
	}
}

// bf16Steps makes three AdamW steps on a BF16 model.
func bf16Steps(t *testing.T, cfg model.Config, seed uint64) *model.Transformer {
	m := lively(t, cfg, 3)
	m.ToBF16()
	rng, opt := rand.New(rand.NewPCG(11, 12)), model.NewAdamW()
	opt.Seed = seed
	for range 3 {
		gradients(m, rng, everything)
		if _, err := opt.Step(m, 1e-3); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// Training in BF16 is a function of the seed, not of the threads, and each weight ends
// at one of the two neighbours of where float32 would have it, on average there.
func TestBF16Steps(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	for _, cfg := range append(shapes[:2:2], model.Config{Family: "gpt2", Vocab: 2400, Context: 8, Layers: 1, Width: 128, Heads: 2, BOS: -1, EOS: -1}) {
		kernel.SetThreads(1)
		want := bf16Steps(t, cfg, 1).Digest()
		if bf16Steps(t, cfg, 2).Digest() == want {
			t.Error("the seed of the optimizer does not matter")
		}
		for _, n := range []int{2, 3} {
			kernel.SetThreads(n)
			if bf16Steps(t, cfg, 1).Digest() != want {
				t.Errorf("%d threads train another model", n)
			}
		}
	}
}

// Steps far below half a unit in the last place arrive: each weight ends at a neighbour
// of where float32 would have it, and together they move as far.
func TestSmallBF16Steps(t *testing.T) {
	half, wide := rounded(t, lively(t, shapes[1], 8))
	before := wide.Clone()
	for _, m := range []*model.Transformer{half, wide} {
		gradients(m, rand.New(rand.NewPCG(4, 4)), everything)
		if _, err := model.NewAdamW().Step(m, 1e-4); err != nil {
			t.Fatal(err)
		}
	}
	along, far := 0.0, 0.0
	for i, p := range half.Params() {
		if p.Half == nil {
			sameBits(t, p.Name, p.Data, wide.Params()[i].Data)
			continue
		}
		for j, v := range p.Float32() {
			w, b := float64(wide.Params()[i].Data[j]), float64(before.Params()[i].Data[j])
			if d := math.Abs(float64(v) - w); d > math.Abs(w)/128+1e-30 {
				t.Fatalf("%s[%d] is %g, in float32 %g", p.Name, j, v, w)
			}
			along += (float64(v) - b) * (w - b)
			far += (w - b) * (w - b)
		}
	}
	if math.Abs(along/far-1) > 0.1 {
		t.Errorf("the weights moved %.3f of the way", along/far)
	}
}

// A BF16 model learns as a float32 model does: the losses of a small run on sequences
// that count upwards stay together.
func TestBF16Learns(t *testing.T) {
	cfg := model.Config{Family: "gpt2", Vocab: 31, Context: 16, Layers: 2, Width: 32, Heads: 2, BOS: -1, EOS: -1}
	run := func(half bool) (losses []float64) {
		m, err := model.New(cfg, 1)
		if err != nil {
			t.Fatal(err)
		}
		if half {
			m.ToBF16()
		}
		rng, opt := rand.New(rand.NewPCG(5, 6)), model.NewAdamW()
		opt.Decay = 0
		for range 400 {
			batch := make([]model.Sequence, 16)
			for i := range batch {
				batch[i] = model.Sequence{Start: 1}
				for at, step := rng.IntN(31), 1+rng.IntN(3); len(batch[i].IDs) < 16; at += step {
					batch[i].IDs = append(batch[i].IDs, int32(at%31))
				}
			}
			pass := m.Forward(batch, model.WantLogprobs)
			loss, grad := nextTokenLoss(pass.Logprobs)
			pass.Backward(model.Grads{Logprobs: grad})
			losses = append(losses, loss)
			if _, err := opt.Step(m, 5e-4); err != nil {
				t.Fatal(err)
			}
		}
		return losses
	}
	mean := func(x []float64) (sum float64) {
		for _, v := range x {
			sum += v / float64(len(x))
		}
		return sum
	}
	wide, half := run(false), run(true)
	for _, at := range []int{50, 150, 250, 400} {
		a, b := mean(wide[at-40:at]), mean(half[at-40:at])
		t.Logf("loss before step %d: float32 %.4f, BF16 %.4f", at, a, b)
		if math.Abs(a-b) > 0.05*a+0.02 {
			t.Errorf("loss before step %d is %.4f, in float32 %.4f", at, b, a)
		}
	}
	if last := mean(half[360:]); last > 0.4*half[0] {
		t.Errorf("the loss went from %.3f to %.3f only", half[0], last)
	}
}
