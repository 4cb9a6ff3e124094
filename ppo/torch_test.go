package ppo

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/rankloop/rankloop/model"
)

// torchNumbers are those of testdata/_gen/objectives.py.
type torchNumbers struct {
	Old, Ref, New [][]float64
	KL            map[string]struct {
		Terms [][]float64
		Loss  float64
		Grad  [][]float64
	}
	DualClip struct {
		New, Advantages [][]float64
		Dual, Clip      float64
		Loss            float64
		Grad            [][]float64
	} `json:"dual_clip"`
	Scores     []float64
	GroupStd   []float64 `json:"group_std"`
	GroupPlain []float64 `json:"group_plain"`
	GRPO       []struct {
		Std          bool
		Reduce, Form string
		Beta, Clip   float64
		MaxTokens    int `json:"max_tokens"`
		Loss         float64
		Grad         [][]float64
	}
	RLOO struct {
		Beta       float64
		KL         []float64
		Advantages []float64
		Reinforce  [][]float64
		Free, Clip struct {
			Loss float64
			Grad [][]float64
		}
	}
	Pairs struct {
		Chosen, Rejected []float64
		RefChosen        []float64 `json:"ref_chosen"`
		RefRejected      []float64 `json:"ref_rejected"`
	}
	DPO []struct {
		Form             string `json:"loss_form"`
		Beta, Smoothing  float64
		Loss             float64
		Chosen, Rejected []float64
		Accuracy, Margin float64
	}
	BestOf struct{ Scores, Means []float64 } `json:"best_of"`
	Adam   struct {
		Start                 []float64
		Beta1, Beta2, Eps, LR float64
		Steps                 []struct{ Grad, After []float64 }
	} `json:"adam_tensorflow"`
}

func readTorch(t testing.TB) (n torchNumbers) {
	readJSON(t, filepath.Join("testdata", "objectives.json"), &n)
	return n
}

func nearRow(t *testing.T, what string, got, want []float64) {
	t.Helper()
	nearRows(t, what, [][]float64{got}, [][]float64{want})
}

func TestTorchKL(t *testing.T) {
	n := readTorch(t)
	for name, want := range n.KL {
		nearRows(t, name, KL(n.New, n.Ref, name), want.Terms)
		if name == KLK1 {
			continue
		}
		loss, grad := KLLoss(n.New, n.Ref, name)
		near(t, name+" loss", loss, want.Loss)
		nearRows(t, name+" gradient", grad, want.Grad)
	}
	if len(n.KL) != 3 {
		t.Errorf("%d estimators", len(n.KL))
	}
}

func TestTorchDualClip(t *testing.T) {
	n := readTorch(t)
	d := n.DualClip
	loss, grad, s := DualClipLoss(d.New, n.Old, d.Advantages, d.Clip, d.Dual)
	near(t, "loss", loss, d.Loss)
	nearRows(t, "gradient", grad, d.Grad)
	if plain, _, p := PolicyLoss(d.New, n.Old, d.Advantages, d.Clip); plain <= loss || s.ClipFrac <= p.ClipFrac {
		t.Error("no token is far enough for the second clip: the case shows nothing")
	}
}

func TestTorchGRPO(t *testing.T) {
	n := readTorch(t)
	for i, a := range GroupAdvantages(n.Scores, 3, true) { // groupEps stands beside the deviation
		if math.Abs(a-n.GroupStd[i]) > 1e-6 {
			t.Errorf("advantage %d = %g, want %g", i, a, n.GroupStd[i])
		}
	}
	nearRow(t, "advantages without std", GroupAdvantages(n.Scores, 3, false), n.GroupPlain)
	if len(n.GRPO) != 12 {
		t.Fatalf("%d cases", len(n.GRPO))
	}
	for _, c := range n.GRPO {
		a := n.GroupPlain
		if c.Std {
			a = n.GroupStd
		}
		cfg := GRPOConfig{Clip: c.Clip, Beta: c.Beta, Reduce: c.Reduce, KLForm: c.Form, GroupConfig: GroupConfig{MaxTokens: c.MaxTokens}}
		loss, kl, grad, s := GRPOLoss(n.New, n.Old, n.Ref, a, cfg)
		near(t, "GRPO loss "+c.Reduce+c.Form, loss, c.Loss)
		near(t, "its parts", s.Loss+c.Beta*kl, c.Loss)
		nearRows(t, "GRPO gradient "+c.Reduce+c.Form, grad, c.Grad)
	}
}

func TestTorchRLOO(t *testing.T) {
	n := readTorch(t)
	kl := make([]float64, len(n.Old))
	for i, row := range KL(n.Old, n.Ref, KLK1) {
		for _, x := range row {
			kl[i] += x
		}
	}
	nearRow(t, "KL", kl, n.RLOO.KL)
	cfg := RLOOConfig{Beta: n.RLOO.Beta, GroupConfig: GroupConfig{Samples: 3, Prompts: 2}}
	a := rloo{cfg}.judge(n.Scores, kl, map[string]float64{})
	nearRow(t, "advantages", a, n.RLOO.Advantages)
	_, grad, _ := RLOOLoss(n.Old, n.Old, a, 0.2)
	nearRows(t, "REINFORCE", grad, n.RLOO.Reinforce)
	loss, grad, _ := RLOOLoss(n.New, n.Old, a, 0)
	near(t, "loss without clip", loss, n.RLOO.Free.Loss)
	nearRows(t, "gradient without clip", grad, n.RLOO.Free.Grad)
	loss, grad, s := RLOOLoss(n.New, n.Old, a, 0.2)
	near(t, "loss", loss, n.RLOO.Clip.Loss)
	nearRows(t, "gradient", grad, n.RLOO.Clip.Grad)
	if s.ClipFrac == 0 || s.ClipFrac == 1 {
		t.Errorf("clipfrac %g: the case needs both kinds", s.ClipFrac)
	}
}

func TestTorchDPO(t *testing.T) {
	n := readTorch(t)
	p := n.Pairs
	for _, c := range n.DPO {
		loss, up, down, s := DPOLoss(p.Chosen, p.Rejected, p.RefChosen, p.RefRejected, DPOConfig{Beta: c.Beta, Smoothing: c.Smoothing, Loss: c.Form})
		near(t, c.Form+" loss", loss, c.Loss)
		nearRow(t, c.Form+" gradient of the chosen", up, c.Chosen)
		nearRow(t, c.Form+" gradient of the rejected", down, c.Rejected)
		near(t, "accuracy", s.Accuracy, c.Accuracy)
		near(t, "margin", s.Margin, c.Margin)
	}
	if len(n.DPO) != 5 {
		t.Errorf("%d cases", len(n.DPO))
	}
}

func TestTorchBestOf(t *testing.T) {
	n := readTorch(t)
	for k, want := range n.BestOf.Means {
		near(t, "best of", BestOf(n.BestOf.Scores, k+1), want)
	}
	for k, want := range map[int]float64{1: 0, 4: 0.6363, 16: 1.8351, 64: 3.1745} {
		if math.Abs(BestOfNKL(k)-want) > 1e-4 {
			t.Errorf("KL of the best of %d is %g", k, BestOfNKL(k))
		}
	}
}

// TestTorchAdam takes the optimizer's own steps on three weights.
func TestTorchAdam(t *testing.T) {
	n := readTorch(t).Adam
	m := testModel(t, 1)
	p := m.Param("ln_f.bias")
	for i, x := range n.Start {
		p.Data[i] = float32(x)
	}
	c := AdamConfig{Adam: AdamTensorFlow, Beta1: n.Beta1, Beta2: n.Beta2}
	o := c.optimizer(n.Eps, 0, 0)
	for k, s := range n.Steps {
		m.Forward([]model.Sequence{{IDs: []int32{1, 2}, Start: 1}}, model.WantLogprobs).Backward(model.Grads{Logprobs: [][]float32{{0}}})
		for i, g := range s.Grad {
			p.Grad[i] = float32(g)
		}
		if _, err := c.step(o, m, n.Eps, n.LR); err != nil {
			t.Fatal(err)
		}
		for i, want := range s.After {
			if math.Abs(float64(p.Data[i])-want) > 2e-6 {
				t.Errorf("step %d: weight %d = %.8g, want %.8g", k+1, i, p.Data[i], want)
			}
		}
	}
}

// TestObjectiveGradients compares every gradient with central differences.
func TestObjectiveGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	lengths := []int{7, 1, 4, 3, 9, 2}
	old, now := random(rng, lengths, 1), random(rng, lengths, 1)
	ref := random(rng, lengths, 1)
	for b := range now {
		for i := range now[b] {
			now[b][i] = old[b][i] + 0.3*now[b][i]
			ref[b][i] = old[b][i] + 0.3*ref[b][i]
		}
	}
	adv, each := random(rng, lengths, 2), random(rng, []int{6}, 1)[0]
	grpo := DefaultGRPO()
	pairs := func(x [][]float64, c DPOConfig) (float64, [][]float64) {
		l, up, down, _ := DPOLoss(x[0], x[4][:7], ref[0], ref[4][:7], c)
		g := like(x)
		copy(g[0], up)
		copy(g[4], down)
		return l, g
	}
	for _, o := range []struct {
		name string
		f    func(x [][]float64) (float64, [][]float64)
	}{
		{"dual clip", func(x [][]float64) (float64, [][]float64) {
			l, g, _ := DualClipLoss(x, old, adv, 0.2, 1.3)
			return l, g
		}},
		{"k2", func(x [][]float64) (float64, [][]float64) { return KLLoss(x, ref, KLK2) }},
		{"k3", func(x [][]float64) (float64, [][]float64) { return KLLoss(x, ref, KLK3) }},
		{"grpo", func(x [][]float64) (float64, [][]float64) {
			l, _, g, _ := GRPOLoss(x, old, ref, each, grpo)
			return l, g
		}},
		{"rloo", func(x [][]float64) (float64, [][]float64) { l, g, _ := RLOOLoss(x, old, each, 0.2); return l, g }},
		{"dpo", func(x [][]float64) (float64, [][]float64) { return pairs(x, DPOConfig{Beta: 0.7}) }},
		{"cdpo", func(x [][]float64) (float64, [][]float64) { return pairs(x, DPOConfig{Beta: 0.7, Smoothing: 0.3}) }},
		{"ipo", func(x [][]float64) (float64, [][]float64) { return pairs(x, DPOConfig{Beta: 0.7, Loss: DPOIPO}) }},
	} {
		_, grad := o.f(now)
		const h = 1e-6
		for b := range now {
			for i := range now[b] {
				at := now[b][i]
				now[b][i] = at + h
				up, _ := o.f(now)
				now[b][i] = at - h
				down, _ := o.f(now)
				now[b][i] = at
				want := (up - down) / (2 * h)
				if math.Abs(grad[b][i]-want) > 1e-6*(math.Abs(want)+1e-3) {
					t.Errorf("%s: gradient [%d][%d] = %g, differences say %g", o.name, b, i, grad[b][i], want)
				}
			}
		}
	}
}
