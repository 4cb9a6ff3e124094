package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/ppo"
)

// policyWorld is a small policy, a reward model that was trained on rankings of its kind of answers, and prompts.
type policyWorld struct{ dir, policy, reward, prompts, rankings, texts string }

func makePolicyWorld(t *testing.T) policyWorld {
	t.Helper()
	texts, _, _ := nextData(t)
	dir := t.TempDir()
	w := policyWorld{dir: dir, policy: filepath.Join(dir, "base", "model"), reward: filepath.Join(dir, "reward", "model"),
		prompts: filepath.Join(dir, "prompts.txt"), rankings: filepath.Join(dir, "rankings.jsonl"), texts: texts}
	var p, r strings.Builder
	for i := range 12 {
		fmt.Fprintf(&p, "Where is owl %d?\n", i)
		fmt.Fprintf(&r, `{"prompt":"Where is owl %d?","completions":["In a tree.","In a tree, and in a tree.","Nobody knows %d."],"ranks":[1,2,2],"labeler":"a"}`+"\n", i, i)
	}
	for file, content := range map[string]string{w.prompts: p.String(), w.rankings: r.String()} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base, rm := filepath.Join(dir, "base.json"), filepath.Join(dir, "reward.json")
	writeJSON(t, base, map[string]any{"shape": map[string]any{"family": "gpt2", "context": 64, "layers": 1, "width": 16, "heads": 2}, "vocab": 300,
		"data": []string{texts}, "train": map[string]any{"steps": 8, "lr": 0.01}})
	writeJSON(t, rm, map[string]any{"model": w.policy, "data": []string{w.rankings}, "reward": map[string]any{"epochs": 1, "batch": 4}})
	for _, args := range [][]string{{"train", "pretrain", "--config", base, "--out", filepath.Join(dir, "base")}, {"train", "reward", "--config", rm, "--out", filepath.Join(dir, "reward")}} {
		if code, _, errs := command(t, args...); code != 0 {
			t.Fatalf("%v: %d %s", args, code, errs)
		}
	}
	return w
}

// flags are the command line of a kind of training.
func (w policyWorld) flags(kind, out string, more ...string) []string {
	sets := map[string][]string{
		ppo.KindPPO:       {"ppo.iterations=2", "ppo.rollouts=8", "ppo.minibatch=4", "ppo.chunk=4", "ppo.max_tokens=5", "texts=" + w.texts, "ppo.ptx.ratio=0.5", "ppo.ptx.batch=2"},
		ppo.KindGRPO:      {"grpo.iterations=2", "grpo.prompts=3", "grpo.samples=2", "grpo.minibatch=4", "grpo.chunk=4", "grpo.max_tokens=5"},
		ppo.KindRLOO:      {"rloo.iterations=2", "rloo.prompts=3", "rloo.samples=2", "rloo.minibatch=4", "rloo.chunk=4", "rloo.max_tokens=5"},
		ppo.KindRejection: {"rejection.iterations=2", "rejection.prompts=3", "rejection.samples=3", "rejection.minibatch=2", "rejection.chunk=4", "rejection.max_tokens=5"},
		ppo.KindDPO:       {"dpo.epochs=2", "dpo.batch=4"},
		ppo.KindBestOfN:   {"best_of_n.n=4", "best_of_n.max_tokens=5"},
	}[kind]
	args := []string{"train", kind, "--out", out, "--set", "policy=" + w.policy}
	if kind == ppo.KindDPO {
		sets = append(sets, `data=["`+w.rankings+`"]`)
	} else {
		sets = append(sets, "reward="+w.reward, "prompts="+w.prompts)
	}
	for _, s := range sets {
		args = append(args, "--set", s)
	}
	return append(args, more...)
}

func lines(t *testing.T, path string) (out []map[string]any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var m map[string]any
		if err := json.Unmarshal(s.Bytes(), &m); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, m)
	}
	return out
}

// Every kind of policy training runs from a command line to a model that writes text, and leaves what it was made of.
func TestTrainPolicies(t *testing.T) {
	w := makePolicyWorld(t)
	var runs []string
	for _, kind := range ppo.Kinds() {
		out := filepath.Join(w.dir, "runs", kind)
		code, said, errs := command(t, w.flags(kind, out)...)
		if code != 0 {
			t.Fatalf("%s: %d %s", kind, code, errs)
		}
		runs = append(runs, out)
		defined := map[string]bool{"step": true}
		for _, m := range ppo.Metrics(kind) {
			defined[m.Name] = true
		}
		for _, m := range lines(t, filepath.Join(out, "metrics.jsonl")) {
			for name := range m {
				if !defined[name] {
					t.Errorf("%s writes %s, which is not defined", kind, name)
				}
			}
		}
		var record runRecord
		b, err := os.ReadFile(filepath.Join(out, "run.json"))
		if err != nil || json.Unmarshal(b, &record) != nil {
			t.Fatalf("%s: run.json: %v %s", kind, err, b)
		}
		if record.Kind != kind || len(record.Parents["policy"].Digest) != 64 || len(record.Data) == 0 || record.Environment.Kernels == "" || record.Environment.Threads < 1 {
			t.Errorf("%s: run.json holds %+v", kind, record)
		}
		if kind == ppo.KindBestOfN {
			best := lines(t, filepath.Join(out, "best.jsonl"))
			if len(best) != 12 || len(best[0]["scores"].([]any)) != 4 || !strings.Contains(said, "KL (nats)") {
				t.Errorf("best of n: %v %s", best, said)
			}
			continue
		}
		if code, text, errs := command(t, "generate", "--model", filepath.Join(out, "model"), "--prompt", "Where", "--max-tokens", "3", "--ignore-eos", "--json"); code != 0 || !strings.Contains(text, "ids") {
			t.Errorf("%s: the model does not generate: %d %s", kind, code, errs)
		}
		if kind == ppo.KindDPO {
			continue
		}
		samples := lines(t, filepath.Join(out, "samples.jsonl"))
		if len(samples) < 8 || samples[0]["iteration"] != 0.0 || samples[len(samples)-1]["iteration"] != 1.0 {
			t.Fatalf("%s: samples %v", kind, samples)
		}
		for _, s := range samples {
			if len(s["tokens"].([]any)) != len(s["kl_tokens"].([]any)) || !strings.Contains(s["prompt"].(string), "owl") {
				t.Errorf("%s: sample %v", kind, s)
			}
		}
	}
	page := filepath.Join(w.dir, "compare.html")
	code, said, errs := command(t, append([]string{"train", "compare", "--out", page, "--x", "iteration"}, runs[0], runs[1], runs[2])...)
	if code != 0 || !strings.Contains(said, "score") || !strings.ContainsAny(said, "▁█") {
		t.Fatalf("compare: %d %s %s", code, said, errs)
	}
	html, err := os.ReadFile(page)
	if err != nil || strings.Count(string(html), "<svg role=\"img\"") < 5 || strings.Contains(string(html), "NaN") || strings.Contains(string(html), "<script") {
		t.Errorf("compare page: %v %.300s", err, html)
	}
	var all []comparison
	if code, said, _ = command(t, "train", "compare", "--json", "--metric", "score", "--x", "kl", runs[0], runs[3]); code != 0 || json.Unmarshal([]byte(said), &all) != nil || len(all) != 1 || len(all[0].Series) != 1 {
		t.Errorf("compare --json of PPO and DPO: %d %s", code, said)
	}
	for want, args := range map[string][]string{
		"no folder of a run":     {w.dir},
		"--metric joy: no run":   {runs[0], "--metric", "joy"},
		"--x joy: no run has it": {runs[0], "--x", "joy"},
	} {
		if code, _, errs := command(t, append([]string{"train", "compare"}, args...)...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("compare %v: %d %s", args, code, errs)
		}
	}
}

// What is wrong with a configuration is said before anything is trained, as wrong usage.
func TestTrainPolicyRefusals(t *testing.T) {
	w := makePolicyWorld(t)
	x := filepath.Join(w.dir, "x")
	for want, args := range map[string][]string{
		`"policy", "reward" and "prompts" are wanted`: {"train", "grpo", "--out", x},
		"--out is wanted":                 {"train", "rloo", "--set", "policy=sft"},
		"samples: 1: a group needs":       w.flags("grpo", x, "--set", "grpo.samples=1"),
		"keep: 3 of 3 samples":            w.flags("rejection", x, "--set", "rejection.keep=3"),
		"smoothing: 0.6 is not in":        w.flags("dpo", x, "--set", "dpo.smoothing=0.6"),
		`unknown field "temprature"`:      w.flags("ppo", x, "--set", "ppo.temprature=1"),
		"kl.loss_form: k1 pulls nowhere":  w.flags("ppo", x, "--set", "ppo.kl.loss_form=k1"),
		`preset: "gpt5" is none of small`: w.flags("ppo", x, "--set", "preset=gpt5"),
		`"preset" is for ppo`:             w.flags("grpo", x, "--set", "preset=small"),
		`"data" names no rankings`:        {"train", "dpo", "--out", x, "--set", "policy=sft"},
		`"alchemy" is none of ppo`:        {"train", "options", "alchemy"},
	} {
		if code, _, errs := command(t, args...); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%v: %d %s", args, code, errs)
		}
		if _, err := os.Stat(filepath.Join(x, "metrics.jsonl")); err == nil {
			t.Errorf("%s: something was trained", want)
		}
	}
}

// A guard that stops a run leaves the last good weights, which are those it began with here.
func TestTrainGuard(t *testing.T) {
	w := makePolicyWorld(t)
	out := filepath.Join(w.dir, "guarded")
	code, _, errs := command(t, w.flags("grpo", out, "--set", "grpo.lr=0.3", "--set", "grpo.kl_max=0.01", "--set", "grpo.eos.missing=keep", "--set", "grpo.iterations=9")...)
	if code != exitFailed || !strings.Contains(errs, "stopped by a guard") || !strings.Contains(errs, "last-good") {
		t.Fatalf("%d %s", code, errs)
	}
	good, err := loadModel(filepath.Join(out, "last-good"))
	if err != nil {
		t.Fatal(err)
	}
	start, err := loadModel(w.policy)
	if err != nil {
		t.Fatal(err)
	}
	if good.Model.Digest() != start.Model.Digest() {
		t.Error("the weights of the bad update stayed")
	}
}

// The tables print every option and figure, and a preset shows in the configuration.
func TestTrainTables(t *testing.T) {
	for _, kind := range ppo.Kinds() {
		_, options, _ := command(t, "train", "options", kind)
		for _, o := range ppo.Options(kind) {
			if !strings.Contains(options, "\n"+o.Name+" ") {
				t.Errorf("train options %s does not show %s", kind, o.Name)
			}
		}
		_, metrics, _ := command(t, "train", "metrics", kind)
		for _, m := range ppo.Metrics(kind) {
			if !strings.Contains(metrics, m.Name+" (") {
				t.Errorf("train metrics %s does not show %s", kind, m.Name)
			}
		}
		if code, help, _ := command(t, "train", kind, "--help"); code != 0 || !strings.Contains(help, "Example:") {
			t.Errorf("train %s --help: %s", kind, help)
		}
		if code, cfg, errs := command(t, "train", kind, "--print-config"); code != 0 || !json.Valid([]byte(cfg)) || !strings.Contains(cfg, "max_tokens") && kind != ppo.KindDPO {
			t.Errorf("train %s --print-config: %d %s %s", kind, code, cfg, errs)
		}
	}
	if _, cfg, _ := command(t, "train", "ppo", "--print-config", "--set", "preset=ziegler"); !strings.Contains(cfg, `"temperature": 0.7`) {
		t.Errorf("the preset does not show: %s", cfg)
	}
}
