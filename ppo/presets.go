package ppo

import "strings"

// DefaultConfig suits models of 0.1 to 10 million parameters whose reward has a standard deviation near 1 over the
// reference answers. The learning rates of the papers are 100 to 300 times smaller and belong to larger models.
func DefaultConfig() Config {
	return Config{
		Iterations: 24, Rollouts: 192, Minibatch: 64, Epochs: 1, MaxTokens: 48, Chunk: 64,
		LR: 1e-3, ValueLR: 1e-3, Schedule: "constant", AdamEps: 1e-5, ClipNorm: 1,
		Gamma: 1, Lambda: 0.95, Clip: 0.2, ValueClip: 0.2, ValueCoef: 0.1,
		KL:    KLConfig{Coef: 0.1, Horizon: 10000, Min: -0.5, Max: 50},
		EOS:   EOSConfig{Missing: EOSSet, Value: -1},
		Guard: GuardConfig{Ratio: 10},
		Micro: 8192,
	}
}

// presets are published configurations, each a change of DefaultConfig.
var presets = []struct {
	name, source string
	change       func(c *Config)
}{
	{"small", "for models of 0.1 to 10 million parameters", func(*Config) {}},
	// The policy's own learning rate is not printed there: 9e-6 is the critic's.
	{"instructgpt", "Ouyang et al. 2022, C.4", func(c *Config) {
		c.Iterations, c.Rollouts, c.Minibatch, c.Epochs, c.MaxTokens = 500, 512, 64, 1, 1024
		c.LR, c.ValueLR, c.Warmup, c.AdamEps = 9e-6, 9e-6, 10, 1e-8
		c.KL.Coef, c.EMA = 0.02, 0.992
	}},
	{"stiennon", "Stiennon et al. 2020, B.1 and its code", func(c *Config) {
		c.Iterations, c.Rollouts, c.Minibatch, c.Epochs, c.MaxTokens = 1953, 512, 512, 4, 48
		c.LR, c.ValueLR, c.Schedule, c.Beta2 = 1.5e-5, 1.5e-5, "linear", 0.999
		c.KL.Coef = 0.05
	}},
	{"ziegler", "Ziegler et al. 2019, lm-human-preferences, style tasks", func(c *Config) {
		c.Iterations, c.Rollouts, c.Minibatch, c.Epochs, c.MaxTokens = 1953, 512, 512, 4, 24
		c.LR, c.ValueLR, c.Schedule, c.AdamEps, c.Adam, c.Beta2 = 1e-5, 1e-5, "linear", 1e-5, AdamTensorFlow, 0.999
		c.KL = KLConfig{Coef: 0.15, Target: 6, Horizon: 10000, Min: -0.5, Max: 50}
		c.WhitenRewards, c.WhitenPerMinibatch, c.Critic, c.Temperature = true, true, CriticShared, 0.7
	}},
	{"n-plus", "Huang et al. 2024, TL;DR", func(c *Config) {
		c.Iterations, c.Rollouts, c.Minibatch, c.Epochs, c.MaxTokens = 1953, 512, 512, 4, 53
		c.LR, c.ValueLR, c.Schedule, c.AdamEps, c.Beta2 = 3e-6, 3e-6, "linear", 1e-5, 0.999
		c.KL.Coef, c.Temperature = 0.05, 0.7
	}},
}

// Presets lists the names that Preset knows.
func Presets() (names []string) {
	for _, p := range presets {
		names = append(names, p.name)
	}
	return names
}

// Preset returns a named configuration. "small", also "", is DefaultConfig; the others are what their papers and codes say, which
// suits models of a billion parameters.
func Preset(name string) (Config, error) {
	c := DefaultConfig()
	for _, p := range presets {
		if p.name == name || name == "" {
			p.change(&c)
			return c, nil
		}
	}
	return c, invalid("preset", "%q is none of %s", name, strings.Join(Presets(), ", "))
}
