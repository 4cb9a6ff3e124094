package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rankloop/rankloop/model/eval"
)

func TestEvalCommand(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, "own.jsonl")
	if err := os.WriteFile(own, []byte(`{"prompt":"An owl","choices":["sleeps.","zzz"],"answer":0}`), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "report")
	code, stdout, stderr := command(t, "eval", "--model", "base", "--fine-tuned", "sft", "--task", "addition-1,"+own, "--shots", "1,0", "--n", "4", "--json", "--out", out)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var r eval.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if len(r.Columns) != 3 || r.Columns[1].Shots != 1 || !r.Columns[2].FineTuned || len(r.Tasks) != 2 || r.Tasks[1].Task != "own" || r.Tasks[1].N != 1 || r.Tasks[0].N != 4 {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"report.html", "plot.svg", "report.json", "table.txt", "items.jsonl"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	if code, stdout, _ := command(t, "eval", "--list"); code != 0 || !strings.Contains(stdout, "cycle-letters") || !strings.Contains(stdout, "perplexity") {
		t.Errorf("--list: exit %d: %s", code, stdout)
	}
}

func TestEvalCommandRefuses(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.jsonl")
	if err := os.WriteFile(bad, []byte(`{"prompt":"a"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "give --model"},
		{[]string{"--model", "base", "--task", "cloze"}, exitUsage, "needs --text"},
		{[]string{"--model", "base", "--task", "nothing"}, exitUsage, "no task of --list"},
		{[]string{"--model", "base", "--task", bad}, exitFailed, "bad.jsonl:1: answer is missing"},
		{[]string{"--model", "base", "--n", "0"}, exitUsage, "--n: 0"},
		{[]string{"--model", "base", "--shots", "-1"}, exitUsage, "--shots"},
		{[]string{"--model", "base", "--model", "base"}, exitUsage, "given twice"},
		{[]string{"--model", "nowhere"}, exitFailed, "nowhere"},
	} {
		if code, _, stderr := command(t, append([]string{"eval"}, c.args...)...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d: %s", c.args, code, stderr)
		}
	}
}

func TestAttentionCommand(t *testing.T) {
	code, stdout, stderr := command(t, "model", "attention", "sft", "You are a good man", "--all", "--json")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var a struct {
		IDs    []int32
		Tokens []string
		Maps   []attentionMap
	}
	if err := json.Unmarshal([]byte(stdout), &a); err != nil {
		t.Fatal(err)
	}
	if len(a.Maps) != 16 || len(a.IDs) != len(a.Tokens) || a.Tokens[1] != "You" {
		t.Fatalf("%d maps of %q", len(a.Maps), a.Tokens)
	}
	for _, m := range a.Maps {
		for i, row := range m.Weights {
			sum := float32(0)
			for j, w := range row {
				if sum += w; j > i && w != 0 {
					t.Errorf("layer %d head %d: token %d sees %d", m.Layer, m.Head, i, j)
				}
			}
			if sum < 0.9999 || sum > 1.0001 {
				t.Errorf("layer %d head %d: row %d sums to %g", m.Layer, m.Head, i, sum)
			}
		}
	}
	code, stdout, _ = command(t, "model", "attention", "base", "You are a good man", "--layer", "3", "--head", "1")
	if code != 0 || !strings.HasPrefix(stdout, "layer 3, head 1\n") || strings.Contains(stdout, "\x1b") {
		t.Errorf("exit %d: %q", code, stdout)
	}
	for _, name := range []string{"a.svg", "a.html"} {
		file := filepath.Join(t.TempDir(), name)
		if code, _, stderr := command(t, "model", "attention", "base", "You are", "--out", file); code != 0 {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
		}
		if b, err := os.ReadFile(file); err != nil || !bytes.Contains(b, []byte("<svg")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, args := range [][]string{{"--layer", "4"}, {"--head", "-1"}, {"--out", "a.png"}, {"--out", "a.svg", "--all"}} {
		if code, _, stderr := command(t, append([]string{"model", "attention", "base", "You"}, args...)...); code != exitUsage {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}

func TestStyleOfTerminal(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want eval.Style
	}{
		{map[string]string{"COLORTERM": "truecolor", "TERM": "xterm-256color"}, eval.Color},
		{map[string]string{"COLORTERM": "24bit", "NO_COLOR": "1", "LANG": "en_US.UTF-8"}, eval.Blocks},
		{map[string]string{"COLORTERM": "truecolor", "TERM": "dumb"}, eval.Digits},
		{map[string]string{"LANG": "de_DE.utf8", "TERM": "xterm"}, eval.Blocks},
		{map[string]string{"LC_ALL": "C", "LANG": "en_US.UTF-8"}, eval.Digits},
		{nil, eval.Digits},
	} {
		if got := styleOf(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: %s, want %s", c.env, got, c.want)
		}
	}
}
