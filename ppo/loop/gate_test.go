package loop

import (
	"errors"
	"strings"
	"testing"
)

func TestDecide(t *testing.T) {
	good := Report{WinServing: Estimate{Value: 0.6, Low: 0.55, High: 0.65}, KL: Estimate{Value: 5}, EOSRate: 0.99}
	with := func(f func(*Report)) Report { r := good; f(&r); return r }
	for _, c := range []struct {
		name   string
		report Report
		want   bool
		reason string
	}{
		{"better", good, true, "wins 60.0%"},
		{"interval touches one half", with(func(r *Report) { r.WinServing.Low = 0.5 }), false, "not above one half"},
		{"too far from SFT", with(func(r *Report) { r.KL.Value = 31 }), false, "above the limit of 30.0"},
		{"reward model at chance", with(func(r *Report) { r.RewardAccuracy = Estimate{Value: 0.52, Low: 0.48, High: 0.56, N: 600} }), false, "below the limit of 60.0%"},
		{"reward model not known to be below", with(func(r *Report) { r.RewardAccuracy = Estimate{Value: 0.58, Low: 0.51, High: 0.65, N: 200} }), true, "wins"},
		{"does not stop", with(func(r *Report) { r.EOSRate = 0.89 }), false, "end by themselves"},
	} {
		got, reason := decide(Config{MaxKL: 30, RewardAccuracyBelow: 0.6}, c.report)
		if got != c.want || !strings.Contains(reason, c.reason) {
			t.Errorf("%s: %v, %q", c.name, got, reason)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Config){
		"k":                     func(c *Config) { c.K = 3 },
		"prompts":               func(c *Config) { c.Prompts = 0 },
		"overlap":               func(c *Config) { c.Overlap = 0 },
		"overlap_share":         func(c *Config) { c.OverlapShare = 1.1 },
		"eval_prompts":          func(c *Config) { c.EvalSamples = 0 },
		"max_tokens":            func(c *Config) { c.MaxTokens = 0 },
		"max_kl":                func(c *Config) { c.MaxKL = 0 },
		"reward_accuracy_below": func(c *Config) { c.RewardAccuracyBelow = 1 },
		"relabel.below":         func(c *Config) { c.Relabel.Below = 1 },
		"relabel.probe":         func(c *Config) { c.Relabel.Below, c.Relabel.Probe = 0.6, 0 },
		"relabel.prompts":       func(c *Config) { c.Relabel.Below, c.Relabel.Prompts = 0.6, maxOrder+1 },
		"promotion":             func(c *Config) { c.Promotion = "always" },
		"reward":                func(c *Config) { c.Reward.Batch = 0 },
		"ppo":                   func(c *Config) { c.PPO.Rollouts = 0 },
	} {
		c := DefaultConfig()
		spoil(&c)
		var invalid *InvalidError
		if err := c.Validate(); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestDecideWithoutGate: where no accuracy is asked for, a reward model at chance stops nothing.
func TestDecideWithoutGate(t *testing.T) {
	r := Report{WinServing: Estimate{Value: 0.6, Low: 0.55}, EOSRate: 1, RewardAccuracy: Estimate{Value: 0.5, High: 0.52, N: 900}}
	if ok, reason := decide(Config{MaxKL: 30}, r); !ok {
		t.Error(reason)
	}
}

// TestShared: any prefix of a round holds the share of tasks for several labelers that was asked for, to one task.
func TestShared(t *testing.T) {
	for _, share := range []float64{0, 0.15, 0.5, 1} {
		c, n := Config{OverlapShare: share}, 0
		for i := range 1000 {
			if c.shared(i) {
				n++
			}
			if want := float64(i+1) * share; float64(n) < want-1 || float64(n) > want+1e-9 {
				t.Fatalf("share %g: %d of the first %d", share, n, i+1)
			}
		}
	}
}

// TestPairVariance: answers that the reward model cannot tell apart are worth most.
func TestPairVariance(t *testing.T) {
	alike, apart, mixed := pairVariance([]float64{1, 1, 1}), pairVariance([]float64{-20, 0, 20}), pairVariance([]float64{1, 1, 20})
	if alike != 0.25 || apart > 1e-6 || mixed <= apart || mixed >= alike {
		t.Errorf("alike %g, apart %g, mixed %g", alike, apart, mixed)
	}
}
