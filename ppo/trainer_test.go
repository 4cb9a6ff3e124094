package ppo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/rankloop/rankloop/model"
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
		"kl.horizon": func(c *Config) { c.KL.Target, c.KL.Horizon = 6, 0 }, "ema": func(c *Config) { c.EMA = 1 }, "critic": func(c *Config) { c.Critic = "both" },
	} {
		c := DefaultConfig()
		change(&c)
		var bad *InvalidError
		if err := c.Validate(); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
