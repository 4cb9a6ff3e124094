package reward

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
)

func testModel(t testing.TB, seed uint64) *model.Transformer {
	t.Helper()
	m, err := model.New(model.Config{Family: "gpt2", Vocab: 12, Context: 12, Layers: 1, Width: 16, Heads: 2, BOS: -1, EOS: 0}, seed)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// testGroups makes prompts whose answers are better the more fives they have; with noise, some rankings are wrong.
func testGroups(seed uint64, n, k, labelers int, noise float64) []Group {
	rng := rand.New(rand.NewPCG(seed, 1))
	groups := make([]Group, n)
	for i := range groups {
		g := &groups[i]
		g.PromptID = fmt.Sprint(i)
		gold := make([]float64, k)
		for j := range k {
			s := model.Sequence{IDs: []int32{1, int32(2 + rng.IntN(3))}, Start: 2}
			for range 3 + rng.IntN(4) {
				id := int32(3 + rng.IntN(5))
				if id == 5 {
					gold[j]++
				}
				s.IDs = append(s.IDs, id)
			}
			g.Sequences = append(g.Sequences, s)
		}
		for range labelers {
			ranks := make([]int, k)
			seen := make([]float64, k)
			for j := range k {
				seen[j] = gold[j] + noise*rng.NormFloat64()
			}
			for j := range k {
				ranks[j] = 1
				for _, x := range seen {
					if x > seen[j] {
						ranks[j]++
					}
				}
			}
			g.Rankings = append(g.Rankings, ranks)
		}
	}
	return groups
}

func testReference() []model.Sequence {
	var out []model.Sequence
	for _, g := range testGroups(99, 40, 1, 0, 0) {
		out = append(out, g.Sequences...)
	}
	return out
}

func testConfig() Config {
	c := DefaultConfig()
	c.Epochs, c.Batch, c.LR, c.Warmup, c.Seed = 3, 8, 1e-2, 2, 5
	return c
}

func testTrainer(t testing.TB, cfg Config) *Trainer {
	t.Helper()
	tr, err := NewTrainer(cfg, testModel(t, 1), testGroups(1, 100, 4, 1, 0), testGroups(2, 60, 4, 2, 0.3), testReference())
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func run(t testing.TB, tr *Trainer) []map[string]float64 {
	t.Helper()
	var all []map[string]float64
	for !tr.Done() {
		m, err := tr.Step(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func TestLearnsAndNormalises(t *testing.T) {
	for _, scale := range []bool{false, true} {
		cfg := testConfig()
		cfg.Scale, cfg.Seeds = scale, 2
		tr := testTrainer(t, cfg)
		if _, err := tr.Scorer(); !errors.Is(err, ErrNotDone) {
			t.Errorf("a scorer before the end: %v", err)
		}
		all := run(t, tr)
		if _, total := tr.Progress(); len(all) != total {
			t.Errorf("%d units, Progress says %d", len(all), total)
		}
		rep, err := tr.Report()
		if err != nil {
			t.Fatal(err)
		}
		if rep.Accuracy < 0.78 || // equal answers are coin flips to these labelers
			rep.Low > rep.Accuracy || rep.High < rep.Accuracy || rep.N < 400 || rep.Prompts != 60 {
			t.Errorf("report %+v", rep)
		}
		if rep.Accuracy > rep.Ceiling {
			t.Errorf("accuracy %.3f above the ceiling %.3f", rep.Accuracy, rep.Ceiling)
		}
		s, err := tr.Scorer()
		if err != nil {
			t.Fatal(err)
		}
		scores, err := s.Score(context.Background(), testReference())
		if err != nil {
			t.Fatal(err)
		}
		var mean, sq float64
		for _, x := range scores {
			mean += x / float64(len(scores))
			sq += x * x / float64(len(scores))
		}
		if math.Abs(mean) > 1e-6 {
			t.Errorf("reference answers score %g on average", mean)
		}
		if std := math.Sqrt(sq); scale && math.Abs(std-1) > 1e-6 {
			t.Errorf("reference answers have a standard deviation of %g", std)
		}
		if _, std := s.Norm(); !scale && std != 1 {
			t.Errorf("RewardStd %g where no scaling was asked for", std)
		}
	}
}

// TestGrouping is acceptance test A6: K answers make K sequences whatever the pairs and labelers, the loss of a batch is the
// mean over its prompts of the mean over their pairs, and ties count for nothing.
func TestGrouping(t *testing.T) {
	tr := testTrainer(t, testConfig())
	groups := testGroups(6, 3, 5, 3, 1)
	if n := len(flatten(groups)); n != 15 {
		t.Fatalf("%d sequences for 3 prompts of 5 answers", n)
	}
	// the slow way: each pair of each labeler on its own
	score := func(s model.Sequence) float64 {
		return float64(tr.m.Score([]model.Sequence{s}, model.WantScore).Score[0])
	}
	want := 0.0
	for _, g := range groups {
		for _, ranks := range g.Rankings {
			sum, n := 0.0, 0.0
			for i := range ranks {
				for j := range ranks {
					if ranks[i] < ranks[j] {
						sum += -math.Log(1 / (1 + math.Exp(score(g.Sequences[j])-score(g.Sequences[i]))))
						n++
					}
				}
			}
			want += sum / n / 9
		}
	}
	sum := tr.accumulate(groups)
	if math.Abs(sum.loss-want) > 1e-6 {
		t.Errorf("loss %.9f, pair by pair %.9f", sum.loss, want)
	}
	if sum.Pairs == 0 || sum.answers != 15 {
		t.Errorf("%d pairs, %d sequences went through the model; 15 answers want one pass each", sum.Pairs, sum.answers)
	}
	tied := testGroups(6, 3, 5, 1, 1)
	for i := range tied {
		tied[i].Rankings = append(tied[i].Rankings, []int{1, 1, 1, 1, 1})
	}
	alone := testGroups(6, 3, 5, 1, 1)
	a, b := tr.accumulate(tied).loss, tr.accumulate(alone).loss
	if a != b {
		t.Errorf("a ranking of ties changed the loss from %g to %g", b, a)
	}
}

func TestMicroTokens(t *testing.T) {
	grads := func(micro int) []float32 {
		cfg := testConfig()
		cfg.MicroTokens = micro
		tr := testTrainer(t, cfg)
		tr.accumulate(testGroups(8, 8, 4, 2, 1))
		return tr.m.Param("wte.weight").Grad
	}
	a, b := grads(1<<20), grads(1)
	for i := range a {
		if math.Abs(float64(a[i]-b[i])) > 1e-6 {
			t.Fatalf("gradient %d: %g at once, %g in parts", i, a[i], b[i])
		}
	}
}

func TestEveryPromptOnceAnEpoch(t *testing.T) {
	tr := testTrainer(t, testConfig())
	n := len(tr.train)
	seen := map[*model.Sequence]int{}
	for step := range (2*n + tr.cfg.Batch - 1) / tr.cfg.Batch {
		for _, g := range tr.batch(step) {
			seen[&g.Sequences[0]]++
		}
	}
	for _, k := range seen {
		if k < 2 || k > 3 {
			t.Fatalf("a prompt was seen %d times in two epochs", k)
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d prompts seen", len(seen), n)
	}
}

// TestOrdersDiffer wants another order in each epoch and for each model, and another head.
func TestOrdersDiffer(t *testing.T) {
	cfg := testConfig()
	cfg.Batch, cfg.Seeds = 100, 2 // one batch is one epoch
	tr := testTrainer(t, cfg)
	order := func(step int) (out []*model.Sequence) {
		for _, g := range tr.batch(step) {
			out = append(out, &g.Sequences[0])
		}
		return out
	}
	first := order(0)
	if slices.Equal(first, order(1)) {
		t.Error("two epochs have one order")
	}
	tr.member = 1
	if slices.Equal(first, order(0)) {
		t.Error("two models have one order")
	}
	if tr.Start(0).Digest() == tr.Start(1).Digest() {
		t.Error("two models have one head")
	}
}

// TestBootstrap: each model learns from as many prompts as there are, drawn with replacement, about 63% of them; another one's are
// others; and a model that was interrupted has those that it had.
func TestBootstrap(t *testing.T) {
	cfg := testConfig()
	cfg.Batch, cfg.Seeds, cfg.Bootstrap = 100, 2, true
	tr := testTrainer(t, cfg)
	n := len(tr.train)
	drawn := func() (names []string) {
		for step := range 2 {
			var epoch []string
			for _, g := range tr.batch(step) {
				epoch = append(epoch, g.PromptID)
			}
			slices.Sort(epoch)
			if step == 1 && !slices.Equal(names, epoch) {
				t.Error("two epochs of a model learn from other prompts")
			}
			names = epoch
		}
		return names
	}
	first := drawn()
	tr.begin(1)
	second := drawn()
	tr.begin(0)
	if !slices.Equal(first, drawn()) {
		t.Error("begun again, a model learns from other prompts")
	}
	if distinct := len(slices.Compact(slices.Clone(first))); len(first) != n || distinct < n/2 || distinct > 3*n/4 {
		t.Errorf("%d prompts, %d of them different, of %d", len(first), distinct, n)
	}
	if slices.Equal(first, second) {
		t.Error("two models learn from the same prompts")
	}
}

// TestHeldOutTeachesNothing: whatever the held-out rankings are, the weights are the same.
func TestHeldOutTeachesNothing(t *testing.T) {
	cfg := testConfig()
	cfg.Epochs = 1
	var digests []string
	for seed := range uint64(2) {
		tr, err := NewTrainer(cfg, testModel(t, 1), testGroups(1, 40, 4, 1, 0), testGroups(2+seed, 20, 4, 2, 0.3), testReference())
		if err != nil {
			t.Fatal(err)
		}
		run(t, tr)
		s, err := tr.Scorer()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, s.Digest())
	}
	if digests[0] != digests[1] {
		t.Error("other held-out rankings made another model")
	}
}

// TestBestIsKept trains three models on next to nothing, so that they differ, and wants the best of them.
func TestBestIsKept(t *testing.T) {
	cfg := testConfig()
	cfg.Epochs, cfg.Steps, cfg.Seeds = 0, 4, 5
	tr := testTrainer(t, cfg)
	best, worst := 0.0, 1.0
	for _, m := range run(t, tr) {
		if a, ok := m["heldout_accuracy"]; ok {
			best, worst = max(best, a), min(worst, a)
		}
	}
	rep, err := tr.Report()
	if err != nil {
		t.Fatal(err)
	}
	s, err := tr.Scorer()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Evaluate(context.Background(), s, tr.valid)
	if err != nil {
		t.Fatal(err)
	}
	if best == worst || rep.Accuracy != best || again.Accuracy != best {
		t.Errorf("accuracies from %g to %g, kept %g, which scores %g", worst, best, rep.Accuracy, again.Accuracy)
	}
}

func TestNotFinite(t *testing.T) {
	tr := testTrainer(t, testConfig())
	tr.m.Param("score.weight").Data[3] = float32(math.NaN())
	before := tr.m.Digest()
	if _, err := tr.Step(context.Background()); !errors.Is(err, ErrNotFinite) {
		t.Errorf("NaN in the head: %v", err)
	}
	if tr.m.Digest() != before || tr.step != 0 {
		t.Error("the step was taken")
	}
	s := NewScorer(tr.m, 0, 1)
	if _, err := s.Score(context.Background(), testReference()); !errors.Is(err, ErrNotFinite) {
		t.Errorf("a NaN reward: %v", err)
	}
}

func TestInvalid(t *testing.T) {
	groups := testGroups(1, 4, 3, 1, 0)
	bad := func(change func(g *Group)) []Group {
		x := testGroups(1, 4, 3, 1, 0)
		change(&x[2])
		return x
	}
	for name, f := range map[string]func() error{
		"config": func() error {
			c := testConfig()
			c.LR = math.NaN()
			_, err := NewTrainer(c, testModel(t, 1), groups, nil, testReference())
			return err
		},
		"too few ranks": func() error {
			_, err := NewTrainer(testConfig(), testModel(t, 1), bad(func(g *Group) { g.Rankings[0] = []int{1} }), nil, testReference())
			return err
		},
		"rank 0": func() error {
			_, err := NewTrainer(testConfig(), testModel(t, 1), bad(func(g *Group) { g.Rankings[0][1] = 0 }), nil, testReference())
			return err
		},
		"id outside": func() error {
			_, err := NewTrainer(testConfig(), testModel(t, 1), bad(func(g *Group) { g.Sequences[0].IDs[0] = 12 }), nil, testReference())
			return err
		},
		"too long": func() error {
			_, err := NewTrainer(testConfig(), testModel(t, 1), bad(func(g *Group) { g.Sequences[0].IDs = make([]int32, 13) }), nil, testReference())
			return err
		},
		"no reference": func() error {
			_, err := NewTrainer(testConfig(), testModel(t, 1), groups, nil, nil)
			return err
		},
		"ties only": func() error {
			_, err := NewTrainer(testConfig(), testModel(t, 1), []Group{{Sequences: groups[0].Sequences, Rankings: [][]int{{1, 1, 1}}}}, nil, testReference())
			return err
		},
		"seeds without held-out": func() error {
			c := testConfig()
			c.Seeds = 2
			_, err := NewTrainer(c, testModel(t, 1), groups, nil, testReference())
			return err
		},
	} {
		var e *InvalidError
		if err := f(); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRate(t *testing.T) {
	c := Config{LR: 2, FinalLR: 0.1, Warmup: 3}
	const total = 20
	for i, want := range map[int]float64{0: 0.5, 2: 1.5, 3: 2, total - 1: 0.2} {
		if got := c.rate(i, total); math.Abs(got-want) > 1e-12 {
			t.Errorf("rate of step %d = %g, want %g", i, got, want)
		}
	}
	for i := 4; i < total; i++ {
		if c.rate(i, total) >= c.rate(i-1, total) {
			t.Errorf("the rate does not fall at step %d", i)
		}
	}
}
