package ppo

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// resumable is what all trainers of this package have.
type resumable interface {
	Step(context.Context) (map[string]float64, error)
	Done() bool
	Progress() (step, total int)
	Save(string) error
	Load(string) error
	Policy() *model.Transformer
}

func testGroups() GroupConfig {
	c := defaultGroups()
	c.Iterations, c.Prompts, c.Samples, c.Minibatch, c.Epochs, c.Chunk, c.MaxTokens = 3, 6, 4, 10, 2, 9, 6
	c.LR, c.Seed = 3e-3, 7
	return c
}

// everyOption turns on what a state must survive.
func everyOption(c GroupConfig) GroupConfig {
	c.EMA, c.Warmup, c.Schedule, c.Micro, c.Temperature = 0.9, 2, "cosine", 40, 0.7
	c.Adam, c.Beta2 = AdamTensorFlow, 0.999
	c.Score = ScoreConfig{Scale: ScaleRunning, Clip: 2}
	c.Truncate = &TruncateConfig{Token: 5, After: 2}
	return c
}

func testPairs(n int) (pairs []Pair) {
	for i := range n {
		prompt := []int32{1, int32(2 + i%7)}
		better := append(slices.Clone(prompt), 5, 5, int32(i%testVocab), 0)
		worse := append(slices.Clone(prompt), 3, int32((i*5)%testVocab), 0)
		pairs = append(pairs, Pair{model.Sequence{IDs: better, Start: 2}, model.Sequence{IDs: worse, Start: 2}})
	}
	return pairs
}

// objectives makes a trainer of every kind but PPO, plain and with every option.
func objectives(t testing.TB) map[string]func() resumable {
	policy := testModel(t, 1)
	made := func(x resumable, err error) resumable {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	all := map[string]func() resumable{}
	for name, g := range map[string]GroupConfig{"": testGroups(), " with every option": everyOption(testGroups())} {
		all["grpo"+name] = func() resumable {
			c := DefaultGRPO()
			c.GroupConfig = g
			return made(NewGRPO(c, policy, policy, fives{1}, testPrompts, testEOS))
		}
		all["rloo"+name] = func() resumable {
			c := DefaultRLOO()
			c.GroupConfig = g
			return made(NewRLOO(c, policy, policy, fives{1}, testPrompts, testEOS))
		}
		all["rejection"+name] = func() resumable {
			c := RejectionConfig{GroupConfig: g, Keep: 2}
			return made(NewRejection(c, policy, policy, fives{1}, testPrompts, testEOS))
		}
	}
	c := DefaultDPO()
	c.Epochs, c.Batch, c.LR, c.Seed = 3, 8, 3e-3, 7
	pairs := testPairs(30)
	all["dpo"] = func() resumable { return made(NewDPO(c, policy, policy, pairs[:21], pairs[21:])) }
	o := c
	o.EMA, o.Warmup, o.Schedule, o.Micro, o.Smoothing, o.Adam = 0.9, 3, "cosine", 20, 0.1, AdamTensorFlow
	all["dpo with every option"] = func() resumable { return made(NewDPO(o, policy, policy, pairs[:21], pairs[21:])) }
	return all
}

func walk(t testing.TB, tr resumable) (all []map[string]float64) {
	t.Helper()
	for !tr.Done() {
		m, err := tr.Step(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// TestObjectivesResume saves after every unit of work, loads into a fresh trainer and goes on, to the bit.
func TestObjectivesResume(t *testing.T) {
	for name, fresh := range objectives(t) {
		t.Run(name, func(t *testing.T) {
			whole := fresh()
			want := walk(t, whole)
			if _, total := whole.Progress(); len(want) != total {
				t.Fatalf("%d units, Progress says %d", len(want), total)
			}
			broken, dir := fresh(), t.TempDir()
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
				broken = fresh()
				if err := broken.Load(dir); err != nil {
					t.Fatalf("after unit %d: %v", i, err)
				}
			}
			if broken.Policy().Digest() != whole.Policy().Digest() || !broken.Done() {
				t.Error("the resumed run ends with other weights")
			}
			if whole.Policy().Digest() == testModel(t, 1).Digest() {
				t.Error("nothing was learned")
			}
		})
	}
}

func TestObjectivesThreads(t *testing.T) {
	before := kernel.Threads()
	defer kernel.SetThreads(before)
	for name, fresh := range objectives(t) {
		var digests []string
		for _, n := range []int{1, 3} {
			kernel.SetThreads(n)
			tr := fresh()
			walk(t, tr)
			digests = append(digests, tr.Policy().Digest())
		}
		if digests[0] != digests[1] {
			t.Errorf("%s: the weights depend on the number of threads", name)
		}
	}
}

// TestObjectivesRefuseAnother: a state of one run is not taken up by another.
func TestObjectivesRefuseAnother(t *testing.T) {
	all := objectives(t)
	for name, fresh := range all {
		tr, dir := fresh(), t.TempDir()
		if _, err := tr.Step(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := tr.Save(dir); err != nil {
			t.Fatal(err)
		}
		for other, make := range all {
			if err := make().Load(dir); (err == nil) != (other == name) || err != nil && !errors.Is(err, ErrForeignState) {
				t.Errorf("a state of %s taken up by %s: %v", name, other, err)
			}
		}
	}
	pairs := testPairs(30)
	dir := t.TempDir()
	of := func(n int) *DPO {
		tr, err := NewDPO(DefaultDPO().small(), testModel(t, 1), testModel(t, 1), pairs[:n], pairs[n:])
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	if err := of(20).Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := of(21).Load(dir); !errors.Is(err, ErrForeignState) || !strings.Contains(err.Error(), "set of pairs") {
		t.Errorf("another split: %v", err)
	}
}

func (c DPOConfig) small() DPOConfig { c.Batch = 8; return c }

// TestObjectivesLearn wants each of them to find out what is rewarded, or preferred.
func TestObjectivesLearn(t *testing.T) {
	g := testGroups()
	g.Iterations, g.Prompts, g.Samples, g.Minibatch, g.Epochs, g.Chunk, g.LR = 40, 16, 4, 32, 1, 64, 5e-3
	policy := testModel(t, 1)
	grpo, rloo, rej := DefaultGRPO(), DefaultRLOO(), DefaultRejection()
	grpo.GroupConfig, rloo.GroupConfig, rej.GroupConfig = g, g, g
	rej.Minibatch = 8
	dr := grpo
	dr.Std, dr.Reduce = false, ReduceConstant
	for name, tr := range map[string]func() (resumable, error){
		"grpo":      func() (resumable, error) { return NewGRPO(grpo, policy, policy, fives{1}, testPrompts, testEOS) },
		"dr. grpo":  func() (resumable, error) { return NewGRPO(dr, policy, policy, fives{1}, testPrompts, testEOS) },
		"rloo":      func() (resumable, error) { return NewRLOO(rloo, policy, policy, fives{1}, testPrompts, testEOS) },
		"rejection": func() (resumable, error) { return NewRejection(rej, policy, policy, fives{1}, testPrompts, testEOS) },
	} {
		x, err := tr()
		if err != nil {
			t.Fatal(err)
		}
		var scores, kls []float64
		for _, m := range walk(t, x) {
			if s, ok := m["score"]; ok {
				scores, kls = append(scores, s), append(kls, m["kl"])
			}
		}
		n := len(scores)
		if scores[n-1] < scores[0]+1.2 || math.Abs(kls[0]) > 1e-5 || kls[n-1] < 0.3 {
			t.Errorf("%s: score from %.2f to %.2f, KL from %g to %.2f", name, scores[0], scores[n-1], kls[0], kls[n-1])
		}
	}
	c := DefaultDPO()
	c.Epochs, c.Batch, c.LR = 6, 8, 1e-2
	pairs := testPairs(60)
	d, err := NewDPO(c, policy, policy, pairs[:45], pairs[45:])
	if err != nil {
		t.Fatal(err)
	}
	all := walk(t, d)
	if last := all[len(all)-1]; last["heldout_accuracy"] < 0.9 || last["heldout_loss"] > 0.5 {
		t.Errorf("dpo: %v", last)
	}
}

// TestObjectivesStartAtOne: before the first update ratio and KL are those of one and the same policy, at any temperature.
func TestObjectivesStartAtOne(t *testing.T) {
	for name, fresh := range objectives(t) {
		for _, m := range walk(t, fresh()) {
			if kl, ok := m["kl"]; ok {
				if kl != 0 {
					t.Errorf("%s: KL of the policy to itself is %g", name, kl)
				}
			}
			if r, ok := m["ratio_max"]; ok {
				if r != 1 || m["clipfrac"] != 0 || m["approxkl"] != 0 {
					t.Errorf("%s: first minibatch %v", name, m)
				}
				break
			}
			if loss, ok := m["loss"]; ok { // DPO at its reference
				if math.Abs(loss-math.Ln2) > 1e-12 || m["accuracy"] != 0.5 || m["margin"] != 0 {
					t.Errorf("%s: first step %v", name, m)
				}
				break
			}
		}
	}
}
