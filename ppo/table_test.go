package ppo

import (
	"context"
	"maps"
	"slices"
	"testing"
)

// Every field of every configuration is explained, and nothing else is.
func TestOptionsAreExplained(t *testing.T) {
	known := map[string]bool{}
	for _, kind := range Kinds() {
		options := Options(kind)
		if len(options) == 0 {
			t.Errorf("%s has no options", kind)
		}
		for _, o := range options {
			known[o.Name] = true
			if o.Meaning == "" {
				t.Errorf("%s: %s is not explained", kind, o.Name)
			}
			if len(o.Values) != len(Columns(kind)) {
				t.Errorf("%s: %s has %d values", kind, o.Name, len(o.Values))
			}
		}
	}
	for name := range meanings {
		if !known[name] {
			t.Errorf("%s is explained and no field", name)
		}
	}
	for name := range unset {
		if !known[name] {
			t.Errorf("%s has a value for zero and is no field", name)
		}
	}
	if Options("alchemy") != nil {
		t.Error("an unknown kind has options")
	}
}

// Every figure that a step tells is in the table, and every one in the table is told by some step.
func TestMetricsAreDefined(t *testing.T) {
	told := map[string]map[string]bool{}
	tell := func(kind string, all []map[string]float64) {
		if told[kind] == nil {
			told[kind] = map[string]bool{}
		}
		for _, m := range all {
			for name := range m {
				told[kind][name] = true
			}
		}
	}
	for _, cfg := range configs() {
		cfg.KL.LossCoef, cfg.Score.Scale, cfg.TargetKL = 0.1, ScaleReference, 1e-9
		tell(KindPPO, run(t, testTrainer(t, cfg)))
		if cfg.Ptx.on() {
			cfg.Ptx = PtxConfig{Ratio: 0.5, Batch: 2}
			tell(KindPPO, run(t, testTrainer(t, cfg)))
		}
	}
	for name, fresh := range objectives(t) {
		for _, kind := range []string{KindGRPO, KindRLOO, KindRejection, KindDPO} {
			if len(name) >= len(kind) && name[:len(kind)] == kind {
				tell(kind, walk(t, fresh()))
			}
		}
	}
	b, err := NewBestOfN(BestOfNConfig{N: 4, MaxTokens: 6, Chunk: 2, EOS: EOSConfig{EOSSet, -1}}, testModel(t, 1), fives{1}, testEOS)
	if err != nil {
		t.Fatal(err)
	}
	choices, err := b.Choose(context.Background(), testPrompts, nil)
	if err != nil {
		t.Fatal(err)
	}
	tell(KindBestOfN, BestOfCurve(choices))
	names := map[string]bool{}
	for _, m := range Metrics("") {
		if names[m.Name] {
			t.Errorf("%s is defined twice", m.Name)
		}
		names[m.Name] = true
		if m.Meaning == "" || m.Unit == "" {
			t.Errorf("%s has no meaning or no unit", m.Name)
		}
	}
	for _, kind := range Kinds() {
		defined := map[string]bool{}
		for _, m := range Metrics(kind) {
			defined[m.Name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(told[kind])) {
			if !defined[name] {
				t.Errorf("%s tells %s, which is not in the table", kind, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(defined)) {
			if !told[kind][name] {
				t.Errorf("%s has %s in the table and never tells it", kind, name)
			}
		}
	}
}
