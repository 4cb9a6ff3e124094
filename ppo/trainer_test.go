package ppo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
)

// The little world of these tests: 12 tokens, 0 ends a response, and a response is worth the share of its tokens that are 5.
const (
	testVocab = 12
	testEOS   = 0
)

type fives struct{ sign float64 }

func (f fives) Score(_ context.Context, seqs []model.Sequence) ([]float64, error) {
	out := make([]float64, len(seqs))
	for i, s := range seqs {
		for _, id := range s.IDs[s.Start:] {
			if id == 5 {
				out[i] += f.sign * 4 / float64(len(s.IDs)-s.Start)
			}
		}
	}
	return out, nil
}

func (f fives) Digest() string { return map[bool]string{true: "fives", false: "no fives"}[f.sign > 0] }

// length scores all alike; the reference cases bring their own scores.
type length struct{}

func (length) Score(_ context.Context, seqs []model.Sequence) ([]float64, error) {
	return make([]float64, len(seqs)), nil
}
func (length) Digest() string { return "length" }

func isHealth(err error) bool {
	var h *HealthError
	return errors.As(err, &h)
}

func testModel(t testing.TB, seed uint64) *model.Transformer {
	t.Helper()
	m, err := model.New(model.Config{Family: "gpt2", Vocab: testVocab, Context: 16, Layers: 1, Width: 16, Heads: 2, BOS: -1, EOS: testEOS}, seed)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func testConfig() Config {
	c := DefaultConfig()
	c.Iterations, c.Rollouts, c.Minibatch, c.Epochs, c.Chunk, c.MaxTokens = 4, 24, 10, 2, 9, 6
	c.LR, c.ValueLR, c.KL.Coef, c.Seed = 3e-3, 3e-3, 0.05, 7
	return c
}

var testPrompts = PromptList{{1, 2}, {1, 3}, {1, 4, 4}, {1}, {2, 7}}

func testTexts() (texts TextList) {
	for i := range 5 {
		texts = append(texts, model.Sequence{IDs: []int32{1, int32(2 + i), 3, 4, 0}, Start: 1})
	}
	return texts
}

func testTrainer(t testing.TB, cfg Config) *Trainer {
	t.Helper()
	policy, value := testModel(t, 1), testModel(t, 2)
	value.AddHead(model.HeadValue, 3)
	tr, err := NewTrainer(cfg, policy, policy, value, fives{1}, testPrompts, testEOS, testTexts())
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// collect does the rollouts of the iteration.
func collect(t testing.TB, tr *Trainer) *Trainer {
	t.Helper()
	for tr.unit < tr.cfg.chunks() {
		if _, err := tr.Step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

// run does all units and collects the metrics.
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

// configs are the ways of running that a state must survive.
func configs() map[string]Config {
	plain := testConfig()
	all := plain
	all.KL.Target, all.KL.Horizon = 0.02, 100 // near what is measured, so that each KL counts
	all.EMA, all.Warmup, all.Schedule, all.Entropy = 0.9, 2, "cosine", 0.01
	all.WhitenRewards, all.Micro = true, 40
	all.Ptx = PtxConfig{Coef: 0.5, Batch: 3}
	ziegler := plain
	ziegler.WhitenRewards, ziegler.WhitenPerMinibatch = true, true
	return map[string]Config{"plain": plain, "everything": all, "ziegler": ziegler}
}

// TestResume saves after every unit of work, loads into a fresh trainer and goes on: weights, metrics and samples must be
// those of the undisturbed run, to the bit.
func TestResume(t *testing.T) {
	for name, cfg := range configs() {
		t.Run(name, func(t *testing.T) {
			whole := testTrainer(t, cfg)
			want := run(t, whole)
			_, total := whole.Progress()
			if len(want) != total {
				t.Fatalf("%d units, Progress says %d", len(want), total)
			}
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
			if broken.Policy().Digest() != whole.Policy().Digest() || broken.Value().Digest() != whole.Value().Digest() {
				t.Error("the resumed run ends with other weights")
			}
			if !reflect.DeepEqual(broken.Samples(), whole.Samples()) {
				t.Error("the resumed run kept other samples")
			}
			if !broken.Done() {
				t.Error("the resumed run is not done")
			}
		})
	}
}

// TestThreads wants the same weights whatever the number of threads.
func TestThreads(t *testing.T) {
	before := kernel.Threads()
	defer kernel.SetThreads(before)
	var digests []string
	for _, n := range []int{1, 2, 3} {
		kernel.SetThreads(n)
		tr := testTrainer(t, configs()["everything"])
		run(t, tr)
		digests = append(digests, tr.Policy().Digest()+tr.Value().Digest())
	}
	if digests[0] != digests[1] || digests[0] != digests[2] {
		t.Error("the weights depend on the number of threads")
	}
}

func TestResumeRefusesAnother(t *testing.T) {
	dir := t.TempDir()
	tr := testTrainer(t, testConfig())
	for range 4 {
		if _, err := tr.Step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Save(dir); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(x *inputs){
		"configuration":    func(x *inputs) { x.cfg.LR = 2e-3 },
		"reference policy": func(x *inputs) { x.reference = testModel(t, 9) },
		"reward model":     func(x *inputs) { x.scorer = fives{-1} },
		"prompt set":       func(x *inputs) { x.prompts = testPrompts[1:] },
		"pretraining text": func(x *inputs) { x.texts = testTexts()[1:] },
		"end token":        func(x *inputs) { x.eos = 1 },
		"model shapes":     func(x *inputs) { x.value.AddHeadBias() },
	} {
		x := inputs{testConfig(), testModel(t, 1), testModel(t, 1), testModel(t, 2), fives{1}, testPrompts, testTexts(), testEOS}
		x.value.AddHead(model.HeadValue, 3)
		change(&x)
		other, err := NewTrainer(x.cfg, x.policy, x.reference, x.value, x.scorer, x.prompts, x.eos, x.texts)
		if err != nil {
			t.Fatal(err)
		}
		before := other.Policy().Digest()
		if err := other.Load(dir); !errors.Is(err, ErrForeignState) || !strings.Contains(err.Error(), what) {
			t.Errorf("another %s: %v", what, err)
		}
		if step, _ := other.Progress(); step != 0 || other.Policy().Digest() != before {
			t.Errorf("another %s: the refused state left something behind", what)
		}
	}
	x := testTrainer(t, testConfig())
	x.ids.Kernel = "another"
	if err := x.Load(dir); !errors.Is(err, ErrForeignState) {
		t.Errorf("another class of kernels: %v", err)
	}
	x.AnyKernel = true
	if err := x.Load(dir); err != nil {
		t.Errorf("another class of kernels, allowed: %v", err)
	}
}

// inputs are what a trainer is made of.
type inputs struct {
	cfg                      Config
	policy, reference, value *model.Transformer
	scorer                   Scorer
	prompts                  Prompts
	texts                    TextList
	eos                      int32
}

// TestLearns lets the policy find out what is rewarded.
func TestLearns(t *testing.T) {
	cfg := testConfig()
	cfg.Iterations, cfg.Rollouts, cfg.Minibatch, cfg.Epochs, cfg.Chunk = 30, 64, 32, 2, 64
	cfg.LR, cfg.ValueLR = 1e-2, 1e-2
	all := run(t, testTrainer(t, cfg))
	var scores, kls []float64
	for _, m := range all {
		if s, ok := m["score"]; ok {
			scores, kls = append(scores, s), append(kls, m["kl"])
		}
	}
	if len(scores) != cfg.Iterations {
		t.Fatalf("%d iterations told a score", len(scores))
	}
	first, last := scores[0], scores[len(scores)-1]
	if last < first+1.5 {
		t.Errorf("score went from %.2f to %.2f", first, last)
	}
	if math.Abs(kls[0]) > 1e-5 || kls[len(kls)-1] < 0.3 {
		t.Errorf("KL went from %g to %g", kls[0], kls[len(kls)-1])
	}
}

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

func TestEOSRule(t *testing.T) {
	for _, c := range []struct {
		rule  EOSConfig
		ended bool
		want  float64
	}{
		{EOSConfig{EOSSet, -1}, true, 3}, {EOSConfig{EOSSet, -1}, false, -1},
		{EOSConfig{EOSSubtract, 1}, true, 3}, {EOSConfig{EOSSubtract, 1}, false, 2},
		{EOSConfig{EOSKeep, 9}, false, 3},
	} {
		if got := c.rule.finalScore(3, c.ended); got != c.want {
			t.Errorf("%+v, ended %v: %g, want %g", c.rule, c.ended, got, c.want)
		}
	}
}

// TestMicro checks that taking a minibatch in parts changes rounding only.
func TestMicro(t *testing.T) {
	grads := func(micro int) (*Trainer, gradient) {
		cfg := testConfig()
		cfg.Entropy, cfg.Ptx = 0.01, PtxConfig{Coef: 0.3, Batch: 4}
		tr := testTrainer(t, cfg)
		collect(t, tr).cfg.Micro = micro
		g, err := tr.gradients(0)
		if err != nil {
			t.Fatal(err)
		}
		return tr, g
	}
	a, ga := grads(1 << 20)
	b, gb := grads(7)
	if math.Abs(ga.policy.Loss-gb.policy.Loss) > 1e-6 || math.Abs(ga.value.Loss-gb.value.Loss) > 1e-6 {
		t.Errorf("losses %v and %v", ga, gb)
	}
	for i, p := range a.policy.Params() {
		for j, x := range p.Grad {
			if d := math.Abs(float64(x - b.policy.Params()[i].Grad[j])); d > 1e-6 {
				t.Fatalf("gradient of %s differs by %g", p.Name, d)
			}
		}
	}
	for i, p := range a.value.Params() {
		for j, x := range p.Grad {
			if d := math.Abs(float64(x - b.value.Params()[i].Grad[j])); d > 1e-6 {
				t.Fatalf("gradient of the critic's %s differs by %g", p.Name, d)
			}
		}
	}
}

// TestZieglerIsTheSameInOneMinibatch: whitening per minibatch and per rollout batch differ only where there are several.
func TestZieglerIsTheSameInOneMinibatch(t *testing.T) {
	grads := func(perMinibatch bool) gradient {
		cfg := testConfig()
		cfg.Minibatch, cfg.WhitenRewards, cfg.WhitenPerMinibatch = cfg.Rollouts, true, perMinibatch
		g, err := collect(t, testTrainer(t, cfg)).gradients(0)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	a, b := grads(false), grads(true)
	if math.Abs(a.policy.Loss-b.policy.Loss) > 1e-9 || math.Abs(a.value.Loss-b.value.Loss) > 1e-9 {
		t.Errorf("%v and %v", a, b)
	}
}

// TestRandomnessMoves wants other prompts, samples and orders where something else is drawn.
func TestRandomnessMoves(t *testing.T) {
	cfg := testConfig()
	cfg.LR, cfg.ValueLR = 0, 0
	tr := collect(t, testTrainer(t, cfg))
	n := len(testPrompts)
	for pass := range 4 {
		seen := map[*int32]bool{}
		for i := range n {
			seen[&tr.prompt(pass*n + i)[0]] = true
		}
		if len(seen) != n {
			t.Errorf("pass %d uses %d of %d prompts", pass, len(seen), n)
		}
	}
	orders := map[string]bool{}
	for pass := range 8 {
		order := ""
		for i := range n {
			order += fmt.Sprint(tr.prompt(pass*n+i), " ")
		}
		orders[order] = true
	}
	if len(orders) < 5 {
		t.Errorf("%d orders of the prompts in 8 passes", len(orders))
	}
	for i, e := range tr.batch.episodes {
		if !slices.Equal(e.seq.IDs[:e.seq.Start], tr.prompt(i)) {
			t.Errorf("episode %d answers %v", i, e.seq.IDs[:e.seq.Start])
		}
	}
	first, order := tr.batch.episodes, fmt.Sprint(tr.minibatch(0))
	if order == fmt.Sprint(tr.minibatch(tr.cfg.updates()/tr.cfg.Epochs)) {
		t.Error("the second epoch has the order of the first")
	}
	for tr.iteration == 0 {
		if _, err := tr.Step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	collect(t, tr)
	if order == fmt.Sprint(tr.minibatch(0)) {
		t.Error("the second iteration has the order of the first")
	}
	same := func(a, b []episode) (n int) {
		for i := range min(len(a), len(b)) {
			if slices.Equal(a[i].seq.IDs[a[i].seq.Start:], b[i].seq.IDs[b[i].seq.Start:]) {
				n++
			}
		}
		return n
	}
	if k := same(first, tr.batch.episodes); k > len(first)/2 {
		t.Errorf("%d of %d responses of the second iteration are those of the first", k, len(first))
	}
	if c := tr.cfg.Chunk; same(first[:c], first[c:2*c]) > c/2 {
		t.Error("the second chunk repeats the first")
	}
	for i, e := range tr.batch.episodes {
		if !slices.Equal(e.seq.IDs[:e.seq.Start], tr.prompt(tr.cfg.Rollouts+i)) {
			t.Errorf("episode %d of the second iteration answers %v", i, e.seq.IDs[:e.seq.Start])
		}
	}
}

func TestEOSRuleReachesTheRewards(t *testing.T) {
	tr := collect(t, testTrainer(t, testConfig()))
	cut := 0
	for i, e := range tr.batch.episodes {
		sum := 0.0
		for _, r := range tr.batch.rewards[i] {
			sum += r
		}
		want := e.score // the KL is 0 in the first iteration
		if !e.ended {
			want = -1
			cut++
		}
		if math.Abs(sum-want) > 1e-5 {
			t.Errorf("episode %d, ended %v: rewards add up to %g, want %g", i, e.ended, sum, want)
		}
	}
	if cut == 0 || cut == len(tr.batch.episodes) {
		t.Fatalf("%d of %d responses were cut; the test needs both kinds", cut, len(tr.batch.episodes))
	}
}

func TestAdaptiveKLMoves(t *testing.T) {
	cfg := testConfig()
	cfg.KL.Target, cfg.KL.Horizon = 5, 100
	var coefs []float64
	for _, m := range run(t, testTrainer(t, cfg)) {
		if c, ok := m["kl_coef"]; ok {
			coefs = append(coefs, c)
		}
	}
	for i := 1; i < len(coefs); i++ { // far below the target: minus a fifth of 24 episodes in a hundred
		if want := coefs[i-1] * (1 - 0.2*24/100); math.Abs(coefs[i]-want) > 1e-12 {
			t.Errorf("coefficient %d = %g, want %g", i, coefs[i], want)
		}
	}
}

// TestEMA follows the averaged weights by hand.
func TestEMA(t *testing.T) {
	cfg := testConfig()
	cfg.EMA = 0.75
	tr := testTrainer(t, cfg)
	want := tr.policy.Clone()
	for !tr.Done() {
		sampling := tr.unit < cfg.chunks()
		if _, err := tr.Step(context.Background()); err != nil {
			t.Fatal(err)
		}
		if sampling {
			continue
		}
		for i, p := range want.Params() {
			for j, w := range tr.policy.Params()[i].Data {
				p.Data[j] = 0.75*p.Data[j] + 0.25*w
			}
		}
	}
	if tr.Policy().Digest() != want.Digest() || tr.policy.Digest() == want.Digest() {
		t.Error("Policy does not return the averaged weights")
	}
}

func TestRate(t *testing.T) {
	c := Config{Iterations: 10, Warmup: 4, Schedule: "constant"}
	for i, want := range map[int]float64{0: 0.2, 2: 1.1, 4: 2, 9: 2} {
		if got := c.rate(2, i); math.Abs(got-want) > 1e-12 {
			t.Errorf("rate %d = %g, want %g", i, got, want)
		}
	}
	c.Warmup, c.Schedule = 0, "linear"
	if c.rate(2, 0) != 2 || math.Abs(c.rate(2, 5)-1) > 1e-12 {
		t.Error("linear schedule")
	}
	c.Schedule = "cosine"
	if c.rate(2, 0) != 2 || math.Abs(c.rate(2, 5)-1.1) > 1e-12 {
		t.Error("cosine schedule")
	}
}

func TestCritic(t *testing.T) {
	m := testModel(t, 4)
	m.AddHead(model.HeadScore, 5)
	v, err := Critic(m, 0.7, 2)
	if err != nil {
		t.Fatal(err)
	}
	seq := []model.Sequence{{IDs: []int32{1, 2, 3}, Start: 3}}
	last := []model.Sequence{{IDs: []int32{1, 2, 3, 4}, Start: 3}} // the state before token 3 is the last of seq
	want := (float64(m.Score(seq, model.WantScore).Score[0]) - 0.7) / 2
	got := float64(v.Score(last, model.WantValues).Values[0][0])
	if math.Abs(got-want) > 1e-6 {
		t.Errorf("value %g, normalised reward %g", got, want)
	}
	if m.ScalarHead() != model.HeadScore {
		t.Error("the reward model was changed")
	}
	if _, err := Critic(testModel(t, 4), 0, 1); err == nil {
		t.Error("a model without a score head became a critic")
	}
}

func TestMinibatchesCoverAll(t *testing.T) {
	tr := testTrainer(t, testConfig())
	per := tr.cfg.updates() / tr.cfg.Epochs
	for epoch := range tr.cfg.Epochs {
		seen := map[int]int{}
		for k := range per {
			for _, i := range tr.minibatch(epoch*per + k) {
				seen[i]++
			}
		}
		if len(seen) != tr.cfg.Rollouts {
			t.Errorf("epoch %d sees %d of %d episodes", epoch, len(seen), tr.cfg.Rollouts)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, name := range []string{"small", "instructgpt", "ziegler"} {
		c, err := Preset(name)
		if err != nil || c.Validate() != nil {
			t.Errorf("preset %s: %v %v", name, err, c.Validate())
		}
	}
	if _, err := Preset("gpt5"); err == nil {
		t.Error("unknown preset")
	}
	for field, change := range map[string]func(*Config){
		"iterations": func(c *Config) { c.Iterations = 0 }, "minibatch": func(c *Config) { c.Minibatch = c.Rollouts + 1 },
		"kl.coef": func(c *Config) { c.KL.Coef = -0.1 }, "lr": func(c *Config) { c.LR = math.NaN() },
		"schedule": func(c *Config) { c.Schedule = "never" }, "eos.missing": func(c *Config) { c.EOS.Missing = "" },
		"ptx.batch": func(c *Config) { c.Ptx.Coef = 1 }, "lambda": func(c *Config) { c.Lambda = 1.1 },
		"kl.horizon": func(c *Config) { c.KL.Target, c.KL.Horizon = 6, 0 }, "ema": func(c *Config) { c.EMA = 1 },
	} {
		c := DefaultConfig()
		change(&c)
		var bad *InvalidError
		if err := c.Validate(); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
