package train

import (
	"errors"
	"math"
	"testing"
)

func TestRate(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   Config
		step  int
		total int
		want  float64
	}{
		{"first of the warm-up", Config{LR: 1, Warmup: 4}, 0, 20, 0.25},
		{"last of the warm-up", Config{LR: 1, Warmup: 4}, 3, 20, 1},
		{"peak", Config{LR: 1, Warmup: 4}, 4, 20, 1},
		{"constant", Config{LR: 0.5, Schedule: Constant}, 19, 20, 0.5},
		{"linear, half way", Config{LR: 1, Schedule: Linear, Floor: 0.2}, 10, 20, 0.6},
		{"cosine, half way", Config{LR: 1, Floor: 0.2}, 10, 20, 0.6},
		{"cosine, a third", Config{LR: 1}, 4, 12, 0.75},
		{"cosine after warm-up", Config{LR: 2, Warmup: 2, Floor: 0.5, Schedule: Cosine}, 4, 8, 2 * (0.5 + 0.5*0.75)},
		{"the end is the floor", Config{LR: 1, Floor: 0.1}, 20, 20, 0.1},
		{"shorter than its warm-up", Config{LR: 1, Warmup: 10}, 1, 2, 0.2},
	} {
		if got := c.cfg.Rate(c.step, c.total); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
	}
}

func TestParseConfig(t *testing.T) {
	c, err := ParseConfig([]byte(`{"steps": 10, "lr": 0.001, "schedule": "linear", "warmup": 2}`))
	if err != nil || c.Steps != 10 || c.WithDefaults().Beta2 != 0.95 || c.WithDefaults().Epochs != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	for text, field := range map[string]string{
		`{"lr": 0.001, "learning_rate": 1}`:    "config",
		`{"lr": 0.001} {}`:                     "config",
		`{"lr": "fast"}`:                       "config",
		``:                                     "config",
		`{}`:                                   "lr",
		`{"lr": -1}`:                           "lr",
		`{"lr": 1}`:                            "lr",
		`{"lr": 0.1, "schedule": "step"}`:      "schedule",
		`{"lr": 0.1, "floor": 2}`:              "floor",
		`{"lr": 0.1, "warmup": -1}`:            "warmup",
		`{"lr": 0.1, "epochs": 1, "steps": 1}`: "epochs",
		`{"lr": 0.1, "epochs": -1}`:            "epochs",
		`{"lr": 0.1, "batch_tokens": -1}`:      "batch_tokens",
		`{"lr": 0.1, "beta2": 1}`:              "beta2",
	} {
		var invalid *InvalidError
		if _, err := ParseConfig([]byte(text)); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%s: %v, want field %s", text, err, field)
		}
	}
	off := Config{LR: 1e-3, NoDecay: true, NoClip: true}.WithDefaults()
	if off.Decay != 0 || off.Clip != 0 {
		t.Errorf("%+v", off)
	}
}
