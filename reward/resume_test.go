package reward

import (
	"context"
	"errors"
	"reflect"
	"testing"
)

// TestResume saves after every unit, loads into a fresh trainer and goes on: all must be as in the undisturbed run.
func TestResume(t *testing.T) {
	one := testConfig()
	one.Epochs, one.Seeds, one.MicroTokens = 1, 2, 100
	several := ensembleConfig(Combination{Combine: CombineMin})
	several.Scale = true
	for name, cfg := range map[string]Config{"best of two": one, "three of five": several} {
		t.Run(name, func(t *testing.T) { resumeEverywhere(t, cfg) })
	}
}

// judgedOf is what a trainer knows of the models that it keeps.
func judgedOf(t *Trainer) []any {
	out := []any{t.whole}
	for _, k := range t.kept {
		out = append(out, k.judged)
	}
	return out
}

func resumeEverywhere(t *testing.T, cfg Config) {
	whole := testTrainer(t, cfg)
	want := run(t, whole)
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
	a, err := whole.Scorer()
	if err != nil {
		t.Fatal(err)
	}
	b, err := broken.Scorer()
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest() != b.Digest() || !reflect.DeepEqual(judgedOf(whole), judgedOf(broken)) {
		t.Errorf("the resumed run chose %+v, the undisturbed one %+v", judgedOf(broken), judgedOf(whole))
	}
}

func TestResumeRefusesAnother(t *testing.T) {
	dir := t.TempDir()
	tr := testTrainer(t, testConfig())
	for range 3 {
		if _, err := tr.Step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Save(dir); err != nil {
		t.Fatal(err)
	}
	other := testConfig()
	other.LR = 2e-2
	train, valid := testGroups(1, 100, 4, 1, 0), testGroups(2, 60, 4, 2, 0.3)
	flipped := testGroups(1, 100, 4, 1, 0)
	flipped[3].Rankings[0][0]++
	for name, make := range map[string]func() (*Trainer, error){
		"config": func() (*Trainer, error) { return NewTrainer(other, testModel(t, 1), train, valid, testReference()) },
		"model": func() (*Trainer, error) {
			return NewTrainer(testConfig(), testModel(t, 2), train, valid, testReference())
		},
		"label": func() (*Trainer, error) {
			return NewTrainer(testConfig(), testModel(t, 1), flipped, valid, testReference())
		},
		"reference": func() (*Trainer, error) {
			return NewTrainer(testConfig(), testModel(t, 1), train, valid, testReference()[1:])
		},
	} {
		x, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Load(dir); !errors.Is(err, ErrForeignState) {
			t.Errorf("another %s: %v", name, err)
		}
		if step, _ := x.Progress(); step != 0 {
			t.Errorf("another %s: the refused state left something behind", name)
		}
	}
}
