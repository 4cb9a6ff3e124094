package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
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

// offline is a run without a database, in the folder Out: state/ holds the state to resume from, metrics.jsonl a line per
// step, and finish writes the result beside them.
type offline struct {
	trainFlags
	name   string
	finish func() error
	losses []float64               // of the steps that this process did
	begin  func(step int) error    // before the first step of this process, nil = nothing
	each   func(step int) error    // after every step, nil = nothing
	rescue func(cause error) error // after an error that is no interruption, nil = nothing
}

// run trains to the end. The state goes away after the result is there, so that a run that is killed at any moment can be
// resumed and ends as one that nobody disturbed. A run that is interrupted saves and says how to go on.
func (o *offline) run(ctx context.Context, std streams, t trainer) error {
	state := filepath.Join(o.Out, "state")
	if err := recoverState(state); err != nil {
		return err
	}
	_, err := os.Stat(state)
	switch {
	case err == nil && !o.Resume:
		return usageError{fmt.Errorf("%s holds an unfinished run: say --resume to go on with it, or choose another folder", o.Out)}
	case err == nil:
		if err := t.Load(state); err != nil {
			return fmt.Errorf("resume: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := sweepOut(o.Out); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Out, 0o700); err != nil {
		return err
	}
	first, _ := t.Progress()
	if o.begin != nil {
		if err := o.begin(first); err != nil {
			return err
		}
	}
	metrics, err := openMetrics(filepath.Join(o.Out, "metrics.jsonl"), first)
	if err != nil {
		return err
	}
	defer metrics.Close()
	enc, show, saved := json.NewEncoder(metrics), newProgress(std.err), time.Now()
	defer show.end()
	pace, held := pace{began: time.Now(), first: first}, map[string]float64{}
	for !t.Done() {
		m, err := t.Step(ctx)
		if err != nil {
			if ctx.Err() == nil {
				if o.rescue != nil {
					return o.rescue(err)
				}
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
		if o.each != nil {
			if err := o.each(step); err != nil {
				return err
			}
		}
		if loss, ok := m["loss"]; ok {
			o.losses = append(o.losses, loss)
		}
		for _, name := range []string{"loss", "accuracy", "score", "kl", "heldout_loss", "best_loss"} {
			if v, ok := m[name]; ok {
				held[name] = v // the last one that was taken
			}
		}
		show.show(o.name, step, total, "steps"+brief(held)+pace.tell(m, step, total))
		if time.Since(saved) > o.SaveState {
			if err := saveState(t, state); err != nil {
				return err
			}
			saved = time.Now()
		}
	}
	show.end()
	if err := o.finish(); err != nil {
		return err
	}
	return os.RemoveAll(state)
}

// openMetrics opens the file of metrics to add to, without the lines of steps after the one that the run goes on at: those
// are done again.
func openMetrics(path string, step int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	var kept int64
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		var at struct{ Step float64 }
		if err != nil || json.Unmarshal(line, &at) != nil || at.Step > float64(step) {
			break
		}
		kept += int64(len(line))
	}
	if err := errors.Join(f.Truncate(kept), func() error { _, err := f.Seek(kept, io.SeekStart); return err }()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// pace tells how fast a run goes and how long it will still take.
type pace struct {
	began  time.Time
	first  int // step that this process began at
	tokens float64
}

func (p *pace) tell(m map[string]float64, step, total int) string {
	p.tokens += m["tokens"]
	took := time.Since(p.began)
	if took < time.Second || step == p.first {
		return ""
	}
	s := ""
	if p.tokens > 0 {
		s = fmt.Sprintf("  %.0f tokens/s", p.tokens/took.Seconds())
	}
	left := time.Duration(float64(took) / float64(step-p.first) * float64(total-step))
	return s + "  " + left.Round(time.Second).String() + " left"
}

// curve draws numbers as a line of blocks, at most width of them, each the mean of its share.
func curve(x []float64, width int) string {
	if len(x) == 0 {
		return ""
	}
	n := min(width, len(x))
	mean := make([]float64, n)
	for i := range mean {
		part := x[i*len(x)/n : (i+1)*len(x)/n]
		for _, v := range part {
			mean[i] += v / float64(len(part))
		}
	}
	low, high := slices.Min(mean), slices.Max(mean)
	var b strings.Builder
	for _, v := range mean {
		level := 0
		if high > low {
			level = int(math.Round((v - low) / (high - low) * 7))
		}
		b.WriteRune([]rune("▁▂▃▄▅▆▇█")[level])
	}
	return b.String()
}

// sweepOut removes what a kill in the middle of writing a model has left in a run's own folder.
func sweepOut(out string) error {
	for _, dir := range []string{out, filepath.Join(out, "checkpoints")} {
		left, err := filepath.Glob(filepath.Join(dir, ".tmp-*"))
		if err != nil {
			return err
		}
		for _, path := range left {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
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
	b, err := configDoc(file, set)
	if err != nil {
		return err
	}
	if err := strictJSON(b, v); err != nil {
		return usageError{fmt.Errorf("configuration: %w", err)}
	}
	return nil
}

// readLoose is readConfig without regard to fields that v lacks.
func readLoose(file string, set []string, v any) error {
	b, err := configDoc(file, set)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return usageError{fmt.Errorf("configuration: %w", err)}
	}
	return nil
}

// configDoc is the JSON of a configuration with its changes.
func configDoc(file string, set []string) ([]byte, error) {
	doc := map[string]any{}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			return nil, usageError{fmt.Errorf("%s: %w", file, err)}
		}
	}
	for _, kv := range set {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return nil, usageError{fmt.Errorf("--set %s: want key=value", kv)}
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
	return json.Marshal(doc)
}

// saveModel writes a finished model folder; an older one there is replaced.
func saveModel(cp *checkpoint.Checkpoint, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return cp.Save(dir, "F32")
}
