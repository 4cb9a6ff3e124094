package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// policyFlags are what the training of policies shares.
type policyFlags struct {
	Config      string   `help:"JSON configuration." type:"existingfile" placeholder:"FILE"`
	Set         []string `help:"Set a field of the configuration, with dots for nested ones." placeholder:"KEY=VALUE" sep:"none"`
	Out         string   `help:"Folder for the finished model, the metrics, samples and the state." placeholder:"DIR"`
	Resume      bool     `help:"Go on with an interrupted run."`
	PrintConfig bool     `help:"Print a configuration with every field, and end."`

	SaveState time.Duration `help:"How often the state to resume from is written." default:"30s" hidden:""`
}

// policyInput is what a configuration of every kind names.
type policyInput struct {
	Policy    string `json:"policy"`              // model to start from
	Reference string `json:"reference,omitempty"` // what the KL is measured to; "" = policy
	Template  string `json:"template,omitempty"`  // chat template; "" = the policy's own, or plain; none = prompts as they are
	Preset    string `json:"preset,omitempty"`    // of ppo
}

// promptInput is what those name besides that draw responses and have them scored.
type promptInput struct {
	policyInput
	Reward  string `json:"reward"`  // reward model
	Prompts string `json:"prompts"` // text file, a prompt a line
}

// policyHelp is the help of a kind of training round its own words.
func policyHelp(kind, about, example string) string {
	return about + `

Example:
  rankloop train ` + kind + ` --config ` + kind + `.json --out runs/` + kind + `
where ` + kind + `.json may hold ` + example + `

--print-config prints every field with its default, and 'rankloop train options ` + kind + `' tells what each means and where it comes from.

In --out: model/ is the result; metrics.jsonl holds a line per step ('rankloop train metrics ` + kind + `' defines each figure, 'rankloop
train compare' plots them); run.json the configuration, digests of models and data, and the machine. A run that is interrupted
goes on with --resume, to the same bits. A guard that stops a run (KL, ratio, numbers that are not finite) leaves the last good
weights in last-good/ and exits 1.`
}

// models are opened.
type models struct {
	policy    *checkpoint.Checkpoint
	reference *model.Transformer
	template  token.ChatTemplate // nil = prompts as they are
	record    runRecord
}

// usage says whether the flags make sense, before anything is opened.
func (f policyFlags) usage() error {
	if f.Out == "" {
		return usageError{errors.New("--out is wanted: the folder for the result")}
	}
	return nil
}

// print writes a whole configuration, indented.
func (f policyFlags) print(std streams, cfg any) error {
	enc := json.NewEncoder(std.out)
	enc.SetIndent("", "  ")
	return enc.Encode(cfg)
}

// open loads the policy and the reference.
func (in policyInput) open(kind string) (m models, err error) {
	if in.Policy == "" {
		return m, usageError{errors.New(`configuration: "policy" is wanted: a model folder, base or sft`)}
	}
	if m.policy, err = loadModel(in.Policy); err != nil {
		return m, err
	}
	if _, err = needTokenizer(m.policy, in.Policy); err != nil {
		return m, err
	}
	m.reference = m.policy.Model
	m.record = newRunRecord(kind)
	m.record.parent("policy", in.Policy, m.policy.Model)
	if in.Reference != "" {
		ref, err := loadModel(in.Reference)
		if err != nil {
			return m, err
		}
		m.reference = ref.Model
	}
	m.record.parent("reference", firstOf(in.Reference, in.Policy), m.reference)
	if in.Template == "none" {
		return m, nil
	}
	if m.template, err = token.Chat(firstOf(in.Template, firstOf(m.policy.Card.Template, "plain"))); err != nil {
		return m, usageError{err}
	}
	return m, nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// online is what those need that draw responses.
type online struct {
	models
	reward  *checkpoint.Checkpoint
	scorer  *reward.Scorer
	texts   []string // prompts as they were written
	prompts ppo.PromptList
}

func (in promptInput) open(kind string) (o online, err error) {
	if in.Policy == "" || in.Reward == "" || in.Prompts == "" {
		return o, usageError{errors.New(`configuration: "policy", "reward" and "prompts" are wanted`)}
	}
	if o.models, err = in.policyInput.open(kind); err != nil {
		return o, err
	}
	if o.reward, o.scorer, err = openReward(in.Reward); err != nil {
		return o, err
	}
	if a, b := o.reward.Tokenizer, o.policy.Tokenizer; a != nil && a.Digest() != b.Digest() {
		return o, fmt.Errorf("%s and %s have different tokenizers: a reward model reads the policy's tokens, so it must be trained from the same base", in.Reward, in.Policy)
	}
	o.record.Parents["reward"] = parentRecord{in.Reward, o.scorer.Digest()}
	if o.texts, err = readPrompts(in.Prompts); err != nil {
		return o, err
	}
	for _, line := range o.texts {
		text := line
		if o.template != nil {
			if text, err = o.template.Prompt([]token.Message{{Role: "user", Content: line}}); err != nil {
				return o, err
			}
		}
		o.prompts = append(o.prompts, encodePrompt(o.policy.Tokenizer, text))
	}
	return o, o.record.file("prompts", in.Prompts, len(o.prompts))
}

func (o online) eos() int32 { return int32(o.policy.Model.Config().EOS) }

// policyTrainer is what the kinds of training have in common.
type policyTrainer interface {
	trainer
	Policy() *model.Transformer
}

// sampled is a trainer that keeps samples for people to read.
type sampled interface{ Samples() []ppo.Sample }

// train runs a trainer to its end in the folder of the run.
func (f policyFlags) train(ctx context.Context, std streams, m models, cfg any, t policyTrainer) error {
	m.record.Config = cfg
	write := func(name string) error {
		card := checkpoint.Card{Kind: "policy", Parents: m.record.digests(), Template: m.policy.Card.Template}
		if m.template != nil {
			card.Template = m.template.Name()
		}
		return saveModel(&checkpoint.Checkpoint{Model: t.Policy(), Tokenizer: m.policy.Tokenizer, Card: card}, filepath.Join(f.Out, name))
	}
	if err := os.MkdirAll(f.Out, 0o700); err != nil {
		return err
	}
	o := offline{trainFlags: trainFlags{Out: f.Out, Resume: f.Resume, SaveState: f.SaveState}, name: m.record.Kind}
	o.finish = func() error { return write("model") }
	o.rescue = func(cause error) error {
		var health *ppo.HealthError
		if !errors.As(cause, &health) && !errors.Is(cause, ppo.ErrNotFinite) {
			return cause
		}
		if err := write("last-good"); err != nil {
			return errors.Join(cause, err)
		}
		return fmt.Errorf("stopped by a guard: %w; %s holds the last good weights", cause, filepath.Join(f.Out, "last-good"))
	}
	var log *sampleLog
	o.begin = func(step int) (err error) { // the run may begin: nothing of another is overwritten
		if err := m.record.write(filepath.Join(f.Out, "run.json")); err != nil {
			return err
		}
		if s, ok := t.(sampled); ok {
			log, err = openSamples(filepath.Join(f.Out, "samples.jsonl"), step, m.policy.Tokenizer, s)
		}
		return err
	}
	o.each = func(step int) error {
		if log == nil {
			return nil
		}
		return log.write(step)
	}
	err := o.run(ctx, std, t)
	if log != nil {
		err = errors.Join(err, log.Close())
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "model %s\n", filepath.Join(f.Out, "model"))
	return err
}
