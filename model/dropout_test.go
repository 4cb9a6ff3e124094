package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model/kernel"
)

// stirred makes a model whose weights are large enough to matter.
func stirred(t *testing.T, cfg Config) *Transformer {
	t.Helper()
	m, err := New(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 5))
	for _, p := range m.params {
		for i := range p.Data {
			p.Data[i] += float32(rng.NormFloat64() * 0.15)
		}
	}
	return m
}

// A sequence's masks depend on its stream, not on the batch, its order or the threads;
// p = 0 and what does not train are as without dropout.
func TestDropoutMasks(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	for _, cfg := range deep {
		t.Run(cfg.Family, func(t *testing.T) {
			m, batch := stirred(t, cfg), deepBatch(cfg, 12)
			plain, _ := train(m, batch)
			grads := func() (all [][]float32) {
				for _, p := range m.params {
					all = append(all, slices.Clone(p.Grad))
				}
				return all
			}
			without := grads()
			m.SetDropout(0, 1)
			zero, _ := train(m, batch)
			for i, g := range grads() {
				equalBits(t, "gradient at p=0 of "+m.params[i].Name, g, without[i])
			}
			m.SetDropout(0.3, 1)
			kernel.SetThreads(1)
			all, _ := train(m, batch)
			with := grads()
			kernel.SetThreads(3)
			again, _ := train(m, batch)
			for i, g := range grads() {
				equalBits(t, "gradient with other threads of "+m.params[i].Name, g, with[i])
			}
			back := slices.Clone(batch)
			slices.Reverse(back)
			reversed, _ := train(m, back)
			for i, s := range batch {
				what := fmt.Sprintf("sequence %d", i)
				equalBits(t, what+" at p=0", zero[i], plain[i])
				equalBits(t, what+" with other threads", again[i], all[i])
				equalBits(t, what+" in another order", reversed[len(batch)-1-i], all[i])
				one, _ := train(m, []Sequence{s})
				equalBits(t, what+" alone", one[0], all[i])
				if slices.Equal(all[i], plain[i]) {
					t.Errorf("%s: nothing was dropped", what)
				}
				equalBits(t, what+" scored", m.Score([]Sequence{s}, WantLogprobs).Logprobs[0], plain[i])
				s.Stream += 100
				other, _ := train(m, []Sequence{s})
				if slices.Equal(other[0], all[i]) {
					t.Errorf("%s: another stream has the same masks", what)
				}
			}
			m.SetDropout(0.3, 2)
			if seeded, _ := train(m, batch); slices.Equal(seeded[0], all[0]) {
				t.Error("another seed has the same masks")
			}
		})
	}
}

// Every place drops with masks of its own, and on average a pass is as without dropout.
func TestDropoutSites(t *testing.T) {
	m := stirred(t, deep[1])
	m.SetDropout(0.5, 9)
	p := m.get(true)
	p.drop = m.drop
	p.load([]Sequence{{IDs: make([]int32, 3), Start: 3, Stream: 4}, {IDs: make([]int32, 3), Start: 3, Stream: 5}}, WantScore, false)
	seen := map[uint64]string{}
	for l := range 3 {
		for at := embedding; at <= mlp; at++ {
			for row := range p.rows {
				k, here := p.key(l, at, row), fmt.Sprintf("layer %d, site %d, row %d", l, at, row)
				if was, ok := seen[k]; ok {
					t.Errorf("%s and %s share a mask", was, here)
				}
				seen[k] = here
			}
		}
	}
	ones := func(n int) []float32 { return slices.Repeat([]float32{1}, n) }
	first, second := ones(400), ones(400)
	p.mask(1, 0)(0, 1, 0, first)
	p.mask(1, 0)(1, 1, 0, second)
	if slices.Equal(first, second) {
		t.Error("two heads share a mask")
	}
	x := ones(p.rows * m.cfg.Width)
	p.dropRows(x, 0, 1, mlp)
	for _, row := range [][]float32{first, x} { // half are zero, half are two
		sum := 0.0
		for _, v := range row {
			if v != 0 && v != 2 {
				t.Fatalf("an element became %g", v)
			}
			sum += float64(v)
		}
		if n := float64(len(row)); math.Abs(sum/n-1) > 4/math.Sqrt(n) {
			t.Errorf("the mean of %d ones is %g", len(row), sum/n)
		}
	}
	// A small p changes a gradient little on average.
	batch := deepBatch(deep[1], 2)
	m.SetDropout(0, 0)
	train(m, batch)
	want := slices.Clone(m.Param("h.4.mlp.c_proj.bias").Grad)
	m.SetDropout(0.02, 9)
	mean := make([]float64, len(want))
	const rounds = 300
	for r := range rounds {
		for i := range batch {
			batch[i].Stream = uint64(2*r + i)
		}
		train(m, batch)
		for i, g := range m.Param("h.4.mlp.c_proj.bias").Grad {
			mean[i] += float64(g) / rounds
		}
	}
	off, size := 0.0, 0.0
	for i, g := range want {
		off += math.Pow(mean[i]-float64(g), 2)
		size += math.Pow(float64(g), 2)
	}
	if off > 0.01*size {
		t.Errorf("the mean gradient is off by %.3f of its length", math.Sqrt(off/size))
	}
}

// Gradients under dropout are the slopes of the loss under the same masks.
func TestDropoutGradients(t *testing.T) {
	for _, cfg := range deep {
		t.Run(cfg.Family, func(t *testing.T) {
			cfg.Layers = 2
			m := stirred(t, cfg)
			m.SetDropout(0.3, 5)
			batch := deepBatch(cfg, 3)
			loss := func() (sum float64, pass *Pass) {
				pass = m.Forward(batch, WantLogprobs)
				for _, row := range pass.Logprobs {
					for _, x := range row {
						sum += float64(x)
					}
				}
				return sum, pass
			}
			_, pass := loss()
			ones := make([][]float32, len(batch))
			for i, row := range pass.Logprobs {
				ones[i] = slices.Repeat([]float32{1}, len(row))
			}
			pass.Backward(Grads{Logprobs: ones})
			for _, p := range m.params {
				length := 0.0
				for _, g := range p.Grad {
					length += float64(g) * float64(g)
				}
				length = math.Sqrt(length)
				if length < 1e-2 { // of the keys' bias, zero in theory
					continue
				}
				old := slices.Clone(p.Data)
				at := func(h float64) float64 {
					for i, g := range p.Grad {
						p.Data[i] = float32(float64(old[i]) + h*float64(g)/length)
					}
					defer copy(p.Data, old)
					sum, _ := loss()
					return sum
				}
				d := func(h float64) float64 { return (at(h) - at(-h)) / (2 * h) }
				if slope := (4*d(0.01) - d(0.02)) / 3; math.Abs(slope-length) > 0.01*length+0.02 {
					t.Errorf("the slope along the gradient of %s is %g, its length %g", p.Name, slope, length)
				}
			}
		})
	}
}

func TestDropoutOutOfRange(t *testing.T) {
	m := stirred(t, deep[0])
	for _, p := range []float32{-0.1, 1, float32(math.NaN())} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("dropout of %g", p)
				}
			}()
			m.SetDropout(p, 1)
		}()
	}
}
