package ppo

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// TestFirstRatio is acceptance test A2 in small: before the first update sampler and trainer agree.
func TestFirstRatio(t *testing.T) {
	cfg := testConfig()
	for _, m := range run(t, testTrainer(t, cfg))[:cfg.chunks()+1] {
		if r, ok := m["ratio_max"]; ok {
			if math.Abs(r-1) > 1e-4 || m["clipfrac"] != 0 || m["approxkl"] > 1e-8 || math.Abs(m["policy_loss"]) > 1 {
				t.Errorf("first minibatch: %v", m)
			}
		}
		if kl, ok := m["kl"]; ok && math.Abs(kl) > 1e-5 {
			t.Errorf("KL to the reference at the start is %g", kl)
		}
	}
}

// TestFaultsAreSeen plants each known bug and wants a health check to stop the run.
func TestFaultsAreSeen(t *testing.T) {
	for fault, check := range map[Fault]string{FaultKLSign: "kl", FaultPenalty: "rewards", FaultOldLogprobs: "reference", FaultReference: "reference", FaultScoreSign: "score"} {
		cfg := testConfig()
		cfg.Iterations, cfg.LR = 60, 1e-2
		tr := testTrainer(t, cfg)
		var better, worse []model.Sequence
		for i := range 30 {
			better = append(better, model.Sequence{IDs: []int32{1, 5, 5, int32(i % testVocab), 0}, Start: 1})
			worse = append(worse, model.Sequence{IDs: []int32{1, 2, 3, int32(i % 5), 0}, Start: 1})
		}
		tr.SetCanary(better, worse)
		tr.Inject(fault)
		var err error
		for err == nil && !tr.Done() {
			_, err = tr.Step(context.Background())
		}
		var h *HealthError
		if !errors.As(err, &h) {
			t.Errorf("%s went unseen: %v", fault, err)
		} else if h.Check != check {
			t.Errorf("%s was seen by %q, expected %q", fault, h.Check, check)
		}
	}
}

// TestFaultsSeenApartFromReference leaves the KL of 0 no chance: the policy does not start as its reference.
func TestFaultsSeenApartFromReference(t *testing.T) {
	for fault, check := range map[Fault]string{FaultOldLogprobs: "sampler", FaultReference: "reference"} {
		policy, value := testModel(t, 1), testModel(t, 2)
		value.AddHead(model.HeadValue, 3)
		cfg := testConfig()
		cfg.KL.Min = -100
		tr, err := NewTrainer(cfg, policy, testModel(t, 5), value, fives{1}, PromptList{{1, 2}}, testEOS, nil)
		if err != nil {
			t.Fatal(err)
		}
		tr.Inject(fault)
		for err == nil && !tr.Done() {
			_, err = tr.Step(context.Background())
		}
		var h *HealthError
		if !errors.As(err, &h) || h.Check != check {
			t.Errorf("%s: %v", fault, err)
		}
	}
}

// broken is a scorer that is not sound from its n-th call on.
type broken struct {
	fives
	value float64
}

func (b broken) Score(_ context.Context, seqs []model.Sequence) ([]float64, error) {
	out := make([]float64, len(seqs))
	out[len(out)-1] = b.value
	return out, nil
}

func TestNotFinite(t *testing.T) {
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		tr := testTrainer(t, testConfig())
		tr.scorer = broken{value: x}
		before := tr.Policy().Digest()
		var err error
		for err == nil && !tr.Done() {
			_, err = tr.Step(context.Background())
		}
		if !errors.Is(err, ErrNotFinite) || tr.Policy().Digest() != before {
			t.Errorf("score %g: %v", x, err)
		}
	}
	for _, who := range []string{"policy", "critic"} {
		tr := testTrainer(t, testConfig())
		collect(t, tr)
		for i := range tr.batch.episodes {
			if who == "policy" {
				tr.batch.advantages[i][0] = math.NaN()
			} else {
				tr.batch.returns[i][0] = math.Inf(1)
			}
		}
		policy, value := tr.Policy().Digest(), tr.Value().Digest()
		if _, err := tr.Step(context.Background()); !errors.Is(err, ErrNotFinite) {
			t.Errorf("%s: %v", who, err)
		}
		if tr.Policy().Digest() != policy || tr.Value().Digest() != value {
			t.Errorf("%s: the weights moved", who)
		}
	}
}

func TestStopsOnKL(t *testing.T) {
	cfg := testConfig()
	cfg.LR, cfg.KL.Max, cfg.KL.Coef, cfg.Iterations = 3e-2, 0.2, 0, 40
	tr := testTrainer(t, cfg)
	var err error
	for err == nil && !tr.Done() {
		_, err = tr.Step(context.Background())
	}
	var h *HealthError
	if !errors.As(err, &h) || h.Check != "kl" || h.Value <= 0.2 {
		t.Errorf("no stop above the limit: %v", err)
	}
	tr = testTrainer(t, testConfig())
	tr.same = false
	tr.batch.episodes = []episode{{seq: model.Sequence{IDs: []int32{1, 2, 3}, Start: 1}, ended: true,
		logp: []float64{-3, -3}, ref: []float64{-2, -2}, value: []float64{0, 0}}}
	if _, err := tr.finish(); !errors.As(err, &h) || h.Check != "kl" {
		t.Errorf("a KL of -2 did not stop the run: %v", err)
	}
}
