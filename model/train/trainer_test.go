package train

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/token"
)

func testModel(t testing.TB, seed uint64) *model.Transformer {
	t.Helper()
	m, err := model.New(model.Config{Family: "gpt2", Vocab: 17, Context: 16, Layers: 2, Width: 16, Heads: 2, BOS: 0, EOS: 0}, seed)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// counting makes sequences that count upwards from a random number, with prompts of random length.
func counting(seed uint64, n int) Sequences {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make(Sequences, n)
	for i := range out {
		ids := make([]int32, 4+rng.IntN(12))
		first := rng.IntN(16)
		for j := range ids {
			ids[j] = int32(1 + (first+j)%16)
		}
		out[i] = model.Sequence{IDs: ids, Start: 1 + rng.IntN(len(ids)-1)}
	}
	return out
}

func config() Config {
	return Config{Epochs: 3, BatchTokens: 120, LR: 1e-2, Warmup: 3, Floor: 0.1, Seed: 4}
}

func newTrainer(t testing.TB, cfg Config, m *model.Transformer, data, valid Source) *Trainer {
	t.Helper()
	tr, err := NewTrainer(cfg, m, data, valid)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// lossOf adds the gradient of a source's loss to m, as one batch.
func lossOf(t testing.TB, m *model.Transformer, s Source, micro int) (loss float64, n int) {
	t.Helper()
	var batch []item
	for i := range s.Len() {
		batch = append(batch, item{s.Sequence(i), s.Skip(i), i})
	}
	loss, n, _, err := accumulate(m, batch, micro)
	if err != nil {
		t.Fatal(err)
	}
	return loss, n
}

// gradients are all gradients of m, in a row.
func gradients(m *model.Transformer) (g []float32) {
	for _, p := range m.Params() {
		g = append(g, p.Grad...)
	}
	return g
}

func finish(t testing.TB, tr *Trainer) (last map[string]float64) {
	t.Helper()
	for !tr.Done() {
		var err error
		if last, err = tr.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

// The loss is the mean over targets of -log softmax, computed here from the logits.
func TestLossFromLogits(t *testing.T) {
	m := testModel(t, 2)
	batch := counting(3, 5)
	want, n := 0.0, 0
	for _, s := range batch {
		logits := m.Logits(s.IDs)
		for at := s.Start; at < len(s.IDs); at++ {
			sum := 0.0
			for _, z := range logits[at-1] {
				sum += math.Exp(float64(z))
			}
			want += math.Log(sum) - float64(logits[at-1][s.IDs[at]])
			n++
		}
	}
	want /= float64(n)
	loss, targets := lossOf(t, m, batch, 1000)
	if math.Abs(loss-want) > 1e-5 || targets != n {
		t.Errorf("loss %g over %d, want %g over %d", loss, targets, want, n)
	}
	held, targets, err := HeldOut(t.Context(), m, batch, 20)
	if err != nil || math.Abs(held-want) > 1e-5 || targets != n {
		t.Errorf("held-out loss %g over %d (%v), want %g", held, targets, err, want)
	}
}

func TestGradientByFiniteDifferences(t *testing.T) {
	m := testModel(t, 2)
	batch := counting(3, 5)
	lossOf(t, m, batch, 1000)
	grads := make(map[string][]float32)
	for _, p := range m.Params() {
		grads[p.Name] = slices.Clone(p.Grad)
	}
	for _, p := range m.Params() {
		// Along the gradient itself the difference stands clear of float32 noise.
		norm := 0.0
		for _, g := range grads[p.Name] {
			norm += float64(g) * float64(g)
		}
		if norm = math.Sqrt(norm); norm < 1e-6 {
			continue
		}
		before := slices.Clone(p.Data)
		at := func(h float64) float64 {
			for i := range p.Data {
				p.Data[i] = before[i] + float32(h*float64(grads[p.Name][i])/norm)
			}
			loss, _, err := HeldOut(t.Context(), m, batch, 1000)
			if err != nil {
				t.Fatal(err)
			}
			copy(p.Data, before)
			return loss
		}
		const h = 1e-2
		if got := (at(h) - at(-h)) / (2 * h); math.Abs(got-norm) > 0.02*norm+1e-4 {
			t.Errorf("%s: the loss rises by %g, the gradient says %g", p.Name, got, norm)
		}
	}
}

// What stands in the prompt is context, not a target: where the model does not see it, changing it changes no bit.
func TestPromptTargetsDoNotCount(t *testing.T) {
	a := model.Sequence{IDs: []int32{3, 4, 5, 6, 7, 8, 9}, Start: 4}
	m := testModel(t, 2)
	loss, targets := lossOf(t, m, Sequences{a}, 100)
	if targets != 3 {
		t.Fatalf("%d targets", targets)
	}
	row := m.Score([]model.Sequence{a}, model.WantLogprobs).Logprobs[0]
	sum := 0.0
	for _, lp := range row {
		sum -= float64(lp)
	}
	if loss != sum/3 {
		t.Errorf("loss %v, from the response's three tokens %v", loss, sum/3)
	}
	// The same tokens with all of them as targets: the loss takes in the prompt, so it must differ.
	whole, targets := lossOf(t, m, Sequences{{IDs: a.IDs, Start: 1}}, 100)
	if whole == loss || targets != 6 {
		t.Errorf("loss %v over %d with the prompt, %v without", whole, targets, loss)
	}
}

// The gradient of a sequence with a prompt is that of its response alone: what the loss would be with prompt targets of
// any kind (another loss on the prompt positions) adds nothing.
func TestPromptTargetsHaveNoGradient(t *testing.T) {
	m := testModel(t, 2)
	s := model.Sequence{IDs: []int32{3, 4, 5, 6, 7, 8, 9}, Start: 4}
	gradient := func(f func()) []float32 {
		m.ZeroGrad()
		f()
		var g []float32
		for _, p := range m.Params() {
			g = append(g, p.Grad...)
		}
		return g
	}
	masked := gradient(func() { lossOf(t, m, Sequences{s}, 100) })
	byHand := gradient(func() {
		pass := m.Forward([]model.Sequence{{IDs: s.IDs, Start: 1}}, model.WantLogprobs)
		d := make([]float32, len(s.IDs)-1)
		for at := s.Start; at < len(s.IDs); at++ {
			d[at-1] = -1.0 / 3
		}
		pass.Backward(model.Grads{Logprobs: [][]float32{d}})
	})
	for i := range masked {
		if math.Abs(float64(masked[i]-byHand[i])) > 1e-6 {
			t.Fatalf("gradient %d: %g with the mask, %g with zeros on the prompt", i, masked[i], byHand[i])
		}
	}
}

func TestMicroBatchesGiveTheSameGradient(t *testing.T) {
	batch := counting(3, 9)
	gradient := func(micro int) (float64, []float32) {
		m := testModel(t, 2)
		loss, _ := lossOf(t, m, batch, micro)
		var g []float32
		for _, p := range m.Params() {
			g = append(g, p.Grad...)
		}
		return loss, g
	}
	loss, want := gradient(10000)
	part, got := gradient(25)
	if math.Abs(loss-part) > 1e-6 {
		t.Errorf("loss %g in one go, %g in parts", loss, part)
	}
	for i := range want {
		if math.Abs(float64(want[i]-got[i])) > 1e-6 {
			t.Fatalf("gradient %d: %g and %g", i, want[i], got[i])
		}
	}
}

func TestEverySequenceOnceInAnEpoch(t *testing.T) {
	data := counting(1, 101)
	for i := range data {
		data[i].Start = 1
	}
	tr := newTrainer(t, config(), testModel(t, 1), data, nil)
	seen := make([]int, 3*len(data))
	var orders [3][]int32
	place := 0
	for step := range len(tr.plan) - 1 {
		tokens := 0
		batch := tr.batch(step)
		for _, s := range batch {
			tokens += len(s.IDs)
			orders[place/len(data)] = append(orders[place/len(data)], s.IDs[0]*100+int32(len(s.IDs)))
			seen[place]++
			place++
		}
		if len(batch) == 0 || tokens > 120 {
			t.Fatalf("step %d has %d sequences, %d tokens", step, len(batch), tokens)
		}
	}
	if place != 3*len(data) {
		t.Errorf("%d places of %d", place, 3*len(data))
	}
	if slices.Equal(orders[0], orders[1]) {
		t.Error("two epochs in the same order")
	}
	for e := range orders {
		slices.Sort(orders[e])
		if !slices.Equal(orders[e], orders[0]) {
			t.Errorf("epoch %d has other sequences", e)
		}
	}
	other := config()
	other.Seed = 5
	if reflect.DeepEqual(newTrainer(t, other, testModel(t, 1), data, nil).batch(0), tr.batch(0)) {
		t.Error("two seeds in the same order")
	}
}

func TestTrainingLearns(t *testing.T) {
	tr := newTrainer(t, Config{Steps: 150, BatchTokens: 300, LR: 1e-2, Warmup: 10, Floor: 0.1}, testModel(t, 1), counting(1, 200), counting(2, 50))
	first, err := tr.Step(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := finish(t, tr)
	if step, total := tr.Progress(); step != 150 || total != 150 {
		t.Errorf("progress %d of %d", step, total)
	}
	if first["loss"] < 2.5 || last["heldout_loss"] > 0.2 {
		t.Errorf("loss %g at first, %g held out at the end", first["loss"], last["heldout_loss"])
	}
	if _, err := tr.Step(t.Context()); err == nil {
		t.Error("a step after the last")
	}
}

func TestResumeIsBitEqual(t *testing.T) {
	data, valid := counting(1, 60), counting(2, 20)
	whole := newTrainer(t, config(), testModel(t, 1), data, valid)
	want := finish(t, whole)
	for _, stop := range []int{0, 1, 7} {
		dir := t.TempDir()
		first := newTrainer(t, config(), testModel(t, 1), data, valid)
		for range stop {
			if _, err := first.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := first.Save(dir); err != nil {
			t.Fatal(err)
		}
		second := newTrainer(t, config(), testModel(t, 1), data, valid)
		if err := second.Load(dir); err != nil {
			t.Fatal(err)
		}
		if step, _ := second.Progress(); step != stop {
			t.Errorf("at step %d after stopping at %d", step, stop)
		}
		got := finish(t, second)
		if !reflect.DeepEqual(got, want) || second.Model().Digest() != whole.Model().Digest() {
			t.Errorf("stopped at %d: %v, undisturbed %v", stop, got, want)
		}
	}
}

func TestForeignStatesAreRefused(t *testing.T) {
	data := counting(1, 60)
	dir := t.TempDir()
	tr := newTrainer(t, config(), testModel(t, 1), data, nil)
	if _, err := tr.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := tr.Save(dir); err != nil {
		t.Fatal(err)
	}
	other := config()
	other.LR = 2e-2
	for name, x := range map[string]*Trainer{
		"configuration": newTrainer(t, other, testModel(t, 1), data, nil),
		"model":         newTrainer(t, config(), testModel(t, 2), data, nil),
		"data":          newTrainer(t, config(), testModel(t, 1), counting(9, 60), nil),
	} {
		before := x.Model().Digest()
		if err := x.Load(dir); !errors.Is(err, ErrForeignState) {
			t.Errorf("another %s: %v", name, err)
		}
		if step, _ := x.Progress(); step != 0 || x.Model().Digest() != before {
			t.Errorf("another %s: changed", name)
		}
	}
	file := dir + "/" + stateFile
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-5] ^= 1
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newTrainer(t, config(), testModel(t, 1), data, nil).Load(dir); !errors.Is(err, checkpoint.ErrCorrupt) {
		t.Errorf("a flipped bit: %v", err)
	}
}

func TestStepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tr := newTrainer(t, config(), testModel(t, 1), counting(1, 9), nil)
	if _, err := tr.Step(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if step, _ := tr.Progress(); step != 0 {
		t.Error("a step was made")
	}
}

func TestInputsAreChecked(t *testing.T) {
	good := counting(1, 3)
	for name, bad := range map[string]Sequences{
		"empty":        {},
		"one token":    {{IDs: []int32{1}, Start: 1}},
		"no target":    {{IDs: []int32{1, 2}, Start: 2}},
		"start 0":      {{IDs: []int32{1, 2}, Start: 0}},
		"too long":     {{IDs: make([]int32, 17), Start: 1}},
		"beyond vocab": {{IDs: []int32{1, 17}, Start: 1}},
		"negative":     {{IDs: []int32{-1, 2}, Start: 1}},
	} {
		var invalid *InvalidError
		if _, err := NewTrainer(config(), testModel(t, 1), bad, nil); !errors.As(err, &invalid) || invalid.Field != "train" {
			t.Errorf("%s: %v", name, err)
		}
		if name == "empty" {
			continue
		}
		if _, err := NewTrainer(config(), testModel(t, 1), good, bad); !errors.As(err, &invalid) || invalid.Field != "valid" {
			t.Errorf("%s held out: %v", name, err)
		}
	}
}

func TestTextsAndExamples(t *testing.T) {
	corpus := []string{strings.Repeat("the cat sat on the mat. ", 20)}
	tok, err := token.Train(slices.Values(corpus), 280, []string{"<|endoftext|>"})
	if err != nil {
		t.Fatal(err)
	}
	eos := tok.EOS()
	seqs := Texts(tok, []string{"the cat", "", "the mat sat on the cat on the mat"}, 6)
	var all []int32 // targets of the long text
	for i, s := range seqs {
		if s.Start != 1 || len(s.IDs) > 6 {
			t.Errorf("sequence %d: %+v", i, s)
		}
		if i > 1 && s.IDs[0] != seqs[i-1].IDs[len(seqs[i-1].IDs)-1] {
			t.Errorf("window %d does not go on", i)
		}
		if i > 0 {
			all = append(all, s.IDs[1:]...)
		}
	}
	if want := append(tok.Encode("the mat sat on the cat on the mat"), eos); !slices.Equal(all, want) || seqs[0].IDs[0] != eos {
		t.Errorf("targets %v, want %v", all, want)
	}
	ex, dropped := Examples(tok, []Example{{"the cat", " sat"}, {"", " sat"}, {"the", ""}, {"the", strings.Repeat(" mat", 50)}}, 16)
	if len(ex) != 1 || dropped != 3 {
		t.Fatalf("%d examples, %d dropped", len(ex), dropped)
	}
	prompt := tok.Encode("the cat")
	want := append(append(slices.Clone(prompt), tok.Encode(" sat")...), eos)
	if !slices.Equal(ex[0].IDs, want) || ex[0].Start != len(prompt) {
		t.Errorf("%+v, want %v", ex[0], want)
	}
	if a, b := seqs.Digest(), ex.Digest(); a == b || a != seqs.Digest() {
		t.Error("digests")
	}
	moved := slices.Clone(ex)
	moved[0].Start--
	if moved.Digest() == ex.Digest() {
		t.Error("the digest does not see the start")
	}
}
