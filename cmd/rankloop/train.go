package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/starter"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/model/train"
)

type trainCmd struct {
	Pretrain trainPretrainCmd `cmd:"" help:"Next-token training on texts."`
	Sft      trainSFTCmd      `cmd:"" help:"Supervised fine-tuning on prompts with completions."`
	Reward   trainRewardCmd   `cmd:"" help:"A reward model from rankings."`
	Ppo      trainPPOCmd      `cmd:"" help:"PPO against a reward model."`
	Starter  trainStarterCmd  `cmd:"" help:"The starter model, from its recipe."`
}

// trainFlags are what all offline training shares.
type trainFlags struct {
	Config string   `help:"JSON configuration." type:"existingfile" placeholder:"FILE"`
	Set    []string `help:"Set a field of the configuration, such as --set reward.lr=0.001." placeholder:"KEY=VALUE" sep:"none"`
	Out    string   `required:"" help:"Folder for the finished model, the metrics and the state." placeholder:"DIR"`
	Resume bool     `help:"Go on with an interrupted run."`
}

// start says which weights training starts from: a model, or a new one of a shape with a tokenizer trained on the data.
type start struct {
	Model string        `json:"model"` // folder, base or sft
	Shape *model.Config `json:"shape"` // a new model; Vocab is taken from the tokenizer
	Vocab int           `json:"vocab"` // of a new tokenizer, trained on the data
	Seed  uint64        `json:"seed"`  // of new weights
}

// open returns the starting point. texts are what a new tokenizer is trained on.
func (s start) open(texts []string) (*checkpoint.Checkpoint, error) {
	if (s.Model == "") == (s.Shape == nil) {
		return nil, usageError{errors.New(`configuration: give "model" (a folder, base or sft) or "shape" (a new model), one of the two`)}
	}
	if s.Model != "" {
		cp, err := loadModel(s.Model)
		if err != nil {
			return nil, err
		}
		_, err = needTokenizer(cp, s.Model)
		return cp, err
	}
	if s.Vocab == 0 {
		s.Vocab = 1024
	}
	tok, err := token.Train(func(yield func(string) bool) {
		for _, t := range texts {
			if !yield(t) {
				return
			}
		}
	}, s.Vocab, []string{"<|endoftext|>"})
	if err != nil {
		return nil, err
	}
	shape := *s.Shape
	shape.Vocab, shape.BOS, shape.EOS = tok.Vocab(), -1, int(tok.EOS())
	m, err := model.New(shape, s.Seed)
	if err != nil {
		return nil, err
	}
	return &checkpoint.Checkpoint{Model: m, Tokenizer: tok}, nil
}

type trainPretrainCmd struct{ trainFlags }

func (trainPretrainCmd) Help() string {
	return `The configuration holds "model" or "shape", "data" (text files; a blank line ends a document), "valid_share" and "train".

Example:
  rankloop train pretrain --config pretrain.json --out runs/base
where pretrain.json may hold
  {"shape": {"Family": "gpt2", "Context": 128, "Layers": 4, "Width": 96, "Heads": 4, "KVHeads": 4, "Hidden": 384, "NormEps": 1e-5, "Tied": true},
   "vocab": 1024, "data": ["stories.txt"], "train": {"epochs": 2, "lr": 0.003, "warmup": 50}}`
}

func (c trainPretrainCmd) Run(ctx context.Context, std streams) error {
	cfg := struct {
		start
		Data       []string     `json:"data"`
		ValidShare float64      `json:"valid_share"`
		Train      train.Config `json:"train"`
	}{ValidShare: 0.05}
	if err := readConfig(c.Config, c.Set, &cfg); err != nil {
		return err
	}
	var docs []string
	for _, file := range cfg.Data {
		d, err := readDocuments(file)
		if err != nil {
			return err
		}
		docs = append(docs, d...)
	}
	if len(docs) == 0 {
		return usageError{errors.New(`configuration: "data" names no text`)}
	}
	cp, err := cfg.open(docs)
	if err != nil {
		return err
	}
	held := int(float64(len(docs)) * cfg.ValidShare)
	context := cp.Model.Config().Context
	return c.next(ctx, std, cp, "base", cfg.Train, train.Texts(cp.Tokenizer, docs[held:], context), train.Texts(cp.Tokenizer, docs[:held], context))
}

// next runs next-token training and writes the model.
func (f trainFlags) next(ctx context.Context, std streams, cp *checkpoint.Checkpoint, kind string, cfg train.Config, data, valid train.Sequences) error {
	t, err := train.NewTrainer(cfg, cp.Model, data, valid)
	if err != nil {
		return err
	}
	if err := runOffline(ctx, std, t, f.Out, f.Resume, kind); err != nil {
		return err
	}
	out := &checkpoint.Checkpoint{Model: t.Model(), Tokenizer: cp.Tokenizer, Card: checkpoint.Card{Kind: kind, Metrics: map[string]float64{}}}
	if valid.Len() > 0 {
		loss, n, err := train.HeldOut(ctx, t.Model(), valid, cfg.WithDefaults().MicroTokens)
		if err != nil {
			return err
		}
		out.Card.Metrics["heldout_loss"] = loss
		fmt.Fprintf(std.out, "held-out loss %.4f nats a token over %d tokens\n", loss, n)
	}
	return saveModel(out, filepath.Join(f.Out, "model"))
}

type trainSFTCmd struct{ trainFlags }

func (trainSFTCmd) Help() string {
	return `The configuration holds "model", "data" (JSON lines {"prompt": ..., "completion": ...}; the prompt is put into the chat template),
"valid_share" and "train".

Example:
  rankloop train sft --config sft.json --out runs/sft
where sft.json may hold {"model": "runs/base/model", "data": ["demonstrations.jsonl"], "train": {"epochs": 3, "lr": 0.001}}`
}

func (c trainSFTCmd) Run(ctx context.Context, std streams) error {
	cfg := struct {
		start
		Data       []string     `json:"data"`
		ValidShare float64      `json:"valid_share"`
		Raw        bool         `json:"raw"` // the prompt is the text itself, without the chat template
		Train      train.Config `json:"train"`
	}{ValidShare: 0.05}
	if err := readConfig(c.Config, c.Set, &cfg); err != nil {
		return err
	}
	template, err := token.Chat("plain")
	if err != nil {
		return err
	}
	var examples []train.Example
	var texts []string
	for _, file := range cfg.Data {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		err = eachLine(f, io.Discard, func(in struct {
			Prompt     string `json:"prompt"`
			Completion string `json:"completion"`
		}) (struct{}, error) {
			prompt := in.Prompt
			if !cfg.Raw {
				if prompt, err = template.Prompt([]token.Message{{Role: "user", Content: prompt}}); err != nil {
					return struct{}{}, err
				}
			}
			examples = append(examples, train.Example{Prompt: prompt, Response: " " + strings.TrimSpace(in.Completion)})
			texts = append(texts, prompt, in.Completion)
			return struct{}{}, nil
		})
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	if len(examples) == 0 {
		return usageError{errors.New(`configuration: "data" names no demonstrations`)}
	}
	cp, err := cfg.open(texts)
	if err != nil {
		return err
	}
	held, context := int(float64(len(examples))*cfg.ValidShare), cp.Model.Config().Context
	data, dropped := train.Examples(cp.Tokenizer, examples[held:], context)
	valid, more := train.Examples(cp.Tokenizer, examples[:held], context)
	if dropped += more; dropped > 0 {
		fmt.Fprintf(std.err, "%d of %d demonstrations do not fit the context of %d tokens and are left out\n", dropped, len(examples), context)
	}
	return c.next(ctx, std, cp, "sft", cfg.Train, data, valid)
}

// readDocuments reads a text file; a blank line ends a document.
func readDocuments(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var docs []string
	var doc strings.Builder
	flush := func() {
		if text := strings.TrimSpace(doc.String()); text != "" {
			docs = append(docs, text)
		}
		doc.Reset()
	}
	sc := bufio.NewScanner(f)
	sc.Buffer(make([]byte, 64<<10), maxLine)
	for sc.Scan() {
		if strings.TrimSpace(sc.Text()) == "" {
			flush()
			continue
		}
		doc.WriteString(sc.Text())
		doc.WriteByte('\n')
	}
	flush()
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return docs, nil
}

// readPrompts reads a text file, one prompt a line.
func readPrompts(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no prompts", file)
	}
	return out, nil
}

type trainStarterCmd struct {
	Out string `required:"" help:"Folder for base and sft." placeholder:"DIR"`
	Set string `help:"Fields of the recipe to change, as a JSON object." placeholder:"JSON"`
}

func (trainStarterCmd) Help() string {
	return "Makes the weights that ship, to the bit on the same class of kernels.\n\nExample:\n  rankloop train starter --out starter"
}

func (c trainStarterCmd) Run(ctx context.Context, std streams) error {
	r := starter.Default()
	if c.Set != "" {
		if err := strictJSON([]byte(c.Set), &r); err != nil {
			return usageError{fmt.Errorf("--set: %w", err)}
		}
	}
	w := simulate.Starter()
	pairs := func(list []simulate.Demonstration) (out [][2]string) {
		for _, d := range list {
			out = append(out, [2]string{d.Prompt, d.Response})
		}
		return out
	}
	data := starter.Data{
		Texts: w.Corpus(r.Seed, r.Texts), HeldOutTexts: w.Corpus(simulate.HeldOut(r.Seed), r.HeldOut),
		Demos: pairs(w.Demonstrations(r.Seed, r.Demos)), HeldOutDemos: pairs(w.Demonstrations(simulate.HeldOut(r.Seed), r.HeldOut)),
	}
	show := newProgress(std.err)
	defer show.end()
	return starter.Train(ctx, r, data, c.Out, func(phase string, step, total int, m map[string]float64) {
		show.show(phase, step, total, "steps"+brief(m))
	})
}
