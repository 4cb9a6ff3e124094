package train

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// full is a configuration with everything on.
func full() Config {
	c := config()
	c.BatchTokens, c.MicroTokens, c.Accumulate = 0, 40, 3
	c.Dropout, c.EMADecay, c.EvalEvery, c.KeepBest, c.SaveEvery, c.KeepLast = 0.1, 0.9, 2, true, 3, 2
	return c
}

// keeper keeps the digests of what it is asked to keep.
type keeper struct {
	there map[string]string
	tr    *Trainer
}

func keepIn(tr *Trainer) *keeper {
	k := &keeper{there: map[string]string{}, tr: tr}
	tr.Keep = func(_ context.Context, step int) (string, error) {
		name := "step-" + string(rune('0'+step/10)) + string(rune('0'+step%10))
		return name, tr.With(Last, func(m *model.Transformer) error { k.there[name] = m.Digest(); return nil })
	}
	tr.Drop = func(_ context.Context, name string) error { delete(k.there, name); return nil }
	return k
}

// A run that is stopped, saved and loaded at any step is the run that nobody stopped, bit for bit, with everything on:
// dropout, average, accumulation, best weights, kept steps; and adapters, bfloat16 and recomputation.
func TestEverythingResumesToTheBit(t *testing.T) {
	data, valid := counting(1, 60), counting(2, 20)
	for name, change := range map[string]func(*Config){
		"all weights": func(*Config) {},
		"adapters":    func(c *Config) { c.LoRA = &LoRA{Rank: 2, Targets: []string{"c_attn", "c_fc"}} },
		"bf16":        func(c *Config) { c.Precision, c.Recompute = BF16, true },
		"bf16 adapters": func(c *Config) {
			c.Precision, c.LoRA = BF16, &LoRA{Rank: 3, Alpha: 4}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := full()
			change(&cfg)
			end := func(tr *Trainer, k *keeper) (out []any) {
				last := finish(t, tr)
				for _, which := range []Which{Last, Best} {
					if err := tr.With(which, func(m *model.Transformer) error { out = append(out, m.Digest()); return nil }); err != nil {
						t.Fatal(err)
					}
				}
				step, loss := tr.Best()
				return append(out, tr.m.Digest(), last, step, loss, tr.Kept(), k.there)
			}
			whole := newTrainer(t, cfg, testModel(t, 1), data, valid)
			kept := keepIn(whole)
			want := end(whole, kept)
			if len(kept.there) != 2 || want[0] == want[2] || !whole.HasBest() {
				t.Fatalf("nothing was kept: %v", want)
			}
			for _, stop := range []int{0, 1, 4, 7} {
				dir := t.TempDir()
				first := newTrainer(t, cfg, testModel(t, 1), data, valid)
				k := keepIn(first)
				for range stop {
					if _, err := first.Step(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if err := first.Save(dir); err != nil {
					t.Fatal(err)
				}
				if _, err := first.Step(t.Context()); err != nil { // lost with the process that did it
					t.Fatal(err)
				}
				second := newTrainer(t, cfg, testModel(t, 1), data, valid)
				there := k.there
				k = keepIn(second)
				k.there = there
				if err := second.Load(dir); err != nil {
					t.Fatal(err)
				}
				if got := end(second, k); !reflect.DeepEqual(got, want) {
					t.Errorf("stopped at %d:\n%v, undisturbed\n%v", stop, got, want)
				}
			}
		})
	}
}

// Dropout is of the step and the place in it: two steps on the same data drop other things, and evaluation drops nothing.
func TestDropout(t *testing.T) {
	data := Sequences{counting(1, 1)[0]}
	cfg := Config{Steps: 2, LR: 1e-12, NoDecay: true, Schedule: Constant, Dropout: 0.3}
	tr := newTrainer(t, cfg, testModel(t, 1), data, nil)
	a, err := tr.Step(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := tr.Step(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plain, _, err := HeldOut(t.Context(), tr.Model(), data, 100)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dropout = 0
	without, err := newTrainer(t, cfg, testModel(t, 1), data, nil).Step(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(a["loss"]-b["loss"]) < 1e-4 || math.Abs(a["loss"]-without["loss"]) < 1e-4 || math.Abs(plain-without["loss"]) > 1e-5 {
		t.Errorf("losses %v and %v with dropout, %v held out, %v without", a["loss"], b["loss"], plain, without["loss"])
	}
}

// The average by hand, in float64.
func TestAverage(t *testing.T) {
	cfg := config()
	cfg.EMADecay = 0.8
	tr := newTrainer(t, cfg, testModel(t, 1), counting(1, 60), nil)
	p := tr.Model().Params()[2]
	e := float64(p.Data[1])
	for n := 1; !tr.Done(); n++ {
		if _, err := tr.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		d := math.Min(0.8, float64(1+n)/float64(10+n))
		e = d*e + (1-d)*float64(p.Data[1])
	}
	w := p.Data[1]
	if err := tr.With(Last, func(m *model.Transformer) error {
		if got := float64(m.Params()[2].Data[1]); math.Abs(got-e) > 1e-6 || p.Data[1] == w {
			t.Errorf("the average is %g, by hand %g, the weight %g", got, e, w)
		}
		return nil
	}); err != nil || p.Data[1] != w {
		t.Errorf("the weights did not come back: %g, %g, %v", p.Data[1], w, err)
	}
}

// A run whose held-out loss rises ends after patience evaluations, and its best weights are those of the best evaluation.
func TestEarlyStop(t *testing.T) {
	data, valid := counting(1, 4), counting(9, 20) // four sequences are soon known by heart
	cfg := Config{Steps: 400, LR: 3e-2, EvalEvery: 5, Patience: 3, KeepBest: true, Schedule: Constant}
	tr := newTrainer(t, cfg, testModel(t, 1), data, valid)
	var losses []float64
	for !tr.Done() {
		m, err := tr.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if l, ok := m["heldout_loss"]; ok {
			losses = append(losses, l)
			if m["best_loss"] != slices.Min(losses) {
				t.Errorf("best %g of %v", m["best_loss"], losses)
			}
		}
	}
	n, best := len(losses), slices.Index(losses, slices.Min(losses))
	step, total := tr.Progress()
	if n != best+4 || step != 5*n || total != step || step >= 400 {
		t.Fatalf("ended at %d of %d with %v", step, total, losses)
	}
	err := tr.With(Best, func(m *model.Transformer) error {
		loss, _, err := HeldOut(t.Context(), m, valid, 100)
		if at, known := tr.Best(); loss != losses[best] || at != 5*(best+1) || known != loss {
			t.Errorf("the best weights have loss %g, the best was %g at %d", loss, losses[best], best)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// The best weights of long ago are in the state.
func TestBestIsInTheState(t *testing.T) {
	data, valid := counting(1, 60), counting(2, 20)
	for _, s := range valid {
		slices.Reverse(s.IDs) // the better counting upwards is learned, the worse is this
	}
	cfg := config()
	cfg.EvalEvery, cfg.KeepBest = 1, true
	first := newTrainer(t, cfg, testModel(t, 1), data, valid)
	finish(t, first)
	step, _ := first.Best()
	if _, total := first.Progress(); step >= total-2 {
		t.Fatalf("the best is step %d of %d, not of long ago", step, total)
	}
	dir := t.TempDir()
	if err := first.Save(dir); err != nil {
		t.Fatal(err)
	}
	second := newTrainer(t, cfg, testModel(t, 1), data, valid)
	if err := second.Load(dir); err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, tr := range []*Trainer{first, second} {
		if err := tr.With(Best, func(m *model.Transformer) error { digests = append(digests, m.Digest()); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if digests[0] != digests[1] || digests[0] == first.Model().Digest() {
		t.Errorf("best %s before, %s after loading; the last is %s", digests[0], digests[1], first.Model().Digest())
	}
}

// A document's log-probabilities do not change with its neighbours, to the bit, and with the neighbours' loss left out
// neither do the gradients; with it they are the sum of both.
func TestDocumentsDoNotSeeEachOther(t *testing.T) {
	docs := counting(5, 6)
	for i := range docs {
		docs[i].Start = 1
	}
	ones := func(s model.Sequence) []float32 {
		d := make([]float32, len(s.IDs)-s.Start)
		for i := range d {
			d[i] = -0.1
		}
		return d
	}
	m := testModel(t, 2)
	alone := make([][]float32, len(docs))
	for i, s := range docs {
		m.ZeroGrad()
		pass := m.Forward([]model.Sequence{s}, model.WantLogprobs)
		want := slices.Clone(pass.Logprobs[0])
		pass.Backward(model.Grads{Logprobs: [][]float32{ones(s)}})
		alone[i] = gradients(m)
		m.ZeroGrad()
		pass = m.Forward(docs, model.WantLogprobs)
		if !slices.Equal(pass.Logprobs[i], want) {
			t.Errorf("document %d: %v alone, %v among others", i, want, pass.Logprobs[i])
		}
		grads := make([][]float32, len(docs))
		for j := range docs {
			grads[j] = make([]float32, len(docs[j].IDs)-1)
		}
		grads[i] = ones(s)
		pass.Backward(model.Grads{Logprobs: grads})
		for k, g := range gradients(m) {
			if g != alone[i][k] {
				t.Fatalf("document %d: gradient %d is %g alone, %g among others", i, k, alone[i][k], g)
			}
		}
	}
	m.ZeroGrad()
	pass := m.Forward(docs, model.WantLogprobs)
	var grads [][]float32
	for _, s := range docs {
		grads = append(grads, ones(s))
	}
	pass.Backward(model.Grads{Logprobs: grads})
	for k, g := range gradients(m) {
		sum := 0.0
		for i := range docs {
			sum += float64(alone[i][k])
		}
		if math.Abs(sum-float64(g)) > 1e-5 {
			t.Fatalf("gradient %d: %g together, the sum is %g", k, g, sum)
		}
	}
}

// Only the targets between the skipped spans count, in the loss and in the gradient.
func TestSpansAreMasked(t *testing.T) {
	s := model.Sequence{IDs: []int32{3, 4, 5, 6, 7, 8, 9, 10, 11}, Start: 2}
	masked := &Masked{Sequences: Sequences{s}, Skips: [][]Span{{{4, 6}, {7, 8}}}}
	m := testModel(t, 2)
	loss, n := lossOf(t, m, masked, 100)
	got := gradients(m)
	row := m.Score([]model.Sequence{s}, model.WantLogprobs).Logprobs[0]
	want := 0.0
	for _, at := range []int{2, 3, 6, 8} {
		want -= float64(row[at-2])
	}
	if n != 4 || loss != want/4 {
		t.Errorf("loss %v over %d, want %v over 4", loss, n, want/4)
	}
	held, k, err := HeldOut(t.Context(), m, masked, 100)
	if err != nil || k != 4 || held != loss {
		t.Errorf("held out %v over %d, %v", held, k, err)
	}
	m.ZeroGrad()
	pass := m.Forward([]model.Sequence{s}, model.WantLogprobs)
	pass.Backward(model.Grads{Logprobs: [][]float32{{-0.25, -0.25, 0, 0, -0.25, 0, -0.25}}})
	if !slices.Equal(gradients(m), got) {
		t.Error("the gradient is not that of the four targets")
	}
	for name, bad := range map[string][]Span{"before Start": {{1, 3}}, "overlapping": {{3, 5}, {4, 6}}, "beyond": {{3, 10}}, "empty": {{3, 3}}, "all": {{2, 9}}} {
		var invalid *InvalidError
		if _, err := NewTrainer(config(), testModel(t, 1), &Masked{Sequences{s}, [][]Span{bad}}, nil); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is not finite stops the run before the step, by its name, and the weights stay as they are.
func TestNotFinite(t *testing.T) {
	data := counting(1, 60)
	names := len(testModel(t, 1).Params())
	for i := range names {
		m := testModel(t, 1)
		tr := newTrainer(t, config(), m, data, nil)
		for range 2 {
			if _, err := tr.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		p := m.Params()[i]
		p.Grad[len(p.Grad)/2] = float32(math.NaN())
		before := m.Digest()
		_, err := tr.Step(t.Context())
		var bad *NotFiniteError
		if !errors.As(err, &bad) || bad.Step != 3 || !strings.Contains(err.Error(), "step 3: the gradient of "+p.Name+" is not finite") || !errors.Is(err, ErrNotFinite) {
			t.Fatalf("%s: %v", p.Name, err)
		}
		if step, _ := tr.Progress(); step != 2 || m.Digest() != before {
			t.Errorf("%s: a step was made", p.Name)
		}
		for _, q := range m.Params() { // the next step would begin with what is left
			if slices.ContainsFunc(q.Grad, func(g float32) bool { return g != 0 }) {
				t.Errorf("%s: a gradient is left", q.Name)
			}
		}
		if p.Data[len(p.Data)/2] = float32(math.Inf(1)); p.Name == "transformer.wpe.weight" || p.Name == "wpe.weight" {
			clear(p.Data)
			p.Data[0] = float32(math.Inf(1))
		}
		if _, err = tr.Step(t.Context()); !errors.As(err, &bad) || bad.Step != 3 || !(strings.Contains(err.Error(), "the loss of sequence ") || strings.Contains(err.Error(), "the gradient of ")) {
			t.Errorf("%s infinite: %v", p.Name, err)
		}
	}
	m := testModel(t, 1)
	cfg := config()
	cfg.EvalEvery = 2
	tr := newTrainer(t, cfg, m, data, counting(2, 5))
	m.Params()[0].Data[16*16] = float32(math.NaN()) // an id that no sequence of the first step has to have
	var bad *NotFiniteError
	for err := error(nil); err == nil; {
		if _, err = tr.Step(t.Context()); err != nil && !errors.As(err, &bad) {
			t.Error(err)
		}
	}
}

func TestExtrasAreChecked(t *testing.T) {
	for field, c := range map[string]Config{
		"accumulate": {Accumulate: 2, BatchTokens: 10}, "dropout": {Dropout: 1}, "ema_decay": {EMADecay: 1}, "patience": {Patience: 2},
		"keep_best": {KeepBest: true}, "keep_last": {KeepLast: 2}, "precision": {Precision: "fp8"}, "lora.rank": {LoRA: &LoRA{}},
		"lora.alpha": {LoRA: &LoRA{Rank: 1, Alpha: -1}}, "eval_every": {EvalEvery: -1}, "save_every": {SaveEvery: -1},
	} {
		c.LR = 1e-3
		var invalid *InvalidError
		if err := c.Validate(); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	var invalid *InvalidError
	if _, err := NewTrainer(Config{LR: 1e-3, EvalEvery: 1}, testModel(t, 1), counting(1, 3), nil); !errors.As(err, &invalid) || invalid.Field != "eval_every" {
		t.Error(err)
	}
	c := Config{LR: 1e-3, Accumulate: 3, MicroTokens: 100, SaveEvery: 5, LoRA: &LoRA{Rank: 4}}.WithDefaults()
	if c.BatchTokens != 300 || c.KeepLast != 3 || c.LoRA.Alpha != 8 {
		t.Errorf("%+v", c)
	}
}
