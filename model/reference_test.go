package model_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/kernel"
)

// fixtures is the folder of reference numbers (see $RANKLOOP_FIXTURES).
func fixtures() string {
	if dir := os.Getenv("RANKLOOP_FIXTURES"); dir != "" {
		return dir
	}
	return filepath.Join("testdata", "fixtures")
}

// elsewhere are the folders of numbers that the tests of other packages read; all
// others hold cases of a family.
var elsewhere = []string{"rm", "ppo", "sampling", "stats"}

// cases are the folders of all cases of all families, by a short name: those of the
// fixtures, and those made by testdata/reference/gen.py for what fixtures do not cover.
func cases(t *testing.T) map[string]string {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(fixtures(), "numerics", "*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no numbers in %s: %v", fixtures(), err)
	}
	folders = slices.DeleteFunc(folders, func(dir string) bool { return slices.Contains(elsewhere, filepath.Base(dir)) })
	out := map[string]string{}
	for _, folder := range append(folders, filepath.Join("testdata", "reference")) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				out[filepath.Base(folder)+"/"+e.Name()] = filepath.Join(folder, e.Name())
			}
		}
	}
	return out
}

func readJSON(t *testing.T, path string, to any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, to); err != nil {
		t.Fatal(err)
	}
}

func loadModel(t *testing.T, dir string) *model.Transformer {
	t.Helper()
	c, err := checkpoint.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c.Model
}

func readTensors(t *testing.T, path string) map[string]checkpoint.Tensor {
	t.Helper()
	tensors, err := checkpoint.ReadTensors(path)
	if err != nil {
		t.Fatal(err)
	}
	return tensors
}

// batch turns the padded tensors of a case into sequences: every position with a
// target becomes a response token, the last target may lie beyond the input. real
// is the number of real tokens of each row.
func batch(ids, targets, mask checkpoint.Tensor) (seqs []model.Sequence, real []int) {
	B, T := ids.Shape[0], ids.Shape[1]
	for b := range B {
		n := 0
		for n < T && mask.I64[b*T+n] == 1 {
			n++
		}
		s := model.Sequence{Start: 1}
		for t := range n {
			s.IDs = append(s.IDs, int32(ids.I64[b*T+t]))
		}
		if last := targets.I64[b*T+n-1]; last != -100 {
			s.IDs = append(s.IDs, int32(last))
		}
		seqs, real = append(seqs, s), append(real, n)
	}
	return seqs, real
}

// nextTokenLoss is the mean of -logprob over all response tokens, and its gradient.
func nextTokenLoss(logprobs [][]float32) (loss float64, grad [][]float32) {
	n := 0
	for _, row := range logprobs {
		n += len(row)
	}
	for _, row := range logprobs {
		g := make([]float32, len(row))
		for i, lp := range row {
			loss -= float64(lp) / float64(n)
			g[i] = float32(-1 / float64(n))
		}
		grad = append(grad, g)
	}
	return loss, grad
}

func maxDiff(t *testing.T, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d numbers, want %d", what, len(got), len(want))
		return
	}
	worst, at := 0.0, 0
	for i, g := range got {
		if d := math.Abs(float64(g) - want[i]); !(d <= worst) {
			worst, at = d, i
		}
	}
	if !(worst <= tol) {
		t.Errorf("%s: off by %.3g at %d (%g, want %g), allowed %.3g", what, worst, at, got[at], want[at], tol)
	}
}

// The tolerances are those measured with a float32 PyTorch run of the same cases,
// with some room for another order of sums.
const (
	tolLoss  = 1.5e-6
	tolAfter = 2e-4
)

var tolLogits, tolGrad = 1e-5, 2e-6

func init() {
	if kernel.Class() == "portable" { // rounds every product, where the others fuse
		tolLogits, tolGrad = 2e-5, 4e-6
	}
}

// TestReference walks every case that is there; one that is not understood fails.
func TestReference(t *testing.T) {
	seen := map[string]bool{}
	for name, dir := range cases(t) {
		m := loadModel(t, dir)
		seen[m.Config().Family] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ref := readTensors(t, filepath.Join(dir, "reference.safetensors"))
			t.Run("forward", func(t *testing.T) { referenceForward(t, m, ref) })
			t.Run("greedy", func(t *testing.T) { referenceGreedy(t, m, dir) })
			t.Run("leftpad", func(t *testing.T) { referenceLeftPad(t, m, ref) })
			t.Run("train", func(t *testing.T) { referenceTrain(t, m, dir, ref) })
		})
	}
	for _, family := range []string{"gpt1", "gpt2", "gpt3", "llama"} {
		if !seen[family] {
			t.Errorf("no case of %s", family)
		}
	}
}

func referenceForward(t *testing.T, m *model.Transformer, ref map[string]checkpoint.Tensor) {
	V := m.Config().Vocab
	ids, T := ref["input_ids"], ref["input_ids"].Shape[1]
	seqs, real := batch(ids, ref["targets"], ref["attention_mask"])
	pass := m.Score(seqs, model.WantLogprobs|model.WantEntropy)
	for b, n := range real {
		var flat []float32
		for _, row := range m.Logits(seqs[b].IDs[:n]) {
			flat = append(flat, row...)
		}
		maxDiff(t, fmt.Sprintf("logits of row %d", b), flat, ref["logits"].F64[b*T*V:][:n*V], tolLogits)
		maxDiff(t, fmt.Sprintf("token_logprobs of row %d", b), pass.Logprobs[b][:n-1], ref["token_logprobs"].F64[b*(T-1):][:n-1], tolLogits)
		maxDiff(t, fmt.Sprintf("target_logprobs of row %d", b), pass.Logprobs[b], ref["target_logprobs"].F64[b*T:][:len(pass.Logprobs[b])], tolLogits)
		maxDiff(t, fmt.Sprintf("entropy of row %d", b), pass.Entropy[b], ref["entropy"].F64[b*T:][:len(pass.Entropy[b])], tolLogits)
	}
	loss, _ := nextTokenLoss(pass.Logprobs)
	maxDiff(t, "loss", []float32{float32(loss)}, ref["loss"].F64, tolLoss)
}

func referenceGreedy(t *testing.T, m *model.Transformer, dir string) {
	var want struct {
		Greedy struct{ Prompt, IDs []int32 }
	}
	readJSON(t, filepath.Join(dir, "reference.json"), &want)
	got := slices.Clone(want.Greedy.Prompt)
	c := m.NewCache()
	for fresh := got; len(got) < len(want.Greedy.IDs); fresh = got[len(got)-1:] {
		logits := m.Extend([]*model.Cache{c}, [][]int32{fresh})[0]
		best := 0
		for i, x := range logits {
			if x > logits[best] {
				best = i
			}
		}
		got = append(got, int32(best))
	}
	if !slices.Equal(got, want.Greedy.IDs) {
		t.Errorf("greedy continuation %v, want %v", got, want.Greedy.IDs)
	}
}

// There is no padding here: a left padded row of the reference is the row without it.
func referenceLeftPad(t *testing.T, m *model.Transformer, ref map[string]checkpoint.Tensor) {
	last, ok := ref["leftpad.last_logits"]
	if !ok {
		return
	}
	var ids []int32
	for i, on := range ref["leftpad.attention_mask"].I64 {
		if on == 1 {
			ids = append(ids, int32(ref["leftpad.input_ids"].I64[i]))
		}
	}
	logits := m.Logits(ids)
	maxDiff(t, "last logits", logits[len(logits)-1], last.F64, tolLogits)
}

func referenceTrain(t *testing.T, m *model.Transformer, dir string, ref map[string]checkpoint.Tensor) {
	var want struct {
		AdamW      struct{ LR float64 }
		StepLosses []float64 `json:"step_losses"`
		StepNorms  []float64 `json:"step_grad_norms_before_clip"`
	}
	readJSON(t, filepath.Join(dir, "reference.json"), &want)
	opt := model.NewAdamW()
	for step := range 3 {
		at := func(name string) checkpoint.Tensor { return ref[fmt.Sprintf("train.%s.%d", name, step)] }
		seqs, _ := batch(at("input_ids"), at("targets"), at("attention_mask"))
		pass := m.Forward(seqs, model.WantLogprobs)
		loss, grad := nextTokenLoss(pass.Logprobs)
		tol := tolLoss
		if step > 0 {
			tol = 2e-4 // the key bias wanders, see below
		}
		maxDiff(t, fmt.Sprintf("loss of step %d", step), []float32{float32(loss)}, want.StepLosses[step:step+1], tol)
		pass.Backward(model.Grads{Logprobs: grad})
		if step == 0 {
			seen := 0
			for _, p := range m.Params() {
				maxDiff(t, "grad."+p.Name, p.Grad, ref["grad."+p.Name].F64, tolGrad)
				seen++
			}
			for name := range ref {
				if strings.HasPrefix(name, "grad.") {
					seen--
				}
			}
			if seen != 0 {
				t.Errorf("the reference has %d gradients that the model does not", -seen)
			}
		}
		norm, err := opt.Step(m, float32(want.AdamW.LR))
		if err != nil {
			t.Fatal(err)
		}
		maxDiff(t, fmt.Sprintf("norm of step %d", step), []float32{float32(norm)}, want.StepNorms[step:step+1], 1e-3)
	}
	for _, p := range m.Params() {
		got, want64 := p.Data, ref["after3."+p.Name].F64
		if strings.HasSuffix(p.Name, "attn.c_attn.bias") {
			// In theory the gradient of the keys' bias is zero, so Adam makes steps of lr out of rounding noise.
			C := len(got) / 3
			maxDiff(t, "after3 keys of "+p.Name, got[C:2*C], want64[C:2*C], 3*want.AdamW.LR)
			maxDiff(t, "after3 queries of "+p.Name, got[:C], want64[:C], tolAfter)
			got, want64 = got[2*C:], want64[2*C:]
		}
		maxDiff(t, "after3."+p.Name, got, want64, tolAfter)
	}
}
