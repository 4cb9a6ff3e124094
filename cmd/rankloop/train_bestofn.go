package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo"
)

type trainBestOfNCmd struct {
	Config      string   `help:"JSON configuration." type:"existingfile" placeholder:"FILE"`
	Set         []string `help:"Set a field of the configuration." placeholder:"KEY=VALUE" sep:"none"`
	Out         string   `help:"Folder for the responses and the figures." placeholder:"DIR"`
	PrintConfig bool     `help:"Print a configuration with every field, and end."`
	JSON        bool     `name:"json" help:"The figures as JSON."`
}

func (trainBestOfNCmd) Help() string {
	return `Draws n responses to each prompt and keeps the one that the reward model likes best: the simplest policy that the reward improves,
and the measure of the others. Nothing is trained. The figures for every power of 2 up to n come from the same draws; the KL to
the policy is ln n - (n-1)/n.

In --out: best.jsonl, a line {"prompt", "completion", "score", "scores"} per prompt, which 'rankloop train sft' reads as it is, and
metrics.jsonl with the figures.

Example:
  rankloop train best-of-n --config best.json --out runs/best
where best.json may hold {"policy": "sft", "reward": "runs/reward/model", "prompts": "prompts.txt", "best_of_n": {"n": 16}}`
}

func (c trainBestOfNCmd) Run(ctx context.Context, std streams) error {
	cfg := struct {
		promptInput
		BestOfN ppo.BestOfNConfig `json:"best_of_n"`
	}{BestOfN: ppo.DefaultBestOfN()}
	if err := readConfig(c.Config, c.Set, &cfg); err != nil {
		return err
	}
	if c.PrintConfig {
		return policyFlags{}.print(std, cfg)
	}
	if err := errors.Join(policyFlags{Out: c.Out}.usage(), wrong(cfg.BestOfN.Validate())); err != nil {
		return err
	}
	o, err := cfg.open(ppo.KindBestOfN)
	if err != nil {
		return err
	}
	b, err := ppo.NewBestOfN(cfg.BestOfN, o.policy.Model, o.scorer, o.eos())
	if err != nil {
		return wrong(err)
	}
	show := newProgress(std.err)
	choices, err := b.Choose(ctx, o.prompts, func(done int) { show.show(ppo.KindBestOfN, done, len(o.prompts), "prompts") })
	show.end()
	if err != nil {
		return wrong(err)
	}
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return err
	}
	o.record.Config = cfg
	if err := o.record.write(filepath.Join(c.Out, "run.json")); err != nil {
		return err
	}
	type line struct {
		Prompt     string    `json:"prompt"`
		Completion string    `json:"completion"`
		Score      float64   `json:"score"`
		Scores     []float64 `json:"scores"`
	}
	var lines []any
	for i, choice := range choices {
		lines = append(lines, line{o.texts[i], answerText(o.policy.Tokenizer, choice.Response, o.eos()), choice.Score, choice.Scores})
	}
	curve := ppo.BestOfCurve(choices)
	var figures []any
	for i, m := range curve {
		m["step"] = float64(i + 1)
		figures = append(figures, m)
	}
	if err := errors.Join(writeLines(filepath.Join(c.Out, "best.jsonl"), lines), writeLines(filepath.Join(c.Out, "metrics.jsonl"), figures)); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(curve)
	}
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "n\tscore\tKL (nats)\n")
	for _, m := range curve {
		fmt.Fprintf(tw, "%.0f\t%+.4f\t%.3f\n", m["n"], m["best_of_score"], m["best_of_kl"])
	}
	return tw.Flush()
}

// answerText is a response as text, without its end token and the space it begins with.
func answerText(tok token.Tokenizer, ids []int32, eos int32) string {
	if n := len(ids); n > 0 && ids[n-1] == eos {
		ids = ids[:n-1]
	}
	return strings.TrimPrefix(tok.Decode(ids), " ")
}

// writeLines writes values as JSON lines.
func writeLines(path string, lines []any) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}
