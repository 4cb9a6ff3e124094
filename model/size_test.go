package model

import (
	"math"
	"testing"

	"github.com/rankloop/rankloop/model/kernel"
)

// NumParams and Memory agree with what is really allocated, for every family.
func TestSizesAreWhatIsAllocated(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	kernel.SetThreads(1) // with more, chance decides how many buffers are in use
	for _, cfg := range deep {
		for _, plan := range []MemoryPlan{
			{Train: true}, {Train: true, Recompute: true}, {Train: true, BF16: true, EMA: true},
			{Train: true, Dropout: true, LoRA: &LoRA{Rank: 3, Alpha: 6}}, {Train: true, BF16: true, Recompute: true, LoRA: &LoRA{Rank: 2, Alpha: 1}}, {}, {BF16: true},
		} {
			m, err := New(cfg, 1)
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.NumParams(); got != int64(m.NumParams()) {
				t.Errorf("%s: NumParams %d, allocated %d", cfg.Family, got, m.NumParams())
			}
			if plan.BF16 {
				m.ToBF16()
			}
			if plan.LoRA != nil {
				if err := m.AddLoRA(*plan.LoRA, 1); err != nil {
					t.Fatal(err)
				}
			}
			m.SetRecompute(plan.Recompute)
			if plan.Dropout {
				m.SetDropout(0.1, 1)
			}
			const n, long = 30, 37
			var batch []Sequence
			for range n {
				batch = append(batch, Sequence{IDs: make([]int32, long+1), Start: 1})
			}
			plan.Tokens, plan.Longest = n*long, long
			want, got := Memory{}, cfg.Memory(plan)
			for _, p := range m.Params() {
				want.Weights += int64(4*len(p.Data) + 2*len(p.Half))
			}
			if plan.Train {
				opt := NewAdamW()
				var d [][]float32
				for range batch {
					d = append(d, make([]float32, long))
					d[len(d)-1][0] = 1
				}
				pass := m.ForwardLoss(batch, d)
				p := pass.p
				pass.Backward(Grads{})
				want.Activations = int64(4 * (p.arena.used + p.arena.over))
				for _, p := range m.Params() {
					want.Gradients += int64(4 * len(p.Grad))
				}
				if _, err := opt.Step(m, 1e-3); err != nil {
					t.Fatal(err)
				}
				_, m1, m2 := opt.State()
				for i := range m1 {
					want.Moments += int64(4 * (len(m1[i]) + len(m2[i])))
				}
				if plan.EMA {
					want.Weights += want.Gradients
				}
			} else {
				m.Score(batch, WantLogprobs)
				for _, p := range m.spare {
					want.Activations += int64(4 * max(len(p.arena.slab), p.arena.used+p.arena.over))
				}
				c := m.NewCache()
				c.Reserve(long)
				want.Cache = int64(n * 4 * len(c.kv[0]))
			}
			if got.Weights != want.Weights || got.Gradients != want.Gradients || got.Moments != want.Moments {
				t.Errorf("%s %+v: %+v, allocated %+v", cfg.Family, plan, got, want)
			}
			for _, x := range []struct {
				what      string
				got, want int64
				under     float64 // how much more may be allocated
			}{{"activations", got.Activations, want.Activations, 1.01}, {"cache", got.Cache, want.Cache, 1.5}} {
				if float64(x.want) > x.under*float64(x.got) || float64(x.got) > 1.25*float64(x.want) {
					t.Errorf("%s %+v: %s %d, allocated %d", cfg.Family, plan, x.what, x.got, x.want)
				}
			}
		}
	}
}

// The count of operations is that of Kaplan et al., 2·parameters without embeddings,
// plus attention, and a band takes what it takes.
func TestFLOPs(t *testing.T) {
	cfg := Config{Family: "gpt2", Vocab: 50, Context: 64, Layers: 3, Width: 16, Heads: 4, BOS: -1, EOS: -1}
	products := float64(3*12*16*16 + 50*16)
	for _, c := range []struct{ T, seen int }{{1, 1}, {2, 3}, {64, 64 * 65 / 2}} {
		forward, train := cfg.FLOPs(c.T)
		want := 2*products + 3*4*16*float64(c.seen)/float64(c.T)
		if math.Abs(forward-want) > 1e-9*want || train != 3*forward {
			t.Errorf("%d tokens: %g forward, want %g; %g to train", c.T, forward, want, train)
		}
	}
	cfg.Family, cfg.Window = "gpt3", 5
	seen := 0.0 // of layer 1, the banded one
	for i := 1; i <= 64; i++ {
		seen += float64(min(i, 5))
	}
	want := 2*products + 4*16*(2*32.5+seen/64)
	if forward, _ := cfg.FLOPs(64); math.Abs(forward-want) > 1e-9*want {
		t.Errorf("banded: %g, want %g", forward, want)
	}
}

// The largest published shape is counted without being made.
func TestSizesOfGPT3(t *testing.T) {
	cfg := Config{Family: "gpt3", Vocab: 50257, Context: 2048, Layers: 96, Width: 12288, Heads: 96, BOS: -1, EOS: -1}
	if n := cfg.NumParams(); n < 174e9 || n > 176e9 {
		t.Errorf("%d parameters", n)
	}
	if f, _ := cfg.FLOPs(2048); f < 2*174e9 || f > 2*180e9 { // table D.1 counts 2 for each weight
		t.Errorf("%g operations forward", f)
	}
	mem := cfg.Memory(MemoryPlan{Tokens: 2048, Train: true})
	if mem.Total() < 16*174e9 || mem.Moments != 2*mem.Gradients {
		t.Errorf("memory %+v", mem)
	}
	allocs := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			cfg.Memory(MemoryPlan{Tokens: 2048, Train: true, LoRA: &LoRA{Rank: 8, Alpha: 8}})
		}
	})
	if bytes := allocs.AllocedBytesPerOp(); bytes > 4<<20 {
		t.Errorf("counting allocates %d bytes", bytes)
	}
	if (Config{}).NumParams() != 0 || (Config{}).Memory(MemoryPlan{Tokens: 1}) != (Memory{}) {
		t.Error("an impossible shape has a size")
	}
}

// What a training pass holds of GPT-2 124M, the way back included, is no more than llm.c keeps of the way forward alone (f1e2ace,
// train_gpt2.c, act_sizes; as much again holds its gradients), and recomputation at least halves it.
func TestActivationsAreFew(t *testing.T) {
	cfg, ok := Preset("gpt2-124m")
	if !ok {
		t.Fatal("no preset")
	}
	const B, L, C, H, padded = 4, 12, 768, 12, 50304
	for _, T := range []int{64, 256, 1024} {
		encoded, final, numbers := B*T*C, B*T*(C+2), B*T*(2*padded+1) // logits and probabilities of a padded vocabulary, losses
		layer := B*T*(C+2) + B*T*3*C + B*T*C + 2*B*H*T*T + 2*B*T*C +  // norm, qkv, its output, scores before and after softmax, projection, sum
			B*T*(C+2) + 2*B*T*4*C + 2*B*T*C // norm, MLP before and after GELU, projection, sum
		theirs := 4 * int64(encoded+L*layer+final+numbers)
		plan := MemoryPlan{Tokens: B * T, Longest: T, Train: true}
		ours := cfg.Memory(plan).Activations
		plan.Recompute = true
		again := cfg.Memory(plan).Activations
		if ours > theirs {
			t.Errorf("%d tokens: %d bytes, llm.c %d and as much again", T, ours, theirs)
		}
		if again > ours/2 {
			t.Errorf("%d tokens: %d bytes with recomputation, %d without", T, again, ours)
		}
	}
}

// GPT-2 1.5B decodes and is fine-tuned by adapters in 24 GiB.
func TestGPT2XLFits(t *testing.T) {
	cfg := Config{Family: "gpt2", Vocab: 50257, Context: 1024, Layers: 48, Width: 1600, Heads: 25, BOS: -1, EOS: -1}
	if n := cfg.NumParams(); n != 1557611200 { // as in the published checkpoint
		t.Errorf("%d parameters", n)
	}
	const limit = 24 << 30
	for _, plan := range []MemoryPlan{
		{Tokens: 8 * 1024, Longest: 1024, BF16: true},
		{Tokens: 4 * 1024, Longest: 1024, Train: true, BF16: true, Recompute: true, LoRA: &LoRA{Rank: 16, Alpha: 32}},
	} {
		if got := cfg.Memory(plan); got.Total() > limit/2 {
			t.Errorf("%+v takes %+v, %.1f GiB", plan, got, float64(got.Total())/(1<<30))
		}
	}
	if got := cfg.Memory(MemoryPlan{Tokens: 1024, Train: true}); got.Total() < limit {
		t.Errorf("all weights in float32 take only %d bytes", got.Total())
	}
}
