package ppo

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// configs are the ways of running that a state must survive.
func configs() map[string]Config {
	plain := testConfig()
	all := plain
	all.KL.Target, all.KL.Horizon = 0.02, 100 // near what is measured, so that each KL counts
	all.EMA, all.Warmup, all.Schedule, all.Entropy = 0.9, 2, "cosine", 0.01
	all.WhitenRewards, all.Micro = true, 40
	all.Ptx = PtxConfig{Coef: 0.5, Batch: 3}
	ziegler := plain
	ziegler.WhitenRewards, ziegler.WhitenPerMinibatch = true, true
	return map[string]Config{"plain": plain, "everything": all, "ziegler": ziegler}
}

// TestResume saves after every unit of work, loads into a fresh trainer and goes on: weights, metrics and samples must be
// those of the undisturbed run, to the bit.
func TestResume(t *testing.T) {
	for name, cfg := range configs() {
		t.Run(name, func(t *testing.T) {
			whole := testTrainer(t, cfg)
			want := run(t, whole)
			_, total := whole.Progress()
			if len(want) != total {
				t.Fatalf("%d units, Progress says %d", len(want), total)
			}
			broken := testTrainer(t, cfg)
			dir := t.TempDir()
			for i := range want {
				got, err := broken.Step(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want[i]) {
					t.Fatalf("metrics of unit %d: %v, want %v", i, got, want[i])
				}
				if err := broken.Save(dir); err != nil {
					t.Fatal(err)
				}
				broken = testTrainer(t, cfg)
				if err := broken.Load(dir); err != nil {
					t.Fatalf("after unit %d: %v", i, err)
				}
			}
			if broken.Policy().Digest() != whole.Policy().Digest() || broken.Value().Digest() != whole.Value().Digest() {
				t.Error("the resumed run ends with other weights")
			}
			if !reflect.DeepEqual(broken.Samples(), whole.Samples()) {
				t.Error("the resumed run kept other samples")
			}
			if !broken.Done() {
				t.Error("the resumed run is not done")
			}
		})
	}
}

// TestThreads wants the same weights whatever the number of threads.
func TestThreads(t *testing.T) {
	before := kernel.Threads()
	defer kernel.SetThreads(before)
	var digests []string
	for _, n := range []int{1, 2, 3} {
		kernel.SetThreads(n)
		tr := testTrainer(t, configs()["everything"])
		run(t, tr)
		digests = append(digests, tr.Policy().Digest()+tr.Value().Digest())
	}
	if digests[0] != digests[1] || digests[0] != digests[2] {
		t.Error("the weights depend on the number of threads")
	}
}

func TestResumeRefusesAnother(t *testing.T) {
	dir := t.TempDir()
	tr := testTrainer(t, testConfig())
	for range 4 {
		if _, err := tr.Step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Save(dir); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(x *inputs){
		"configuration":    func(x *inputs) { x.cfg.LR = 2e-3 },
		"reference policy": func(x *inputs) { x.reference = testModel(t, 9) },
		"reward model":     func(x *inputs) { x.scorer = fives{-1} },
		"prompt set":       func(x *inputs) { x.prompts = testPrompts[1:] },
		"pretraining text": func(x *inputs) { x.texts = testTexts()[1:] },
		"end token":        func(x *inputs) { x.eos = 1 },
		"model shapes":     func(x *inputs) { x.value.AddHeadBias() },
	} {
		x := inputs{testConfig(), testModel(t, 1), testModel(t, 1), testModel(t, 2), fives{1}, testPrompts, testTexts(), testEOS}
		x.value.AddHead(model.HeadValue, 3)
		change(&x)
		other, err := NewTrainer(x.cfg, x.policy, x.reference, x.value, x.scorer, x.prompts, x.eos, x.texts)
		if err != nil {
			t.Fatal(err)
		}
		before := other.Policy().Digest()
		if err := other.Load(dir); !errors.Is(err, ErrForeignState) || !strings.Contains(err.Error(), what) {
			t.Errorf("another %s: %v", what, err)
		}
		if step, _ := other.Progress(); step != 0 || other.Policy().Digest() != before {
			t.Errorf("another %s: the refused state left something behind", what)
		}
	}
	x := testTrainer(t, testConfig())
	x.ids.Kernel = "another"
	if err := x.Load(dir); !errors.Is(err, ErrForeignState) {
		t.Errorf("another class of kernels: %v", err)
	}
	x.AnyKernel = true
	if err := x.Load(dir); err != nil {
		t.Errorf("another class of kernels, allowed: %v", err)
	}
}

// inputs are what a trainer is made of.
type inputs struct {
	cfg                      Config
	policy, reference, value *model.Transformer
	scorer                   Scorer
	prompts                  Prompts
	texts                    TextList
	eos                      int32
}
