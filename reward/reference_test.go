package reward

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
	tolReward = 5e-6
	tolGrad   = 5e-6
	tolAfter  = 5e-4
)

func readTensors(t testing.TB, path string) map[string]checkpoint.Tensor {
	t.Helper()
	all, err := checkpoint.ReadTensors(path)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// gpt2Config reads a Hugging Face config.json of family gpt2.
func gpt2Config(t testing.TB, path string) model.Config {
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
	readJSON(t, path, &c)
	if c.Type != "gpt2" {
		t.Fatalf("%s: family %q is not understood", path, c.Type)
	}
	return model.Config{Family: "gpt2", Layers: c.Layers, Width: c.Width, Heads: c.Heads, Context: c.Context, Vocab: c.Vocab, NormEps: c.Eps, BOS: -1, EOS: -1}
}

func fill(t testing.TB, m *model.Transformer, weights map[string]checkpoint.Tensor) {
	t.Helper()
	for _, p := range m.Params() {
		w, ok := weights[p.Name]
		if !ok || len(w.F32) != len(p.Data) {
			t.Fatalf("no weights for %s", p.Name)
		}
		copy(p.Data, w.F32)
	}
}

// maxDiff leaves out the key part of attention biases where keys is false: its gradient is zero in theory, so that Adam
// turns rounding noise into steps.
func maxDiff(name string, got []float32, want []float64, keys bool) float64 {
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

func TestReferenceRewardModel(t *testing.T) {
	folders, err := os.ReadDir(fixtures())
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, f := range folders {
		if !f.IsDir() {
			continue
		}
		cases++
		t.Run(f.Name(), func(t *testing.T) { referenceCase(t, fixtures(f.Name())) })
	}
	if cases == 0 {
		t.Fatal("no cases")
	}
}

func referenceCase(t *testing.T, dir string) {
	var want struct {
		RankLists  [][]int    `json:"rank_lists"`
		PerRanking []*float64 `json:"per_ranking_loss"`
		Loss       float64
		StepLosses []float64 `json:"step_losses"`
		StepNorms  []float64 `json:"step_grad_norms_before_clip"`
		Lengths    []int
		AdamW      struct {
			LR    float64
			Betas [2]float64
			Eps   float64
			Decay float64 `json:"weight_decay"`
		}
	}
	readJSON(t, filepath.Join(dir, "reference.json"), &want)
	ref := readTensors(t, filepath.Join(dir, "reference.safetensors"))
	m, err := model.New(gpt2Config(t, filepath.Join(dir, "config.json")), 0)
	if err != nil {
		t.Fatal(err)
	}
	m.AddHead(model.HeadScore, 0)
	fill(t, m, readTensors(t, filepath.Join(dir, "model.safetensors")))

	ids, width := ref["input_ids"].I64, ref["input_ids"].Shape[1]
	var groups []Group
	row, perRanking, decided := 0, 0.0, 0
	for i, ranks := range want.RankLists {
		g := Group{Rankings: [][]int{ranks}}
		for range ranks {
			s := model.Sequence{Start: 1}
			for _, id := range ids[row*width : row*width+want.Lengths[row]] {
				s.IDs = append(s.IDs, int32(id))
			}
			g.Sequences = append(g.Sequences, s)
			row++
		}
		if want.PerRanking[i] != nil {
			perRanking += *want.PerRanking[i]
			decided++
			groups = append(groups, g) // a ranking of ties alone is left out of training
		}
	}
	if got := perRanking / float64(decided); math.Abs(got-want.Loss) > 1e-12 {
		t.Fatalf("the case's own losses do not fit: %g, %g", got, want.Loss)
	}
	var rewards []float64
	for _, r := range m.Score(flatten(groups), model.WantScore).Score {
		rewards = append(rewards, float64(r))
	}
	if len(groups) == len(want.RankLists) {
		for i, r := range rewards {
			if d := math.Abs(r - ref["rewards"].F64[i]); d > tolReward {
				t.Errorf("reward %d = %g, off by %g", i, r, d)
			}
		}
	}

	cfg := DefaultConfig()
	cfg.Decay, cfg.Clip = want.AdamW.Decay, 1
	tr := &Trainer{cfg: cfg, m: m, opt: newOptimizer(cfg)}
	tr.opt.Beta1, tr.opt.Beta2, tr.opt.Eps = float32(want.AdamW.Betas[0]), float32(want.AdamW.Betas[1]), float32(want.AdamW.Eps)
	for step := range want.StepLosses {
		loss := tr.accumulate(groups).loss
		if d := math.Abs(loss - want.StepLosses[step]); d > 2e-6 {
			t.Errorf("loss of step %d off by %g", step, d)
		}
		if step == 0 {
			for _, p := range m.Params() {
				if d := maxDiff(p.Name, p.Grad, ref["grad."+p.Name].F64, true); !(d <= tolGrad) {
					t.Errorf("gradient of %s off by %g", p.Name, d)
				}
			}
		}
		norm, err := tr.opt.Step(m, float32(want.AdamW.LR))
		if err != nil {
			t.Fatal(err)
		}
		if d := math.Abs(norm - want.StepNorms[step]); d > 1e-4*(1+norm) {
			t.Errorf("gradient norm of step %d off by %g", step, d)
		}
	}
	for _, p := range m.Params() {
		tol := tolAfter
		if p.Name == "ln_f.bias" {
			// It shifts all rewards alike, so that its gradient is zero in theory (differences of rewards are all that counts)
			// and Adam turns rounding noise into steps, here as in the reference.
			tol = 3 * want.AdamW.LR
		}
		if d := maxDiff(p.Name, p.Data, ref["after3."+p.Name].F64, false); !(d <= tol) {
			t.Errorf("%s off by %g after three steps", p.Name, d)
		}
	}
}
