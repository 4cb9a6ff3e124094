package starter

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/model/train"
)

// Recipe says how the model is made. Default returns the one that made the weights that ship.
type Recipe struct {
	Seed     uint64       `json:"seed"`     // of the texts, the initial weights and the order of the data
	Texts    int          `json:"texts"`    // of the corpus
	Demos    int          `json:"demos"`    // demonstrations
	HeldOut  int          `json:"held_out"` // texts and demonstrations kept back to measure the loss on, this many of each
	Vocab    int          `json:"vocab"`    // of the tokenizer, <|endoftext|> included
	Model    model.Config `json:"model"`    // Vocab, BOS and EOS are set by Train
	Pretrain train.Config `json:"pretrain"`
	SFT      train.Config `json:"sft"`
}

// Data is what a world gives: as many texts and demonstrations as the recipe names, and the held-out ones.
type Data struct {
	Texts, HeldOutTexts []string
	Demos, HeldOutDemos [][2]string // instruction, answer
}

// Default is the recipe of the weights that ship.
func Default() Recipe {
	return Recipe{
		Seed: 1, Texts: 90000, Demos: 60000, HeldOut: 1000, Vocab: 1280,
		Model:    model.Config{Family: "gpt2", Context: 128, Layers: 4, Width: 96, Heads: 4, Tied: true},
		Pretrain: train.Config{Epochs: 1, BatchTokens: 4096, LR: 3e-3, Warmup: 50, Floor: 0.05, Seed: 1},
		SFT:      train.Config{Epochs: 2, BatchTokens: 4096, LR: 1.5e-3, Warmup: 20, Floor: 0.05, Seed: 2},
	}
}

// Phases of Train, as told to progress.
const (
	PhaseTokenizer = "tokenizer"
	PhasePretrain  = "pretrain"
	PhaseSFT       = "sft"
)

// Progress hears about each step: total steps of the phase, and what the step measured (see train.Trainer.Step).
type Progress func(phase string, step, total int, metrics map[string]float64)

// Train follows the recipe and writes the folders base and sft into dir, in BF16. What it writes is a function of recipe,
// data and class of kernels.
func Train(ctx context.Context, r Recipe, d Data, dir string, progress Progress) error {
	if progress == nil {
		progress = func(string, int, int, map[string]float64) {}
	}
	tok, err := tokenizer(r, d)
	if err != nil {
		return fmt.Errorf("starter: tokenizer: %w", err)
	}
	progress(PhaseTokenizer, 1, 1, map[string]float64{"vocab": float64(tok.Vocab())})

	cfg := r.Model
	cfg.Vocab, cfg.BOS, cfg.EOS = tok.Vocab(), int(tok.EOS()), int(tok.EOS())
	m, err := model.New(cfg, r.Seed)
	if err != nil {
		return fmt.Errorf("starter: %w", err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("starter: recipe: %w", err)
	}
	texts, held := train.Texts(tok, d.Texts, cfg.Context), train.Texts(tok, d.HeldOutTexts, cfg.Context)
	metrics, err := run(ctx, r.Pretrain, m, texts, held, PhasePretrain, progress)
	if err != nil {
		return err
	}
	c := &checkpoint.Checkpoint{Model: m, Tokenizer: tok, Card: checkpoint.Card{
		Kind: "base", Snapshot: texts.Digest(), Metrics: metrics, Notes: "recipe " + string(text)}}
	baseDir := filepath.Join(dir, "base")
	if err := c.Save(baseDir, "BF16"); err != nil {
		return fmt.Errorf("starter: save base: %w", err)
	}

	if c, err = checkpoint.Load(baseDir); err != nil {
		return fmt.Errorf("starter: load base: %w", err)
	}
	parent, err := checkpoint.Digest(baseDir)
	if err != nil {
		return fmt.Errorf("starter: digest of base: %w", err)
	}
	demos, err := chat(tok, d.Demos, cfg.Context)
	if err != nil {
		return err
	}
	heldDemos, err := chat(tok, d.HeldOutDemos, cfg.Context)
	if err != nil {
		return err
	}
	if metrics, err = run(ctx, r.SFT, c.Model, demos, heldDemos, PhaseSFT, progress); err != nil {
		return err
	}
	c.Card = checkpoint.Card{Kind: "sft", Parents: []string{parent}, Snapshot: demos.Digest(), Metrics: metrics, Notes: "recipe " + string(text)}
	if err := c.Save(filepath.Join(dir, "sft"), "BF16"); err != nil {
		return fmt.Errorf("starter: save sft: %w", err)
	}
	return nil
}

// tokenizer learns the vocabulary from the corpus and from conversations, in proportion to what there is of each.
func tokenizer(r Recipe, d Data) (token.Tokenizer, error) {
	all := slices.Clone(d.Texts)
	for _, x := range d.Demos {
		p, err := prompt(x[0])
		if err != nil {
			return nil, err
		}
		all = append(all, p+" "+x[1])
	}
	return token.Train(slices.Values(all), r.Vocab, []string{"<|endoftext|>"})
}

// prompt writes an instruction as the chat template has it.
func prompt(instruction string) (string, error) {
	t, err := token.Chat(Template)
	if err != nil {
		return "", err
	}
	return t.Prompt([]token.Message{{Role: "user", Content: instruction}})
}

// chat makes fine-tuning sequences of demonstrations.
func chat(tok token.Tokenizer, demos [][2]string, context int) (train.Sequences, error) {
	examples := make([]train.Example, len(demos))
	for i, x := range demos {
		p, err := prompt(x[0])
		if err != nil {
			return nil, fmt.Errorf("starter: demonstration %d: %w", i, err)
		}
		examples[i] = train.Example{Prompt: p, Response: " " + x[1]}
	}
	out, dropped := train.Examples(tok, examples, context)
	if dropped > len(demos)/100 {
		return nil, fmt.Errorf("starter: %d of %d demonstrations are longer than %d tokens", dropped, len(demos), context)
	}
	return out, nil
}

// run trains m to the end and returns the last losses.
func run(ctx context.Context, cfg train.Config, m *model.Transformer, data, held train.Sequences, phase string, progress Progress) (map[string]float64, error) {
	t, err := train.NewTrainer(cfg, m, data, held)
	if err != nil {
		return nil, fmt.Errorf("starter: %s: %w", phase, err)
	}
	tokens := 0.0
	var last map[string]float64
	for !t.Done() {
		if last, err = t.Step(ctx); err != nil {
			return nil, fmt.Errorf("starter: %s: %w", phase, err)
		}
		tokens += last["tokens"]
		step, total := t.Progress()
		progress(phase, step, total, last)
	}
	out := map[string]float64{"loss": last["loss"], "tokens": tokens}
	if v, ok := last["heldout_loss"]; ok {
		out["heldout_loss"] = v
	}
	return out, nil
}
