package ppo

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
)

// Tolerances for float32 against float64, as measured with a float32 run of the reference itself.
const (
	tolValue = 1e-5
	tolGrad  = 1e-5
	tolAfter = 5e-4
)

func TestReferenceModelStep(t *testing.T) {
	folders, err := filepath.Glob(fixtures(t, "ppo", "model_*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	all, err := os.ReadDir(fixtures(t, "ppo"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.IsDir() && !strings.HasPrefix(f.Name(), "model_") {
			t.Errorf("case %s is not understood", f.Name())
		}
	}
	for _, dir := range folders {
		t.Run(filepath.Base(dir), func(t *testing.T) { modelCase(t, dir) })
	}
}

func load(t testing.TB, dir, file string, head bool) *model.Transformer {
	t.Helper()
	var c struct {
		Layers  int     `json:"n_layer"`
		Width   int     `json:"n_embd"`
		Heads   int     `json:"n_head"`
		Context int     `json:"n_positions"`
		Vocab   int     `json:"vocab_size"`
		Eps     float64 `json:"layer_norm_epsilon"`
		Type    string  `json:"model_type"`
	}
	readJSON(t, filepath.Join(dir, "config.json"), &c)
	if c.Type != "gpt2" {
		t.Fatalf("family %q is not understood", c.Type)
	}
	m, err := model.New(model.Config{Family: "gpt2", Layers: c.Layers, Width: c.Width, Heads: c.Heads, Context: c.Context, Vocab: c.Vocab, NormEps: c.Eps, BOS: -1, EOS: -1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if head {
		m.AddHead(model.HeadScore, 0)
	}
	weights, err := checkpoint.ReadTensors(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params() {
		w, ok := weights[p.Name]
		if !ok || len(w.F32) != len(p.Data) {
			t.Fatalf("%s: no weights for %s", file, p.Name)
		}
		copy(p.Data, w.F32)
	}
	return m
}

// modelCase runs the trainer's own update over a recorded rollout, two epochs of one minibatch.
func modelCase(t *testing.T, dir string) {
	type epoch struct {
		Policy    float64 `json:"policy_loss"`
		Value     float64 `json:"value_loss"`
		Ptx       float64 `json:"ptx_loss"`
		NormP     float64 `json:"grad_norm_policy"`
		NormV     float64 `json:"grad_norm_value"`
		ClipFrac  float64 `json:"clipfrac"`
		VClipFrac float64 `json:"vf_clipfrac"`
		ApproxKL  float64 `json:"approxkl"`
		K3        float64 `json:"kl_k3"`
		Ratio     float64 `json:"ratio_mean"`
	}
	var want struct {
		Params struct {
			KLCoef    float64 `json:"kl_coef"`
			Gamma     float64
			Lambda    float64 `json:"lam"`
			Whiten    bool    `json:"whiten_rewards"`
			Clip      float64 `json:"cliprange"`
			ClipValue float64 `json:"cliprange_value"`
			ValueCoef float64 `json:"vf_coef"`
			Ptx       float64 `json:"ptx_coef"`
		}
		Prompts   []int `json:"prompt_lengths"`
		Responses []int `json:"response_lengths"`
		Epochs    []epoch
		AdamW     struct {
			LR    float64
			Eps   float64
			Decay float64 `json:"weight_decay"`
		}
	}
	readJSON(t, filepath.Join(dir, "reference.json"), &want)
	ref, err := checkpoint.ReadTensors(filepath.Join(dir, "reference.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	rows := func(name string) [][]float64 { // the response part of a (B, T-1) tensor
		x := ref[name]
		out := make([][]float64, len(want.Prompts))
		for b, start := range want.Prompts {
			at := b*x.Shape[1] + start - 1
			out[b] = x.F64[at : at+want.Responses[b]]
		}
		return out
	}
	p := want.Params
	cfg := DefaultConfig()
	cfg.Iterations, cfg.Rollouts, cfg.Minibatch, cfg.Epochs = 1, len(want.Prompts), len(want.Prompts), len(want.Epochs)
	cfg.LR, cfg.ValueLR, cfg.AdamEps, cfg.Decay, cfg.ClipNorm = want.AdamW.LR, want.AdamW.LR, want.AdamW.Eps, want.AdamW.Decay, 1
	cfg.Gamma, cfg.Lambda, cfg.Clip, cfg.ValueClip, cfg.ValueCoef = p.Gamma, p.Lambda, p.Clip, p.ClipValue, p.ValueCoef
	cfg.KL.Coef, cfg.WhitenRewards, cfg.MaxTokens = p.KLCoef, p.Whiten, 9
	cfg.Ptx.Coef = p.Ptx
	var texts TextList
	if p.Ptx > 0 {
		ids := ref["ptx_input_ids"]
		for b := range ids.Shape[0] {
			s := model.Sequence{Start: 1}
			for _, id := range ids.I64[b*ids.Shape[1] : (b+1)*ids.Shape[1]] {
				s.IDs = append(s.IDs, int32(id))
			}
			texts = append(texts, s)
		}
		cfg.Ptx.Batch = len(texts)
	}
	policy := load(t, dir, "policy.safetensors", false)
	value := load(t, dir, "value.safetensors", true)
	value.TurnHead(model.HeadValue)
	tr, err := NewTrainer(cfg, policy, policy, value, length{}, PromptList{{1}}, -1, texts)
	if err != nil {
		t.Fatal(err)
	}
	ids := ref["input_ids"]
	for b, start := range want.Prompts {
		e := episode{seq: model.Sequence{Start: start}, ended: true, score: ref["scores"].F64[b],
			logp: rows("rollout_logprobs")[b], ref: rows("ref_logprobs")[b], value: rows("rollout_values")[b]}
		for _, id := range ids.I64[b*ids.Shape[1] : b*ids.Shape[1]+start+want.Responses[b]] {
			e.seq.IDs = append(e.seq.IDs, int32(id))
		}
		tr.batch.episodes = append(tr.batch.episodes, e)
	}
	if _, err := tr.finish(); err != nil && !isHealth(err) { // the recorded rollout is another policy's
		t.Fatal(err)
	}
	nearRows(t, "rewards", tr.batch.rewards, rows("rewards"))
	nearRows(t, "advantages", tr.batch.advantages, rows("advantages"))
	nearRows(t, "returns", tr.batch.returns, rows("returns"))
	for i, row := range tr.policy.Score(tr.seqs(), model.WantLogprobs).Logprobs {
		for j, x := range row {
			if d := math.Abs(float64(x) - rows("new_logprobs")[i][j]); d > tolValue {
				t.Errorf("log-probability [%d][%d] off by %g", i, j, d)
			}
		}
	}
	for i, row := range tr.value.Score(tr.seqs(), model.WantValues).Values {
		for j, x := range row {
			if d := math.Abs(float64(x) - rows("new_values")[i][j]); d > tolValue {
				t.Errorf("value [%d][%d] off by %g", i, j, d)
			}
		}
	}
	close := func(what string, got, want, tol float64) {
		t.Helper()
		if !(math.Abs(got-want) <= tol*(1+math.Abs(want))) {
			t.Errorf("%s = %g, want %g", what, got, want)
		}
	}
	for u, e := range want.Epochs {
		g, err := tr.gradients(u)
		if err != nil && !isHealth(err) {
			t.Fatal(err)
		}
		if u == 0 {
			for _, q := range tr.policy.Params() {
				if d := maxDiff(q.Name, q.Grad, ref["grad.policy."+q.Name].F64, true); !(d <= tolGrad) {
					t.Errorf("gradient of policy %s off by %g", q.Name, d)
				}
			}
			for _, q := range tr.value.Params() {
				if d := maxDiff(q.Name, q.Grad, ref["grad.value."+scoreName(q.Name)].F64, true); !(d <= tolGrad) {
					t.Errorf("gradient of critic %s off by %g", q.Name, d)
				}
			}
		}
		if err := tr.apply(g); err != nil {
			t.Fatal(err)
		}
		m := g.metrics
		close("policy loss", m["policy_loss"], e.Policy, 1e-5)
		close("value loss", m["value_loss"], e.Value, 1e-5)
		if p.Ptx > 0 {
			close("ptx loss", m["ptx_loss"], e.Ptx, 1e-5)
		}
		close("clipfrac", m["clipfrac"], e.ClipFrac, 1e-9)
		close("value clipfrac", m["value_clipfrac"], e.VClipFrac, 1e-9)
		close("approxkl", m["approxkl"], e.ApproxKL, 1e-5)
		close("kl k3", m["kl_k3"], e.K3, 1e-5)
		close("ratio", m["ratio_mean"], e.Ratio, 1e-5)
		close("policy norm", m["grad_norm"], e.NormP, 1e-4)
		close("critic norm", m["value_grad_norm"], e.NormV, 1e-4)
	}
	for _, q := range tr.policy.Params() {
		if d := maxDiff(q.Name, q.Data, ref["after.policy."+q.Name].F64, false); !(d <= tolAfter) {
			t.Errorf("policy %s off by %g after two epochs", q.Name, d)
		}
	}
	for _, q := range tr.value.Params() {
		if d := maxDiff(q.Name, q.Data, ref["after.value."+scoreName(q.Name)].F64, false); !(d <= tolAfter) {
			t.Errorf("critic %s off by %g after two epochs", q.Name, d)
		}
	}
}

func scoreName(name string) string { return strings.Replace(name, "value.", "score.", 1) }

// maxDiff leaves out the key part of attention biases where keys is false: its gradient is zero in theory, so that Adam
// turns rounding noise into steps.
func maxDiff(name string, got []float32, want []float64, keys bool) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	worst := 0.0
	c := len(got) / 3
	for i := range got {
		if !keys && strings.HasSuffix(name, "c_attn.bias") && i >= c && i < 2*c {
			continue
		}
		worst = math.Max(worst, math.Abs(float64(got[i])-want[i]))
	}
	return worst
}
