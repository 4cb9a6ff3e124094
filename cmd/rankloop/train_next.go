package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/model/train"
)

// nextConfig is the configuration of next-token training.
type nextConfig struct {
	start
	train.Input
	Template string       `json:"template,omitempty"` // chat template of sft; none = prompts are taken as they are
	Name     string       `json:"name,omitempty"`     // of the version that --submit makes
	Train    train.Config `json:"train"`
}

// nextFlags are what pretrain and sft share.
type nextFlags struct {
	Config      string   `help:"JSON configuration." type:"existingfile" placeholder:"FILE"`
	Set         []string `help:"Set a field of the configuration, such as --set train.lr=0.001." placeholder:"KEY=VALUE" sep:"none"`
	Out         string   `help:"Folder for the model, its checkpoints, the metrics and the state." placeholder:"DIR"`
	Resume      bool     `help:"Go on with an interrupted run."`
	MemoryLimit float64  `help:"Memory that the run may take, in GB; by default what the machine has left." placeholder:"GB"`
	PrintConfig bool     `help:"Print a configuration with every field, and end."`
	JSON        bool     `name:"json" help:"The result as JSON."`
	Submit      bool     `help:"Store the data and queue the run in the database, for 'rankloop work', 'serve' or 'demo' to do."`
	Watch       bool     `help:"With --submit: follow the run until it ends."`
	serverFlags
	SaveState time.Duration `help:"How often the state to resume from is written." default:"30s" hidden:""`
}

// nextHelp is the help of both commands around their examples.
const nextHelp = `%s

Example:
  rankloop train %s --config %s.json --out runs/%s
  rankloop train %s --config %s.json --set train.steps=200 --set train.lora.rank=8 --out runs/short
  rankloop train %s --config %s.json --submit --watch       (as a run of the database, in slices, on any worker)
where %s.json may hold, with every field there is (--print-config prints it):

%s

In --out: model/ is the result; adapter/ its adapters as PEFT reads them (lora); best/ the weights of the lowest held-out loss
(keep_best); checkpoints/step-N the steps kept on the way (save_every); metrics.jsonl a line per step. Instead of "model", "shape"
{"family": "gpt1" | "gpt2" | "gpt3" | "llama", "context": .., "layers": .., "width": .., "heads": ..} or "preset" begin new weights, and
"tokenizer" (gpt2, cl100k_base, a folder) or "vocab" (one trained on the data) go with them. "precision" is float32, mixed (products of
factors rounded to bfloat16, all else float32: faster where the processor has AVX512-BF16) or bf16 (matrices kept in half the memory).`

type trainPretrainCmd struct{ nextFlags }

const pretrainExample = `{
  "shape": {"family": "gpt2", "context": 128, "layers": 4, "width": 96, "heads": 4}, "tokenizer": "", "vocab": 1024, "seed": 1,
  "data": ["stories.txt", "web.jsonl.gz", "books.parquet"],
  "format": "", "whole_file": false, "map": {"text": "text"}, "max_bytes": 17179869184,
  "valid": [], "valid_share": 0.05, "name": "stories-base",
  "train": {
    "epochs": 2, "steps": 0, "batch_tokens": 4096, "micro_tokens": 8192, "accumulate": 0,
    "lr": 0.003, "schedule": "cosine", "warmup": 50, "floor": 0.1,
    "beta1": 0.9, "beta2": 0.95, "decay": 0.1, "clip": 1, "no_decay": false, "no_clip": false, "seed": 1,
    "dropout": 0.1, "ema_decay": 0, "eval_every": 50, "patience": 0, "keep_best": true, "save_every": 100, "keep_last": 2,
    "recompute": false, "precision": "float32"
  }
}`

func (trainPretrainCmd) Help() string {
	return fmt.Sprintf(nextHelp, `Next-token training on texts: text files (a blank line ends a document), JSON lines {"text": ..} and parquet files with a column
text; the first two also in gzip. Documents are packed without padding and do not see one another.`,
		"pretrain", "pretrain", "base", "pretrain", "pretrain", "pretrain", "pretrain", "pretrain", pretrainExample)
}

func (c trainPretrainCmd) Run(ctx context.Context, std streams) error {
	if c.PrintConfig {
		_, err := fmt.Fprintln(std.out, pretrainExample)
		return err
	}
	return c.nextFlags.run(ctx, std, train.Pretrain)
}

type trainSFTCmd struct{ nextFlags }

const sftExample = `{
  "model": "runs/base/model",
  "data": ["demonstrations.jsonl", "chats.parquet"],
  "format": "", "whole_file": false, "map": {"prompt": "instruction+input", "completion": "output"}, "max_bytes": 17179869184,
  "valid": [], "valid_share": 0.05, "template": "plain", "name": "stories-sft",
  "train": {
    "epochs": 3, "steps": 0, "batch_tokens": 4096, "micro_tokens": 8192, "accumulate": 0,
    "lr": 0.0005, "schedule": "cosine", "warmup": 20, "floor": 0.1,
    "beta1": 0.9, "beta2": 0.95, "decay": 0.1, "clip": 1, "no_decay": false, "no_clip": false, "seed": 1,
    "dropout": 0.1, "ema_decay": 0.99, "eval_every": 20, "patience": 5, "keep_best": true, "save_every": 100, "keep_last": 2,
    "recompute": false, "precision": "float32",
    "lora": {"rank": 8, "alpha": 16, "targets": [], "adapter_only": false}
  }
}`

func (trainSFTCmd) Help() string {
	return fmt.Sprintf(nextHelp, `Supervised fine-tuning on JSON lines, plain or in gzip, or parquet files, of {"messages": [{"role": .., "content": ..}]} (every turn of the
assistant is a target) or {"prompt": .., "completion": ..}; "map" names other columns. With --submit, "demonstrations:PROJECT" in
"data" takes the demonstrations that people wrote in that project.`,
		"sft", "sft", "sft", "sft", "sft", "sft", "sft", "sft", sftExample)
}

func (c trainSFTCmd) Run(ctx context.Context, std streams) error {
	if c.PrintConfig {
		_, err := fmt.Fprintln(std.out, sftExample)
		return err
	}
	return c.nextFlags.run(ctx, std, train.SFT)
}

func (f nextFlags) run(ctx context.Context, std streams, kind string) error {
	cfg := nextConfig{Input: train.Input{ValidShare: 0.05}}
	if err := readConfig(f.Config, f.Set, &cfg); err != nil {
		return err
	}
	if err := errors.Join(cfg.Train.Validate(), cfg.Input.Validate()); err != nil {
		return usageError{err}
	}
	if len(cfg.Data) == 0 {
		return usageError{errors.New(`configuration: "data" names no file`)}
	}
	if kind == train.SFT && cfg.Template == "" {
		cfg.Template = "plain"
	}
	switch {
	case f.Watch && !f.Submit:
		return usageError{errors.New("--watch goes with --submit")}
	case f.Submit:
		return f.submit(ctx, std, kind, cfg)
	case f.Out == "":
		return usageError{errors.New("--out is wanted: the folder for the result")}
	}
	limit, err := f.limit()
	if err != nil {
		return err
	}
	p, err := cfg.prepare(std, kind, cfg.Rows, limit)
	if err != nil {
		return err
	}
	return f.offline(ctx, std, p)
}

// limit is the memory that the run may take, in bytes; 0 = not known.
func (f nextFlags) limit() (int64, error) {
	if f.MemoryLimit < 0 {
		return 0, usageError{errors.New("--memory-limit is negative")}
	}
	if f.MemoryLimit > 0 {
		return int64(f.MemoryLimit * 1e9), nil
	}
	limit, _ := train.Available()
	return limit, nil
}

// prepared is a run that is ready to begin.
type prepared struct {
	cfg      nextConfig
	kind     string // of the version
	start    *checkpoint.Checkpoint
	template token.ChatTemplate
	data     *train.Masked
	valid    *train.Masked
}

// prepare opens the starting point, reads the data, says what the run takes, and refuses it where that is more than limit.
func (cfg nextConfig) prepare(std streams, kind string, rows train.Rows, limit int64) (*prepared, error) {
	p := &prepared{cfg: cfg, kind: registry.Base}
	kinds := []train.Kind{train.KindText}
	if kind == train.SFT {
		p.kind, kinds = registry.SFT, []train.Kind{train.KindMessages, train.KindPairs}
		if cfg.Template != "none" {
			var err error
			if p.template, err = token.Chat(cfg.Template); err != nil {
				return nil, usageError{err}
			}
		}
	}
	var bad error
	cp, err := cfg.open(rows.Texts(&bad), cfg.Train.Precision == train.BF16)
	if bad != nil {
		return nil, bad
	}
	if err != nil {
		return nil, err
	}
	p.start = cp
	shape := cp.Model.Config()
	var dropped int
	if p.data, p.valid, dropped, err = rows.Encode(cp.Tokenizer, p.template, shape.Context, kinds...); err != nil {
		return nil, err
	}
	all, longest := train.Tokens(p.data)
	held, _ := train.Tokens(p.valid)
	fmt.Fprintf(std.err, "data: %d sequences of %d tokens (the longest %d), %d held out with %d tokens\n", p.data.Len(), all, longest, p.valid.Len(), held)
	if dropped > 0 {
		fmt.Fprintf(std.err, "left out: %d rows that are empty or do not fit the context of %d tokens\n", dropped, shape.Context)
	}
	need := cfg.Train.Memory(shape, p.data, p.valid)
	fmt.Fprintf(std.err, "memory: %v", need)
	if limit > 0 {
		fmt.Fprintf(std.err, "; %.3g GB may be taken", float64(limit)/1e9)
	}
	fmt.Fprintln(std.err)
	if limit > 0 {
		if err := cfg.Train.Fits(shape, p.data, p.valid, limit); err != nil {
			return nil, fmt.Errorf("%w; --memory-limit overrides", err)
		}
	}
	return p, nil
}

// nextResult is what a run came to.
type nextResult struct {
	Steps       int      `json:"steps"`
	HeldoutLoss *float64 `json:"heldout_loss,omitempty"`
	BestLoss    *float64 `json:"best_loss,omitempty"`
	BestStep    int      `json:"best_step,omitempty"`
	Model       string   `json:"model,omitempty"`
	Adapter     string   `json:"adapter,omitempty"`
	Best        string   `json:"best,omitempty"`
	Kept        []string `json:"checkpoints,omitempty"`
}

// offline trains here and now.
func (f nextFlags) offline(ctx context.Context, std streams, p *prepared) error {
	t, err := train.NewTrainer(p.cfg.Train, p.start.Model, p.data, p.valid)
	if err != nil {
		return err
	}
	card := checkpoint.Card{Kind: p.kind, Snapshot: p.data.Digest()}
	if p.template != nil {
		card.Template = p.template.Name()
	}
	if p.cfg.Model != "" {
		card.Notes = "trained from " + p.cfg.Model
	}
	kept := func(name string) string { return filepath.Join(f.Out, "checkpoints", name) }
	t.Keep = func(_ context.Context, step int) (string, error) {
		name := fmt.Sprintf("step-%d", step)
		return name, t.Write(kept(name), train.Last, p.start.Tokenizer, card)
	}
	t.Drop = func(_ context.Context, name string) error { return os.RemoveAll(kept(name)) }
	var result nextResult
	o := &offline{trainFlags: trainFlags{Out: f.Out, Resume: f.Resume, SaveState: f.SaveState}, name: p.kind}
	o.finish = func() error {
		result.Steps, _ = t.Progress()
		if m := t.Measures(train.Last); m["heldout_loss"] > 0 {
			loss := m["heldout_loss"]
			result.HeldoutLoss = &loss
		}
		for _, k := range t.Kept() {
			result.Kept = append(result.Kept, kept(k.Name))
		}
		if l := p.cfg.Train.LoRA; l != nil {
			result.Adapter = filepath.Join(f.Out, "adapter")
			if err := t.WriteAdapter(result.Adapter, train.Last, p.cfg.Model); err != nil || l.AdapterOnly {
				return err
			}
		}
		if t.HasBest() {
			step, loss := t.Best()
			result.Best, result.BestLoss, result.BestStep = filepath.Join(f.Out, "best"), &loss, step
			if err := t.Write(result.Best, train.Best, p.start.Tokenizer, card); err != nil {
				return err
			}
		}
		result.Model = filepath.Join(f.Out, "model")
		return t.Write(result.Model, train.Last, p.start.Tokenizer, card)
	}
	if done, err := f.finished(); done || err != nil {
		return err
	}
	if err := o.run(ctx, std, t); err != nil {
		return err
	}
	if f.JSON {
		return json.NewEncoder(std.out).Encode(result)
	}
	return result.write(std, o.losses)
}

// finished refuses to begin again in a folder that holds a result, and has nothing to do where that is to be resumed.
func (f nextFlags) finished() (bool, error) {
	for _, name := range []string{"state", "state.old"} {
		if _, err := os.Stat(filepath.Join(f.Out, name)); err == nil {
			return false, nil
		}
	}
	for _, name := range []string{"model", "adapter"} {
		if _, err := os.Stat(filepath.Join(f.Out, name)); err == nil && f.Resume {
			return true, fmt.Errorf("%s holds a finished run; there is nothing to resume", f.Out)
		}
	}
	return false, nil
}

func (r nextResult) write(std streams, losses []float64) error {
	if n := len(losses); n > 1 {
		fmt.Fprintf(std.out, "loss %.3f %s %.3f\n", losses[0], curve(losses, 60), losses[n-1])
	}
	if r.HeldoutLoss != nil {
		fmt.Fprintf(std.out, "held-out loss %.4f nats a token after %d steps\n", *r.HeldoutLoss, r.Steps)
	}
	if r.BestLoss != nil {
		fmt.Fprintf(std.out, "best held-out loss %.4f at step %d: %s\n", *r.BestLoss, r.BestStep, r.Best)
	}
	for _, k := range r.Kept {
		fmt.Fprintf(std.out, "kept %s\n", k)
	}
	if r.Adapter != "" {
		fmt.Fprintf(std.out, "adapter %s\n", r.Adapter)
	}
	if r.Model != "" {
		fmt.Fprintf(std.out, "model %s\n", r.Model)
	}
	return nil
}
