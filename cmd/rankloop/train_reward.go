package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

type trainRewardCmd struct{ trainFlags }

func (trainRewardCmd) Help() string {
	return `The configuration holds "model" or "shape", "data" (rankings.jsonl, as 'rankloop import --out' writes it), "valid_share" of the
prompts to hold out where the data name no split, and "reward". Longer texts than the model's context lose their beginning.

Example:
  rankloop import --format hh --out rankings.jsonl harmless.jsonl.gz
  rankloop train reward --config reward.json --out runs/reward
where reward.json may hold {"model": "sft", "data": ["rankings.jsonl"], "reward": {"epochs": 2, "lr": 0.001}}`
}

func (c trainRewardCmd) Run(ctx context.Context, std streams) error {
	cfg := struct {
		start
		Data       []string      `json:"data"`
		ValidShare float64       `json:"valid_share"`
		Reward     reward.Config `json:"reward"`
	}{ValidShare: 0.1, Reward: reward.DefaultConfig()}
	if err := readConfig(c.Config, c.Set, &cfg); err != nil {
		return err
	}
	if len(cfg.Data) == 0 {
		return usageError{errors.New(`configuration: "data" names no rankings`)}
	}
	var records []labeling.Record
	for _, file := range cfg.Data {
		list, err := readRankings(file)
		if err != nil {
			return err
		}
		records = append(records, list...)
	}
	var texts []string
	for _, r := range records {
		texts = append(append(texts, r.Prompt), r.Completions...)
		for _, m := range r.Messages {
			texts = append(texts, m.Content)
		}
	}
	cp, err := cfg.open(slices.Values(texts), false)
	if err != nil {
		return err
	}
	groups, err := rankedGroups(cp, records, cfg.ValidShare)
	if err != nil {
		return err
	}
	var train, valid []reward.Group
	var reference []model.Sequence
	for _, g := range groups {
		if g.Split == labeling.Train {
			train = append(train, g)
			if len(reference) < 512 {
				reference = append(reference, g.Sequences[0])
			}
		} else {
			valid = append(valid, g)
		}
	}
	t, err := reward.NewTrainer(cfg.Reward, cp.Model, train, valid, reference)
	if err != nil {
		return err
	}
	var report reward.Report
	o := offline{trainFlags: c.trainFlags, name: "reward", finish: func() error {
		scorer, err := t.Scorer()
		if err != nil {
			return err
		}
		if report, err = t.Report(); err != nil {
			return err
		}
		done := &checkpoint.Checkpoint{Tokenizer: cp.Tokenizer, Card: checkpoint.Card{Kind: "reward", Metrics: report.Metrics()}}
		scorer.Fill(done)
		return saveModel(done, filepath.Join(c.Out, "model"))
	}}
	if err := o.run(ctx, std, t); err != nil {
		return err
	}
	if report.N > 0 {
		fmt.Fprintf(std.out, "held-out accuracy %.4f [%.4f, %.4f] on %d pairs of %d prompts\n", report.Accuracy, report.Low, report.High, report.N, report.Prompts)
	}
	return nil
}

// readRankings reads a rankings.jsonl, plain or gzip.
func readRankings(file string) ([]labeling.Record, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := labeling.ReadRankings(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return list, nil
}

// rankedGroups encodes rankings for a model. Rankings of the same prompt stay on one side of the split; where the data
// name no split, every n-th prompt is held out, so that validShare of them are.
func rankedGroups(cp *checkpoint.Checkpoint, records []labeling.Record, validShare float64) ([]reward.Group, error) {
	template, err := token.Chat("plain")
	if err != nil {
		return nil, err
	}
	splits := map[string]string{}
	var out []reward.Group
	for i, r := range records {
		prompt := r.Prompt
		if len(r.Messages) > 0 {
			messages := make([]token.Message, len(r.Messages))
			for j, m := range r.Messages {
				messages[j] = token.Message{Role: m.Role, Content: m.Content}
			}
			if prompt, err = template.Prompt(messages); err != nil {
				return nil, fmt.Errorf("ranking %d: %w", i+1, err)
			}
		}
		split, known := splits[prompt]
		if !known {
			if split = r.Split; split == "" {
				n := float64(len(splits))
				if split = labeling.Train; int((n+1)*validShare) > int(n*validShare) {
					split = labeling.Valid
				}
			}
			splits[prompt] = split
		}
		g := reward.Group{PromptID: fmt.Sprint(i), Split: split, Rankings: [][]int{r.Ranks}, Labelers: []string{r.Labeler}}
		ids := encodePrompt(cp.Tokenizer, prompt)
		for _, c := range r.Completions {
			g.Sequences = append(g.Sequences, fitting(cp, ids, " "+c))
		}
		out = append(out, g)
	}
	return out, nil
}

// fitting makes a sequence of a prompt and a completion that fits the model: what is too much goes from the prompt's
// beginning first, then from the completion's end.
func fitting(cp *checkpoint.Checkpoint, prompt []int32, completion string) model.Sequence {
	context := cp.Model.Config().Context
	answer := cp.Tokenizer.Encode(completion)
	if eos := cp.Model.Config().EOS; eos >= 0 {
		answer = append(answer, int32(eos))
	}
	answer = answer[:min(len(answer), context-1)]
	prompt = prompt[max(0, len(prompt)+len(answer)-context):]
	ids := append(append(make([]int32, 0, len(prompt)+len(answer)), prompt...), answer...)
	return model.Sequence{IDs: ids, Start: max(1, len(prompt))}
}

type rewardCmd struct {
	Score rewardScoreCmd `cmd:"" help:"Rewards of texts or ids, a JSON line each."`
	Eval  rewardEvalCmd  `cmd:"" help:"Accuracy on rankings, with its confidence interval and calibration."`
}

type rewardScoreCmd struct {
	Model string `required:"" help:"A reward model's folder." placeholder:"MODEL"`
}

func (rewardScoreCmd) Help() string {
	return `Reads {"ids": [...]} or {"prompt": ..., "completion": ...} lines and writes {"reward": ...} lines, normalised as the model's card says.

Example:
  echo '{"prompt":"User: Where do owls sleep?\nAssistant:","completion":" In a tree."}' | rankloop reward score --model runs/reward/model`
}

type rewardLine struct {
	Reward float64 `json:"reward"`
}

func (c rewardScoreCmd) Run(ctx context.Context, std streams) error {
	cp, scorer, err := openReward(c.Model)
	if err != nil {
		return err
	}
	return eachLine(std.in, std.out, func(in scoreLine) (rewardLine, error) {
		seq, err := in.sequence(cp, c.Model)
		if err != nil {
			return rewardLine{}, err
		}
		r, err := scorer.Score(ctx, []model.Sequence{seq})
		if err != nil {
			return rewardLine{}, err
		}
		return rewardLine{r[0]}, nil
	})
}

func openReward(name string) (*checkpoint.Checkpoint, *reward.Scorer, error) {
	cp, err := loadModel(name)
	if err != nil {
		return nil, nil, err
	}
	scorer, err := reward.Open(cp)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return cp, scorer, nil
}

type rewardEvalCmd struct {
	Model string `required:"" help:"A reward model's folder." placeholder:"MODEL"`
	Data  string `required:"" help:"Rankings (rankings.jsonl)." type:"existingfile" placeholder:"FILE"`
	Split string `help:"Only this split of the data, such as valid." default:""`
	JSON  bool   `name:"json" help:"As JSON."`
}

func (rewardEvalCmd) Help() string {
	return "Example:\n  rankloop reward eval --model runs/reward/model --data rankings.jsonl"
}

func (c rewardEvalCmd) Run(ctx context.Context, std streams) error {
	cp, scorer, err := openReward(c.Model)
	if err != nil {
		return err
	}
	if _, err := needTokenizer(cp, c.Model); err != nil {
		return err
	}
	records, err := readRankings(c.Data)
	if err != nil {
		return err
	}
	if c.Split != "" {
		kept := records[:0]
		for _, r := range records {
			if r.Split == c.Split {
				kept = append(kept, r)
			}
		}
		records = kept
	}
	groups, err := rankedGroups(cp, records, 0)
	if err != nil {
		return err
	}
	report, err := reward.Evaluate(ctx, scorer, groups)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(report)
	}
	if report.N == 0 {
		return fmt.Errorf("%s holds no pair to compare", c.Data)
	}
	fmt.Fprintf(std.out, "accuracy %.4f  95%% [%.4f, %.4f]  n=%d pairs of %d prompts\nloss %.4f nats a pair, calibration error %.4f\n",
		report.Accuracy, report.Low, report.High, report.N, report.Prompts, report.Loss, report.ECE)
	for _, b := range report.Calibration {
		fmt.Fprintf(std.out, "  says %.2f  is right %.2f  n=%d\n", b.Confidence, b.Accuracy, b.N)
	}
	return nil
}

type trainPPOCmd struct{ trainFlags }

func (trainPPOCmd) Help() string {
	return `The configuration holds "policy" (model to start from and reference), "reward" (reward model), "prompts" (a text file, one
prompt a line, put into the chat template) and "ppo".

Example:
  rankloop train ppo --config ppo.json --out runs/ppo
where ppo.json may hold {"policy": "sft", "reward": "runs/reward/model", "prompts": "prompts.txt", "ppo": {"iterations": 20}}

"precision": "mixed" in "ppo" rounds the factors of products to bfloat16: faster where the processor has AVX512-BF16.`
}

func (c trainPPOCmd) Run(ctx context.Context, std streams) error {
	cfg := struct {
		Policy  string     `json:"policy"`
		Reward  string     `json:"reward"`
		Prompts string     `json:"prompts"`
		PPO     ppo.Config `json:"ppo"`
	}{PPO: ppo.DefaultConfig()}
	if err := readConfig(c.Config, c.Set, &cfg); err != nil {
		return err
	}
	if cfg.Policy == "" || cfg.Reward == "" || cfg.Prompts == "" {
		return usageError{errors.New(`configuration: "policy", "reward" and "prompts" are wanted`)}
	}
	policy, err := loadModel(cfg.Policy)
	if err != nil {
		return err
	}
	tok, err := needTokenizer(policy, cfg.Policy)
	if err != nil {
		return err
	}
	rm, scorer, err := openReward(cfg.Reward)
	if err != nil {
		return err
	}
	mean, std64 := scorer.Norm()
	critic, err := ppo.Critic(rm.Model, mean, std64)
	if err != nil {
		return err
	}
	lines, err := readPrompts(cfg.Prompts)
	if err != nil {
		return err
	}
	template, err := token.Chat("plain")
	if err != nil {
		return err
	}
	var prompts ppo.PromptList
	for _, line := range lines {
		text, err := template.Prompt([]token.Message{{Role: "user", Content: line}})
		if err != nil {
			return err
		}
		prompts = append(prompts, encodePrompt(tok, text))
	}
	t, err := ppo.NewTrainer(cfg.PPO, policy.Model, policy.Model, critic, scorer, prompts, int32(policy.Model.Config().EOS), nil)
	if err != nil {
		return err
	}
	o := offline{trainFlags: c.trainFlags, name: "ppo", finish: func() error {
		return saveModel(&checkpoint.Checkpoint{Model: t.Policy(), Tokenizer: tok, Card: checkpoint.Card{Kind: "policy"}}, filepath.Join(c.Out, "model"))
	}}
	return o.run(ctx, std, t)
}
