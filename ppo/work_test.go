package ppo

import (
	"context"
	"math"
	"reflect"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

func sharedConfig() Config {
	c := testConfig()
	c.Critic = CriticShared
	return c
}

// TestNothingIsComputedTwice: log-probabilities and values that come with the samples are those of a pass to the bit, so that a
// run that computes them again is the same run.
func TestNothingIsComputedTwice(t *testing.T) {
	for _, cfg := range []Config{testConfig(), sharedConfig()} {
		plain, twice := testTrainer(t, cfg), testTrainer(t, cfg)
		twice.SetExtra(ExtraOld)
		if a, b := run(t, plain), run(t, twice); !reflect.DeepEqual(a, b) {
			t.Errorf("critic %q: metrics %v, computed twice %v", cfg.Critic, a, b)
		}
		if plain.Policy().Digest() != twice.Policy().Digest() || plain.Value().Digest() != twice.Value().Digest() {
			t.Errorf("critic %q: other weights", cfg.Critic)
		}
		if plain.Times().Old != 0 || twice.Times().Old == 0 {
			t.Errorf("critic %q: %v and %v for the second pass", cfg.Critic, plain.Times().Old, twice.Times().Old)
		}
	}
}

// TestSamplesCarryWhatAPassSays compares them after an optimizer step, where the value head no longer says 0.
func TestSamplesCarryWhatAPassSays(t *testing.T) {
	tr := testTrainer(t, sharedConfig())
	for tr.iteration == 0 {
		if _, err := tr.Step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	collect(t, tr)
	pass := tr.policy.Score(tr.seqs(), model.WantLogprobs|model.WantValues)
	moved := false
	for i, e := range tr.batch.episodes {
		if !reflect.DeepEqual(e.logp, widen(pass.Logprobs[i])) || !reflect.DeepEqual(e.value, widen(pass.Values[i])) {
			t.Errorf("episode %d: %v %v, a pass says %v %v", i, e.logp, e.value, pass.Logprobs[i], pass.Values[i])
		}
		moved = moved || e.value[0] != 0
	}
	if !moved {
		t.Error("all values are 0")
	}
}

// TestPositions: the heads at the prompt's positions change rounding only.
func TestPositions(t *testing.T) {
	cfg := sharedConfig()
	cfg.Entropy = 0.01
	grads := func(extra Extra) (*Trainer, gradient) {
		tr := testTrainer(t, cfg)
		tr.SetExtra(extra)
		g, err := collect(t, tr).gradients(0)
		if err != nil {
			t.Fatal(err)
		}
		return tr, g
	}
	a, ga := grads(0)
	b, gb := grads(ExtraPositions)
	if !reflect.DeepEqual(a.batch, b.batch) || !reflect.DeepEqual(ga, gb) {
		t.Errorf("other rollouts or losses: %v and %v", ga, gb)
	}
	for i, p := range a.policy.Params() {
		for j, x := range p.Grad {
			if d := math.Abs(float64(x - b.policy.Params()[i].Grad[j])); !(d <= 1e-6) {
				t.Fatalf("gradient of %s differs by %g", p.Name, d)
			}
		}
	}
}

// TestSharedCritic: the gradient of the head is that of the critic's loss, it reaches the trunk with its weight, and the policy
// that comes out has no head.
func TestSharedCritic(t *testing.T) {
	grad := func(coef float64) map[string][]float32 {
		cfg := sharedConfig()
		cfg.ValueCoef = coef
		tr := collect(t, testTrainer(t, cfg))
		w := tr.policy.Param("value.weight").Data
		for i := range w {
			w[i] = 0.1 * float32(i%3)
		}
		if _, err := tr.gradients(0); err != nil {
			t.Fatal(err)
		}
		out := map[string][]float32{}
		for _, p := range tr.policy.Params() {
			out[p.Name] = p.Grad
		}
		return out
	}
	none, one, two := grad(0), grad(1), grad(2)
	for name, g := range one {
		reached := false
		for i, x := range g {
			rise, twice := float64(x-none[name][i]), float64(two[name][i]-none[name][i])
			reached = reached || rise != 0
			if math.Abs(twice-2*rise) > 1e-5*(1+math.Abs(rise)) {
				t.Fatalf("%s: the critic adds %g with weight 1, %g with 2", name, rise, twice)
			}
		}
		if !reached {
			t.Errorf("%s: the critic's loss does not reach it", name)
		}
	}
	tr := testTrainer(t, sharedConfig())
	run(t, tr)
	if tr.Policy().ScalarHead() != model.HeadLM || tr.Value().ScalarHead() != model.HeadValue {
		t.Error("the policy keeps the head, or the critic has lost it")
	}
	if w := tr.Value().Param("value.weight").Data; kernel.SumSquares(w) == 0 {
		t.Error("the head has learned nothing")
	}
}

func TestSharedCriticResumes(t *testing.T) {
	whole := testTrainer(t, sharedConfig())
	run(t, whole)
	for _, stop := range []int{1, 4, 9} {
		dir, tr := t.TempDir(), testTrainer(t, sharedConfig())
		for range stop {
			if _, err := tr.Step(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.Save(dir); err != nil {
			t.Fatal(err)
		}
		again := testTrainer(t, sharedConfig())
		if err := again.Load(dir); err != nil {
			t.Fatal(err)
		}
		run(t, again)
		if again.Value().Digest() != whole.Value().Digest() {
			t.Errorf("stopped after %d units: other weights", stop)
		}
	}
}

// In mixed precision too the sampler tells the bits of training: the checks of a run's start hold, the first minibatch sees no
// ratio but 1, and the policy learns. What it gives away is in float32.
func TestMixed(t *testing.T) {
	for _, cfg := range []Config{testConfig(), sharedConfig()} {
		cfg.Precision = model.PrecisionMixed
		tr := collect(t, testTrainer(t, cfg))
		seqs := tr.seqs()
		for i, row := range tr.policy.Score(seqs, model.WantLogprobs).Logprobs {
			for j, v := range row {
				if float64(v) != tr.batch.episodes[i].logp[j] || float64(v) != tr.batch.episodes[i].ref[j] {
					t.Fatalf("episode %d, token %d: %g, sampled with %g, reference %g", i, j, v, tr.batch.episodes[i].logp[j], tr.batch.episodes[i].ref[j])
				}
			}
		}
		same := true
		for i, row := range tr.Policy().Score(seqs, model.WantLogprobs).Logprobs {
			for j, v := range row {
				same = same && float64(v) == tr.batch.episodes[i].logp[j]
			}
		}
		if same || tr.Policy().Mixed() || tr.Value().Mixed() {
			t.Error("the policy was not trained in mixed precision, or is given away in it")
		}
		run(t, tr)
		cfg.Precision = ""
		plain := testTrainer(t, cfg)
		if run(t, plain); plain.Policy().Digest() == tr.Policy().Digest() {
			t.Error("the run is that of float32")
		}
	}
	cfg := testConfig()
	cfg.Precision = "half"
	if err := cfg.Validate(); err == nil {
		t.Error("an unknown precision went through")
	}
}
