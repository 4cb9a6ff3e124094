package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/model/train"
)

// nextData writes a small corpus and small conversations.
func nextData(t *testing.T) (texts, chats, other string) {
	t.Helper()
	dir := t.TempDir()
	var a, b strings.Builder
	for i := range 120 {
		fmt.Fprintf(&a, "The %s owl number %d sat in a tree and sang: tu-whit, tu-whoo, %d times.\n\n", []string{"old", "small", "wise"}[i%3], i, i%7)
		fmt.Fprintf(&b, `{"messages":[{"role":"user","content":"Where is owl %d?"},{"role":"assistant","content":"In a tree."},{"role":"user","content":"And then?"},{"role":"assistant","content":"It sang %d times."}]}`+"\n", i, i%7)
	}
	// Held-out answers of another kind: the better the first are learned, the worse are these.
	chats, other = filepath.Join(dir, "chats.jsonl"), filepath.Join(dir, "other.jsonl")
	c := strings.Repeat(`{"prompt":"Where is owl 3?","completion":"Nobody knows, nobody, and nobody will."}`+"\n", 9)
	texts = filepath.Join(dir, "texts.txt")
	for file, content := range map[string]string{texts: a.String(), chats: b.String(), other: c} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return texts, chats, other
}

// everything is training with all that a run has to remember.
func everything(steps int) train.Config {
	return train.Config{Steps: steps, LR: 1e-3, MicroTokens: 300, Accumulate: 2, Warmup: 5, Dropout: 0.1, EMADecay: 0.9, EvalEvery: 10, KeepBest: true, SaveEvery: 15, KeepLast: 2, Seed: 3}
}

// TestKillOfflineTraining kills pretraining and fine-tuning at random moments: when they are resumed until they end, every
// file of the result is the one of a run that nobody disturbed, byte for byte, metrics included, with one thread and with two.
func TestKillOfflineTraining(t *testing.T) {
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	texts, chats, _ := nextData(t)
	base := filepath.Join(t.TempDir(), "base")
	pretrain := nextConfig{start: start{Shape: &model.Config{Family: "gpt2", Context: 64, Layers: 2, Width: 32, Heads: 2}, Vocab: 300},
		Input: train.Input{Data: []string{texts}, ValidShare: 0.1}, Train: everything(60)}
	sft := nextConfig{start: start{Model: filepath.Join(base, "model")}, Input: train.Input{Data: []string{chats}, ValidShare: 0.1}, Train: everything(60)}
	sft.Train.LoRA, sft.Train.Precision = &train.LoRA{Rank: 2, Targets: []string{"c_attn", "c_proj"}}, train.BF16
	killed := 0
	for _, c := range []struct {
		kind string
		cfg  nextConfig
	}{{"pretrain", pretrain}, {"sft", sft}} {
		whole := base
		if c.kind == "sft" {
			whole = filepath.Join(t.TempDir(), "whole")
		}
		if n := trainKilled(t, c.kind, c.cfg, whole, "2", 0); n != 0 {
			t.Fatal("the undisturbed run was disturbed")
		}
		want := files(t, whole)
		for _, name := range []string{"model/model.safetensors", "best/model.safetensors", "checkpoints/step-60/model.safetensors", "metrics.jsonl"} {
			if want[name] == "" {
				t.Fatalf("%s: there is no %s: %v", c.kind, name, want)
			}
		}
		for _, threads := range []string{"1", "2"} {
			out := filepath.Join(t.TempDir(), "killed")
			killed += trainKilled(t, c.kind, c.cfg, out, threads, 5)
			if got := files(t, out); !reflect.DeepEqual(got, want) {
				t.Errorf("%s with %s threads:\n%v, undisturbed\n%v", c.kind, threads, got, want)
			}
		}
	}
	if killed < 10 {
		t.Errorf("only %d kills hit a run at work", killed)
	}
}

// trainKilled trains in the folder out with a process that is killed at most so many times, at random moments after it has
// done a step, and returns how many times it was.
func trainKilled(t *testing.T, kind string, cfg nextConfig, out, threads string, kills int) (killed int) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config.json")
	writeJSON(t, config, cfg)
	deadline := time.Now().Add(2 * time.Minute)
	for try := 0; ; try++ {
		if time.Now().After(deadline) {
			t.Fatal("the run does not come to an end")
		}
		p := &process{args: []string{"train", kind, "--config", config, "--out", out, "--save-state", "1ns", "--resume"},
			env: []string{"RANKLOOP_THREADS=" + threads}}
		before := size(filepath.Join(out, "metrics.jsonl"))
		p.start(t)
		ended := make(chan error, 1)
		go func() { ended <- p.cmd.Wait() }()
		kill := make(<-chan time.Time)
		if killed < kills {
			for size(filepath.Join(out, "metrics.jsonl")) == before && len(ended) == 0 {
				time.Sleep(time.Millisecond)
			}
			kill = time.After(time.Duration(rand.IntN(120)) * time.Millisecond)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v\n%s", err, p.log.String())
			}
			return killed
		case <-kill:
			p.cmd.Process.Kill()
			if err := <-ended; err != nil {
				killed++
			} else {
				return killed
			}
		}
	}
}

func size(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return info.Size()
}

// files are the digests of all files under dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		name, err := filepath.Rel(dir, path)
		out[filepath.ToSlash(name)] = hex.EncodeToString(sum[:4])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestKillTrainingRuns does the same to runs of the database, in slices of several lengths: the versions that they make have
// the same weights, and no metric is there twice.
func TestKillTrainingRuns(t *testing.T) {
	texts, chats, other := nextData(t)
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	var got [3]map[string]string
	t.Run("slices", func(t *testing.T) {
		for i, c := range []struct {
			slice, threads string
			kills          int
		}{{"1h", "2", 0}, {"200ms", "1", 3}, {"1s", "2", 1}} {
			t.Run(c.slice, func(t *testing.T) {
				t.Parallel()
				got[i] = trainedRuns(t, texts, chats, other, c.slice, c.threads, c.kills)
			})
		}
	})
	for _, name := range []string{"owls", "owls-step-150", "chat", "chat-best"} {
		if got[0][name] == "" {
			t.Errorf("there is no version %s: %v", name, got[0])
		}
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], got[0]) {
			t.Errorf("run %d: %v, undisturbed %v", i, got[i], got[0])
		}
	}
}

// trainedRuns submits pretraining, then fine-tuning of its result, to a worker process that is killed so many times in each,
// and returns the digests of all versions' weights by name.
func trainedRuns(t *testing.T, texts, chats, other, slice, threads string, kills int) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	url, dir := durable(t), t.TempDir()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	db, err := databaseFlags{DatabaseURL: url}.open(ctx, dir, true, log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a, err := newApp(ctx, db, appConfig{Dir: dir}, log)
	if err != nil {
		t.Fatal(err)
	}
	worker := &process{args: []string{"work", "--database-url", url, "--dir", dir, "--slice", slice, "--dead-after", "1500ms"},
		env: []string{"RANKLOOP_THREADS=" + threads}}
	worker.start(t)
	defer func() { worker.kill9() }()
	pretrain := nextConfig{start: start{Shape: &model.Config{Family: "gpt2", Context: 64, Layers: 2, Width: 32, Heads: 2}, Vocab: 300}, Name: "owls",
		Input: train.Input{Data: []string{texts}, ValidShare: 0.1}, Train: everything(160)}
	sft := nextConfig{start: start{Model: "owls"}, Input: train.Input{Data: []string{chats}, Valid: []string{other}}, Template: "plain", Name: "chat", Train: everything(160)}
	sft.Train.LoRA, sft.Train.LR = &train.LoRA{Rank: 2}, 0.03
	for _, c := range []struct {
		kind string
		cfg  nextConfig
	}{{train.Pretrain, pretrain}, {train.SFT, sft}} {
		var notes bytes.Buffer
		r, err := a.submitTraining(ctx, streams{out: io.Discard, err: &notes}, c.kind, c.cfg, 1<<33)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(notes.String(), "memory: ") || !strings.Contains(notes.String(), "held out") {
			t.Errorf("nothing was told before the run: %s", notes.String())
		}
		for n, last := 0, -1; ; {
			v, err := a.runs.Get(ctx, r.ID)
			if err != nil {
				t.Fatalf("%v\n%s", err, worker.log.String())
			}
			if v.State == run.Done {
				if n < kills {
					t.Errorf("%s was over after %d of %d kills", c.kind, n, kills)
				}
				break
			}
			if v.State == run.Failed {
				t.Fatalf("%s: %s\n%s", c.kind, v.Error, worker.log.String())
			}
			if n < kills && v.Step > last {
				last = v.Step
				time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
				worker.kill9()
				worker.start(t)
				n++
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if n := count(t, a.db.Pool, `SELECT count(*) - count(DISTINCT (run_id, step)) FROM run_metrics`); n != 0 {
		t.Errorf("%d metric rows are doubled", n)
	}
	if n := count(t, a.db.Pool, `SELECT count(*) FROM run_metrics`); n != 320 {
		t.Errorf("%d metric rows, not 320", n)
	}
	list, err := a.registry.List(ctx, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, v := range list {
		if v.RunID == nil {
			continue
		}
		out[v.Name] = weights(t, a, v.ID)
		if strings.HasPrefix(v.Name, "chat") {
			base, err := a.registry.Find(ctx, "owls")
			if err != nil || len(v.Parents) != 1 || v.Parents[0] != base.ID {
				t.Errorf("%s has the parents %v, not %s", v.Name, v.Parents, base.ID)
			}
		}
	}
	return out
}
