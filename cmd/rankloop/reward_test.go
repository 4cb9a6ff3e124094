package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/reward"
)

// kindPairs writes rankings in which the answer with the word kind is preferred: by the labelers ann and bob, of whom bob is
// contrary now and then. A prompt has one pair.
func kindPairs(t *testing.T, file string, n int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(4, 4))
	var b strings.Builder
	for i := range n {
		animal := []string{"owl", "fox", "cat", "hen"}[rng.IntN(4)]
		good, bad := "The "+animal+" was kind.", "The "+animal+" was rude and sad."
		first := rng.IntN(2) == 0
		for _, who := range []string{"ann", "bob"} {
			chosen, rejected := good, bad
			if who == "bob" && rng.IntN(8) == 0 {
				chosen, rejected = bad, good
			}
			completions, ranks := []string{chosen, rejected}, []int{1, 2}
			if first != (chosen == good) {
				completions, ranks = []string{rejected, chosen}, []int{2, 1}
			}
			line, err := json.Marshal(map[string]any{"prompt": fmt.Sprintf("Story %d about a %s", i, animal), "completions": completions, "ranks": ranks, "labeler": who})
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRewardCommands trains an ensemble from the starter model, evaluates it, and cross-validates.
func TestRewardCommands(t *testing.T) {
	dir := t.TempDir()
	data, config, out := filepath.Join(dir, "r.jsonl"), filepath.Join(dir, "c.json"), filepath.Join(dir, "run")
	kindPairs(t, data, 60)
	writeJSON(t, config, map[string]any{"model": "base", "data": []string{data}, "valid_share": 0.3, "weights": map[string]float64{"bob": 0.5},
		"reward": map[string]any{"steps": 12, "batch": 8, "members": 2, "combine": "uwo", "lambda": 0.5, "loss": map[string]any{"noise": "mixture", "flip": 0.06}}})
	code, stdout, stderr := command(t, "train", "reward", "--config", config, "--out", out)
	if code != 0 || !strings.Contains(stdout, "held-out accuracy") {
		t.Fatalf("exit %d: %s %s", code, stdout, stderr)
	}
	modelDir, report := filepath.Join(out, "model"), filepath.Join(dir, "report")
	code, stdout, stderr = command(t, "reward", "eval", "--model", modelDir, "--data", data, "--json", "--out", report)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var a reward.Analysis
	if err := json.Unmarshal([]byte(stdout), &a); err != nil {
		t.Fatal(err)
	}
	if a.Accuracy < 0.85 || a.N != 120 || a.Prompts != 60 || a.AgreementN != 60 || a.Agreement == 1 || a.Ceiling >= 1 || len(a.Labelers) != 2 || a.Splits[0].Name != "" {
		t.Errorf("%+v", a)
	}
	if a.Length.LongerWins.Accuracy > 0.15 || a.Length.Correlation >= 0 {
		t.Errorf("the shorter answers are preferred: %+v", a.Length)
	}
	for _, name := range []string{"report.html", "report.json", "table.txt"} {
		if b, err := os.ReadFile(filepath.Join(report, name)); err != nil || !strings.Contains(string(b), "ann") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if code, stdout, _ := command(t, "model", "inspect", modelDir); code != 0 || !strings.Contains(stdout, "2 members of that size, combined by uwo") {
		t.Errorf("inspect: exit %d: %s", code, stdout)
	}
	exported := filepath.Join(dir, "exported")
	if code, _, stderr := command(t, "model", "export", modelDir, exported); code != 0 {
		t.Fatalf("export: %s", stderr)
	}
	if _, again, _ := command(t, "reward", "eval", "--model", exported, "--data", data, "--json"); again != stdout {
		t.Error("the exported ensemble is judged differently")
	}
	code, stdout, stderr = command(t, "reward", "crossval", "--config", config, "--set", "reward.members=1", "--set", "reward.combine=", "--set", "reward.lambda=0", "--folds", "2", "--json")
	var cv reward.CrossValidation
	if code != 0 || json.Unmarshal([]byte(stdout), &cv) != nil || len(cv.Folds) != 2 || cv.Left.Mean < 0.6 {
		t.Errorf("crossval: exit %d: %s %s", code, stdout, stderr)
	}
}

// TestRewardReal: on a set that a word decides, both that read win against length and coin; every pair is judged once.
func TestRewardReal(t *testing.T) {
	dir := t.TempDir()
	kindPairs(t, filepath.Join(dir, "kind.jsonl"), 60)
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("no data"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "report")
	args := []string{"reward", "real", "--data", dir, "--folds", "2", "--set", "steps=12", "--set", "batch=8", "--json", "--out", out}
	code, stdout, stderr := command(t, args...)
	var sets []realSet
	if code != 0 || json.Unmarshal([]byte(stdout), &sets) != nil || len(sets) != 1 {
		t.Fatalf("exit %d: %s %s", code, stdout, stderr)
	}
	s := sets[0]
	if s.Set != "kind" || s.Reward.N != 120 || s.Bag.Accuracy < 0.85 || s.Reward.Accuracy < 0.85 || s.Longer.Accuracy > 0.15 || s.Random.Accuracy < 0.3 || s.Random.Accuracy > 0.7 {
		t.Errorf("%s: n=%d, bag %.2f, reward %.2f, longer %.2f, coin %.2f", s.Set, s.Reward.N, s.Bag.Accuracy, s.Reward.Accuracy, s.Longer.Accuracy, s.Random.Accuracy)
	}
	page, err := os.ReadFile(filepath.Join(out, "report.html"))
	if err != nil || !strings.Contains(string(page), "<svg") {
		t.Errorf("no page: %v", err)
	}
	if _, again, _ := command(t, args...); again != stdout {
		t.Error("twice the same gives two results")
	}
}

func TestRewardRefuses(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "r.jsonl")
	kindPairs(t, data, 4)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"reward", "eval", "--model", "base"}, exitUsage, "--data FILE is wanted"},
		{[]string{"reward", "eval", "--model", "base", "--data", data}, exitFailed, "no score.weight"},
		{[]string{"reward", "eval", "--model", "base", "--data", data, "--format", "xls"}, exitFailed, "no score.weight"},
		{[]string{"train", "reward", "--set", "model=base", "--out", filepath.Join(dir, "a")}, exitUsage, "there is no --data"},
		{[]string{"train", "reward", "--set", "model=base", "--data", data, "--format", "xls", "--out", filepath.Join(dir, "a")}, exitUsage, "--format xls"},
		{[]string{"train", "reward", "--set", "model=base", "--data", data, "--set", "reward.loss.ties=keep", "--out", filepath.Join(dir, "a")}, exitUsage, `"keep" is none of drop, rao-kupper, davidson`},
		{[]string{"train", "reward", "--set", "model=base", "--data", data, "--set", "reward.combine=min", "--out", filepath.Join(dir, "a")}, exitUsage, "needs members of 2 or more"},
		{[]string{"train", "reward", "--set", "model=base", "--data", data, "--format", "hh", "--out", filepath.Join(dir, "a")}, exitFailed, "r.jsonl"},
		{[]string{"reward", "crossval", "--set", "model=base", "--data", data, "--folds", "3"}, exitFailed, "with 2 labelers 2 to 2 are possible"},
		{[]string{"reward", "real", "--data", filepath.Dir(t.TempDir()), "--folds", "1"}, exitUsage, "--folds 1"},
		{[]string{"reward", "real", "--data", t.TempDir()}, exitFailed, "holds no preferences"},
		{[]string{"reward", "real", "--data", dir, "--set", "seeds=3"}, exitUsage, "would flatter them"},
		{[]string{"reward", "real", "--data", dir, "--set", "lr=-1"}, exitUsage, "lr: -1"},
		{[]string{"reward", "real", "--data", dir, "--folds", "9"}, exitFailed, "4 prompts cannot be dealt into 9 parts"},
	} {
		if code, _, stderr := command(t, c.args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d: %s", c.args, code, stderr)
		}
	}
}
