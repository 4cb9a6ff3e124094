package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/ppo"
)

type ppoConfig struct {
	promptInput
	Texts string     `json:"texts,omitempty"` // of the pretraining mix; a blank line ends a text
	PPO   ppo.Config `json:"ppo"`
}

type trainPPOCmd struct{ policyFlags }

func (trainPPOCmd) Help() string {
	return policyHelp(ppo.KindPPO, `Proximal policy optimisation with a KL penalty per token and a critic from the reward model, as InstructGPT did. "preset" is one of
`+strings.Join(ppo.Presets(), ", ")+`; fields of "ppo" change it. "texts" is a file of pretraining text for the mix of PPO-ptx.`,
		`{"policy": "sft", "reward": "runs/reward/model", "prompts": "prompts.txt", "preset": "small", "ppo": {"iterations": 20}}`)
}

func (c trainPPOCmd) Run(ctx context.Context, std streams) error {
	var first policyInput // the preset comes before the fields that change it
	if err := readLoose(c.Config, c.Set, &first); err != nil {
		return err
	}
	preset, err := ppo.Preset(first.Preset)
	if err != nil {
		return usageError{err}
	}
	cfg := ppoConfig{PPO: preset}
	if err := readConfig(c.Config, c.Set, &cfg); err != nil {
		return err
	}
	if c.PrintConfig {
		return c.print(std, cfg)
	}
	if err := errors.Join(c.usage(), wrong(cfg.PPO.Validate())); err != nil {
		return err
	}
	o, err := cfg.open(ppo.KindPPO)
	if err != nil {
		return err
	}
	mean, std64 := o.scorer.Norm()
	critic, err := ppo.Critic(o.reward.Model, mean, std64)
	if err != nil {
		return err
	}
	var mix ppo.Ptx
	if cfg.Texts != "" {
		texts, err := readTexts(cfg.Texts, o.models)
		if err != nil {
			return err
		}
		mix = texts
		if err := o.record.file("texts", cfg.Texts, len(texts)); err != nil {
			return err
		}
	}
	t, err := ppo.NewTrainer(cfg.PPO, o.policy.Model, o.reference, critic, o.scorer, o.prompts, o.eos(), mix)
	if err != nil {
		return wrong(err)
	}
	return c.train(ctx, std, o.models, cfg, t)
}

// wrong turns what is wrong with a configuration into wrong usage.
func wrong(err error) error {
	var bad *ppo.InvalidError
	if errors.As(err, &bad) {
		return usageError{err}
	}
	return err
}

// readTexts reads pretraining text, documents apart by blank lines; what is longer than the context is cut into pieces.
func readTexts(file string, m models) (texts ppo.TextList, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	context, eos := m.policy.Model.Config().Context, m.policy.Model.Config().EOS
	for doc := range documents(string(b)) {
		ids := encodePrompt(m.policy.Tokenizer, doc)
		if eos >= 0 {
			ids = append(ids, int32(eos))
		}
		for ; len(ids) >= 2; ids = ids[min(context, len(ids)):] {
			texts = append(texts, model.Sequence{IDs: ids[:min(context, len(ids))], Start: 1})
		}
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("%s holds no text", file)
	}
	return texts, nil
}

// documents are the parts of a text that blank lines keep apart.
func documents(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for doc := range strings.SplitSeq(text, "\n\n") {
			if doc = strings.TrimSpace(doc); doc != "" && !yield(doc) {
				return
			}
		}
	}
}

type trainGRPOCmd struct{ policyFlags }

func (trainGRPOCmd) Help() string {
	return policyHelp(ppo.KindGRPO, `Group relative policy optimisation (Shao et al. 2024): the advantage of a response is its score against the other responses to
the same prompt; the KL to the reference is a term of the loss; there is no critic. "std": false and "reduce": "constant" make it
Dr. GRPO.`,
		`{"policy": "sft", "reward": "runs/reward/model", "prompts": "prompts.txt", "grpo": {"samples": 8, "prompts": 24}}`)
}

func (c trainGRPOCmd) Run(ctx context.Context, std streams) error {
	cfg := struct {
		promptInput
		GRPO ppo.GRPOConfig `json:"grpo"`
	}{GRPO: ppo.DefaultGRPO()}
	return groups(ctx, std, c.policyFlags, ppo.KindGRPO, &cfg, &cfg.promptInput, func() error { return cfg.GRPO.Validate() }, func(o online) (policyTrainer, error) {
		return ppo.NewGRPO(cfg.GRPO, o.policy.Model, o.reference, o.scorer, o.prompts, o.eos())
	})
}

type trainRLOOCmd struct{ policyFlags }

func (trainRLOOCmd) Help() string {
	return policyHelp(ppo.KindRLOO, `REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024): a response is one action, its reward is score - beta * KL, and its
baseline the mean reward of the other responses to the same prompt; there is no critic.`,
		`{"policy": "sft", "reward": "runs/reward/model", "prompts": "prompts.txt", "rloo": {"samples": 4, "beta": 0.05}}`)
}

func (c trainRLOOCmd) Run(ctx context.Context, std streams) error {
	cfg := struct {
		promptInput
		RLOO ppo.RLOOConfig `json:"rloo"`
	}{RLOO: ppo.DefaultRLOO()}
	return groups(ctx, std, c.policyFlags, ppo.KindRLOO, &cfg, &cfg.promptInput, func() error { return cfg.RLOO.Validate() }, func(o online) (policyTrainer, error) {
		return ppo.NewRLOO(cfg.RLOO, o.policy.Model, o.reference, o.scorer, o.prompts, o.eos())
	})
}

type trainRejectionCmd struct{ policyFlags }

func (trainRejectionCmd) Help() string {
	return policyHelp(ppo.KindRejection, `Rejection sampling, also called expert iteration: each iteration draws "samples" responses to a prompt, keeps the best "keep" of them by
the reward model, and fine-tunes the policy on these.`,
		`{"policy": "sft", "reward": "runs/reward/model", "prompts": "prompts.txt", "rejection": {"samples": 8, "iterations": 10}}`)
}

func (c trainRejectionCmd) Run(ctx context.Context, std streams) error {
	cfg := struct {
		promptInput
		Rejection ppo.RejectionConfig `json:"rejection"`
	}{Rejection: ppo.DefaultRejection()}
	return groups(ctx, std, c.policyFlags, ppo.KindRejection, &cfg, &cfg.promptInput, func() error { return cfg.Rejection.Validate() }, func(o online) (policyTrainer, error) {
		return ppo.NewRejection(cfg.Rejection, o.policy.Model, o.reference, o.scorer, o.prompts, o.eos())
	})
}

// groups reads a configuration, opens what it names and runs the trainer that is made of it.
func groups(ctx context.Context, std streams, f policyFlags, kind string, cfg any, in *promptInput, validate func() error, make func(online) (policyTrainer, error)) error {
	if err := readConfig(f.Config, f.Set, cfg); err != nil {
		return err
	}
	if f.PrintConfig {
		return f.print(std, cfg)
	}
	if in.Preset != "" {
		return usageError{fmt.Errorf(`configuration: "preset" is for ppo; %s has its defaults alone`, kind)}
	}
	if err := errors.Join(f.usage(), wrong(validate())); err != nil {
		return err
	}
	o, err := in.open(kind)
	if err != nil {
		return err
	}
	t, err := make(o)
	if err != nil {
		return wrong(err)
	}
	return f.train(ctx, std, o.models, cfg, t)
}
