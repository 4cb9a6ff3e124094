package model_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// TestReferenceLoRA walks the cases that testdata/lora/generate.py made.
func TestReferenceLoRA(t *testing.T) {
	all, err := filepath.Glob(filepath.Join("testdata", "lora", "*", "reference.json"))
	if err != nil || len(all) < 5 {
		t.Fatalf("%d cases: %v", len(all), err)
	}
	for _, file := range all {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			var want struct {
				LoRA       model.LoRA
				AdamW      struct{ LR float64 }
				StepLosses []float64 `json:"step_losses"`
				StepNorms  []float64 `json:"step_grad_norms_before_clip"`
			}
			readJSON(t, file, &want)
			m := loadModel(t, dir)
			if err := m.AddLoRA(want.LoRA, 1); err != nil {
				t.Fatal(err)
			}
			factors, ref := readTensors(t, filepath.Join(dir, "adapter.safetensors")), readTensors(t, filepath.Join(dir, "reference.safetensors"))
			for _, p := range m.Trainable() {
				x, ok := factors[p.Name]
				if !ok || !slices.Equal(x.Shape, p.Shape) {
					t.Fatalf("%s: %v in the reference, %v in the model", p.Name, x.Shape, p.Shape)
				}
				copy(p.Data, x.F32)
				delete(factors, p.Name)
			}
			if len(factors) > 0 {
				t.Fatalf("%d factors of the reference are not in the model", len(factors))
			}
			sequences := func(step int) (seqs []model.Sequence) {
				ids := ref[fmt.Sprintf("ids.%d", step)]
				for row := range slices.Chunk(ids.I64, ids.Shape[1]) {
					s := model.Sequence{Start: 1}
					for _, id := range row {
						s.IDs = append(s.IDs, int32(id))
					}
					seqs = append(seqs, s)
				}
				return seqs
			}
			logitsOf := func(m *model.Transformer) (flat []float32) {
				for _, s := range sequences(0) {
					for _, row := range m.Logits(s.IDs[:len(s.IDs)-1]) {
						flat = append(flat, row...)
					}
				}
				return flat
			}
			maxDiff(t, "logits", logitsOf(m), ref["logits"].F64, tolLogits)
			merged := m.Clone()
			merged.MergeLoRA()
			maxDiff(t, "logits of the merged model", logitsOf(merged), ref["logits"].F64, tolLogits)
			for name, x := range ref {
				if module, ok := strings.CutPrefix(name, "merged."); ok {
					maxDiff(t, name, merged.Param(module+".weight").Data, x.F64, 1e-6)
				}
			}
			opt := model.NewAdamW()
			for step := range 3 {
				pass := m.Forward(sequences(step), model.WantLogprobs)
				loss, grad := nextTokenLoss(pass.Logprobs)
				maxDiff(t, fmt.Sprintf("loss of step %d", step), []float32{float32(loss)}, want.StepLosses[step:step+1], 3*tolLoss)
				pass.Backward(model.Grads{Logprobs: grad})
				if step == 0 {
					for _, p := range m.Params() {
						if p.Frozen {
							if p.Grad != nil {
								t.Errorf("%s is frozen and has a gradient", p.Name)
							}
							continue
						}
						maxDiff(t, "grad."+p.Name, p.Grad, ref["grad."+p.Name].F64, tolGrad)
					}
				}
				norm, err := opt.Step(m, float32(want.AdamW.LR))
				if err != nil {
					t.Fatal(err)
				}
				maxDiff(t, fmt.Sprintf("norm of step %d", step), []float32{float32(norm)}, want.StepNorms[step:step+1], 1e-4)
			}
			for _, p := range m.Trainable() {
				maxDiff(t, "after3."+p.Name, p.Data, ref["after3."+p.Name].F64, tolAfter)
			}
			if _, moments, _ := opt.State(); len(moments) != len(m.Trainable()) {
				t.Errorf("moments of %d tensors, %d are trained", len(moments), len(m.Trainable()))
			}
		})
	}
}

// adapted is a lively model whose adapters, on every linear layer, are away from zero.
func adapted(t testing.TB, cfg model.Config, seed uint64) *model.Transformer {
	t.Helper()
	m := lively(t, cfg, seed)
	targets := []string{"c_attn", "c_proj", "c_fc"}
	if cfg.Family == "llama" {
		targets = []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
	}
	if err := m.AddLoRA(model.LoRA{Rank: 3, Alpha: 5, Targets: targets}, seed); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 6))
	for _, p := range m.Trainable() {
		for i := range p.Data {
			p.Data[i] += float32(rng.NormFloat64() * 0.1)
		}
	}
	return m
}

// Decoding with adapters gives the bits of the whole sequence, also after a clone.
func TestExtendWithAdapters(t *testing.T) {
	for i, cfg := range shapes {
		m := adapted(t, cfg, uint64(i))
		c := m.Clone()
		if m.Digest() != c.Digest() {
			t.Errorf("%s: a clone has another digest", cfg.Family)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for range 5 {
			ids := ragged(rng, cfg, 1)[0].IDs
			ids = ids[:min(len(ids), cfg.Context)]
			whole, cache := m.Logits(ids), c.NewCache()
			for cache.Len() < len(ids) {
				n := min(1+rng.IntN(3), len(ids)-cache.Len())
				got := c.Extend([]*model.Cache{cache}, [][]int32{ids[cache.Len() : cache.Len()+n]})[0]
				sameBits(t, fmt.Sprintf("%s after %d tokens", cfg.Family, cache.Len()), got, whole[cache.Len()-1])
			}
		}
	}
}

// The gradients of adapters do not depend on the number of threads.
func TestAdaptersAndThreads(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	for i, cfg := range shapes {
		var want *model.Transformer
		for _, threads := range []int{1, 2, 3, 7} {
			kernel.SetThreads(threads)
			m := adapted(t, cfg, uint64(i))
			gradients(m, rand.New(rand.NewPCG(2, 2)), everything)
			if want == nil {
				want = m
			}
			for j, p := range m.Trainable() {
				sameBits(t, fmt.Sprintf("%s, %d threads: gradient of %s", cfg.Family, threads, p.Name), p.Grad, want.Trainable()[j].Grad)
			}
		}
	}
}

// Fresh adapters leave the model as it is; they train alone, beside a scalar head that
// stands last; merging takes them away.
func TestAdaptersBeginAndEnd(t *testing.T) {
	for i, cfg := range shapes {
		m := lively(t, cfg, uint64(i))
		before, plain := m.Clone(), len(m.Params())
		if err := m.AddLoRA(model.LoRA{Rank: 2, Alpha: 4}, 7); err != nil {
			t.Fatal(err)
		}
		want := []string{"c_attn"}
		if cfg.Family == "llama" {
			want = []string{"q_proj", "k_proj", "v_proj"}
		}
		l, ok := m.LoRA()
		if !ok || !slices.Equal(l.Targets, want) {
			t.Errorf("%s: targets %v, want %v", cfg.Family, l.Targets, want)
		}
		other := before.Clone()
		if err := other.AddLoRA(model.LoRA{Rank: 2, Alpha: 5}, 7); err != nil {
			t.Fatal(err)
		}
		if m.Digest() == before.Digest() || m.Digest() == other.Digest() {
			t.Error("adapters, or their alpha, do not show in the digest")
		}
		params := m.Params()
		if got, factors := len(params)-plain, 2*cfg.Layers*len(want); got != factors || params[len(params)-2].Name != "value.weight" {
			t.Errorf("%s: %d factors, want %d, then %s", cfg.Family, got, factors, params[len(params)-2].Name)
		}
		if n := len(m.Trainable()); n != len(params)-plain+2 {
			t.Errorf("%s: %d tensors are trained", cfg.Family, n)
		}
		rng := rand.New(rand.NewPCG(3, 3))
		ids := ragged(rng, cfg, 1)[0].IDs
		ids = ids[:min(len(ids), cfg.Context)]
		for pos, row := range m.Logits(ids) {
			sameBits(t, "logits of fresh adapters", row, before.Logits(ids)[pos])
		}
		gradients(m, rng, everything)
		if _, err := model.NewAdamW().Step(m, 0.01); err != nil {
			t.Fatal(err)
		}
		for _, p := range before.Params() {
			if q := m.Param(p.Name); q.Frozen {
				sameBits(t, p.Name+" after a step of the adapters", q.Data, p.Data)
			} else if slices.Equal(q.Data, p.Data) {
				t.Errorf("%s did not move", p.Name)
			}
		}
		m.MergeLoRA()
		if _, ok := m.LoRA(); ok || len(m.Params()) != plain || len(m.Trainable()) != plain {
			t.Errorf("%s: %d tensors after merging, %d trained, %d before", cfg.Family, len(m.Params()), len(m.Trainable()), plain)
		}
		if err := m.AddLoRA(l, 1); err != nil {
			t.Errorf("a second set after merging: %v", err)
		}
	}
}

func TestLoRAIsChecked(t *testing.T) {
	m := lively(t, shapes[0], 1)
	for field, l := range map[string]model.LoRA{
		"Rank": {Rank: 0, Alpha: 1}, "Alpha": {Rank: 1}, "Targets": {Rank: 1, Alpha: 1, Targets: []string{"q_proj"}},
	} {
		var bad *model.InvalidError
		if err := m.AddLoRA(l, 1); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if len(m.Trainable()) != len(m.Params()) {
		t.Error("a refused set froze the model")
	}
	if err := m.AddLoRA(model.LoRA{Rank: 1, Alpha: 1}, 1); err != nil {
		t.Fatal(err)
	}
	if err := m.AddLoRA(model.LoRA{Rank: 1, Alpha: 1}, 1); err == nil {
		t.Error("two sets of adapters")
	}
}
