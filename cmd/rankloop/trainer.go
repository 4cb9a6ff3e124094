package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rankloop/rankloop/model/checkpoint"
)

// trainer is what the rooms' trainers have in common.
type trainer interface {
	Step(ctx context.Context) (map[string]float64, error)
	Done() bool
	Progress() (step, total int)
	Save(dir string) error
	Load(dir string) error
}

// saveEvery is how often an offline run writes its state.
const saveEvery = 30 * time.Second

// runOffline trains in the folder out: state/ holds the state to resume from, metrics.jsonl a line per step, and whoever calls
// writes the finished model beside them. A run that is interrupted saves and says how to go on.
func runOffline(ctx context.Context, std streams, t trainer, out string, resume bool, name string) error {
	state := filepath.Join(out, "state")
	if err := recoverState(state); err != nil {
		return err
	}
	_, err := os.Stat(state)
	switch {
	case err == nil && !resume:
		return usageError{fmt.Errorf("%s holds an unfinished run: say --resume to go on with it, or choose another folder", out)}
	case err == nil:
		if err := t.Load(state); err != nil {
			return fmt.Errorf("resume: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	metrics, err := os.OpenFile(filepath.Join(out, "metrics.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer metrics.Close()
	enc, show, saved := json.NewEncoder(metrics), newProgress(std.err), time.Now()
	defer show.end()
	for !t.Done() {
		m, err := t.Step(ctx)
		if err != nil {
			if ctx.Err() == nil {
				return err
			}
			if err := saveState(t, state); err != nil {
				return err
			}
			return fmt.Errorf("interrupted; the same command with --resume goes on")
		}
		step, total := t.Progress()
		m["step"] = float64(step)
		if err := enc.Encode(m); err != nil {
			return err
		}
		show.show(name, step, total, "steps"+brief(m))
		if time.Since(saved) > saveEvery {
			if err := saveState(t, state); err != nil {
				return err
			}
			saved = time.Now()
		}
	}
	return os.RemoveAll(state)
}

// saveState replaces the state folder by a new one, whole.
func saveState(t trainer, dir string) error {
	next := dir + ".new"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := os.MkdirAll(next, 0o700); err != nil {
		return err
	}
	if err := t.Save(next); err != nil {
		return err
	}
	old := dir + ".old"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(next, dir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// recoverState puts the former state back where a crash came between the two renames of saveState.
func recoverState(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := os.Rename(dir+".old", dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// brief picks the figures that a progress line shows.
func brief(m map[string]float64) string {
	var b strings.Builder
	for _, name := range []string{"loss", "accuracy", "score", "kl", "heldout_loss"} {
		if v, ok := m[name]; ok {
			fmt.Fprintf(&b, "  %s %.3f", name, v)
		}
	}
	return b.String()
}

// readConfig reads a JSON file into v, strictly, and applies --set key=value, with dots for nested fields.
func readConfig(file string, set []string, v any) error {
	doc := map[string]any{}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			return usageError{fmt.Errorf("%s: %w", file, err)}
		}
	}
	for _, kv := range set {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return usageError{fmt.Errorf("--set %s: want key=value", kv)}
		}
		at, path := doc, strings.Split(key, ".")
		for _, p := range path[:len(path)-1] {
			next, ok := at[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[p] = next
			}
			at = next
		}
		var parsed any
		if json.Unmarshal([]byte(value), &parsed) != nil {
			parsed = value
		}
		at[path[len(path)-1]] = parsed
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	if err := strictJSON(b, v); err != nil {
		return usageError{fmt.Errorf("configuration: %w", err)}
	}
	return nil
}

// saveModel writes a finished model folder; an older one there is replaced.
func saveModel(cp *checkpoint.Checkpoint, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return cp.Save(dir, "F32")
}
