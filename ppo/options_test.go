package ppo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// TestTemperature: a tempered run starts with ratio 1 and KL 0, samples what a tempered pass says, and hands out a plain policy.
func TestTemperature(t *testing.T) {
	cfg := testConfig()
	cfg.Temperature = 0.7
	tr := collect(t, testTrainer(t, cfg))
	if tr.batch.kl != 0 {
		t.Errorf("KL at the start is %g", tr.batch.kl)
	}
	plain := tr.Policy().Score(tr.seqs(), model.WantLogprobs).Logprobs
	for i, row := range tr.policy.Score(tr.seqs(), model.WantLogprobs).Logprobs {
		if !reflect.DeepEqual(widen(row), tr.batch.episodes[i].logp) {
			t.Fatalf("episode %d: sampled with %v, a pass says %v", i, tr.batch.episodes[i].logp, row)
		}
		if row[0] == plain[i][0] {
			t.Errorf("episode %d: the temperature changes nothing", i)
		}
	}
	m, err := tr.Step(context.Background())
	if err != nil || m["ratio_max"] != 1 {
		t.Errorf("first ratio %g: %v", m["ratio_max"], err)
	}
}

// TestTruncate: responses end after the token, what lies behind is gone, and those without it have not ended.
func TestTruncate(t *testing.T) {
	for _, c := range []struct {
		ids   []int32
		rule  *TruncateConfig
		n     int
		ended bool
	}{
		{[]int32{5, 3, 5, 4}, &TruncateConfig{5, 1}, 3, true}, {[]int32{5, 3, 5, 4}, &TruncateConfig{5, 0}, 1, true},
		{[]int32{5, 3, 4}, &TruncateConfig{5, 1}, 3, false}, {[]int32{3, 0}, &TruncateConfig{5, 0}, 2, true}, {[]int32{3, 5}, nil, 2, false}, {nil, nil, 0, false},
	} {
		if n, ended := c.rule.cut(c.ids, 0); n != c.n || ended != c.ended {
			t.Errorf("%v with %+v: %d %v", c.ids, c.rule, n, ended)
		}
	}
	cfg := testConfig()
	cfg.Truncate = &TruncateConfig{Token: 5, After: 1}
	tr := collect(t, testTrainer(t, cfg))
	cut := 0
	for _, e := range tr.batch.episodes {
		response := e.seq.IDs[e.seq.Start:]
		for i, id := range response[:len(response)-1] {
			if id == 5 && i >= 1 {
				t.Errorf("%v goes on behind the token", response)
			}
		}
		if last := response[len(response)-1]; last == 5 && len(response) > 1 {
			cut++
		}
		if len(e.logp) != len(response) || len(e.ref) != len(response) || len(e.value) != len(response) {
			t.Errorf("%d tokens, %d log-probabilities, %d of the reference, %d values", len(response), len(e.logp), len(e.ref), len(e.value))
		}
	}
	if cut == 0 {
		t.Error("no response was cut: the test shows nothing")
	}
}

// TestScoring follows the divisor by hand: of all scores so far, or of the first iteration's.
func TestScoring(t *testing.T) {
	batches := [][]float64{{1, 3, 5, 9}, {-40, 40, 2, 8}}
	episodes := func(scores []float64) (out []episode) {
		for _, s := range scores {
			out = append(out, episode{score: s, ended: true})
		}
		return out
	}
	for _, scale := range []string{ScaleNone, ScaleRunning, ScaleReference} {
		s := scoring{score: ScoreConfig{Scale: scale, Clip: 1.5}, eos: EOSConfig{EOSSet, -1}}
		var seen []float64
		for k, b := range batches {
			seen = append(seen, b...)
			want := 1.0
			if scale == ScaleRunning || scale == ScaleReference && k == 0 {
				_, v := Moments([][]float64{seen})
				want = math.Sqrt(v)
			} else if scale == ScaleReference {
				_, v := Moments(batches[:1])
				want = math.Sqrt(v)
			}
			got, by := s.final(episodes(b))
			if math.Abs(by-want) > 1e-12 {
				t.Errorf("%s: batch %d is divided by %g, want %g", scale, k, by, want)
			}
			for i, x := range got {
				if w := min(max(b[i]/want, -1.5), 1.5); math.Abs(x-w) > 1e-12 {
					t.Errorf("%s: score %g becomes %g, want %g", scale, b[i], x, w)
				}
			}
		}
	}
	s := scoring{score: ScoreConfig{Scale: ScaleRunning}, eos: EOSConfig{EOSSet, -1}}
	if got, by := s.final(episodes([]float64{2, 2})); by != 1 || got[0] != 2 {
		t.Errorf("scores that do not vary: %v by %g", got, by)
	}
}

// TestPtxRatio: at the start the mix's gradient is exactly the wanted share of PPO's, and the sum of both is what the step takes.
func TestPtxRatio(t *testing.T) {
	grads := func(p PtxConfig) (*Trainer, gradient) {
		cfg := testConfig()
		cfg.Ptx = p
		tr := collect(t, testTrainer(t, cfg))
		g, err := tr.gradients(0)
		if err != nil {
			t.Fatal(err)
		}
		return tr, g
	}
	alone, _ := grads(PtxConfig{})
	norm := gradNorm(alone.policy)
	tr, g := grads(PtxConfig{Ratio: 0.5, Batch: 4})
	if got := g.metrics["ptx_grad_norm"] / norm; math.Abs(got-0.5) > 1e-4 {
		t.Errorf("the mix's gradient is %g of PPO's", got)
	}
	fixed, f := grads(PtxConfig{Coef: tr.ptxCoef, Batch: 4})
	for i, p := range tr.policy.Params() {
		for j, x := range p.Grad {
			if d := math.Abs(float64(x - fixed.policy.Params()[i].Grad[j])); d > 1e-5 {
				t.Fatalf("gradient of %s differs by %g from that with a fixed coefficient of %g", p.Name, d, tr.ptxCoef)
			}
		}
	}
	if f.metrics["ptx_coef"] != tr.ptxCoef {
		t.Errorf("coefficient %g, want %g", f.metrics["ptx_coef"], tr.ptxCoef)
	}
	var coefs []float64
	cfg := testConfig()
	cfg.Ptx = PtxConfig{Ratio: 0.5, Batch: 4}
	for _, m := range run(t, testTrainer(t, cfg)) {
		if c, ok := m["ptx_coef"]; ok && (len(coefs) == 0 || coefs[len(coefs)-1] != c) {
			coefs = append(coefs, c)
		}
	}
	if len(coefs) != cfg.Iterations {
		t.Errorf("the coefficient moved to %v in %d iterations", coefs, cfg.Iterations)
	}
}

// TestTargetKL: what is left of an iteration is left out when the policy has moved too far, and the next one goes on.
func TestTargetKL(t *testing.T) {
	cfg := testConfig()
	cfg.TargetKL, cfg.LR = 1e-6, 1e-2
	tr := testTrainer(t, cfg)
	all := run(t, tr)
	skipped, taken := 0, 0
	for _, m := range all {
		if m["skipped"] == 1 {
			skipped++
		} else if _, ok := m["policy_loss"]; ok {
			taken++
		}
	}
	if taken < cfg.Iterations || skipped == 0 || taken+skipped != cfg.Iterations*cfg.updates() {
		t.Errorf("%d steps taken, %d left out", taken, skipped)
	}
}

// TestKLOptions: the estimator is what is taken off the score, the loss term pulls the policy back.
func TestKLOptions(t *testing.T) {
	end := func(change func(c *Config)) (kl float64) {
		cfg := testConfig()
		cfg.Iterations, cfg.LR = 12, 1e-2
		cfg.KL.Coef = 0
		change(&cfg)
		for _, m := range run(t, testTrainer(t, cfg)) {
			if x, ok := m["kl"]; ok {
				kl = x
			}
		}
		return kl
	}
	free := end(func(*Config) {})
	for name, change := range map[string]func(c *Config){
		"k3 in the loss": func(c *Config) { c.KL.LossCoef = 5 },
		"k2 in the loss": func(c *Config) { c.KL.LossCoef, c.KL.LossForm = 5, KLK2 },
	} {
		if kl := end(change); !(kl < free/2) {
			t.Errorf("%s: KL %.3f, without %.3f", name, kl, free)
		}
	}
	for estimator, f := range map[string]func(d float64) float64{
		KLK1: func(d float64) float64 { return d },
		KLK2: func(d float64) float64 { return d * d / 2 },
		KLK3: func(d float64) float64 { return math.Exp(-d) - 1 + d },
	} {
		cfg := testConfig()
		cfg.LR, cfg.KL.Coef, cfg.KL.Estimator = 1e-2, 0.3, estimator
		tr := testTrainer(t, cfg)
		for tr.iteration == 0 {
			if _, err := tr.Step(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		collect(t, tr)
		far := 0.0
		for i, e := range tr.batch.episodes {
			want := cfg.EOS.finalScore(e.score, e.ended)
			for j, x := range e.logp {
				want -= 0.3 * f(x-e.ref[j])
				far = max(far, math.Abs(x-e.ref[j]))
			}
			got := 0.0
			for _, r := range tr.batch.rewards[i] {
				got += r
			}
			if math.Abs(got-want) > 1e-9 {
				t.Errorf("%s: episode %d has the reward %g, want %g", estimator, i, got, want)
			}
		}
		if far < 0.01 {
			t.Error("the policy has not moved: the test shows nothing")
		}
	}
}

// TestGoesBack: a guard that stops a run leaves the weights that sampled the last sound batch, resumed or not, and nothing more
// can be done.
func TestGoesBack(t *testing.T) {
	for name, change := range map[string]func(c *Config){
		"KL too large": func(c *Config) { c.LR, c.KL.Max = 3e-2, 0.2 },
		"ratio":        func(c *Config) { c.LR, c.Guard.Ratio, c.Clip, c.Epochs = 5e-2, 1.05, 5, 8 },
	} {
		cfg := testConfig()
		cfg.KL.Coef, cfg.Iterations, cfg.EMA = 0, 40, 0.5
		change(&cfg)
		tr := testTrainer(t, cfg)
		var good, value string
		var at int
		var err error
		dir := t.TempDir()
		for !tr.Done() {
			if tr.unit == cfg.chunks() {
				good, value, at = tr.Policy().Digest(), tr.Value().Digest(), tr.iteration
			}
			if _, err = tr.Step(context.Background()); err != nil {
				break
			}
			if err := tr.Save(dir); err != nil {
				t.Fatal(err)
			}
		}
		var h *HealthError
		if !errors.As(err, &h) || tr.Stopped() == nil {
			t.Fatalf("%s: the run was not stopped: %v", name, err)
		}
		if tr.Policy().Digest() != good || tr.Value().Digest() != value || tr.at != at {
			t.Errorf("%s: not the weights of iteration %d: %v", name, at, err)
		}
		if _, again := tr.Step(context.Background()); !errors.Is(again, ErrStopped) {
			t.Errorf("%s: a stopped run goes on: %v", name, again)
		}
		if err := tr.Save(dir); !errors.Is(err, ErrStopped) {
			t.Errorf("%s: a stopped run is saved: %v", name, err)
		}
		resumed := testTrainer(t, cfg)
		if err := resumed.Load(dir); err != nil {
			t.Fatal(err)
		}
		for err = nil; err == nil && !resumed.Done(); {
			_, err = resumed.Step(context.Background())
		}
		if !errors.As(err, &h) || resumed.Policy().Digest() != good {
			t.Errorf("%s: the resumed run goes back to other weights: %v", name, err)
		}
	}
}

// TestPresetsAreTheirPapers holds the published values.
func TestPresetsAreTheirPapers(t *testing.T) {
	for name, want := range map[string]string{
		"instructgpt": "512 64 1 1024 constant 10 1 0.95 0.2 0.02 0 0.992 0 set -1",
		"stiennon":    "512 512 4 48 linear 0 1 0.95 0.2 0.05 0 0 0 set -1",
		"ziegler":     "512 512 4 24 linear 0 1 0.95 0.2 0.15 6 0 0.7 set -1",
		"n-plus":      "512 512 4 53 linear 0 1 0.95 0.2 0.05 0 0 0.7 set -1",
	} {
		c, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := fmt.Sprint(c.Rollouts, c.Minibatch, c.Epochs, c.MaxTokens, " ", c.Schedule, " ", c.Warmup, c.Gamma, c.Lambda, c.Clip, c.KL.Coef, c.KL.Target, c.EMA, c.Temperature, " ", c.EOS.Missing, " ", c.EOS.Value)
		if got != want {
			t.Errorf("%s: %s, published %s", name, got, want)
		}
	}
	if len(Presets()) != 5 {
		t.Errorf("%v", Presets())
	}
}

// TestOptionsAreRefused names the field that cannot be used.
func TestOptionsAreRefused(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"kl.estimator": func(c *Config) { c.KL.Estimator = "k4" }, "kl.loss_form": func(c *Config) { c.KL.LossForm = KLK1 },
		"dual_clip": func(c *Config) { c.DualClip = 0.5 }, "score.scale": func(c *Config) { c.Score.Scale = "own" }, "score.clip": func(c *Config) { c.Score.Clip = -1 },
		"adam": func(c *Config) { c.Adam = "jax" }, "beta2": func(c *Config) { c.Beta2 = 1 }, "guard.ratio": func(c *Config) { c.Guard.Ratio = 0.9 },
		"truncate.after": func(c *Config) { c.Truncate = &TruncateConfig{5, -1} }, "temperature": func(c *Config) { c.Temperature = -1 },
		"ptx.ratio": func(c *Config) { c.Ptx = PtxConfig{Coef: 1, Ratio: 1, Batch: 1} }, "ptx.batch": func(c *Config) { c.Ptx.Ratio = 1 }, "target_kl": func(c *Config) { c.TargetKL = math.NaN() },
	} {
		c := DefaultConfig()
		change(&c)
		var bad *InvalidError
		if err := c.Validate(); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for field, change := range map[string]func(*GRPOConfig){
		"reduce": func(c *GRPOConfig) { c.Reduce = "" }, "kl_form": func(c *GRPOConfig) { c.KLForm = KLK1 }, "samples": func(c *GRPOConfig) { c.Samples = 1 },
		"beta": func(c *GRPOConfig) { c.Beta = -1 }, "schedule": func(c *GRPOConfig) { c.Schedule = "x" }, "ema": func(c *GRPOConfig) { c.EMA = 1 },
	} {
		c := DefaultGRPO()
		change(&c)
		var bad *InvalidError
		if err := c.Validate(); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("grpo %s: %v", field, err)
		}
	}
	for field, change := range map[string]func(*DPOConfig){
		"loss": func(c *DPOConfig) { c.Loss = "hinge" }, "smoothing": func(c *DPOConfig) { c.Loss, c.Smoothing = DPOIPO, 0.1 }, "beta": func(c *DPOConfig) { c.Beta = 0 },
	} {
		c := DefaultDPO()
		change(&c)
		var bad *InvalidError
		if err := c.Validate(); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("dpo %s: %v", field, err)
		}
	}
	pairs := testPairs(9)
	for want, p := range map[string][]Pair{"pairs": nil, "batch": pairs} {
		var bad *InvalidError
		if _, err := NewDPO(DefaultDPO(), testModel(t, 1), testModel(t, 1), p, nil); !errors.As(err, &bad) || bad.Field != want {
			t.Errorf("%d pairs: %v", len(p), err)
		}
	}
	empty := append(pairs[:8:8], Pair{Chosen: model.Sequence{IDs: []int32{1, 2}, Start: 2}, Rejected: pairs[0].Rejected})
	var bad *InvalidError
	if _, err := NewDPO(DefaultDPO().small(), testModel(t, 1), testModel(t, 1), empty, nil); !errors.As(err, &bad) || bad.Field != "pairs" {
		t.Errorf("an empty response: %v", err)
	}
}

// TestBestOfNChooses: the choice is the best of the draws, and the draws do not depend on how many prompts are asked at once.
func TestBestOfNChooses(t *testing.T) {
	choose := func(cfg BestOfNConfig, prompts PromptList) []Choice {
		b, err := NewBestOfN(cfg, testModel(t, 1), fives{1}, testEOS)
		if err != nil {
			t.Fatal(err)
		}
		out, err := b.Choose(context.Background(), prompts, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	cfg := BestOfNConfig{N: 8, MaxTokens: 6, Chunk: 2, EOS: EOSConfig{EOSSet, -1}, Seed: 3}
	all := choose(cfg, testPrompts)
	curve := BestOfCurve(all)
	for i, c := range all {
		best := math.Inf(-1)
		for _, s := range c.Scores {
			best = max(best, s)
		}
		if c.Score != best || len(c.Response) == 0 {
			t.Errorf("prompt %d: %g of %v", i, c.Score, c.Scores)
		}
	}
	for i := 1; i < len(curve); i++ {
		if curve[i]["best_of_score"] <= curve[i-1]["best_of_score"] || curve[i]["best_of_kl"] <= curve[i-1]["best_of_kl"] {
			t.Errorf("more draws are no better: %v", curve)
		}
	}
	if len(curve) != 4 || curve[3]["n"] != 8 {
		t.Errorf("curve %v", curve)
	}
	if first := choose(cfg, testPrompts[:2]); !reflect.DeepEqual(first, all[:2]) {
		t.Errorf("other choices for the first two prompts alone: %v and %v", first, all[:2])
	}
}
